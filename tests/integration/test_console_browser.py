"""The console in a real browser: live, by keyboard alone, accessible, and its proofs checked there.

Set ACGS_SCREENSHOTS to a folder to have the pictures of the README taken again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from integration.chromium import (
    SCREENSHOTS,
    launched,
    needs_chromium,
    picture,
    require_accessible,
    visiting,
)
from integration.console_visitor import DELETE, held, link
from integration.doorstep import Tenant
from playwright.sync_api import Browser, Page, Route, expect
from running import RunningBus

pytestmark = [pytest.mark.timeout(300), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as chromium:
        yield chromium


@pytest.fixture
def tenant(bus: RunningBus, tenant: Tenant) -> Tenant:
    """A tenant of one's own; for pictures, one with a name that people can read."""
    if not SCREENSHOTS:
        return tenant
    bus.register("tools", "marker", tenant="northwind")
    return Tenant(bus, "northwind", tenant.clients)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with visiting(browser) as page:
        yield page


def enter(page: Page, tenant: Tenant, name: str, *roles: str) -> None:
    page.goto(link(tenant, name, *(roles or ("reviewer", "auditor"))))
    expect(page).to_have_url(f"{tenant.bus.url}/console/")
    expect(page.locator("#live")).to_have_text("Live")


def test_a_held_call_is_decided_by_keyboard_and_its_proof_turns_green(
    page: Page, tenant: Tenant
) -> None:
    for tool in ("crm.update", "calendar.share", "payments.refund"):
        held(tenant, tool=tool, action=tool, args={"mail": "anna@example.com"})
    enter(page, tenant, "rita")
    assert "#" not in page.url
    expect(page.locator("a.open")).to_have_count(3)
    page.keyboard.press("j")
    review_id = held(tenant)  # while somebody looks: no reload, and the focus stays
    expect(page.locator("a.open")).to_have_count(4)
    expect(page.locator("a.open").first).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("4 shown")
    require_accessible(page)
    picture(page, "queue")

    for key in ("j", "j", "j", "k", "j", "Enter"):
        page.keyboard.press(key)
    expect(page).to_have_url(f"{tenant.bus.url}/console/reviews/{review_id}")
    expect(page.locator("pre.content")).to_contain_text("reports/q1.md")
    require_accessible(page)
    picture(page, "review")

    page.keyboard.press("a")
    expect(page.locator("#reason")).to_be_focused()
    expect(page.locator("#record")).to_have_text("Approve it")
    assert tenant.receive() == []  # a key alone sends nothing
    page.keyboard.type("the archive has a copy")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#outcome")).to_contain_text("Approved and gone")
    expect(page.locator("#go-on")).to_be_focused()
    expect(page.locator("#go-on")).to_have_accessible_description(re.compile("Approved and gone"))
    [envelope] = tenant.receive(wait_s=20)
    assert envelope["message"]["content"] == DELETE

    page.locator("#released").click()
    expect(page.locator("#verdict")).to_have_text("Verified in this browser")
    expect(page.locator("#verdict")).to_have_class("verdict good")
    require_accessible(page)
    picture(page, "decision")


def test_who_loses_the_race_is_told_who_decided_what(
    browser: Browser, page: Page, tenant: Tenant
) -> None:
    review_id = held(tenant)
    enter(page, tenant, "rita")
    with visiting(browser) as other:
        enter(other, tenant, "sam")
        for one in (page, other):
            one.goto(f"{tenant.bus.url}/console/reviews/{review_id}")
        other.keyboard.press("r")
        other.keyboard.type("it is still needed")
        other.keyboard.press("Control+Enter")
        expect(other.locator("#outcome")).to_contain_text("Rejected: nothing left.")
    expect(page.locator("#changed")).to_be_visible()  # told while reading, nothing taken away
    page.get_by_label("Approve: let exactly this go, once").check()
    page.get_by_label("Why (recorded in the ledger)").fill("looks fine")
    page.get_by_role("button", name="Approve it").click()
    problem = page.locator("#problem")
    expect(problem).to_contain_text("Nothing of yours was recorded.")
    expect(problem).to_contain_text("sam rejected it at")
    expect(problem).to_contain_text("it is still needed")
    expect(problem).to_be_focused()
    assert tenant.receive() == []


