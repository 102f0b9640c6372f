"""Mailboxes over HTTP: receiving, settling, dead letters, streams, and who is registered."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from integration.doorstep import Tenant, problem
from running import a_body

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus

PROMPT_S: Final = 2.0  # from sending to receiving, on a machine that does other things too
PATIENCE_S: Final = 30.0


def act(tenant: Tenant, envelope: dict[str, Any], verb: str, **body: object) -> httpx.Response:
    path = f"/v1/mailbox/{envelope['lease_id']}:{verb}"
    return tenant.client("tools").post(path, json=body or None)


def ids(envelopes: list[dict[str, Any]]) -> list[str]:
    return [envelope["message"]["message_id"] for envelope in envelopes]


def received(tenant: Tenant, count: int, agent: str = "tools") -> list[dict[str, Any]]:
    """Receive until this many have come."""
    found: list[dict[str, Any]] = []
    deadline_s = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < deadline_s, f"{ids(found)} is all that came"
        found += tenant.receive(agent, wait_s=1)
    return found


def dead(tenant: Tenant) -> list[dict[str, Any]]:
    answer = tenant.client("tools").get("/v1/mailbox/dead-letters")
    assert answer.status_code == httpx.codes.OK, answer.text
    letters: list[dict[str, Any]] = answer.json()["dead_letters"]
    return letters


# -- order ----------------------------------------------------------------------------------------


def test_the_most_urgent_comes_first_and_then_in_order_of_arrival(tenant: Tenant) -> None:
    for message_id, priority in (
        ("low-1", "low"),
        ("normal-1", "normal"),
        ("high-1", "high"),
        ("low-2", "low"),
        ("high-2", "high"),
        ("normal-2", "normal"),
    ):
        assert tenant.send(message_id=message_id, priority=priority).json()["effect"] == "allow"
    assert ids(tenant.receive()) == ["high-1", "high-2", "normal-1", "normal-2", "low-1", "low-2"]


def test_a_conversation_keeps_its_order_and_waits_for_the_one_before(tenant: Tenant) -> None:
    for number in range(3):
        tenant.send(message_id=f"c-{number}", conversation_id="talk")
    tenant.send(message_id="aside")
    order: list[str] = []
    for _ in range(3):
        envelopes = tenant.receive()
        order += ids(envelopes)
        for envelope in envelopes:
            assert act(tenant, envelope, "ack").status_code == httpx.codes.NO_CONTENT
    assert [one for one in order if one.startswith("c-")] == ["c-0", "c-1", "c-2"]
    assert order.index("aside") < order.index("c-1")


def test_max_bounds_what_is_leased_at_once(tenant: Tenant) -> None:
    for number in range(5):
        tenant.send(message_id=f"m{number}")
    client = tenant.client("tools")
    for wanted in (["m0", "m1"], ["m2", "m3"], ["m4"], []):
        answer = client.get("/v1/mailbox", params={"max": 2})
        assert ids(answer.json()["messages"]) == wanted
    for bad in ({"max": 0}, {"max": 101}, {"wait_s": 61}, {"lease_s": 0}, {"wait_s": "nan"}):
        problem(client.get("/v1/mailbox", params=bad), 422, "request.invalid")


# -- settling -------------------------------------------------------------------------------------


def test_an_acknowledged_message_never_comes_again_and_repeating_it_is_fine(
    tenant: Tenant,
) -> None:
    tenant.send()
    [envelope] = tenant.receive(lease_s=1)
    assert envelope["attempt"] == 1
    for _ in range(2):
        assert act(tenant, envelope, "ack").status_code == httpx.codes.NO_CONTENT
    assert tenant.receive(wait_s=2) == []


def test_a_lease_that_ends_gives_the_message_to_the_next_attempt(tenant: Tenant) -> None:
    tenant.send(message_id="m1")
    [first] = tenant.receive(lease_s=1)
    assert tenant.receive() == []
    [second] = received(tenant, 1)
    assert (ids([second]), second["attempt"]) == (["m1"], 2)
    problem(act(tenant, first, "ack"), 409, "mailbox.lease_lost")
    assert act(tenant, second, "ack").status_code == httpx.codes.NO_CONTENT


def test_an_extended_lease_holds(tenant: Tenant) -> None:
    tenant.send()
    [envelope] = tenant.receive(lease_s=2)
    extended = act(tenant, envelope, "extend", lease_s=60)
    assert extended.status_code == httpx.codes.OK
    assert extended.json()["lease_id"] == envelope["lease_id"]
    assert extended.json()["expires_at"] > envelope["expires_at"]
    assert tenant.receive(wait_s=3) == []
    assert act(tenant, envelope, "ack").status_code == httpx.codes.NO_CONTENT


def test_a_message_that_is_given_back_comes_again_when_asked(tenant: Tenant) -> None:
    tenant.send(message_id="m1")
    [envelope] = tenant.receive()
    answer = act(tenant, envelope, "nack", reason="busy", retry_in_s=0)
    assert answer.status_code == httpx.codes.NO_CONTENT
    [again] = received(tenant, 1)
    assert (ids([again]), again["attempt"]) == (["m1"], 2)


def test_after_its_last_attempt_a_message_is_dead_and_can_be_redriven(tenant: Tenant) -> None:
    tenant.send(message_id="m1")
    attempts = 0
    deadline_s = time.monotonic() + PATIENCE_S
    while not dead(tenant):
        assert time.monotonic() < deadline_s
        for envelope in tenant.receive(wait_s=1):
            attempts += 1
            assert envelope["attempt"] == attempts
            act(tenant, envelope, "nack", reason=f"failure {attempts}", retry_in_s=0)
    [letter] = dead(tenant)
    assert letter["code"] == "mailbox.retries_exhausted"
    assert (letter["attempts"], letter["reason"]) == (attempts, f"failure {attempts}")
    assert letter["message"]["message_id"] == "m1"
    path = "/v1/mailbox/dead-letters/{}:redrive"
    client = tenant.client("tools")
    assert client.post(path.format("m1")).status_code == httpx.codes.NO_CONTENT
    [again] = received(tenant, 1)
    assert (ids([again]), again["attempt"]) == (["m1"], 1)
    assert dead(tenant) == []
    problem(client.post(path.format("never")), 404, "mailbox.letter_unknown")


def test_an_expired_message_is_dead_and_never_delivered(tenant: Tenant) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=1)
    assert tenant.send(message_id="m1", expires_at=ends.isoformat()).json()["effect"] == "allow"
    deadline_s = time.monotonic() + PATIENCE_S
    while not dead(tenant):
        assert time.monotonic() < deadline_s
        if datetime.now(UTC) > ends:
            assert tenant.receive() == []
        time.sleep(0.05)
    [letter] = dead(tenant)
    assert letter["code"] == "message.expired"
    answer = tenant.client("tools").post("/v1/mailbox/dead-letters/m1:redrive")
    problem(answer, 409, "message.expired")


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-0", "1-1", "9" * 40 + "-0", "\u0661-0"])
def test_a_cursor_that_is_not_ours_is_refused(tenant: Tenant, cursor: str) -> None:
    answer = tenant.client("tools").get("/v1/mailbox/dead-letters", params={"cursor": cursor})
    problem(answer, 422, "mailbox.bad_cursor")


@pytest.mark.parametrize("lease", ["x", "1-1-1", "0" * 64, "1-1-1-0123456789abcdef"])
def test_a_lease_that_was_never_given_is_unknown(tenant: Tenant, lease: str) -> None:
    client = tenant.client("tools")
    problem(client.post(f"/v1/mailbox/{lease}:ack"), 404, "mailbox.lease_unknown")
    answer = client.post(f"/v1/mailbox/{lease}:nack", json={"reason": "r"})
    problem(answer, 404, "mailbox.lease_unknown")
    problem(client.post(f"/v1/mailbox/{lease}:extend", json={}), 404, "mailbox.lease_unknown")


def test_settling_takes_sound_bodies_only(tenant: Tenant) -> None:
    tenant.send()
    [envelope] = tenant.receive()
    for body in ({}, {"reason": ""}, {"reason": "r", "retry_in_s": -1}, {"reason": "r", "x": 1}):
        client = tenant.client("tools")
        answer = client.post(f"/v1/mailbox/{envelope['lease_id']}:nack", json=body)
        problem(answer, 422, "request.invalid")
    problem(act(tenant, envelope, "extend", lease_s=True), 422, "request.invalid")
    assert act(tenant, envelope, "ack").status_code == httpx.codes.NO_CONTENT


# -- waiting --------------------------------------------------------------------------------------


def test_a_long_poll_wakes_up_when_a_message_comes(tenant: Tenant) -> None:
    got: dict[str, float] = {}

    def poll() -> None:
        with tenant.bus.client("tools", tenant=tenant.name) as client:
            answer = client.get("/v1/mailbox", params={"wait_s": 25})
            got[answer.json()["messages"][0]["message"]["message_id"]] = time.monotonic()

    tenant.receive()  # the connection and its bell are open before anything is measured
    waiting = threading.Thread(target=poll)
    waiting.start()
    time.sleep(0.5)
    assert waiting.is_alive(), "it did not wait"
    tenant.send(message_id="m1")
    sent_s = time.monotonic()
    waiting.join(PATIENCE_S)
    assert got["m1"] - sent_s < PROMPT_S


def test_a_long_poll_ends_empty_when_nothing_comes(tenant: Tenant) -> None:
    started_s = time.monotonic()
    assert tenant.receive(wait_s=1) == []
    assert 1.0 <= time.monotonic() - started_s < PATIENCE_S


def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events as their standard reads them; a comment is an event without a type."""
    event: dict[str, str] = {}
    for line in lines:
        if not line:
            yield event
            event = {}
        name, _, value = line.partition(": ")
        if line:
            event[name or "comment"] = value


