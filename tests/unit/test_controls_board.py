"""Every process knows the switches in force, or knows that it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from cluster import controls_board
from cluster.controls_board import GRACE_S, ControlsBoard
from cluster.errors import StoreUnavailableError
from cluster.store.client import Call
from policies.controls import Controls, KillScope, controls_to_json
from policies.errors import DependencyError, RefusalError

from builders import a_principal
from fakes import FakeClock

ACME = KillScope(tenant="acme")
GLOBEX = KillScope(tenant="globex")


Hook = Callable[[], Coroutine[Any, Any, object]]


class OneKey:
    """What the two scripts of the board do to their key. tests/contract holds it to the truth."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] | None = None
        self.error: Exception | None = None
        self.before_swap: Hook | None = None
        self.before_reply: Hook | None = None
        self.sent = 0

    async def execute(self, *command: str | bytes | float) -> object:
        raise NotImplementedError(command)

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        raise NotImplementedError(calls)

    async def run(self, call: Call) -> object:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        args = [bytes(arg) for arg in call.args if isinstance(arg, bytes)]
        if call.script is controls_board._READ:
            reply = self._read(args[0])
            hook, self.before_reply = self.before_reply, None
            if hook is not None:
                await hook()
            return reply
        hook, self.before_swap = self.before_swap, None
        if hook is not None:
            await hook()
        return self._swap(args)

    def _read(self, known: bytes) -> list[bytes]:
        if self.held is None:
            return []
        version = self.held.get("version")
        if version is None:
            return [b"", b""]
        if version == known:
            return [version]
        self.sent += 1
        return [version, self.held.get("state", b"")]

    def _swap(self, args: list[bytes]) -> int:
        if (self.held or {}).get("version", b"") != args[0]:
            return 0
        self.held = {"version": args[1], "state": args[2]}
        return 1


def a_board(store: OneKey, clock: FakeClock | None = None) -> ControlsBoard:
    return ControlsBoard(store, clock=clock or FakeClock())


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def stopped(board: ControlsBoard) -> set[str]:
    return {str(kill.scope) for kill in board.current().kills.values()}


def test_a_board_that_was_never_read_says_so() -> None:
    with pytest.raises(DependencyError, match="never read") as caught:
        a_board(OneKey()).current()
    assert caught.value.status == 503


def test_no_board_is_an_empty_one() -> None:
    async def scenario() -> None:
        board = a_board(OneKey())
        assert await board.refresh()
        assert board.current() == Controls()

    run(scenario())


def test_a_change_holds_at_once_where_it_was_made_and_soon_elsewhere() -> None:
    async def scenario() -> None:
        store = OneKey()
        here, there = a_board(store), a_board(store)
        await there.refresh()
        await here.kill(ACME, reason="stop", by="olga")
        assert stopped(here) == {"tenant acme"}
        assert stopped(there) == set()
        await there.refresh()
        assert stopped(there) == {"tenant acme"}

    run(scenario())


def test_every_switch_can_be_turned_and_turned_back() -> None:
    async def scenario() -> None:
        board = a_board(OneKey())
        kill = await board.kill(ACME, reason="stop", by="olga")
        assert (kill.by, kill.reason, kill.at) == ("olga", "stop", FakeClock().now())
        refusal = board.current().refusal(a_principal(), None)
        assert refusal is not None
        assert refusal.code == "control.killed"
        assert await board.release(ACME)
        assert not await board.release(ACME)
        assert board.current().refusal(a_principal(), None) is None
        await board.revoke_agent("acme", "writer")
        refusal = board.current().refusal(a_principal(), None)
        assert refusal is not None
        assert refusal.code == "auth.revoked"
        await board.restore_agent("acme", "writer")
        assert board.current().refusal(a_principal(), None) is None
        await board.revoke_token("token-1", 2e9)
        refusal = board.current().refusal(a_principal(token_id="token-1"), None)
        assert refusal is not None
        assert refusal.code == "auth.revoked"

    run(scenario())


