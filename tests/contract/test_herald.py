"""Each step of a review is told once to each channel that wants it, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from contract.herald_hall import Ear, Hall, a_hall, a_herald, a_plan
from contract.mailbox_office import refusal
from contract.reviews_room import Twice

from actors.herald.store import HeraldStore, Job, Outcome
from cluster.channels.channel import GiveUpError, RetryLaterError
from cluster.store import keys
from cluster.store.client import Store
from policies.notification import AGE_MAX_S, ATTEMPTS_MAX, DECIDED, OPENED, Kind, Notification
from policies.panel import Choice

from builders import a_person

if TYPE_CHECKING:
    from contract.conftest import Valkey

Through = Callable[[Store], Store]
_HOUR: Final = timedelta(hours=1)


def failing(times: int, error: Exception) -> Callable[[Notification], str | None]:
    """Answer so often with this error, then take everything."""
    left = [times]

    def answer(_: Notification) -> str | None:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return None

    return answer


def later(seconds: float | None = None) -> RetryLaterError:
    return RetryLaterError("hook", "it is away", seconds)


async def until_settled(hall: Hall, channel: str = "hook", turns: int = 60) -> float:
    """Let time pass until nothing waits; return how much of it."""
    began_s = hall.room.clock.monotonic_s()
    for _ in range(turns):
        await hall.turn()
        if await hall.waiting(channel) == 0:
            return float(hall.room.clock.monotonic_s() - began_s)
        hall.room.clock.forward(60)
    raise AssertionError(f"{await hall.waiting(channel)} still wait")


@pytest.mark.parametrize("through", [lambda store: store, Twice], ids=["once", "twice"])
def test_every_step_is_told_once_and_in_order(valkey: Valkey, through: Through) -> None:
    async def scenario() -> None:
        async with a_hall(valkey, through=through) as hall:
            await hall.room.open(1)
            await hall.room.claim("r1")
            await hall.turn()
            await hall.room.vote("r1", Choice.REJECT)
            await hall.turn()
            await hall.turn()
            ear = hall.ears["hook"]
            assert ear.heard() == [("r1", "open", 1), ("r1", "claim", 2), ("r1", "vote", 3)]
            assert [one.id for one in ear.told] == ["r1_1_hook", "r1_2_hook", "r1_3_hook"]
            first, _, last = ear.told
            assert first.link == "https://bus.example.org/console/reviews/r1"
            assert (first.asks, first.over, first.code) == (True, False, None)
            assert (last.asks, last.over, last.code) == (False, True, "review.rejected")
            assert await hall.waiting("hook") == 0
            told = await hall.room.store.execute("ZCARD", keys.herald(hall.room.tenant, "told"))
            assert told == 0

    asyncio.run(scenario())


def test_a_channel_hears_what_it_asked_for_and_nothing_else(valkey: Valkey) -> None:
    async def scenario() -> None:
        plans = (
            a_plan("opened", steps=frozenset({OPENED})),
            a_plan("decided", steps=frozenset({DECIDED})),
            a_plan("grave", tiers=frozenset({"grave"})),
            a_plan("mine", agents=frozenset({"planner"})),
            a_plan("others", tenants=frozenset({"others"})),
        )
        async with a_hall(valkey, *plans) as hall:
            await hall.room.open(1, tier="grave")
            await hall.room.open(2, agent="planner", owner=None)
            await hall.room.vote("r1", Choice.REJECT)
            await hall.turn()
            heard = {name: set(ear.heard()) for name, ear in hall.ears.items()}
            assert heard == {
                "opened": {("r1", "open", 1), ("r2", "open", 1)},
                "decided": {("r1", "vote", 2)},
                "grave": {("r1", "open", 1), ("r1", "vote", 2)},
                "mine": {("r2", "open", 1)},
                "others": set(),
            }

    asyncio.run(scenario())


def test_what_happened_before_there_were_channels_is_not_told(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await hall.room.open(1)
            ms: Any = await hall.room.store.execute("TIME")
            await asyncio.sleep(0.01)
            now_ms = int(ms[0]) * 1000 + int(ms[1]) // 1000 + 1
            await hall.room.store.execute("SET", keys.HERALD_SINCE, now_ms)
            await asyncio.sleep(0.01)
            await hall.room.open(2)
            await hall.turn()
            assert hall.ears["hook"].heard() == [("r2", "open", 1)]

    asyncio.run(scenario())


# -- what fails -----------------------------------------------------------------------------------


def test_what_fails_comes_again_later_and_later_and_arrives_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(3, later())
            await hall.room.open(1)
            waited = []
            while not ear.told:
                await hall.turn()
                due: Any = await hall.room.store.execute(
                    "ZSCORE", keys.herald(hall.room.tenant, "queue:hook"), "r1"
                )
                if due is not None:
                    now_ms = hall.room.clock.now().timestamp() * 1000
                    waited.append(round(float(due) - now_ms))
                    await hall.turn()  # too soon: nothing is sent
                    hall.room.clock.forward(waited[-1] / 1000)
            assert waited == [3750, 7500, 15_000]  # 5, 10 and 20 s, at the middle of the chances
            assert ear.heard() == [("r1", "open", 1)]
            assert hall.senders["hook"].counts.retried == 3

    asyncio.run(scenario())


def test_a_channel_that_asks_for_time_gets_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, later(120.0))
            await hall.room.open(1)
            await hall.turn()
            hall.room.clock.forward(119)
            await hall.turn()
            assert ear.told == []
            hall.room.clock.forward(1)
            await hall.turn()
            assert len(ear.told) == 1

    asyncio.run(scenario())


def test_who_asks_for_time_is_not_asked_for_anything_meanwhile(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, later(40.0))
            await hall.room.open(1)
            await hall.turn()
            await hall.room.open(2)
            hall.room.clock.forward(39)
            await hall.turn()
            assert ear.told == []
            assert hall.senders["hook"].counts.retried == 1
            hall.room.clock.forward(1)
            await hall.turn()
            assert len(ear.told) == 2

    asyncio.run(scenario())


def test_a_review_is_told_in_order_even_when_its_beginning_fails(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, later())
            await hall.room.open(1)
            await hall.turn()
            await hall.room.vote("r1", Choice.REJECT)
            await hall.room.open(2)
            await hall.turn()
            assert ear.heard() == [("r2", "open", 1)]  # which waits for no other
            await until_settled(hall)
            assert ear.heard()[1:] == [("r1", "open", 1), ("r1", "vote", 2)]

    asyncio.run(scenario())


def test_a_dead_channel_holds_up_no_other_and_its_circuit_opens(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey, a_plan("dead"), a_plan("alive")) as hall:
            calls = [0]

            def dead(_: Notification) -> str | None:
                calls[0] += 1
                raise later()

            hall.ears["dead"].answering = dead
            for number in range(20):
                await hall.room.open(number)
            await hall.turn()
            assert len(hall.ears["alive"].told) == 20
            assert calls[0] == 5  # then the circuit opened
            assert hall.senders["dead"]._circuit.state == "open"
            tries: Any = await hall.room.store.execute(
                "HVALS", keys.herald(hall.room.tenant, "tries:dead")
            )
            assert sorted(map(int, tries)) == [0] * 3 + [1] * 5  # who waits for it loses nothing
            for _ in range(10):
                await hall.turn()
            assert calls[0] == 5
            assert hall.senders["dead"].counts.postponed == 3
            hall.room.clock.forward(31)
            await hall.turn()
            assert calls[0] == 6  # one trial, and it is left alone again
            hall.ears["dead"].answering = lambda _: None
            await until_settled(hall, "dead")
            assert sorted(hall.ears["dead"].heard()) == sorted(hall.ears["alive"].heard())
            assert await hall.dead() == []

    asyncio.run(scenario())


def test_what_fails_too_often_is_a_dead_letter_until_it_is_redriven(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(ATTEMPTS_MAX, later())
            await hall.room.open(1, expires_at=hall.room.clock.now() + 30 * _HOUR)
            await hall.turn()
            took_s = 0.0
            while not await hall.dead():
                hall.room.clock.forward(300)
                took_s += 300
                await hall.turn()
            assert await hall.dead() == [("r1_1_hook", "channel.exhausted")]
            assert 2 * 3600 < took_s < 8 * 3600
            assert ear.told == []
            operator = hall.operator()
            page = await operator.dead_letters(hall.room.tenant)
            (letter,) = page.letters
            assert (letter.channel, letter.review_id, letter.step) == ("hook", "r1", "open")
            assert (letter.attempts, letter.reason) == (ATTEMPTS_MAX, str(later()))
            assert page.next_cursor is None
            await operator.redrive(hall.room.tenant, "r1_1_hook")
            await operator.redrive(hall.room.tenant, "r1_1_hook")
            hall.room.clock.forward(31)  # the circuit was open by then
            await hall.turn()
            assert ear.heard() == [("r1", "open", 1)]
            assert await hall.dead() == []
            again = operator.redrive(hall.room.tenant, "r1_1_hook")
            assert await refusal(again) == ("notification.not_found", 404)

    asyncio.run(scenario())


def test_what_the_other_side_does_not_want_is_a_dead_letter_at_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, GiveUpError("hook", "no"))
            await hall.room.open(1)
            await hall.room.open(2)
            await hall.turn()
            assert await hall.dead() == [("r1_1_hook", "channel.refused")]
            assert ear.heard() == [("r2", "open", 1)]
            assert hall.senders["hook"]._circuit.fail_counter == 0  # it is there

    asyncio.run(scenario())


def test_a_channel_that_wants_nothing_any_more_is_not_asked_again(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, GiveUpError("hook", "410", gone=True))
            await hall.room.open(1)
            await hall.turn()
            await hall.room.open(2)
            await hall.turn()
            assert ear.told == []
            assert {code for _, code in await hall.dead()} == {"channel.gone"}
            assert len(await hall.dead()) == 2

    asyncio.run(scenario())


def test_what_waits_too_long_is_a_dead_letter_and_counts_anew_when_redriven(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, later(3600.0))
            await hall.room.open(1)
            await hall.turn()
            hall.room.clock.forward(AGE_MAX_S + 1)
            await hall.turn()
            assert await hall.dead() == [("r1_1_hook", "channel.too_late")]
            operator = hall.operator()
            await operator.redrive(hall.room.tenant, "r1_1_hook")
            await hall.turn()
            assert ear.heard() == [("r1", "open", 1)]

    asyncio.run(scenario())


def test_a_defect_of_a_channel_is_tried_again_and_kills_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, RuntimeError("a bug"))
            await hall.room.open(1)
            await until_settled(hall)
            assert ear.heard() == [("r1", "open", 1)]

    asyncio.run(scenario())


def test_people_are_not_called_to_what_is_over(valkey: Valkey) -> None:
    async def scenario() -> None:
        mail = a_plan("mail", kind=Kind.MAIL)
        async with a_hall(valkey, mail, a_plan("hook")) as hall:
            for ear in hall.ears.values():
                ear.answering = failing(1, later())
            await hall.room.open(1)
            await hall.turn()
            await hall.room.vote("r1", Choice.REJECT)
            await until_settled(hall, "mail")
            await until_settled(hall, "hook")
            assert hall.ears["mail"].heard() == [("r1", "vote", 2)]
            assert hall.ears["hook"].heard() == [("r1", "open", 1), ("r1", "vote", 2)]
            assert hall.senders["mail"].counts.moot == 1

    asyncio.run(scenario())


def test_what_a_channel_leaves_it_gets_back_until_the_review_ended(valkey: Valkey) -> None:
    async def scenario() -> None:
        slack = a_plan("slack", kind=Kind.SLACK)
        async with a_hall(valkey, slack) as hall:
            ear = hall.ears["slack"]
            ear.answering = lambda one: f"C1 {one.version}"
            await hall.room.register()
            await hall.room.open(1, delivers=False)
            await hall.turn()
            await hall.room.vote("r1")
            await hall.turn()
            hall.room.clock.forward(3601)
            await hall.room.reviews.tick(hall.room.tenant, 10)
            await hall.turn()
            assert ear.heard() == [("r1", "open", 1), ("r1", "vote", 2), ("r1", "expire", 3)]
            assert ear.traces == [None, "C1 1", "C1 2"]
            left = keys.herald(hall.room.tenant, "thread:slack:r1")
            assert await hall.room.store.execute("EXISTS", left) == 0

    asyncio.run(scenario())


# -- bounds ---------------------------------------------------------------------------------------


def test_what_is_over_the_edge_of_a_queue_is_a_dead_letter_and_these_are_bounded_too(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey, queue_max=2, letters_max=3) as hall:
            for number in range(7):
                await hall.room.open(number)
                hall.room.clock.forward(0.001)
            await hall.feed.serve(hall.room.tenant)
            assert await hall.waiting("hook") == 2
            dead = await hall.dead()
            assert [name for name, _ in dead] == ["r4_1_hook", "r5_1_hook", "r6_1_hook"]
            assert {code for _, code in dead} == {"channel.queue_full"}
            assert hall.feed.counts.queued == 2

    asyncio.run(scenario())


def test_dead_letters_are_listed_page_by_page(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            hall.ears["hook"].answering = failing(5, GiveUpError("hook", "no"))
            for number in range(5):
                await hall.room.open(number)
                await hall.turn()
                hall.room.clock.forward(1)
            operator = hall.operator()
            seen: list[str] = []
            cursor: str | None = None
            for size in (2, 2, 1):
                page = await operator.dead_letters(hall.room.tenant, after=cursor, limit=2)
                assert len(page.letters) == size
                seen += [letter.review_id for letter in page.letters]
                cursor = page.next_cursor
            assert cursor is None
            assert seen == ["r0", "r1", "r2", "r3", "r4"]
            bad = operator.dead_letters(hall.room.tenant, after="x\n")
            assert await refusal(bad) == ("notification.bad_cursor", 422)

    asyncio.run(scenario())


def test_what_waits_for_a_channel_that_was_taken_out_becomes_dead_letters(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            for number in range(70):
                await hall.room.open(number)
            await hall.room.vote("r1", Choice.REJECT)
            await hall.feed.serve(hall.room.tenant)
            other = a_herald(hall.room, {"other": a_plan("other")})
            await other.turn()
            assert await hall.waiting("hook") == 0
            letters = await hall.store.letters(hall.room.tenant, "", 100)
            assert {letter.code for letter in letters} == {"channel.removed"}
            assert len(letters) == 71
            assert await hall.store.channels(hall.room.tenant) == []

    asyncio.run(scenario())


# -- crashes --------------------------------------------------------------------------------------


def test_a_herald_that_dies_before_it_queued_and_one_that_dies_after_lose_nothing(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await hall.room.open(1)
            enqueue = hall.store.enqueue

            async def dies_before(*_: Any, **__: Any) -> Any:
                raise asyncio.CancelledError

            async def dies_after(*args: Any, **how: Any) -> Any:
                await enqueue(*args, **how)
                raise asyncio.CancelledError

            for death in (dies_before, dies_after):
                dying = a_herald(hall.room, {"hook": a_plan()})
                dying.store.enqueue = death  # type: ignore[method-assign]
                with pytest.raises(asyncio.CancelledError):
                    await dying.feed.serve(hall.room.tenant)
            await hall.turn()
            assert hall.ears["hook"].heard() == [("r1", "open", 1)]

    asyncio.run(scenario())


@pytest.mark.parametrize("arrived", [False, True], ids=["before it arrived", "after it arrived"])
def test_a_herald_that_dies_while_it_sends_sends_again_when_its_lease_is_over(
    valkey: Valkey, *, arrived: bool
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = Ear()
            dying = a_herald(hall.room, {"hook": a_plan()}, ears={"hook": ear})

            async def dies(*_: Any, **__: Any) -> Any:
                raise asyncio.CancelledError

            if arrived:
                dying.store.settle = dies  # type: ignore[method-assign]
            else:
                ear.send = dies  # type: ignore[method-assign]
            await hall.room.open(1)
            with pytest.raises(asyncio.CancelledError):
                await dying.turn()
            await hall.turn()
            assert hall.ears["hook"].told == []  # it may still be in the hands of the other
            hall.room.clock.forward(60)
            await hall.turn()
            told = [*ear.told, *hall.ears["hook"].told]
            assert {one.id for one in told} == {"r1_1_hook"}
            assert len(told) == (2 if arrived else 1)  # by its id the receiver drops the second
            assert await hall.waiting("hook") == 0

    asyncio.run(scenario())


def test_two_heralds_at_the_same_time_tell_everything_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            other = a_herald(hall.room, {"hook": a_plan()})
            for number in range(50):
                await hall.room.open(number)
                if number % 10 == 0:
                    await asyncio.gather(hall.turn(), other.turn())
            await asyncio.gather(hall.turn(), other.turn())
            await asyncio.gather(hall.turn(), other.turn())
            heard = [*hall.ears["hook"].heard(), *other.ears["hook"].heard()]
            assert sorted(heard) == sorted((f"r{number}", "open", 1) for number in range(50))

    asyncio.run(scenario())


def test_a_herald_that_is_behind_another_queues_nothing_again(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            slow = a_herald(hall.room, {"hook": a_plan()})
            enqueue, was_overtaken = slow.store.enqueue, False

            async def is_overtaken(*args: Any, **how: Any) -> Any:
                nonlocal was_overtaken
                if args[2] and not was_overtaken:
                    was_overtaken = True
                    await hall.room.open(2)
                    await hall.turn()
                return await enqueue(*args, **how)

            slow.store.enqueue = is_overtaken  # type: ignore[method-assign]
            await hall.room.open(1)
            await slow.turn()
            await slow.turn()
            await hall.turn()
            assert hall.ears["hook"].heard() == [("r1", "open", 1), ("r2", "open", 1)]
            assert slow.ears["hook"].heard() == []

    asyncio.run(scenario())


def test_who_comes_back_after_its_lease_settles_nothing_any_more(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await hall.room.open(1)
            await hall.feed.serve(hall.room.tenant)
            shelf, tenant = hall.store, hall.room.tenant

            async def take(now_ms: int) -> Job:
                taken = await shelf.take([tenant], "hook", at_most=4, lease_ms=1000, now_ms=now_ms)
                (job,) = taken.jobs
                return job

            now_ms = int(hall.room.clock.now().timestamp() * 1000)
            first = await take(now_ms)
            second = await take(now_ms + 1000)
            assert (first.attempt, second.attempt) == (1, 2)
            for word in ("dead", "retry", "postpone", "done"):
                late = await shelf.settle(first, "hook", Outcome(word), now_ms=now_ms + 1001)
                assert late is None
            assert await hall.waiting("hook") == 1
            assert await shelf.settle(second, "hook", Outcome("done"), now_ms=now_ms + 1002) == 0
            assert await hall.waiting("hook") == 0

    asyncio.run(scenario())


# -- gaps -----------------------------------------------------------------------------------------


def test_after_a_gap_what_is_open_is_told_and_the_end_of_what_was_told(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            for number in range(3):
                await hall.room.open(number)
            await hall.turn()
            await hall.room.open(3)  # never told
            await hall.room.claim("r2", a_person("uma"))
            await hall.room.vote("r0", Choice.REJECT)
            await hall.room.open(4)
            await hall.room.vote("r4", Choice.REJECT)  # opened and ended unseen: nobody need know
            events = keys.reviews(hall.room.tenant, "events")
            await hall.room.store.execute("XTRIM", events, "MAXLEN", 1)
            ear.told.clear()
            await hall.turn()
            assert hall.feed.counts.gaps == 1
            assert sorted(ear.heard()) == [
                ("r0", "vote", 2),
                ("r1", "open", 1),
                ("r2", "open", 1),
                ("r3", "open", 1),
            ]
            await hall.room.open(5)
            await hall.turn()
            assert ear.heard()[-1] == ("r5", "open", 1)
            assert hall.feed.counts.gaps == 1

    asyncio.run(scenario())


def test_what_waits_still_is_not_queued_again_after_a_gap(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            ear.answering = failing(1, later())
            await hall.room.open(1)
            await hall.turn()
            await hall.room.claim("r1")
            await hall.room.open(2)
            events = keys.reviews(hall.room.tenant, "events")
            await hall.room.store.execute("XTRIM", events, "MAXLEN", 1)
            await hall.turn()
            assert hall.feed.counts.gaps == 1
            await hall.room.vote("r1", Choice.REJECT)
            await until_settled(hall)
            assert [each for each in ear.heard() if each[0] == "r1"] == [
                ("r1", "open", 1),
                ("r1", "vote", 3),
            ]

    asyncio.run(scenario())


def test_a_gap_with_many_open_reviews_survives_a_crash_in_its_middle(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.herald.feed.STRETCH", 7)
    monkeypatch.setattr("actors.herald.feed.STRETCHES", 2)

    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await hall.turn()
            for number in range(30):
                await hall.room.open(number)
                hall.room.clock.forward(0.001)
            events = keys.reviews(hall.room.tenant, "events")
            await hall.room.store.execute("XTRIM", events, "MAXLEN", 1)
            heard: list[tuple[str, str, int]] = []
            for _ in range(10):
                herald = a_herald(hall.room, {"hook": a_plan()})  # each is killed after a pass
                await herald.turn()
                heard += herald.ears["hook"].heard()
            assert sorted(heard) == sorted((f"r{number}", "open", 1) for number in range(30))

    asyncio.run(scenario())


def test_nothing_is_taken_for_a_gap_while_nothing_was_forgotten(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            for number in range(5):
                await hall.room.open(number)
                await hall.turn()
            # The herald itself was away, and what it had read last is the oldest that is left.
            events = keys.reviews(hall.room.tenant, "events")
            await hall.room.store.execute("XTRIM", events, "MAXLEN", 1)
            await hall.room.open(9)
            await hall.turn()
            assert hall.feed.counts.gaps == 0
            assert hall.ears["hook"].heard()[-1] == ("r9", "open", 1)

    asyncio.run(scenario())


def test_a_review_that_cannot_be_read_keeps_no_other_waiting(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            for number in range(3):
                await hall.room.open(number)
            tenant, store = hall.room.tenant, hall.room.store
            await store.execute("SET", keys.review(tenant, "r0"), b"1\n{")
            await store.execute("DEL", keys.review(tenant, "r1"))
            await hall.turn()
            assert hall.ears["hook"].heard() == [("r2", "open", 1)]
            assert hall.feed.counts.unreadable == 2

    asyncio.run(scenario())


def test_a_notification_that_is_damaged_is_a_dead_letter(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await hall.room.open(1)
            await hall.feed.serve(hall.room.tenant)
            jobs = keys.herald(hall.room.tenant, "jobs:hook")
            await hall.room.store.execute("HSET", jobs, "r1_1_hook", b"0\n{}")
            await hall.turn()
            assert await hall.dead() == [("r1_1_hook", "notification.damaged")]

    asyncio.run(scenario())


def test_a_herald_without_channels_forgets_how_far_it_was(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await hall.room.open(1)
            await hall.turn()
            tenant, store = hall.room.tenant, hall.room.store
            idle = a_herald(hall.room, {})
            await idle.herald._rest([tenant])
            assert await HeraldStore(store).cursor(tenant) == ""
            assert await store.execute("EXISTS", keys.HERALD_SINCE) == 0

    asyncio.run(scenario())
