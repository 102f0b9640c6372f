"""Who gets into the console, by which forms, and what every page carries."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from cluster.identity.devkeys import mint_token
from cluster.identity.verifier import open_verifier
from cluster.settings import Environment, Settings
from cluster.store.client import Call
from policies.controls import Controls, Kill, KillScope
from policies.errors import DependencyError, GovernanceError
from policies.message import Message
from policies.principal import Principal
from policies.review import Review
from serve_app.api import problems
from serve_app.console.pages import COOKIE, SECURITY
from serve_app.console.routes import ROUTERS
from serve_app.console.sessions import Sessions

from builders import a_message, a_review, a_review_law
from fakes import FakeClock, FakeMeter

BASE: Final = "http://console.test"
SOUND: Final = "__sound__"  # stands for the form token of the session
HOUR: Final = timedelta(hours=1)


class DictStore:
    """A store of plain keys that expire by a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.down = False

    async def execute(self, *command: str | bytes | float) -> object:
        if self.down:
            raise DependencyError("store", "it is down")
        name, key = str(command[0]), str(command[1])
        value, ends_s = self.kept.get(key, (b"", 0.0))
        found = value if self._clock.monotonic_s() < ends_s else None
        match name:
            case "SET":
                assert isinstance(command[2], bytes)
                self.kept[key] = command[2], self._clock.monotonic_s() + float(command[4])
            case "GETDEL" | "DEL":
                self.kept.pop(key, None)
        return found

    async def run(self, call: Call) -> object:
        raise NotImplementedError

    async def run_many(self, calls: object) -> list[object]:
        raise NotImplementedError


class House:
    """The console without a bus behind it: enough to get in, and no further."""

    def __init__(self, folder: Path, *, env: Environment = Environment.DEV) -> None:
        self.settings = Settings(data_dir=folder)
        self.clock, self.meter = FakeClock(), FakeMeter()
        self.store = DictStore(self.clock)
        self.controls = Controls()
        self.sessions = Sessions(self.store)
        board = SimpleNamespace(current=lambda: self.controls)
        self.services = SimpleNamespace(
            settings=self.settings.model_copy(update={"env": env}),
            clock=self.clock,
            meter=self.meter,
            sessions=self.sessions,
            controls=board,
            verifier=open_verifier(self.settings, clock=self.clock, controls=board.current),
            mailboxes=self,
            desk=self,
            law=SimpleNamespace(reviews=a_review_law()),
        )
        self.app = FastAPI(openapi_url=None)
        self.app.state.services = self.services
        for router in ROUTERS:
            self.app.include_router(router)
        self.app.add_exception_handler(GovernanceError, problems.on_governance_error)

    async def agents(self, tenant: str, *, after: str, limit: int) -> list[object]:
        assert (tenant, after, limit) == ("acme", "", 100)
        return []

    async def find(self, principal: Principal, review_id: str) -> Review:
        assert (principal.tenant, review_id) == ("acme", "decision-1")
        return a_review(
            resource="<b>bold\u202e</b>",
            opened_at=self.clock.now(),
            expires_at=self.clock.now() + HOUR,
        )

    async def message(self, principal: Principal, review_id: str) -> Message:
        assert (principal.tenant, review_id) == ("acme", "decision-1")
        return a_message(content={"args": {"mail": "anna.svensson@example.com"}})

    async def position(self, principal: Principal) -> str:
        assert principal.tenant == "acme"
        return "7-0"

    def token(self, *roles: str, ttl_s: float = 3600) -> str:
        return mint_token(
            self.settings,
            tenant="acme",
            agent="rita",
            roles=roles or ("reviewer",),
            ttl_s=ttl_s,
            now=self.clock.now(),
        )

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url=BASE)

    async def signed_in(self, client: httpx.AsyncClient, **token: Any) -> httpx.Response:
        code = await self.sessions.ticket(self.token(**token))
        return await client.post("/console/sign-in", data={"code": code})