def test_a_second_kill_returns_the_one_that_stands() -> None:
    async def scenario() -> None:
        board = a_board(OneKey())
        await board.kill(ACME, reason="first", by="olga")
        assert (await board.kill(ACME, reason="second", by="ivan")).reason == "first"

    run(scenario())


def test_a_change_between_reading_and_writing_is_not_lost() -> None:
    async def scenario() -> None:
        store = OneKey()
        here, there = a_board(store), a_board(store)
        store.before_swap = lambda: there.kill(GLOBEX, reason="mine", by="ivan")
        await here.kill(ACME, reason="stop", by="olga")
        assert stopped(here) == {"tenant acme", "tenant globex"}

    run(scenario())


def test_a_change_that_never_gets_through_is_an_error() -> None:
    async def scenario() -> None:
        store = OneKey()
        here, there = a_board(store), a_board(store)
        meddled = 0

        async def meddle() -> None:
            nonlocal meddled
            meddled += 1
            await there.revoke_token(f"t{meddled}", 2e9)
            store.before_swap = meddle

        store.before_swap = meddle
        with pytest.raises(DependencyError, match="others changed it 64 times"):
            await here.kill(ACME, reason="stop", by="olga")
        assert meddled == 64

    run(scenario())


def test_nothing_is_written_when_nothing_changes() -> None:
    async def scenario() -> None:
        store = OneKey()
        board = a_board(store)
        await board.kill(ACME, reason="stop", by="olga")
        before = store.held
        await board.kill(ACME, reason="stop", by="olga")
        await board.release(GLOBEX)
        assert store.held is before

    run(scenario())


def test_an_unchanged_board_is_not_sent_again() -> None:
    async def scenario() -> None:
        store = OneKey()
        here, there = a_board(store), a_board(store)
        await here.kill(ACME, reason="stop", by="olga")
        for _ in range(10):
            await there.refresh()
        assert store.sent == 1

    run(scenario())


def test_old_revocations_leave_with_the_next_change() -> None:
    async def scenario() -> None:
        board = a_board(OneKey())
        await board.revoke_token("old", 1_000.0)
        await board.revoke_token("new", 2e9)
        assert set(board.current().revoked_tokens) == {"new"}

    run(scenario())


def test_a_change_that_cannot_be_is_refused_and_not_written() -> None:
    async def scenario() -> None:
        store = OneKey()
        with pytest.raises(RefusalError):
            await a_board(store).kill(ACME, reason="", by="olga")
        with pytest.raises(RefusalError):
            await a_board(store).revoke_agent("ACME", "writer")
        assert store.held is None

    run(scenario())


