"""Calls that are under way at the same time share one round trip, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from cluster.errors import StoreUnavailableError
from cluster.store import batching
from cluster.store.batching import GroupCommit
from cluster.store.client import Call, Script

SCRIPT = Script("return ARGV[1]")


class SlowStore:
    """Answers each call with its first argument, after a turn of the loop."""

    def __init__(self, answer: Callable[[Call], object] = lambda call: call.args[0]) -> None:
        self.answer = answer
        self.batches: list[list[object]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def execute(self, *command: str | bytes | float) -> object:
        raise NotImplementedError

    async def run(self, call: Call) -> object:
        raise NotImplementedError

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        self.batches.append([call.args[0] for call in calls])
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [self.answer(call) for call in calls]


def call(number: int) -> Call:
    return Call(SCRIPT, ["k"], [number])


def test_a_lone_call_makes_one_round_trip() -> None:
    async def scenario() -> None:
        store = SlowStore()
        assert await GroupCommit(store).run(call(7)) == 7
        assert store.batches == [[7]]

    asyncio.run(scenario())


def test_calls_made_during_a_flight_leave_together_in_their_order() -> None:
    async def scenario() -> None:
        store = SlowStore()
        store.gate.clear()
        group = GroupCommit(store)
        first = asyncio.create_task(group.run(call(0)))
        await asyncio.sleep(0.01)
        rest = [asyncio.create_task(group.run(call(n))) for n in range(1, 10)]
        await asyncio.sleep(0.01)
        store.gate.set()
        assert await asyncio.gather(first, *rest) == list(range(10))
        assert store.batches == [[0], list(range(1, 10))]

    asyncio.run(scenario())


def test_a_batch_has_a_largest_size() -> None:
    async def scenario() -> None:
        store = SlowStore()
        group = GroupCommit(store, batch_max=4)
        await asyncio.gather(*(group.run(call(n)) for n in range(10)))
        assert [len(batch) for batch in store.batches] == [4, 4, 2]

    asyncio.run(scenario())


def test_a_batch_has_a_largest_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(batching, "BATCH_BYTES_MAX", 100)
        store = SlowStore()
        group = GroupCommit(store)
        heavy = Call(SCRIPT, ["k"], [b"x" * 90])
        giant = Call(SCRIPT, ["k"], [b"x" * 900])
        await asyncio.gather(group.run(heavy), group.run(heavy), group.run(giant))
        assert [len(batch) for batch in store.batches] == [1, 1, 1]

    asyncio.run(scenario())


def test_a_call_that_fails_fails_alone() -> None:
    async def scenario() -> None:
        def answer(made: Call) -> object:
            return ValueError("three") if made.args[0] == 3 else made.args[0]

        group = GroupCommit(SlowStore(answer))
        outcomes = await asyncio.gather(
            *(group.run(call(n)) for n in range(5)), return_exceptions=True
        )
        assert [n for n, outcome in enumerate(outcomes) if outcome == n] == [0, 1, 2, 4]
        assert isinstance(outcomes[3], ValueError)

    asyncio.run(scenario())


def test_when_the_store_is_down_every_caller_hears_it_and_the_next_call_tries_again() -> None:
    async def scenario() -> None:
        store = SlowStore()
        store.error = StoreUnavailableError("it is down")
        group = GroupCommit(store)
        outcomes = await asyncio.gather(
            *(group.run(call(n)) for n in range(3)), return_exceptions=True
        )
        assert [str(outcome) for outcome in outcomes] == [str(store.error)] * 3
        assert len({id(outcome) for outcome in outcomes}) == 3
        store.error = None
        assert await group.run(call(4)) == 4

    asyncio.run(scenario())


def test_a_store_that_answers_too_few_calls_leaves_nobody_waiting() -> None:
    class Forgetful(SlowStore):
        async def run_many(self, calls: Sequence[Call]) -> list[object]:
            return (await super().run_many(calls))[1:]

    async def scenario() -> None:
        with pytest.raises(StoreUnavailableError):
            await GroupCommit(Forgetful()).run(call(1))

    asyncio.run(scenario())


def test_a_caller_that_left_before_take_off_is_not_carried() -> None:
    async def scenario() -> None:
        store = SlowStore()
        store.gate.clear()
        group = GroupCommit(store)
        first = asyncio.create_task(group.run(call(1)))
        await asyncio.sleep(0.01)
        gone = asyncio.create_task(group.run(call(2)))
        stays = asyncio.create_task(group.run(call(3)))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0)
        store.gate.set()
        assert await asyncio.gather(first, stays) == [1, 3]
        assert store.batches == [[1], [3]]

    asyncio.run(scenario())


def test_a_caller_that_left_in_flight_does_not_disturb_the_others() -> None:
    async def scenario() -> None:
        store = SlowStore()
        store.gate.clear()
        group = GroupCommit(store)
        gone = asyncio.create_task(group.run(call(1)))
        stays = asyncio.create_task(group.run(call(2)))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0)
        store.gate.set()
        assert await stays == 2

    asyncio.run(scenario())


def test_what_would_wait_too_long_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(batching, "WAITING_BYTES_MAX", 1000)
        store = SlowStore()
        store.gate.clear()
        group = GroupCommit(store, waiting_max=2)
        tasks = [asyncio.create_task(group.run(call(0)))]
        await asyncio.sleep(0.01)
        tasks += [asyncio.create_task(group.run(call(n))) for n in (1, 2)]
        await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailableError, match="2 calls are waiting"):
            await group.run(call(3))
        store.gate.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2]
        # One call is never too large for an empty queue; the sizes of the answered are forgotten.
        assert await group.run(Call(SCRIPT, ["k"], ["x" * 2000])) == "x" * 2000

    asyncio.run(scenario())


def test_closing_answers_what_was_accepted_and_refuses_the_rest() -> None:
    async def scenario() -> None:
        store = SlowStore()
        group = GroupCommit(store)
        accepted = asyncio.create_task(group.run(call(1)))
        await asyncio.sleep(0)
        await group.close()
        assert await accepted == 1
        with pytest.raises(StoreUnavailableError):
            await group.run(call(2))
        await group.close()

    asyncio.run(scenario())


def test_when_the_loop_ends_nobody_waits_for_ever() -> None:
    async def scenario() -> None:
        store = SlowStore()
        store.gate.clear()
        group = GroupCommit(store, batch_max=1)
        tasks = [asyncio.create_task(group.run(call(n))) for n in range(2)]
        await asyncio.sleep(0.01)
        assert group._flights is not None
        group._flights.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)

    asyncio.run(scenario())
