"""Keys over real HTTP: rotated, down, slow, lying, huge; the provider is never hammered."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from token_builders import ISSUER, Signer, a_jwks, a_signer

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, CircuitState
from cluster.breaker.guard import guard
from cluster.identity.jwks import KeySet
from cluster.identity.sources import GRACE_S
from cluster.identity.tokens import ClaimRules
from cluster.identity.url_keys import MIN_INTERVAL_S, TTL_BOUNDS_S, TTL_S, UrlKeys
from cluster.identity.verifier import TokenVerifier
from policies.controls import Controls
from policies.errors import DependencyError, RefusalError

from builders import NOW
from fakes import FakeClock

OLD, NEW = a_signer(kid="old"), a_signer(kid="new", number=1)
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Provider:
    """An identity provider on this machine, which does what a test says."""

    answer: Answer
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    held: threading.Event = field(default_factory=threading.Event)

    def publish(self, *signers: Signer, status: int = 200, **headers: str) -> None:
        self.send(a_jwks(*(signer.jwk() for signer in signers)), status=status, **headers)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

        self.answer = answer


def _nothing(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider(_nothing)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            provider.requests.append({k.lower(): v for k, v in self.headers.items()})
            try:
                provider.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_port}/keys"
    provider.publish(OLD)
    yield provider
    provider.held.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Desk:
    """A source at the provider, with a clock that a test moves and a circuit of its own."""

    def __init__(self, provider: Provider, deadline_s: float = 1.0) -> None:
        self.clock = FakeClock()
        config = CircuitBreakerConfig(fail_max=5, reset_timeout=30)
        self.circuit = Circuit("jwks-test", config, clock=self.clock)
        self.source = UrlKeys(
            provider.url,
            clock=self.clock,
            guard=lambda _, call: guard(self.circuit, call),
            deadline_s=deadline_s,
        )
        rules = ClaimRules(issuer=ISSUER, audience="acgs", leeway_s=30)
        self.verifier = TokenVerifier(rules, self.source, Controls)

    async def keys(self) -> KeySet:
        return self.source.current() or await self.source.keys()

    async def kids(self) -> list[str | None]:
        return [key.kid for key in (await self.keys()).keys]

    async def agent(self, signer: Signer, **claims: object) -> str:
        """Whom a token of this signer proves, or the code of what came instead."""
        try:
            return (await self.verifier.verify(signer.token(**claims), NOW)).agent
        except (RefusalError, DependencyError) as error:
            return error.code

    async def settled(self) -> None:
        if self.source._flight is not None:
            await self.source._flight


def at(desk: Desk, scenario: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        try:
            await scenario(desk)
        finally:
            await desk.verifier.close()

    asyncio.run(run())


def test_keys_are_fetched_once_and_kept(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        assert desk.source.current() is None
        for n in range(5):
            assert await desk.agent(OLD, jti=f"t{n}") == "writer"
        assert len(provider.requests) == 1
        assert provider.requests[0]["accept-encoding"] == "identity"

    at(Desk(provider), scenario)


def test_callers_that_come_together_share_one_fetch(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        agents = await asyncio.gather(*(desk.agent(OLD, jti=f"t{n}") for n in range(50)))
        assert set(agents) == {"writer"}
        assert len(provider.requests) == 1

    at(Desk(provider), scenario)


def test_a_caller_who_goes_away_does_not_end_the_fetch_of_others(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        first = asyncio.create_task(desk.agent(OLD))
        second = asyncio.create_task(desk.agent(OLD))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "writer"

    at(Desk(provider), scenario)


@pytest.mark.parametrize(
    ("policy", "ttl_s"),
    [
        ("max-age=600", 600.0),
        ("public, MAX-AGE=600, immutable", 600.0),
        ("max-age=1", TTL_BOUNDS_S[0]),
        ("max-age=999999999", TTL_BOUNDS_S[1]),
        ("max-age=99999999999999", TTL_S),
        ("no-store", TTL_BOUNDS_S[0]),
        ("no-cache, max-age=600", TTL_BOUNDS_S[0]),
        ("s-maxage=7", TTL_S),
        ("", TTL_S),
    ],
)
def test_the_provider_says_how_long_within_bounds(
    provider: Provider, policy: str, ttl_s: float
) -> None:
    provider.publish(OLD, Cache_Control=policy)

    async def scenario(desk: Desk) -> None:
        await desk.keys()
        assert desk.source._held is not None
        assert desk.source._held.ttl_s == ttl_s

    at(Desk(provider), scenario)


def test_keys_are_refreshed_behind_our_backs_before_their_time_is_over(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        assert await desk.kids() == ["old"]
        provider.publish(NEW)
        desk.clock.forward(0.8 * TTL_S)
        assert desk.source.current() is None
        assert await desk.kids() == ["old"], "nobody waits"
        assert desk.source.current() is not None, "while it is fetched, the old ones stand"
        await desk.settled()
        assert await desk.kids() == ["new"]
        assert len(provider.requests) == 2

    at(Desk(provider), scenario)


def test_after_a_quiet_time_the_first_caller_waits_for_the_keys_of_today(
    provider: Provider,
) -> None:
    async def scenario(desk: Desk) -> None:
        assert await desk.agent(OLD) == "writer"
        provider.publish(NEW)
        desk.clock.forward(TTL_S)
        assert await desk.agent(OLD) == "auth.unknown_key"
        assert await desk.agent(NEW) == "writer"

    at(Desk(provider), scenario)


def test_unchanged_keys_are_not_sent_again_and_keep_what_they_proved(provider: Provider) -> None:
    provider.publish(OLD, ETag='"v1"')

    async def scenario(desk: Desk) -> None:
        token = OLD.token()
        keys = await desk.keys()
        await desk.verifier.verify(token, NOW)
        provider.send(b"", status=304, Cache_Control="max-age=900")
        desk.clock.forward(TTL_S)
        assert desk.verifier.recall(token, NOW) is None
        assert await desk.keys() is keys
        assert provider.requests[1]["if-none-match"] == '"v1"'
        assert desk.verifier.recall(token, NOW) is not None
        desk.clock.forward(700)
        assert desk.source.current() is keys, "the answer set a new time"

    at(Desk(provider), scenario)


def test_the_same_document_is_the_same_set(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        keys = await desk.keys()
        desk.clock.forward(TTL_S)
        assert await desk.keys() is keys
        assert len(provider.requests) == 2

    at(Desk(provider), scenario)


def test_unchanged_without_having_asked_is_a_lie(provider: Provider) -> None:
    provider.send(b"", status=304)

    async def scenario(desk: Desk) -> None:
        with pytest.raises(DependencyError, match="answered 304"):
            await desk.keys()

    at(Desk(provider), scenario)


def test_a_rotated_key_is_known_at_its_first_token(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        assert await desk.agent(OLD) == "writer"
        provider.publish(OLD, NEW)
        desk.clock.forward(MIN_INTERVAL_S)
        assert await desk.agent(NEW) == "writer"
        assert await desk.agent(OLD, jti="t2") == "writer"
        assert len(provider.requests) == 2

    at(Desk(provider), scenario)


def test_one_who_missed_a_key_in_older_keys_gets_those_of_now(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        keys = await desk.keys()
        desk.clock.forward(MIN_INTERVAL_S)
        assert await desk.source.newer(KeySet(())) is keys
        assert len(provider.requests) == 1

    at(Desk(provider), scenario)


def test_forged_kids_do_not_hammer_the_provider(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        assert await desk.agent(OLD) == "writer"
        for second in range(60):
            for n in range(20):
                forged = a_signer(kid=f"forged-{second}-{n % 3}", number=2)
                assert await desk.agent(forged) == "auth.unknown_key"
            desk.clock.forward(1.0)
        assert len(provider.requests) <= 1 + 60 / MIN_INTERVAL_S

    at(Desk(provider), scenario)


def test_forged_kids_keep_nobody_else_waiting(provider: Provider) -> None:
    async def scenario(desk: Desk) -> None:
        token = OLD.token()
        await desk.verifier.verify(token, NOW)
        desk.clock.forward(MIN_INTERVAL_S)
        provider.answer = lambda _: provider.held.wait(5) and None
        forged = asyncio.create_task(desk.agent(NEW))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        assert desk.verifier.recall(token, NOW) is not None
        assert await desk.agent(OLD, jti="another") == "writer"
        assert time.perf_counter() - started < 0.5
        assert await forged == "dependency.unavailable"

    at(Desk(provider), scenario)


def _refuse(request: BaseHTTPRequestHandler) -> None:
    request.connection.close()


def _drip(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    for _ in range(100):
        request.wfile.write(b" ")
        request.wfile.flush()
        time.sleep(0.05)


def _endless_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for n in range(3_000):
        request.wfile.write(b"X-%d: %s\r\n" % (n, b"x" * 1_000))


def _ten_megabytes(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(10 * 2**20))
    request.end_headers()
    for _ in range(160):
        request.wfile.write(b" " * 65_536)


def _chunked_without_end(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for _ in range(10_000):
        request.wfile.write(b"1000\r\n" + b" " * 4096 + b"\r\n")


def _sends(body: bytes, status: int = 200, **headers: str) -> Callable[[Provider], None]:
    return lambda provider: provider.send(body, status, **headers)


def _does(answer: Answer) -> Callable[[Provider], None]:
    return lambda provider: setattr(provider, "answer", answer)


_BOMB = gzip.compress(b" " * 50_000_000)
TROUBLES: dict[str, Callable[[Provider], None]] = {
    "hangs up": _does(_refuse),
    "says nothing": _does(_nothing),
    "hangs": lambda provider: setattr(provider, "answer", lambda _: provider.held.wait(5)),
    "drips": _does(_drip),
    "endless headers": _does(_endless_headers),
    "10 MB": _does(_ten_megabytes),
    "without end": _does(_chunked_without_end),
    "bomb": _sends(_BOMB, Content_Encoding="gzip"),
    "500": _sends(b"{}", 500),
    "404": _sends(b"not here", 404),
    "redirects": _sends(b"", 302, Location="http://127.0.0.1:1/keys"),
    "201": _sends(a_jwks(NEW.jwk()), 201),
    "garbage": _sends(b"<html>sign in</html>"),
    "empty": _sends(b""),
    "no keys": _sends(a_jwks()),
    "private": _sends(a_jwks(OLD.private_jwk())),
    "symmetric": _sends(a_jwks({"kty": "oct", "k": "AAAA", "kid": "old"})),
    "not http": _does(lambda request: request.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n") and None),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_provider_in_trouble_is_a_503_while_no_keys_are_known(
    provider: Provider, trouble: str
) -> None:
    TROUBLES[trouble](provider)

    async def scenario(desk: Desk) -> None:
        started = time.perf_counter()
        assert await desk.agent(OLD) == "dependency.unavailable"
        assert time.perf_counter() - started < 2.0
        assert desk.circuit.fail_counter == 1
        asked = len(provider.requests)
        assert await desk.agent(OLD) == "dependency.unavailable"
        assert len(provider.requests) == asked, "it is left alone for a moment"
        provider.publish(OLD)
        desk.clock.forward(MIN_INTERVAL_S)
        assert await desk.agent(OLD) == "writer"

    at(Desk(provider, deadline_s=0.5), scenario)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_provider_in_trouble_leaves_the_old_keys_in_force_for_a_while(
    provider: Provider, trouble: str
) -> None:
    async def scenario(desk: Desk) -> None:
        token = OLD.token()
        await desk.verifier.verify(token, NOW)
        TROUBLES[trouble](provider)
        desk.clock.forward(TTL_S)
        assert await desk.agent(OLD, jti="t2") == "writer"
        started = time.perf_counter()
        desk.clock.forward(MIN_INTERVAL_S)
        assert await desk.agent(OLD, jti="t3") == "writer"
        assert desk.verifier.recall(token, NOW) is not None
        assert time.perf_counter() - started < 0.3, "a second try happens behind our backs"
        await desk.settled()
        assert await desk.agent(NEW) == "dependency.unavailable", "it may be a rotated key"
        desk.clock.forward(GRACE_S)
        assert desk.verifier.recall(token, NOW) is None
        assert await desk.agent(OLD) == "dependency.unavailable"

    at(Desk(provider, deadline_s=0.4), scenario)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("10 MB", "answered more than"),
        ("without end", "answered more than"),
        ("bomb", "answered compressed"),
        ("drips", "did not answer within"),
        ("hangs", "did not answer within"),
        ("500", "answered 500"),
        ("redirects", "answered 302"),
        ("garbage", "not one sound JSON object"),
        ("private", "no usable key"),
        ("not http", "RemoteProtocolError"),
    ],
)
def test_the_trouble_is_found_where_it_begins_and_told(
    provider: Provider, trouble: str, told: str
) -> None:
    TROUBLES[trouble](provider)

    async def scenario(desk: Desk) -> None:
        with pytest.raises(DependencyError, match=told) as caught:
            await desk.keys()
        assert caught.value.status == 503
        assert provider.url not in str(caught.value)

    at(Desk(provider, deadline_s=0.5), scenario)


def test_a_provider_that_keeps_failing_is_spared_by_its_circuit(provider: Provider) -> None:
    provider.send(b"", status=500)

    async def scenario(desk: Desk) -> None:
        for _ in range(20):
            assert await desk.agent(OLD) in {"dependency.unavailable", "circuit.open"}
            desk.clock.forward(MIN_INTERVAL_S)
        assert desk.circuit.state is CircuitState.OPEN
        # 100 seconds: five failures, then a trial every 30 seconds.
        assert 5 < len(provider.requests) <= 8
        provider.publish(OLD)
        desk.clock.forward(30)
        assert await desk.agent(OLD) == "writer"

    at(Desk(provider), scenario)


def test_nobody_listens() -> None:
    provider = Provider(_nothing, url="http://127.0.0.1:1/keys")

    async def scenario(desk: Desk) -> None:
        with pytest.raises(DependencyError, match="ConnectError"):
            await desk.keys()

    at(Desk(provider), scenario)


def test_a_url_that_only_looks_like_one() -> None:
    provider = Provider(_nothing, url="http://127.0.0.1:9\x7f/keys")

    async def scenario(desk: Desk) -> None:
        with pytest.raises(DependencyError, match="InvalidURL"):
            await desk.keys()

    at(Desk(provider), scenario)


def test_the_usual_guard_is_the_circuit_of_this_process(provider: Provider) -> None:
    from cluster.breaker.registry import get_circuit_breaker

    async def scenario() -> None:
        get_circuit_breaker("jwks").reset()
        source = UrlKeys(provider.url, clock=FakeClock())
        provider.send(b"", status=500)
        with pytest.raises(DependencyError):
            await source.keys()
        assert get_circuit_breaker("jwks").fail_counter == 1
        get_circuit_breaker("jwks").reset()
        await source.close()

    asyncio.run(scenario())


def test_closing_ends_a_fetch_under_way(provider: Provider) -> None:
    provider.answer = lambda _: provider.held.wait(5) and None

    async def scenario() -> None:
        desk = Desk(provider, deadline_s=5)
        task = asyncio.create_task(desk.agent(OLD))
        await asyncio.sleep(0.1)
        started = time.perf_counter()
        await desk.verifier.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.perf_counter() - started < 1

    asyncio.run(scenario())


def test_a_token_signed_before_the_rotation_dies_with_its_key(provider: Provider) -> None:
    provider.publish(OLD, NEW)

    async def scenario(desk: Desk) -> None:
        token = OLD.token()
        await desk.verifier.verify(token, NOW)
        provider.publish(NEW)
        desk.clock.forward(TTL_S)
        with pytest.raises(RefusalError) as caught:
            await desk.verifier.verify(token, NOW)
        assert caught.value.code == "auth.unknown_key"

    at(Desk(provider), scenario)