_KILLS_OF_SOMEBODY = controls_to_json(Controls())
DAMAGES: dict[str, Exception | dict[str, bytes]] = {
    "down": StoreUnavailableError("connection refused by 10.0.0.7"),
    "of another type": redis.ResponseError("WRONGTYPE"),
    "no version": {"state": _KILLS_OF_SOMEBODY},
    "strange version": {"version": b"7", "state": _KILLS_OF_SOMEBODY},
    "huge version": {"version": b"9" * 30 + b"-" + b"0" * 16, "state": _KILLS_OF_SOMEBODY},
    "no state": {"version": b"7-" + b"0" * 16},
    "garbage": {"version": b"7-" + b"0" * 16, "state": b'{"v":1,"kills":[]}'},
    "of tomorrow": {"version": b"7-" + b"0" * 16, "state": b'{"v":2}'},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_board_that_cannot_be_read_is_believed_for_a_while_and_then_nothing_passes(
    damage: str,
) -> None:
    async def scenario() -> None:
        store, clock = OneKey(), FakeClock()
        board = a_board(store, clock)
        await board.kill(ACME, reason="stop", by="olga")
        sound = store.held
        _do(store, DAMAGES[damage])
        clock.forward(GRACE_S)
        assert not await board.refresh()
        assert stopped(board) == {"tenant acme"}
        clock.forward(0.1)
        with pytest.raises(DependencyError, match="cannot be read") as caught:
            board.current()
        assert "10.0.0.7" not in str(caught.value)
        store.held, store.error = sound, None
        assert await board.refresh()
        assert stopped(board) == {"tenant acme"}

    run(scenario())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_board_that_cannot_be_read_cannot_be_changed(damage: str) -> None:
    async def scenario() -> None:
        store = OneKey()
        _do(store, DAMAGES[damage])
        held = store.held
        with pytest.raises(DependencyError):
            await a_board(store).kill(ACME, reason="stop", by="olga")
        assert store.held is held, "damage is for people to look at, not to paint over"

    run(scenario())


def _do(store: OneKey, damage: Exception | dict[str, bytes]) -> None:
    if isinstance(damage, Exception):
        store.error = damage
    else:
        store.held = damage


def test_a_forgotten_board_is_put_back_by_one_who_knows_it() -> None:
    async def scenario() -> None:
        store = OneKey()
        here, there = a_board(store), a_board(store)
        await here.kill(ACME, reason="stop", by="olga")
        store.held = None
        await there.refresh()
        assert stopped(there) == set()
        assert await here.refresh()
        assert stopped(here) == {"tenant acme"}
        await there.refresh()
        assert stopped(there) == {"tenant acme"}

    run(scenario())


def test_a_board_that_fell_back_is_put_forward_again() -> None:
    async def scenario() -> None:
        store = OneKey()
        here = a_board(store)
        await here.kill(ACME, reason="stop", by="olga")
        backup = store.held
        await here.kill(GLOBEX, reason="stop", by="olga")
        store.held = backup
        await here.refresh()
        fresh = a_board(store)
        await fresh.refresh()
        assert stopped(fresh) == {"tenant acme", "tenant globex"}

    run(scenario())


def test_a_release_is_not_undone_by_one_who_did_not_hear_of_it() -> None:
    async def scenario() -> None:
        store = OneKey()
        here, there = a_board(store), a_board(store)
        await here.kill(ACME, reason="stop", by="olga")
        await there.refresh()
        await here.release(ACME)
        await there.refresh()
        await here.refresh()
        assert stopped(here) == stopped(there) == set()

    run(scenario())


def test_an_answer_that_was_under_way_does_not_undo_a_change() -> None:
    async def scenario() -> None:
        store = OneKey()
        board = a_board(store)
        await board.kill(ACME, reason="stop", by="olga")
        store.before_reply = lambda: board.kill(GLOBEX, reason="stop", by="olga")
        await board.refresh()
        assert stopped(board) == {"tenant acme", "tenant globex"}

    run(scenario())


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never held")


def test_the_board_is_refreshed_while_it_is_open_and_only_then() -> None:
    async def scenario() -> None:
        store = OneKey()
        here = a_board(store)
        async with ControlsBoard(store, clock=FakeClock(), refresh_s=0.005) as there:
            await here.kill(ACME, reason="stop", by="olga")
            await _until(lambda: len(there.current().kills) == 1)
            store.error = StoreUnavailableError("down")
            await asyncio.sleep(0.02)
            store.error = None
            await here.kill(GLOBEX, reason="stop", by="olga")
            await _until(lambda: len(there.current().kills) == 2)
        assert there._task is not None
        assert there._task.cancelled()

    run(scenario())


def test_a_board_opens_while_the_store_is_down_and_says_so() -> None:
    async def scenario() -> None:
        store = OneKey()
        store.error = StoreUnavailableError("down")
        async with ControlsBoard(store, clock=FakeClock(), refresh_s=0.005) as board:
            with pytest.raises(DependencyError):
                board.current()
            store.error = None
            await asyncio.sleep(0.05)
            assert board.current() == Controls()

    run(scenario())


def test_kills_say_when() -> None:
    async def scenario() -> None:
        clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
        kill = await a_board(OneKey(), clock).kill(ACME, reason="stop", by="olga")
        assert kill.at == datetime(2030, 1, 1, tzinfo=UTC)

    run(scenario())
