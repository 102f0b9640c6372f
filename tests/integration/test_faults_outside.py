"""What the bus depends on, down, slow and lying: keys, an OPA server, the store, its records.

One bus, on an identity provider and an OPA server that this file runs and breaks.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import httpx
import pytest
import redis
from opa_bundles import ALLOWING
from opa_server import Fault, OpaServer
from running import RunningBus, a_body, started
from token_builders import ISSUER, Signer, a_jwks, a_signer

from cluster.store import keys
from cluster.store.folder import Folder

KNOWN, STRANGER = a_signer(kid="known"), a_signer(kid="stranger", number=1)
TENANT, EDITED = "acme", "edited"
WITHIN_S = 30.0  # for a busy machine; what is promised in seconds is said where it is
DOWN_S = 3.0


@dataclass
class Provider:
    """An identity provider that is away until somebody publishes keys."""

    document: bytes | None = None
    requests: int = 0
    url: str = field(default="")


@contextmanager
def serving(provider: Provider) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.requests += 1
            if provider.document is None:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(provider.document)))
            self.end_headers()
            self.wfile.write(provider.document)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}/keys"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield
        server.shutdown()


@dataclass
class World:
    """The bus and those that it depends on."""

    bus: RunningBus
    opa: OpaServer
    provider: Provider

    def client(
        self, agent: str, *roles: str, tenant: str = TENANT, signer: Signer = KNOWN
    ) -> httpx.Client:
        now = int(time.time())
        token = signer.token(
            iss=ISSUER,
            sub=agent,
            tenant=tenant,
            roles=list(roles or ("agent",)),
            iat=now,
            exp=now + 3600,
            jti=f"{agent}-{time.monotonic_ns()}",
        )
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.bus.url, headers=headers, timeout=30)

    def send(self, text: str, *, tenant: str = TENANT, **changes: Any) -> httpx.Response:
        content = {"action": "web.search", "tool": "web.search", "args": {"query": text}}
        with self.client("planner", tenant=tenant) as http:
            return http.post("/v1/messages", json=a_body(content=content, **changes))

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.bus.url}/health/ready", timeout=10)

    def register(self, tenant: str) -> None:
        with self.client("admin", "tenant_admin", tenant=tenant) as admin:
            for agent in ("planner", "tools"):
                answer = admin.put(f"/v1/agents/{agent}", json={"agent_type": "test"})
                assert answer.status_code in (200, 201), answer.text

    def received(self, tenant: str = TENANT) -> list[str]:
        """The queries that were delivered, each acknowledged here."""
        found: list[str] = []
        with self.client("tools", tenant=tenant) as http:
            while envelopes := _messages(http.get("/v1/mailbox", params={"max": 100, "wait_s": 3})):
                for each in envelopes:
                    found.append(each["message"]["content"]["args"]["query"])
                    http.post(f"/v1/mailbox/{each['lease_id']}:ack").raise_for_status()
        return found


def _messages(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {WITHIN_S:.0f} s: {what}"
        time.sleep(0.1)


def assert_cannot_govern(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) >= 1
    problem: dict[str, Any] = answer.json()
    return problem


def codes(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [reason["code"] for reason in answer.json()["reasons"]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The bus has started while its identity provider was away."""
    provider = Provider()
    folder = tmp_path_factory.mktemp("outside")
    with serving(provider), OpaServer(ALLOWING) as opa:
        settings = {
            "ACGS_JWKS_URL": provider.url,
            "ACGS_JWT_ISSUER": ISSUER,
            "ACGS_OPA_URL": opa.url,
            "ACGS_OPA_REVISION": ALLOWING.revision,
            "ACGS_WAITING_REQUESTS_MAX": "2",
        }
        with started(folder, **settings) as bus:
            yield World(bus, opa, provider)


@pytest.mark.timeout(300)  # it starts the bus
def test_a_bus_whose_keys_are_away_at_the_start_trusts_nobody_until_they_are_there(
    world: World,
) -> None:
    problem = assert_cannot_govern(world.send("too early"))
    assert problem["code"] == "dependency.unavailable"
    assert world.provider.url not in problem["detail"]
    world.provider.document = a_jwks(KNOWN.jwk())
    eventually(lambda: world.send("hello").status_code == 404, "its token is believed")
    world.register(TENANT)
    assert world.send("now").status_code == 200