@pytest.mark.timeout(120)
def test_a_stream_brings_messages_as_they_come_and_shows_that_it_lives(tenant: Tenant) -> None:
    tenant.send(message_id="before")
    client = tenant.client("tools")
    with client.stream("GET", "/v1/mailbox/stream", timeout=60) as stream:
        assert stream.status_code == httpx.codes.OK
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        coming = events(stream.iter_lines())
        assert next(coming) == {"retry": "1000"}
        first = next(coming)
        assert first["event"] == "message"
        envelope = json.loads(first["data"])
        assert envelope["message"]["message_id"] == "before"
        assert first["id"] == envelope["lease_id"]
        tenant.send(message_id="after")
        sent_s = time.monotonic()
        assert json.loads(next(coming)["data"])["message"]["message_id"] == "after"
        assert time.monotonic() - sent_s < PROMPT_S
        while "comment" not in (beat := next(coming)):
            pass
        assert beat == {"comment": "still here"}
        assert time.monotonic() - sent_s < PATIENCE_S
    for verb_on in (envelope,):
        assert act(tenant, verb_on, "ack").status_code == httpx.codes.NO_CONTENT


# -- everyone, and nobody -------------------------------------------------------------------------


def test_a_broadcast_reaches_every_agent_of_the_tenant_but_its_sender(tenant: Tenant) -> None:
    tenant.bus.register("planner", "writer", tenant=tenant.name)
    tenant.bus.register("tools", "stranger", tenant=f"{tenant.name}-o")
    answer = tenant.send(
        to_agent="*", message_id="all", message_type="event", content={"text": "the build is green"}
    )
    assert answer.json()["effect"] == "allow", answer.text
    for agent in ("tools", "writer", "marker"):
        assert ids(received(tenant, 1, agent)) == ["all"]
    assert tenant.receive("planner") == []
    with tenant.bus.client("stranger", tenant=f"{tenant.name}-o") as stranger:
        assert stranger.get("/v1/mailbox").json()["messages"] == []