def test_after_a_decision_the_way_leads_to_the_next_one(page: Page, tenant: Tenant) -> None:
    first = held(tenant)
    second = held(tenant, tool="crm.update", action="crm.update", args={"name": "Anna"})
    enter(page, tenant, "rita")
    page.goto(f"{tenant.bus.url}/console/reviews/{first}")
    page.keyboard.press("r")
    page.keyboard.type("it is still needed")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#go-on")).to_be_focused()
    require_accessible(page)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{tenant.bus.url}/console/reviews/{second}")
    page.keyboard.press("e")
    expect(page.locator("#why")).to_be_focused()
    page.locator("#main").focus()
    page.keyboard.press("n")
    expect(page.locator("#outcome")).to_have_text("Nothing else waits for you to decide.")
    require_accessible(page)
    page.get_by_label("Search").fill("UPDATE crm")
    page.keyboard.press("Enter")
    expect(page.locator("a.open")).to_have_count(1)
    page.get_by_label("Search").fill("update nothing")
    page.keyboard.press("Enter")
    expect(page.locator("a.open")).to_have_count(0)


def test_shortcuts_can_be_switched_off(page: Page, tenant: Tenant) -> None:
    held(tenant)
    enter(page, tenant, "rita")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Single-key shortcuts are on").uncheck()
    page.keyboard.press("Escape")
    page.locator("#main").focus()
    page.keyboard.press("j")
    expect(page.locator("a.open").first).not_to_be_focused()
    page.locator("a.open").first.click()
    expect(page.locator("h1")).to_have_text("file.delete")
    here = page.url
    for key in ("n", "e", "a", "q"):
        page.locator("#main").focus()
        page.keyboard.press(key)
    expect(page.locator("#main")).to_be_focused()
    assert page.url == here


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ("entry", "the entry is not the one that was hashed"),
        ("hashes", "the path leads to another root than the signed one"),
        ("checkpoint", "does not fit the checkpoint"),
        ("decision", "the page shows another effect than the signed entry"),
    ],
)
def test_a_proof_that_was_tampered_with_turns_red(
    page: Page, tenant: Tenant, part: str, *, why: str
) -> None:
    review_id = held(tenant)
    tenant.account()  # more than one leaf, so that there is a path
    enter(page, tenant, "rita")

    def tamper(route: Route) -> None:
        answer = route.fetch()
        document = answer.json()
        proof = document["proof"]
        if part == "entry":
            proof["entry"] = "AAAA" + proof["entry"][4:]
        elif part == "hashes":
            proof["hashes"][0] = "A" * 43 + "="
        elif part == "checkpoint":
            head, _, signature = proof["checkpoint"].rpartition(" ")
            proof["checkpoint"] = f"{head} {signature[:20]}AAAA{signature[24:]}"
        route.fulfill(response=answer, json=document)

    def lie(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer,
            body=answer.text().replace('data-fact="effect">review', 'data-fact="effect">allow'),
        )

    page.route("**/proof", tamper)
    if part == "decision":
        page.route(f"**/decisions/{review_id}", lie)
    page.goto(f"{tenant.bus.url}/console/decisions/{review_id}")
    expect(page.locator("#verdict")).to_have_class("verdict bad")
    expect(page.locator("#verdict")).to_contain_text(why)


def test_the_other_pages_are_accessible_too(page: Page, tenant: Tenant) -> None:
    review_id = held(tenant, tool="crm.update", action="crm.update", args={"mail": "a@example.com"})
    tenant.account()
    page.goto(f"{tenant.bus.url}/console/sign-in")
    require_accessible(page)
    enter(page, tenant, "rita")
    for path in ("decisions", "ledger", "agents"):
        page.goto(f"{tenant.bus.url}/console/{path}")
        expect(page.locator("h1")).to_have_text(path.capitalize())
        require_accessible(page)
    page.goto(f"{tenant.bus.url}/console/decisions?words=crm+{review_id[:18]}")
    expect(page.locator("a.open")).to_have_count(1)
    expect(page.locator("#looked")).to_contain_text("that is all of them")
    require_accessible(page)
    picture(page, "decisions")
    page.goto(f"{tenant.bus.url}/console/sessions")
    expect(page.locator("h1")).to_have_text("Where you are signed in")
    require_accessible(page)
    page.goto(f"{tenant.bus.url}/console/reviews/{review_id}")
    page.get_by_role("button", name="Reveal it (this is recorded)").click()
    expect(page.locator("pre.content")).to_contain_text("a@example.com")
    require_accessible(page)
