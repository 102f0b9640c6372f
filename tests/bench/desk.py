"""The review path: from the hold to the reviewer's screen, and from the approval to the agent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from running import RunningBus, a_body

from bench.load import Seen
from bench.rows import Row, row_of

BATCH: Final = 100
RATE_S: Final = 10.0  # holds a second while the path is timed
APPEARS_WITHIN_S: Final = 10.0


async def bench_desk(bus: RunningBus, *, waiting: int, timed: int) -> list[Row]:
    """Measure both ways with `waiting` other reviews open."""
    async with (
        _client(bus, "desk-sender", "agent") as sender,
        _client(bus, "rita", "reviewer") as reviewer,
        _client(bus, "desk-reader", "agent") as reader,
    ):
        began_s = time.perf_counter()
        await _fill(sender, waiting)
        filled_s = time.perf_counter() - began_s
        async with _screen(reviewer) as screen:
            shown, delivered = await _timed(sender, reviewer, reader, screen=screen, timed=timed)
        listed = await _listed(reviewer, timed)
    hold = row_of(f"review: held to shown, {waiting} open", "-", shown)
    hold.note = (
        f"from the request that is held to its event on the stream; filled in {filled_s:.0f} s"
    )
    go = row_of(f"review: approved to delivered, {waiting} open", "-", delivered)
    go.note = "from the approval to the message in its recipient's hands, by long poll"
    page = row_of(f"review: a page of 50, {waiting} open", "-", listed)
    return [hold, go, page]


@asynccontextmanager
async def _client(bus: RunningBus, agent: str, role: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {bus.token(agent, role)}"}
    async with httpx.AsyncClient(base_url=bus.url, headers=headers, timeout=30) as client:
        yield client


def _held(number: str) -> dict[str, Any]:
    content = {"tool": "file.delete", "args": {"path": f"reports/{number}.md"}}
    return a_body(content=content, to_agent="desk-reader")


async def _fill(sender: httpx.AsyncClient, waiting: int) -> None:
    """Send so many messages that are held; one batch after another."""
    sent = 0
    while sent < waiting:
        messages = [_held(f"fill-{sent + place}") for place in range(min(BATCH, waiting - sent))]
        answer = await sender.post("/v1/messages:batch", json={"messages": messages})
        answer.raise_for_status()
        held = [result for result in answer.json()["results"] if result.get("effect") == "review"]
        sent += len(held)
        if len(held) < len(messages):
            await asyncio.sleep(0.5)  # beyond its rate, or the replica sheds load


class _Screen:
    """What a reviewer's page would do: it listens, and knows when it saw what."""

    def __init__(self) -> None:
        self.seen_s: dict[str, float] = {}
        self.news = asyncio.Event()

    async def listen(self, reviewer: httpx.AsyncClient, open_: asyncio.Event) -> None:
        async with reviewer.stream("GET", "/v1/reviews/stream") as stream:
            open_.set()
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    self.seen_s.setdefault(event["review_id"], time.perf_counter())
                    self.news.set()

    async def saw(self, review_id: str) -> float:
        async with asyncio.timeout(APPEARS_WITHIN_S):
            while review_id not in self.seen_s:
                self.news.clear()
                await self.news.wait()
        return self.seen_s[review_id]


@asynccontextmanager
async def _screen(reviewer: httpx.AsyncClient) -> AsyncIterator[_Screen]:
    screen, open_ = _Screen(), asyncio.Event()
    listening = asyncio.create_task(screen.listen(reviewer, open_))
    await open_.wait()
    try:
        yield screen
    finally:
        listening.cancel()


async def _timed(
    sender: httpx.AsyncClient,
    reviewer: httpx.AsyncClient,
    reader: httpx.AsyncClient,
    *,
    screen: _Screen,
    timed: int,
) -> tuple[Seen, Seen]:
    shown, delivered = Seen(), Seen()
    began_s = time.perf_counter()
    for number in range(timed):
        sent_s = time.perf_counter()
        answer = await sender.post("/v1/messages", json=_held(f"timed-{number}"))
        answer.raise_for_status()
        review_id = answer.json()["review"]["review_id"]
        shown.latencies_ms.append((await screen.saw(review_id) - sent_s) * 1000)
        shown.effects[answer.json()["effect"]] += 1
        waiting = asyncio.create_task(reader.get("/v1/mailbox", params={"wait_s": 20}))
        await asyncio.sleep(1 / RATE_S)
        said_s = time.perf_counter()
        approved = await reviewer.post(f"/v1/reviews/{review_id}:approve", json={"reason": "yes"})
        approved.raise_for_status()
        received = (await waiting).json()["messages"]
        delivered.latencies_ms.append((time.perf_counter() - said_s) * 1000)
        delivered.effects[approved.json()["state"]] += len(received)
        for envelope in received:
            await reader.post(f"/v1/mailbox/{envelope['lease_id']}:ack")
    for seen in (shown, delivered):
        seen.messages, seen.wall_s = timed, time.perf_counter() - began_s
    return shown, delivered


async def _listed(reviewer: httpx.AsyncClient, timed: int) -> Seen:
    seen = Seen()
    began_s = time.perf_counter()
    cursor: dict[str, str] = {}
    for _ in range(timed):
        asked_s = time.perf_counter()
        answer = await reviewer.get(
            "/v1/reviews", params={"state": "pending", "limit": 50, **cursor}
        )
        answer.raise_for_status()
        seen.latencies_ms.append((time.perf_counter() - asked_s) * 1000)
        page = answer.json()
        seen.effects["reviews"] += len(page["reviews"])
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
    seen.messages, seen.wall_s = timed, time.perf_counter() - began_s
    return seen
