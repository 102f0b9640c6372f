"""Signing in to a whole bus at an identity provider, which is another site to the browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from integration.chromium import launched, needs_chromium, picture, require_accessible, visiting
from integration.console_visitor import DELETE, form
from oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, serving
from playwright.sync_api import expect
from running import RunningBus, a_body, started

from cluster.clock import SystemClock
from cluster.session import free_port

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Place:
    """A bus, and the provider at which its people sign in."""

    bus: RunningBus
    provider: Provider

    def client(self, agent: str, *roles: str) -> httpx.Client:
        token = self.provider.access_token(sub=agent, roles=list(roles))
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.bus.url, headers=headers, timeout=30)

    def held(self) -> str:
        """Send what waits for a person; return the id of its review."""
        with self.client("planner", "agent") as planner:
            answer = planner.post("/v1/messages", json=a_body(content=DELETE))
            assert answer.json()["effect"] == "review", answer.text
            review_id: str = answer.json()["review"]["review_id"]
            return review_id

    def received(self) -> list[dict[str, object]]:
        with self.client("tools", "agent") as tools:
            answer = tools.get("/v1/mailbox", params={"wait_s": 20})
            return [each["message"]["content"] for each in answer.json()["messages"]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    port = free_port()
    # `localhost` is another site than `127.0.0.1`, so cookies behave as between two companies.
    with serving(SystemClock().now, host="localhost") as provider:
        environment = {
            "ACGS_HTTP_PORT": str(port),
            "ACGS_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "ACGS_POLICY_TIMEOUT_MS": "5000",
            "ACGS_JWKS_URL": f"{provider.url}/keys",
            "ACGS_JWT_ISSUER": provider.url,
            "ACGS_OIDC_ISSUER": provider.url,
            "ACGS_OIDC_CLIENT_ID": CLIENT_ID,
            "ACGS_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        }
        with started(tmp_path_factory.mktemp("bus"), **environment) as bus:
            found = Place(bus, provider)
            with found.client("admin", "tenant_admin") as admin:
                for agent in ("tools", "planner"):
                    admin.put(f"/v1/agents/{agent}", json={"agent_type": "test"}).raise_for_status()
            yield found


def test_a_person_signs_in_at_the_provider_and_decides(place: Place) -> None:
    review_id = place.held()
    path = f"/console/reviews/{review_id}"
    with httpx.Client(base_url=place.bus.url, timeout=30) as browser:
        page = browser.get(path)
        assert page.status_code == httpx.codes.UNAUTHORIZED
        there = browser.get("/console/oidc/sign-in", params={"to": path})
        back = place.provider.approve(there.headers["location"])
        assert back.startswith(f"{place.bus.url}/console/oidc/callback?")
        arrived = browser.get(back)
        assert f"url={path}" in arrived.text, arrived.text
        fields = form(browser.get(path).text, "vote")
        voted = browser.post(
            f"{path}/vote", data={**fields, "choice": "approve", "reason": "I looked"}
        )
        assert voted.status_code == httpx.codes.SEE_OTHER, voted.text
    assert place.received() == [DELETE]


def test_a_provider_that_lies_signs_nobody_in(place: Place) -> None:
    with httpx.Client(base_url=place.bus.url, timeout=30) as browser:
        there = browser.get("/console/oidc/sign-in").headers["location"]
        place.provider.lies.access_claims = {"aud": "another"}
        try:
            answer = browser.get(place.provider.approve(there))
        finally:
            place.provider.lies.access_claims = {}
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "oidc.token_refused" in answer.text
        assert browser.get("/console/").status_code == httpx.codes.UNAUTHORIZED


@needs_chromium
def test_a_browser_signs_in_across_two_sites_and_goes_on_where_it_was(place: Place) -> None:
    review_id = place.held()
    url = f"{place.bus.url}/console/reviews/{review_id}"
    with launched() as browser, visiting(browser, 401) as page:
        page.goto(url)
        expect(page.locator("h1")).to_have_text("Sign in")
        require_accessible(page)
        picture(page, "sign-in")
        page.locator("#provider").click()
        expect(page).to_have_title("Sign in")
        assert page.url.startswith(place.provider.url)
        page.get_by_role("button", name="I am rita").click()
        expect(page).to_have_url(url)  # with the strict cookie: no second sign-in, no click
        expect(page.locator("h1")).to_have_text("file.delete")
        cookies = {each["name"]: each for each in page.context.cookies()}
        assert cookies["acgs_console"]["sameSite"] == "Strict"
        assert page.evaluate("document.cookie") == ""
        page.go_back()
        assert "code=" not in page.url
        page.goto(f"{place.bus.url}/console/sessions")
        require_accessible(page)
        picture(page, "sessions")
        page.get_by_role("button", name="Sign out everywhere").click()
        expect(page.locator("h1")).to_have_text("Sign in")
        page.goto(url)
        expect(page.locator("h1")).to_have_text("Sign in")


@needs_chromium
def test_what_went_wrong_is_said_on_an_accessible_page(place: Place) -> None:
    with launched() as browser, visiting(browser, 401, 403) as page:
        page.goto(f"{place.bus.url}/console/")
        place.provider.lies.error = "access_denied"
        try:
            page.locator("#provider").click()
            page.get_by_role("button", name="I am rita").click()
            expect(page.get_by_role("alert")).to_contain_text("oidc.denied")
        finally:
            place.provider.lies.error = None
        require_accessible(page)
        page.locator("#provider").click()
        page.get_by_role("button", name="I am rita").click()
        expect(page).to_have_url(f"{place.bus.url}/console/")
        expect(page.locator("#live")).to_have_text("Live")