def test_only_its_owner_reads_a_mailbox(tenant: Tenant) -> None:
    tenant.bus.register("planner", tenant=tenant.name)
    tenant.send(message_id="m1")
    assert tenant.receive("planner") == []
    assert ids(tenant.receive("tools")) == ["m1"]


def test_who_is_not_registered_has_no_mailbox(tenant: Tenant) -> None:
    ghost = tenant.client("ghost")
    problem(ghost.get("/v1/mailbox"), 404, "agent.unknown")
    problem(ghost.get("/v1/mailbox/stream"), 404, "agent.unknown")
    assert ghost.get("/v1/mailbox/dead-letters").json() == {"dead_letters": [], "next_cursor": None}


# -- agents ---------------------------------------------------------------------------------------


def test_agents_are_registered_changed_listed_and_unregistered(tenant: Tenant) -> None:
    admin = tenant.client("admin", "tenant_admin")
    profile = {
        "agent_type": "worker",
        "capabilities": ["search"],
        "roles": ["agent"],
        "metadata": {"team": "a"},
    }
    made = admin.put("/v1/agents/writer", json=profile)
    assert made.status_code == httpx.codes.CREATED
    assert (
        made.json().items() >= {"agent_id": "writer", "tenant_id": tenant.name, **profile}.items()
    )
    changed = admin.put("/v1/agents/writer", json={**profile, "agent_type": "editor"})
    assert changed.status_code == httpx.codes.OK
    assert changed.json()["registered_at"] == made.json()["registered_at"]
    assert admin.get("/v1/agents/writer").json()["agent_type"] == "editor"
    listed: list[str] = []
    cursor = None
    while True:
        params: dict[str, Any] = {"limit": 1, **({"cursor": cursor} if cursor else {})}
        page = admin.get("/v1/agents", params=params).json()
        listed += [one["agent_id"] for one in page["agents"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert listed == ["marker", "tools", "writer"]
    assert admin.delete("/v1/agents/writer").status_code == httpx.codes.NO_CONTENT
    problem(admin.delete("/v1/agents/writer"), 404, "agent.unknown")
    problem(admin.get("/v1/agents/writer"), 404, "agent.unknown")


def test_an_agent_registers_itself_beats_and_registers_nobody_else(tenant: Tenant) -> None:
    writer = tenant.client("writer")
    problem(writer.post("/v1/agents/writer:heartbeat"), 404, "agent.unknown")
    made = writer.put("/v1/agents/writer", json={})
    assert made.status_code == httpx.codes.CREATED
    beat = writer.post("/v1/agents/writer:heartbeat")
    assert beat.json()["last_seen"] >= made.json()["last_seen"]
    problem(writer.put("/v1/agents/other", json={}), 403, "auth.scope_missing")
    problem(writer.post("/v1/agents/tools:heartbeat"), 403, "auth.scope_missing")
    problem(writer.delete("/v1/agents/writer"), 403, "auth.scope_missing")


def test_what_waited_for_an_agent_that_went_is_found_when_it_comes_back(tenant: Tenant) -> None:
    tenant.send(message_id="m1")
    admin = tenant.client("admin", "tenant_admin")
    assert admin.delete("/v1/agents/tools").status_code == httpx.codes.NO_CONTENT
    tenant.bus.register("tools", tenant=tenant.name)
    [letter] = dead(tenant)
    assert (letter["code"], letter["message"]["message_id"]) == ("agent.unregistered", "m1")


@pytest.mark.parametrize(
    ("agent", "body", "status", "code"),
    [
        ("Writer", {}, 422, "request.invalid"),
        ("w", {}, 422, "request.invalid"),
        ("writer", {"agent_type": ""}, 422, "request.invalid"),
        ("writer", {"capabilities": "search"}, 422, "request.invalid"),
        ("writer", {"unheard_of": 1}, 422, "request.invalid"),
        ("writer", {"metadata": {"a": "x" * 20_000}}, 422, "agent.profile_too_large"),
        ("writer", {"metadata": {"a": "x" * 70_000}}, 413, "message.too_large"),
    ],
)
def test_a_registration_that_is_not_sound_is_refused(
    tenant: Tenant, *, agent: str, body: dict[str, object], status: int, code: str
) -> None:
    admin = tenant.client("admin", "tenant_admin")
    problem(admin.put(f"/v1/agents/{agent}", json=body), status, code)
    assert a_body()["to_agent"] in [
        one["agent_id"] for one in admin.get("/v1/agents").json()["agents"]
    ]
