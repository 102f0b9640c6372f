"""Traffic that keeps its own books: what was acknowledged, so that it can be counted afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx

from running import RunningBus, a_body

RETRY_S = 0.1


@dataclass
class Books:
    """What the callers know: message id -> the decision that was acknowledged."""

    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    conflicting: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    retries: int = 0


async def send(
    bus: RunningBus, books: Books, *, senders: int, each: int, deadline_s: float
) -> None:
    """Send `senders * each` messages, each repeated under its own id until it is answered."""
    headers = {"Authorization": f"Bearer {bus.token('planner')}"}
    async with (
        asyncio.timeout(deadline_s),
        httpx.AsyncClient(base_url=bus.url, headers=headers, timeout=10) as http,
    ):
        await asyncio.gather(*(_sender(http, books, n, each) for n in range(senders)))


async def _sender(http: httpx.AsyncClient, books: Books, sender: int, each: int) -> None:
    for number in range(each):
        message_id = f"load-{sender}-{number}"
        body = a_body(
            message_id=message_id,
            content={"action": "web.search", "tool": "web.search", "args": {"query": message_id}},
        )
        decision = await _until_answered(http, books, body)
        known = books.acknowledged.setdefault(message_id, decision)
        if known["decision_id"] != decision["decision_id"]:
            books.conflicting.append(message_id)


async def _until_answered(
    http: httpx.AsyncClient, books: Books, body: dict[str, Any]
) -> dict[str, Any]:
    while True:
        try:
            answer = await http.post("/v1/messages", json=body)
            if answer.status_code == httpx.codes.OK:
                decision: dict[str, Any] = answer.json()
                return decision
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                books.refused.append(answer.text)
        except httpx.TransportError:
            pass
        books.retries += 1
        await asyncio.sleep(RETRY_S)


def receive_all(bus: RunningBus, agent: str) -> list[str]:
    """Receive and acknowledge until nothing comes for seconds, so that doubles would show."""
    received: list[str] = []
    with bus.client(agent) as http:
        idle = 0
        while idle < 4:
            answer = http.get(
                "/v1/mailbox", params={"max": 100, "wait_s": 1, "lease_s": 120}
            )
            assert answer.status_code == httpx.codes.OK, answer.text
            envelopes = answer.json()["messages"]
            idle = 0 if envelopes else idle + 1
            for envelope in envelopes:
                received.append(envelope["message"]["message_id"])
                http.post(f"/v1/mailbox/{envelope['lease_id']}:ack").raise_for_status()
    return received
