"""Traffic that keeps its own books: what was acknowledged, and how long nobody was answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import httpx
from running import RunningBus, a_body

from actors.ledger.reader import LedgerReader

RETRY_S: Final = 0.05
PACE_S: Final = 0.02  # each sender's rest, so that the machine has room for what is being killed
REQUEST_TIMEOUT_S: Final = 10.0


@dataclass
class Books:
    """What the callers know. Message ids carry `name`, so that each test counts its own."""

    name: str
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    conflicting: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)  # what came instead of a decision
    answers: list[tuple[float, float]] = field(default_factory=list)  # sent at, answered at
    news: asyncio.Event = field(default_factory=asyncio.Event)  # set at each answer

    @property
    def decisions(self) -> dict[str, str]:
        """Message id -> decision id, as acknowledged."""
        return {key: answer["decision_id"] for key, answer in self.acknowledged.items()}

    def ids(self, effect: str) -> list[str]:
        """The messages that were answered so."""
        return [key for key, answer in self.acknowledged.items() if answer["effect"] == effect]

    def codes_of(self, effect: str) -> dict[str, int]:
        """How often each reason was given for an effect."""
        return dict(
            Counter(
                reason["code"]
                for answer in self.acknowledged.values()
                if answer["effect"] == effect
                for reason in answer["reasons"]
            )
        )

    def back_after_s(self, moment_s: float) -> float | None:
        """Seconds from the moment to the first decision on a request sent after it."""
        later = [answered for sent, answered in self.answers if sent >= moment_s]
        return min(later) - moment_s if later else None

    def silence_after_s(self, moment_s: float) -> float:
        """The longest time from the moment on in which nobody was answered."""
        times = [moment_s, *sorted(at for _, at in self.answers if at >= moment_s)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


@asynccontextmanager
async def traffic(bus: RunningBus, books: Books, *, senders: int = 6) -> AsyncIterator[None]:
    """Keep senders busy for as long as the block lasts; each ends with its message answered.

    A message that is not answered with a decision is sent again under its own id.
    """
    headers = {"Authorization": f"Bearer {bus.token('planner')}"}
    async with httpx.AsyncClient(
        base_url=bus.url, headers=headers, timeout=REQUEST_TIMEOUT_S
    ) as http:
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(senders):
                group.create_task(_sender(http, books, number, ending=ending))
            try:
                yield
            finally:
                ending.set()


async def back(books: Books, moment_s: float, *, within_s: float) -> float:
    """Return the seconds until a request sent after the moment was decided."""
    async with asyncio.timeout(within_s):
        while (after_s := books.back_after_s(moment_s)) is None:
            books.news.clear()
            await books.news.wait()
    return after_s


async def _sender(
    http: httpx.AsyncClient, books: Books, sender: int, *, ending: asyncio.Event
) -> None:
    number = 0
    while not ending.is_set():
        message_id = f"{books.name}-{sender}-{number}"
        body = a_body(
            message_id=message_id,
            content={"action": "web.search", "tool": "web.search", "args": {"query": message_id}},
        )
        decision = await _until_answered(http, books, body)
        if decision is not None:
            known = books.acknowledged.setdefault(message_id, decision)
            if known["decision_id"] != decision["decision_id"]:
                books.conflicting.append(message_id)
        number += 1
        await asyncio.sleep(PACE_S)


async def _until_answered(
    http: httpx.AsyncClient, books: Books, body: dict[str, Any]
) -> dict[str, Any] | None:
    while True:
        sent_s = time.monotonic()
        try:
            answer = await http.post("/v1/messages", json=body)
        except httpx.TransportError as error:
            books.statuses[type(error).__name__] += 1
        else:
            if answer.status_code == httpx.codes.OK:
                books.answers.append((sent_s, time.monotonic()))
                books.news.set()
                decision: dict[str, Any] = answer.json()
                return decision
            books.statuses[str(answer.status_code)] += 1
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                books.refused.append(answer.text)
                return None
        await asyncio.sleep(RETRY_S)


def receive_all(bus: RunningBus, agent: str, prefix: str, *, expected: int) -> list[str]:
    """Receive and acknowledge until all has come and nothing more does, so that doubles show.

    Returns the message ids with the prefix; what a failed test before left behind is cleared too.
    """
    received: list[str] = []
    deadline_s = time.monotonic() + 60
    with bus.client(agent) as http:
        idle = 0
        while idle < 2 and time.monotonic() < deadline_s:
            wait_s = 2 if len(received) < expected else 1
            answer = http.get("/v1/mailbox", params={"max": 100, "wait_s": wait_s, "lease_s": 120})
            assert answer.status_code == httpx.codes.OK, answer.text
            envelopes = answer.json()["messages"]
            # What was cut short is redelivered within seconds: not all here means not done.
            idle = 0 if envelopes or len(received) < expected else idle + 1
            for envelope in envelopes:
                if envelope["message"]["message_id"].startswith(prefix):
                    received.append(envelope["message"]["message_id"])
                http.post(f"/v1/mailbox/{envelope['lease_id']}:ack").raise_for_status()
    return received


def recorded(bus: RunningBus, prefix: str, *, tenant: str = "acme") -> list[tuple[str, str]]:
    """Return (message id, decision id) of every decision that the ledger's own files hold."""
    reader = LedgerReader(bus.ledger_dir, origin=bus.settings.ledger_origin)
    return [
        (entry["decision"]["message_id"], entry["decision"]["decision_id"])
        for entry in reader.entries(tenant)
        if entry["kind"] == "decision" and entry["decision"]["message_id"].startswith(prefix)
    ]


def recorded_in_time(
    bus: RunningBus, prefix: str, *, expected: int, within_s: float = 20.0
) -> list[tuple[str, str]]:
    """Return what is recorded once that is as much as expected, or when the time is over."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = recorded(bus, prefix)
        if len(found) >= expected or time.monotonic() > deadline_s:
            return found
        time.sleep(0.2)