@pytest.mark.timeout(120)
def test_keys_that_go_away_later_leave_the_known_ones_in_force_and_no_stranger_in(
    world: World,
) -> None:
    world.provider.document = None
    assert world.send("still").status_code == 200
    with world.client("planner", signer=STRANGER) as http:
        answer = http.post("/v1/messages", json=a_body())
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.unknown_key")
    world.provider.document = a_jwks(KNOWN.jwk())


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(drops=True), "policy.unavailable"),
        (Fault(status=500, body=b"oops"), "policy.unavailable"),
        (Fault(delay_s=1.5), "policy.timeout"),
        (Fault(hangs=True), "policy.timeout"),
        (Fault(status=200, body=b"garbage"), "policy.malformed"),
        (
            Fault(
                status=200, body=b'{"result": {"allow": true, "verdicts": [], "obligations": []}}'
            ),
            "policy.revision_mismatch",
        ),
    ],
    ids=["down", "broken", "slow", "hangs", "garbage", "another revision"],
)
def test_an_opa_server_at_fault_denies_and_is_believed_again_when_it_is_well(
    world: World, fault: Fault, code: str
) -> None:
    world.opa.fault = fault
    try:
        answer = world.send(f"under {code}")
        assert answer.json()["effect"] == "deny"
        assert codes(answer) == [code]
    finally:
        world.opa.fault = None
    answer = world.send(f"after {code}")
    assert answer.json()["effect"] == "allow"


@pytest.mark.timeout(120)
def test_an_opa_server_that_is_down_makes_the_bus_unready_and_only_so_long(world: World) -> None:
    world.opa.fault = Fault(drops=True)
    try:
        eventually(lambda: world.ready().status_code == 503, "unready")
        checks = world.ready().json()["checks"]
        assert [name for name, check in checks.items() if check["status"] == "fail"] == ["policy"]
    finally:
        world.opa.fault = None
    eventually(lambda: world.ready().status_code == 200, "ready again")


@pytest.mark.timeout(120)
def test_more_who_wait_than_there_is_room_for_are_told_to_come_back(world: World) -> None:
    def wait() -> httpx.Response:
        with world.client("tools") as http:
            return http.get("/v1/mailbox", params={"wait_s": 6, "max": 1})

    world.received()
    with ThreadPoolExecutor(3) as callers:
        answers = [each.result() for each in [callers.submit(wait) for _ in range(3)]]
    (refused,) = [answer for answer in answers if answer.status_code != 200]
    assert assert_cannot_govern(refused)["code"] == "gateway.saturated"
    assert refused.headers["Retry-After"] == "1"


@pytest.mark.timeout(180)
def test_while_the_store_is_down_nothing_is_decided_and_afterwards_everything_is_once(
    world: World,
) -> None:
    world.received()
    folder = Folder(world.bus.settings.data_dir)
    lock = None
    while lock is None:  # whoever holds the folder's lock keeps the keeper from starting a server
        world.bus.kill("keeper")
        world.bus.kill("store")
        lock = folder.lock()
    try:
        until_s = time.monotonic() + DOWN_S
        while time.monotonic() < until_s:
            problem = assert_cannot_govern(world.send("held down", message_id="held-down"))
            assert problem["code"] in {
                "store.unavailable",
                "circuit.open",
                "dependency.unavailable",
            }
        answer = world.ready()
        assert answer.status_code == 503
        assert answer.json()["checks"]["store"]["status"] == "fail"
        with world.client("tools") as http:
            assert_cannot_govern(http.get("/v1/mailbox"))
    finally:
        os.close(lock)
    eventually(
        lambda: world.send("held down", message_id="held-down").status_code == 200,
        "it governs again",
    )
    eventually(lambda: world.ready().status_code == 200, "ready again")
    again = world.send("held down", message_id="held-down")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert world.received() == ["held down"]


@pytest.mark.timeout(180)
def test_a_record_that_was_changed_in_the_store_stops_its_tenants_log_and_no_other(
    world: World,
) -> None:
    world.register(EDITED)
    stream = keys.wal(EDITED)
    sequencers = world.bus.pids("ledger")
    for pid in sequencers:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert world.send("true", tenant=EDITED).status_code == 200
        store = redis.Redis(unix_socket_path=str(Folder(world.bus.settings.data_dir).socket))
        with store:
            ((place, fields),) = cast("list[tuple[bytes, dict[Any, Any]]]", store.xrange(stream))
            fields[b"b"] = fields[b"b"].replace(b'"effect":"allow"', b'"effect":"deny!"')
            store.xdel(stream, place)
            store.xadd(stream, fields)
    finally:
        for pid in sequencers:
            os.kill(pid, signal.SIGCONT)

    def detail() -> str:
        health = httpx.get(f"{world.bus.url}/v1/health", timeout=10).json()
        said: str = health["components"]["ledger"]["detail"]
        return said

    eventually(lambda: f"stopped for {EDITED}: wal." in detail(), "health says so")
    problem = assert_cannot_govern(world.send("more", tenant=EDITED))
    assert "write-ahead record" in problem["detail"]
    assert world.send("others go on").status_code == 200
    assert world.ready().status_code == 200
