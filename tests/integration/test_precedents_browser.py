"""What is like a review, in a real browser: accessible, and decided on without a mouse."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from integration.chromium import launched, needs_chromium, require_accessible, visiting
from integration.console_visitor import held, link
from integration.doorstep import Tenant
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.timeout(300), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with visiting(browser) as page:
        yield page


def test_all_that_is_the_same_is_decided_by_keyboard_on_accessible_pages(
    page: Page, tenant: Tenant
) -> None:
    ended = held(tenant)
    rejected = tenant.client("sam", "reviewer").post(
        f"/v1/reviews/{ended}:reject", json={"reason": "still needed"}
    )
    assert rejected.status_code == httpx.codes.OK
    same = [held(tenant) for _ in range(3)]
    page.goto(link(tenant, "rita", "reviewer"))
    expect(page).to_have_url(f"{tenant.bus.url}/console/")
    page.goto(f"{tenant.bus.url}/console/reviews/{same[0]}")
    before = page.get_by_role("region", name="How it went before")
    expect(before).to_contain_text("100% alike: the very same action")
    expect(before).to_contain_text("rejected by sam: “still needed”")
    summary = page.get_by_text("Decide on all of them at once, this one included")
    summary.focus()
    page.keyboard.press("Enter")
    require_accessible(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the first choice: approve
    page.keyboard.press("Tab")
    page.keyboard.type("archived, all of them")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_contain_text("3 of your votes are recorded (approve)")
    expect(page.locator("#outcome")).to_be_focused()
    expect(page.locator("td .consumed")).to_have_count(3)
    require_accessible(page)