def told(
    folder: Path,
    story: Callable[[House, httpx.AsyncClient], Awaitable[None]],
    *,
    env: Environment = Environment.DEV,
) -> None:
    async def tell() -> None:
        house = House(folder, env=env)
        async with house.client() as client:
            await story(house, client)

    asyncio.run(tell())


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def test_a_code_signs_in_once_and_the_browser_never_sees_the_token(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        token = house.token()
        bearer = {"Authorization": f"Bearer {token}"}
        answer = await client.post("/console/tickets", headers=bearer)
        assert answer.json().keys() == {"code", "expires_in_s"}
        code = answer.json()["code"]
        first = await client.post("/console/sign-in", data={"code": code})
        assert (first.status_code, first.headers["location"]) == (303, "/console/")
        cookie = first.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/console", "Max-Age=3600"):
            assert part in cookie
        assert "Secure" not in cookie
        for other in (answer.text, cookie):
            assert token not in other
        assert (await client.get("/console/agents")).status_code == httpx.codes.OK
        again = await client.post("/console/sign-in", data={"code": code})
        assert again.status_code == httpx.codes.FORBIDDEN
        assert "was used" in again.text

    told(tmp_path, story)


def test_a_code_is_worth_nothing_after_a_minute(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        code = await house.sessions.ticket(house.token())
        house.clock.forward(61)
        answer = await client.post("/console/sign-in", data={"code": code})
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "set-cookie" not in answer.headers

    told(tmp_path, story)


def test_the_store_alone_gives_nobody_a_session_or_a_token(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        token = house.token().encode()
        handle = client.cookies[COOKIE]
        for key, (value, _) in house.store.kept.items():
            assert handle not in key
            assert token not in value
            assert token.split(b".")[1] not in value
            name = key.rpartition(":")[2]
            assert await house.sessions.token(name) is None
        for key, (value, ends_s) in list(house.store.kept.items()):
            house.store.kept[key] = value[:-1] + bytes([value[-1] ^ 1]), ends_s
        assert (await client.get("/console/agents")).status_code == httpx.codes.UNAUTHORIZED

    told(tmp_path, story)


def test_outside_dev_the_cookie_is_for_https_only(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        answer = await house.signed_in(client)
        assert "; Secure" in answer.headers["set-cookie"]

    told(tmp_path, story, env=Environment.PRODUCTION)


@pytest.mark.parametrize("cookie", ["", "forged", "A" * 43, "../../etc", "é"])
def test_who_has_no_session_is_asked_to_sign_in(tmp_path: Path, cookie: str) -> None:
    async def story(_: House, client: httpx.AsyncClient) -> None:
        headers = {"Cookie": f"{COOKIE}={cookie}".encode()} if cookie else {}
        answer = await client.get("/console/", headers=headers)
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert "OIDC) is not built yet" in answer.text
        assert "rita" not in answer.text

    told(tmp_path, story)


def test_a_session_ends_with_its_token(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client, ttl_s=600)
        house.clock.forward(599)
        assert (await client.get("/console/agents")).status_code == httpx.codes.OK
        house.clock.forward(2)
        assert (await client.get("/console/agents")).status_code == httpx.codes.UNAUTHORIZED

    told(tmp_path, story)


def test_a_revoked_person_is_signed_out(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        house.controls = house.controls.with_revoked_agent("acme", "rita")
        answer = await client.get("/console/agents")
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert "was revoked" in answer.text
        assert f'{COOKIE}=""' in answer.headers["set-cookie"]

    told(tmp_path, story)


def test_who_is_stopped_by_an_operator_sees_why_and_nothing_else(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        scope = KillScope(tenant="acme")
        kill = Kill(scope=scope, reason="an incident", by="olivia", at=house.clock.now())
        house.controls = house.controls.with_kill(kill)
        answer = await client.get("/console/reviews/decision-1")
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "an incident" in answer.text
        assert "email.send" not in answer.text

    told(tmp_path, story)


def test_what_an_agent_wrote_stays_text(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        page = (await client.get("/console/reviews/decision-1")).text
        assert "<b>" not in page
        assert "&lt;b&gt;bold\\u202e&lt;/b&gt;" in page

    told(tmp_path, story)


def test_signing_out_ends_the_session_everywhere(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        handle = client.cookies[COOKIE]
        page = await client.get("/console/agents")
        gone = await client.post("/console/sign-out", data={"csrf": csrf_of(page.text)})
        assert gone.status_code == httpx.codes.SEE_OTHER
        assert await house.sessions.token(handle) is None

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": SOUND}, {"Origin": "http://evil.test"}),
        ({"csrf": SOUND}, {"Origin": "null"}),
        ({"csrf": SOUND}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": SOUND}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_form_that_is_not_from_this_session_is_refused(
    tmp_path: Path, data: dict[str, str], headers: dict[str, str]
) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        sound = csrf_of((await client.get("/console/agents")).text)
        sent = {name: sound if value == SOUND else value for name, value in data.items()}
        answer = await client.post("/console/sign-out", data=sent, headers=headers)
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "console.form_refused" in answer.text
        assert (await client.get("/console/agents")).status_code == httpx.codes.OK
        right = await client.post(
            "/console/sign-out", data={"csrf": sound}, headers={"Origin": BASE}
        )
        assert right.status_code == httpx.codes.SEE_OTHER

    told(tmp_path, story)


def test_two_sessions_do_not_share_their_forms(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        mine = csrf_of((await client.get("/console/agents")).text)
        async with house.client() as other:
            await house.signed_in(other)
            assert csrf_of((await other.get("/console/agents")).text) != mine
            refused = await other.post("/console/sign-out", data={"csrf": mine})
            assert refused.status_code == httpx.codes.FORBIDDEN

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"code=a&code=b", 400),
        (b"code=%ff", 400),
        (b"code=" + b"a" * 70_000, 413),
        (b'{"code": "a"}', 415),
    ],
)
def test_what_is_no_form_of_ours_is_refused(tmp_path: Path, content: bytes, status: int) -> None:
    kind = "application/json" if status == 415 else "application/x-www-form-urlencoded"

    async def story(_: House, client: httpx.AsyncClient) -> None:
        answer = await client.post(
            "/console/sign-in", content=content, headers={"Content-Type": kind}
        )
        assert answer.status_code == status

    told(tmp_path, story)


def test_every_page_and_every_error_carries_the_security_headers(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        pages = [await client.get("/console/"), await client.get("/console/sign-in")]
        pages.append(await house.signed_in(client))
        paths = ("agents", "ledger", "nowhere", "reviews/%20")
        pages += [await client.get(f"/console/{path}") for path in paths]
        house.store.down = True
        pages.append(await client.get("/console/agents"))
        assert pages[-1].status_code == httpx.codes.SERVICE_UNAVAILABLE
        for page in pages:
            for name, value in SECURITY.items():
                assert page.headers[name] == value, page.url
        policy = SECURITY["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'; script-src 'self';")

    told(tmp_path, story)


def test_who_reveals_what_was_masked_is_logged_and_what_it_was_is_not(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        page = await client.get("/console/reviews/decision-1")
        assert "anna.svensson" not in page.text
        assert 'data-after="7-0"' in page.text
        with capture_logs() as logs:
            revealed = await client.post(
                "/console/reviews/decision-1/reveal", data={"csrf": csrf_of(page.text)}
            )
        assert "anna.svensson@example.com" in revealed.text
        [event] = [one for one in logs if one["event"] == "review.revealed"]
        assert (event["by"], event["tenant"], event["review_id"]) == ("rita", "acme", "decision-1")
        assert "anna" not in str(event)

    told(tmp_path, story)


def test_no_page_has_a_script_or_a_style_of_its_own() -> None:
    folder = Path(__file__).resolve().parents[2] / "serve_app" / "console" / "templates"
    templates = sorted(folder.glob("*.html"))
    assert templates
    for template in templates:
        text = template.read_text()
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
        assert "|safe" not in text.replace(" ", ""), template
        assert "autoescape" not in text, template


def test_an_asset_is_kept_for_ever_under_its_digest(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient) -> None:
        page = (await client.get("/console/sign-in")).text
        for url in re.findall(r'"(/console/static/[^"]+)"', page):
            answer = await client.get(url)
            assert answer.status_code == httpx.codes.OK
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-encoding"] == "gzip"
            plain = await client.get(url, headers={"Accept-Encoding": "identity"})
            assert plain.content == answer.content
        missing = await client.get("/console/static/0000/console.css")
        assert missing.status_code == httpx.codes.NOT_FOUND

    told(tmp_path, story)
