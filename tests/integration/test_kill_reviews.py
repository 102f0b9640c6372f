"""`kill -9` while people decide: every review ends as it was decided, and nothing goes twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import httpx
import pytest
from integration.test_kill import kill_when_seated
from integration.traffic import PACE_S, REQUEST_TIMEOUT_S, RETRY_S, receive_all
from running import RunningBus, a_body, started

from serve_app.cli.ledger import own_key, verify_folder

SENDERS: Final = 3
LULL_S: Final = 1.5
GIVE_UP_S: Final = 60.0
ENDED: Final = {"consumed", "rejected"}


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBus]:
    with started(tmp_path_factory.mktemp("breakable-reviews")) as running:
        running.register("planner", "tools")
        yield running


@dataclass
class Docket:
    """What the people know: which review they decided how, and which message it was about."""

    name: str
    approved: dict[str, str] = field(default_factory=dict)  # review id -> message id
    rejected: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    decided_at_s: list[float] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)  # set at each decision


class Clerk:
    """Sends what is held and decides on it until told to stop; asks again for a lost answer."""

    def __init__(self, bus: RunningBus, docket: Docket, number: int) -> None:
        self._docket = docket
        self._number = number
        self._agent = _http(bus, bus.token("planner"))
        self._reviewer = _http(bus, bus.token(f"rita-{number}", "reviewer"))

    async def work(self, ending: asyncio.Event) -> None:
        async with self._agent, self._reviewer:
            for number in count():
                if ending.is_set():
                    return
                message_id = f"{self._docket.name}-{self._number}-{number}"
                review_id = await self._send(message_id)
                verb = "reject" if number % 3 == 2 else "approve"
                if review_id and await self._decide(review_id, verb):
                    decided = self._docket.approved if verb == "approve" else self._docket.rejected
                    decided[review_id] = message_id
                    self._docket.decided_at_s.append(time.monotonic())
                    self._docket.news.set()
                await asyncio.sleep(PACE_S)

    async def _send(self, message_id: str) -> str | None:
        content = {"tool": "file.delete", "args": {"path": f"reports/{message_id}.md"}}
        body = a_body(message_id=message_id, content=content)
        answer = await self._until_answered(self._agent, "/v1/messages", body)
        if answer["effect"] != "review":
            assert {reason["code"] for reason in answer["reasons"]} == {"policy.timeout"}, answer
            return None
        review: dict[str, Any] = answer["review"]
        return str(review["review_id"])

    async def _decide(self, review_id: str, verb: str) -> bool:
        """Decide, and ask what became of it when the answer is a refusal: it may be our own."""
        path = f"/v1/reviews/{review_id}"
        body = {"reason": f"we {verb} this"}
        for _ in range(400):
            try:
                answer = await self._reviewer.post(f"{path}:{verb}", json=body)
            except httpx.TransportError:
                await asyncio.sleep(RETRY_S)
                continue
            if answer.status_code == httpx.codes.OK:
                return True
            if answer.status_code == httpx.codes.NOT_FOUND:
                await asyncio.sleep(RETRY_S)  # its opening was cut off; it is adopted soon
                continue
            if answer.status_code == httpx.codes.CONFLICT:
                found = await self._until_answered(self._reviewer, path)
                assert len(found["votes"]) == 1, found
                assert found["votes"][0]["vote"] == verb
                return True
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                self._docket.refused.append(answer.text)
                return False
            await asyncio.sleep(RETRY_S)
        raise AssertionError(f"review {review_id} was never decided")

    async def _until_answered(
        self, http: httpx.AsyncClient, path: str, body: object = None
    ) -> dict[str, Any]:
        deadline_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < deadline_s:
            try:
                answer = await http.request("POST" if body else "GET", path, json=body)
            except httpx.TransportError:
                await asyncio.sleep(RETRY_S)
                continue
            if answer.status_code == httpx.codes.OK:
                found: dict[str, Any] = answer.json()
                return found
            assert answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR, answer.text
            await asyncio.sleep(RETRY_S)
        raise AssertionError(f"{path} was never answered")


def _http(bus: RunningBus, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=bus.url, headers=headers, timeout=REQUEST_TIMEOUT_S)


def states(bus: RunningBus, reviews: list[str]) -> dict[str, str]:
    """Where each review stands once the repair loops have had their time."""
    with bus.client("rita", "reviewer") as http:
        deadline_s = time.monotonic() + GIVE_UP_S
        while True:
            found = {each: http.get(f"/v1/reviews/{each}").json()["state"] for each in reviews}
            if set(found.values()) <= ENDED or time.monotonic() > deadline_s:
                return found
            time.sleep(0.5)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victims", ["store", "reviews", "gateway", "ledger+gateway"])
def test_every_review_ends_as_it_was_decided_and_nothing_goes_twice(
    breakable: RunningBus, victims: str
) -> None:
    docket = Docket(f"review-{victims.replace('+', '-')}")

    async def scenario() -> None:
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(Clerk(breakable, docket, number).work(ending))
            try:
                for _ in range(2):
                    await asyncio.sleep(LULL_S)
                    for victim in victims.split("+"):
                        await asyncio.to_thread(kill_when_seated, breakable, victim)
                    await until_decided_after(docket, time.monotonic())
                await asyncio.sleep(LULL_S)
            finally:
                ending.set()

    breakable.wait_until_ready(60)
    asyncio.run(scenario())
    breakable.wait_until_ready(60)
    assert docket.refused == []
    found = states(breakable, [*docket.approved, *docket.rejected])
    assert {found[each] for each in docket.approved} == {"consumed"}
    assert {found[each] for each in docket.rejected} <= {"rejected"}
    allowed = list(docket.approved.values())
    delivered = receive_all(breakable, "tools", f"{docket.name}-", expected=len(allowed))
    assert Counter(delivered) == Counter(allowed)
    assert verify_folder(breakable.ledger_dir, own_key(breakable.settings))


async def until_decided_after(docket: Docket, moment_s: float) -> None:
    """Return when somebody's decision was taken after the moment."""
    async with asyncio.timeout(GIVE_UP_S):
        while not any(at > moment_s for at in docket.decided_at_s):
            docket.news.clear()
            await docket.news.wait()
