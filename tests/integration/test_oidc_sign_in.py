"""Signing in at a real identity provider over HTTP, and every way in which that can go wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from console_house import BASE, House, csrf_of, told
from oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, serving
from token_builders import GONE, a_signer

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.breaker.guard import guard
from cluster.breaker.registry import get_circuit_breaker_registry
from cluster.identity import oidc
from cluster.identity.discovery import ProviderError
from cluster.settings import Environment
from policies.controls import Kill, KillScope
from serve_app.console.pages import COOKIE

from fakes import FakeClock

Story = Callable[[House, httpx.AsyncClient, Provider], Awaitable[None]]

GO: Final = "/console/oidc/sign-in"
BACK: Final = "/console/oidc/callback"


@pytest.fixture(autouse=True)
def _closed_circuits() -> Iterator[None]:
    get_circuit_breaker_registry().reset_all()
    yield
    get_circuit_breaker_registry().reset_all()


def tell(folder: Path, story: Story, **settings: Any) -> None:
    clock = FakeClock()

    with serving(clock.now) as provider:

        async def of_provider(house: House, client: httpx.AsyncClient) -> None:
            await story(house, client, provider)

        sound = {
            "public_url": BASE,
            "oidc_issuer": provider.url,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "jwt_issuer": provider.url,
            "jwks_url": f"{provider.url}/keys",
        }
        told(folder, of_provider, clock=clock, **{**sound, **settings})


async def sent_away(client: httpx.AsyncClient, to: str = "") -> str:
    """Begin to sign in; return where the browser is sent."""
    answer = await client.get(GO, params={"to": to} if to else {})
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
    return answer.headers["location"]


async def sent_back(client: httpx.AsyncClient, provider: Provider, to: str = "") -> str:
    """Sign in at the provider; return where the browser is sent back to."""
    return provider.approve(await sent_away(client, to))


async def refused(client: httpx.AsyncClient, back: str, status: int, *, code: str) -> str:
    """Come back, and require a page that says so and signs nobody in."""
    answer = await client.get(back)
    assert (answer.status_code, f"<code>{code}</code>" in answer.text) == (status, True), (
        answer.text
    )
    assert COOKIE not in answer.headers.get("set-cookie", "")
    assert COOKIE not in client.cookies
    assert "Sign in with " in answer.text
    assert (await client.get("/console/agents")).status_code == httpx.codes.UNAUTHORIZED
    return answer.text


def changed(address: str, **changes: str | None) -> str:
    """The address with other fields; None leaves one out."""
    head, _, query = address.partition("?")
    fields = {**dict(parse_qsl(query)), **changes}
    return f"{head}?{urlencode({n: v for n, v in fields.items() if v is not None})}"


# -- the way there and back -----------------------------------------------------------------------


def test_a_person_signs_in_and_lands_where_they_wanted_to(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient, provider: Provider) -> None:
        page = await client.get("/console/agents?after=x")
        assert page.status_code == httpx.codes.UNAUTHORIZED
        wanted = f'href="{BASE}{GO}?to=%2Fconsole%2Fagents%3Fafter%3Dx"'
        assert wanted in page.text
        back = await sent_back(client, provider, "/console/agents")
        answer = await client.get(back)
        assert answer.status_code == httpx.codes.OK, answer.text
        assert '<meta http-equiv="refresh" content="0; url=/console/agents">' in answer.text
        assert answer.headers["referrer-policy"] == "no-referrer"
        [session] = answer.headers.get_list("set-cookie")
        for part in ("HttpOnly", "SameSite=strict", "Path=/console;", "Max-Age=3600"):
            assert part in session
        assert "<strong>rita</strong>" in (await client.get("/console/agents")).text
        token = await house.sessions.token(client.cookies[COOKIE])
        assert token is not None
        for seen in (answer.text, *answer.headers.get_list("set-cookie"), back):
            assert token not in seen

    tell(tmp_path, story)


def test_the_provider_is_asked_as_the_standards_want_it(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        first, second = await sent_away(client), await sent_away(client)
        assert first.startswith(f"{provider.url}/authorize?theme=plain&")
        one, two = (parse_qs(urlsplit(each).query) for each in (first, second))
        assert one["redirect_uri"] == [f"{BASE}{BACK}"]
        assert (one["response_type"], one["scope"]) == (["code"], ["openid groups"])
        assert one["code_challenge_method"] == ["S256"]
        for secret in ("state", "nonce", "code_challenge"):
            assert one[secret] != two[secret]
            assert len(one[secret][0]) == 43
        answer = await client.get(GO)
        cookie = answer.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=lax", "Path=/console/oidc", "Max-Age=600"):
            assert part in cookie
        assert "Secure" not in cookie

    tell(tmp_path, story, oidc_scopes="openid groups")


@pytest.mark.parametrize("methods", [["client_secret_basic"], ["client_secret_post"], []])
def test_each_kind_of_client_is_known_to_the_provider(tmp_path: Path, methods: list[str]) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.methods = methods
        provider.secret = CLIENT_SECRET if methods else None
        answer = await client.get(await sent_back(client, provider))
        assert answer.status_code == httpx.codes.OK, answer.text
        [form] = provider.redeemed
        assert ("client_secret" in form) is (methods == ["client_secret_post"])

    secret = {} if methods else {"oidc_client_secret": None}
    tell(tmp_path, story, **secret)


def test_outside_dev_both_cookies_are_for_https_only(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        answer = await client.get(GO)
        assert "; Secure" in answer.headers["set-cookie"]
        client.cookies.clear()
        kept = answer.headers["set-cookie"].partition(";")[0]
        back = provider.approve(answer.headers["location"])
        done = await client.get(back, headers={"Cookie": kept})
        assert "; Secure" in done.headers.get_list("set-cookie")[0]

    tell(tmp_path, story, env=Environment.PRODUCTION)


def test_two_tabs_of_a_browser_sign_in_side_by_side(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        one = await sent_back(client, provider, "/console/ledger")
        two = await sent_back(client, provider, "/console/agents")
        assert 'url=/console/ledger"' in (await client.get(one)).text
        assert 'url=/console/agents"' in (await client.get(two)).text

    tell(tmp_path, story)


def test_the_session_ends_with_the_token_and_everywhere_at_once(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.access_claims = {"exp": int(house.clock.now().timestamp()) + 300}
        await client.get(await sent_back(client, provider))
        page = await client.get("/console/sessions")
        assert page.text.count("<li>since ") == 1
        assert csrf_of(page.text)
        house.clock.forward(301)
        assert (await client.get("/console/agents")).status_code == httpx.codes.UNAUTHORIZED

    tell(tmp_path, story)


# -- what does not fit ----------------------------------------------------------------------------


def test_a_code_counts_once_and_so_does_a_state(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        back = await sent_back(client, provider)
        assert (await client.get(back)).status_code == httpx.codes.OK
        client.cookies.delete(COOKIE)
        await refused(client, back, 403, code="oidc.state_mismatch")
        used = dict(parse_qsl(urlsplit(back).query))["code"]
        other = changed(await sent_back(client, provider), code=used)
        await refused(client, other, 403, code="oidc.code_refused")

    tell(tmp_path, story)


@pytest.mark.parametrize("state", [None, "", "A" * 43, "../x"])
def test_a_state_that_is_none_of_ours_is_refused(tmp_path: Path, state: str | None) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        back = await sent_back(client, provider)
        await refused(client, changed(back, state=state), 403, code="oidc.state_mismatch")
        assert provider.redeemed == []

    tell(tmp_path, story)


def test_what_began_in_another_browser_is_refused_and_not_used_up(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient, provider: Provider) -> None:
        back = await sent_back(client, provider)
        async with house.client() as thief:
            await refused(thief, back, 403, code="oidc.state_mismatch")
            await sent_away(thief)  # with a sign-in of its own it gets no further
            await refused(thief, back, 403, code="oidc.state_mismatch")
        assert provider.redeemed == []
        assert (await client.get(back)).status_code == httpx.codes.OK

    tell(tmp_path, story)


def test_a_sign_in_that_took_too_long_is_over(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient, provider: Provider) -> None:
        back = await sent_back(client, provider)
        house.clock.forward(601)
        await refused(client, back, 403, code="oidc.state_mismatch")

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ({"iss": "http://evil.example"}, "oidc.issuer_mismatch"),
        ({"iss": ""}, "oidc.issuer_mismatch"),  # it says that it always sends it
        ({"error": "access_denied"}, "oidc.denied"),
        ({"id_claims": {"nonce": "another"}}, "oidc.nonce_mismatch"),
        ({"id_claims": {"nonce": GONE}}, "oidc.id_token_refused"),
        ({"id_claims": {"iss": "http://evil.example"}}, "oidc.id_token_refused"),
        ({"id_claims": {"aud": "another"}}, "oidc.id_token_refused"),
        ({"id_claims": {"aud": [CLIENT_ID, "another"]}}, "oidc.id_token_refused"),
        ({"id_claims": {"azp": "another"}}, "oidc.id_token_refused"),
        ({"id_claims": {"exp": 1}}, "oidc.id_token_refused"),
        ({"id_claims": {"at_hash": "AAAA"}}, "oidc.id_token_refused"),
        ({"id_claims": {"sub": "sam"}}, "oidc.subject_mismatch"),
        ({"signer": a_signer("ES256", kid="provider", number=1)}, "oidc.id_token_refused"),
        ({"signer": a_signer("ES256", kid="unknown", number=2)}, "oidc.id_token_refused"),
        ({"tokens": {"id_token": "e30.e30."}}, "oidc.id_token_refused"),
        ({"access_claims": {"aud": "another"}}, "oidc.token_refused"),
        ({"access_claims": {"iss": "http://evil.example"}}, "oidc.token_refused"),
        ({"access_claims": {"tenant": GONE}}, "oidc.token_refused"),
        ({"access_claims": {"exp": 1}}, "oidc.token_refused"),
        ({"access_claims": {"roles": ["janitor"]}}, "oidc.nothing_allowed"),
        ({"access_claims": {"scope": "openid profile"}}, "oidc.nothing_allowed"),
    ],
)
def test_a_lie_signs_nobody_in(tmp_path: Path, lie: dict[str, Any], code: str) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        for name, value in lie.items():
            setattr(provider.lies, name, value)
        text = await refused(client, await sent_back(client, provider), 403, code=code)
        assert "evil.example" not in text

    tell(tmp_path, story)


def test_an_unsigned_id_token_is_refused(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.tokens = {"id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyaXRhIn0."}
        text = await refused(
            client, await sent_back(client, provider), 403, code="oidc.id_token_refused"
        )
        assert "auth.algorithm_refused" in text

    tell(tmp_path, story)


def test_an_id_token_with_several_audiences_says_for_whom_it_was_made(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.id_claims = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}
        assert (await client.get(await sent_back(client, provider))).status_code == 200

    tell(tmp_path, story)


@pytest.mark.parametrize("back", [f"{BACK}?state=a&state=b", BACK, f"{BACK}?code=a"])
def test_an_answer_that_is_none_is_refused(tmp_path: Path, back: str) -> None:
    async def story(_: House, client: httpx.AsyncClient, __: Provider) -> None:
        answer = await client.get(back)
        assert answer.status_code in (400, 403)
        assert "oidc." in answer.text
        assert "set-cookie" not in answer.headers

    tell(tmp_path, story)


def test_a_provider_that_sends_no_code_is_told_apart(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        back = changed(await sent_back(client, provider), code=None)
        await refused(client, back, 400, code="oidc.malformed")

    tell(tmp_path, story)


def test_whom_an_operator_stopped_or_revoked_gets_no_session(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient, provider: Provider) -> None:
        stopped = house.controls
        scope = KillScope(tenant="acme", agent="rita")
        kill = Kill(scope=scope, reason="lost laptop", by="ops", at=house.clock.now())
        house.controls = stopped.with_kill(kill)
        await refused(client, await sent_back(client, provider), 403, code="control.killed")
        house.controls = stopped.with_revoked_agent("acme", "rita")
        text = await refused(
            client, await sent_back(client, provider), 403, code="oidc.token_refused"
        )
        assert "auth.revoked" in text

    tell(tmp_path, story)


# -- the provider is down, slow, or not one -------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"issuer": "http://evil.example"}, "oidc.issuer_mismatch"),
        ({"token_endpoint": "ftp://x"}, "oidc.provider_unusable"),
        ({"padding": "x" * 70_000}, "oidc.provider_unusable"),
    ],
)
def test_a_provider_that_lies_about_itself_is_not_gone_to(
    tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.discovery = changes
        await refused(client, GO, 503, code=code)

    tell(tmp_path, story)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_provider_that_is_down_is_said_so_before_and_behind(tmp_path: Path, status: int) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.status = status
        await refused(client, GO, 503, code="oidc.provider_down")
        provider.lies.status = None
        back = await sent_back(client, provider)
        provider.lies.status = status
        await refused(client, back, 503, code="oidc.provider_down")

    tell(tmp_path, story)


def test_nobody_is_followed_to_another_address(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.moved = True
        await refused(client, GO, 503, code="oidc.provider_down")
        provider.lies.moved = False
        back = await sent_back(client, provider)
        provider.lies.moved = True
        await refused(client, back, 503, code="oidc.provider_down")
        assert provider.redeemed == []  # the code and the secret stayed with whom they are for

    tell(tmp_path, story)


def a_bus(provider: Provider, clock: FakeClock, circuit: Circuit) -> oidc.Provider:
    """The provider as a bus sees it, with little patience and a circuit of its own."""
    client = oidc.Client(
        issuer=provider.url,
        client_id=CLIENT_ID,
        secret=CLIENT_SECRET,
        scopes="openid",
        redirect_uri=f"{BASE}{BACK}",
        leeway_s=0,
    )
    return oidc.Provider(
        client, clock=clock, guard=lambda _, call: guard(circuit, call), deadline_s=0.2
    )


def test_a_provider_that_hangs_keeps_everybody_waiting_once_and_opens_its_circuit() -> None:
    clock, circuit = FakeClock(), Circuit("oidc-test", CircuitBreakerConfig(fail_max=2))
    attempt = oidc.Attempt(state="s", nonce="n", verifier="v")

    async def story(provider: Provider) -> None:
        provider.lies.held = threading.Event()
        bus = a_bus(provider, clock, circuit)
        try:
            for asked in (1, 2):
                came = await asyncio.gather(
                    *(bus.address(attempt) for _ in range(20)), return_exceptions=True
                )
                assert {str(each) for each in came} == {
                    "your identity provider cannot sign you in now: it did not answer within 0.2 s"
                }
                assert len(provider.paths) == asked
            with pytest.raises(ProviderError, match="it failed too often"):
                await bus.address(attempt)
        finally:
            provider.lies.held.set()
            await bus.close()

    with serving(clock.now) as provider:
        asyncio.run(story(provider))


def test_what_a_provider_says_about_itself_is_asked_again_after_a_while() -> None:
    clock, circuit = FakeClock(), Circuit("oidc-test", CircuitBreakerConfig())
    attempt = oidc.Attempt(state="s", nonce="n", verifier="v")

    async def story(provider: Provider) -> None:
        bus = a_bus(provider, clock, circuit)
        for number, seconds in enumerate((0, oidc.METADATA_S - 1, 1, oidc.METADATA_S)):
            clock.forward(seconds)
            provider.lies.discovery = {"authorization_endpoint": f"{provider.url}/at-{number}"}
            said.append((await bus.address(attempt)).partition("?")[0].rpartition("-")[2])
        await bus.close()

    said: list[str] = []
    with serving(clock.now) as provider:
        asyncio.run(story(provider))
    assert said == ["0", "0", "2", "3"]


def test_keys_that_moved_are_found_where_they_are_now(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient, provider: Provider) -> None:
        for number in range(4):
            provider.lies.discovery = {"jwks_uri": f"{provider.url}/moved/keys?{number}"}
            answer = await client.get(await sent_back(client, provider))
            assert answer.status_code == httpx.codes.OK, answer.text
            house.clock.forward(oidc.METADATA_S)
        assert sum(path.startswith("/moved/keys?") for path in provider.paths) == 4

    tell(tmp_path, story)


def test_a_client_that_the_provider_does_not_know_is_our_fault(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.secret = "another"
        await refused(client, await sent_back(client, provider), 503, code="oidc.client_refused")

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "tokens", [{"id_token": GONE}, {"access_token": 7}, {"token_type": "DPoP"}]
)
def test_an_answer_without_the_tokens_is_refused(tmp_path: Path, tokens: dict[str, object]) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.tokens = tokens
        await refused(client, await sent_back(client, provider), 503, code="oidc.provider_unusable")

    tell(tmp_path, story)


def test_a_provider_that_keeps_failing_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        provider.lies.status = 500
        for _try in range(5):
            assert (await client.get(GO)).status_code == httpx.codes.SERVICE_UNAVAILABLE
        provider.lies.status = None
        text = (await client.get(GO)).text
        assert "it failed too often" in text

    tell(tmp_path, story)


def test_codes_that_are_none_open_no_circuit(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient, provider: Provider) -> None:
        for _try in range(8):
            back = changed(await sent_back(client, provider), code="guessed")
            await refused(client, back, 403, code="oidc.code_refused")
        assert (await client.get(await sent_back(client, provider))).status_code == 200

    tell(tmp_path, story)


def test_strangers_cannot_make_the_store_remember_without_end(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient, _: Provider) -> None:
        answers = [await client.get(GO) for _ in range(25)]
        assert [each.status_code for each in answers].count(429) == 5
        assert "oidc.too_many" in answers[-1].text
        assert len(house.store.kept) == 20

    tell(tmp_path, story)


def test_without_a_provider_there_is_no_way_to_one(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient) -> None:
        for path in (GO, BACK):
            answer = await client.get(path)
            assert answer.status_code == httpx.codes.NOT_FOUND
            assert "oidc.not_configured" in answer.text
        assert 'id="provider"' not in (await client.get("/console/sign-in")).text

    told(tmp_path, story)
