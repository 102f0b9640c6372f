"""The supervisor brings a dead server back, sooner or later, and never gives up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from actors.keeper.supervisor import Supervisor
from cluster.errors import StoreUnavailableError
from cluster.store.embedded import Life


class World:
    """A clock and a server that does what its script says."""

    def __init__(self, *lives: Life, starts: bool = True, fails: int = 0) -> None:
        self.time_s = 1000.0
        self.lives = list(lives)
        self.starts = starts
        self.fails = fails
        self.sleeps: list[float] = []
        self.ensured = 0
        self.stopped = False

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)

    def monotonic_s(self) -> float:
        return self.time_s

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time_s += seconds

    async def life(self) -> Life:
        if not self.lives:
            raise asyncio.CancelledError
        return self.lives.pop(0)

    async def ensure(self) -> bool:
        self.ensured += 1
        if self.ensured > 1 and self.fails:
            self.fails -= 1
            raise StoreUnavailableError("it does not start")
        return self.starts

    async def stop(self) -> None:
        self.stopped = True


def _watch(world: World) -> Supervisor:
    async def scenario() -> Supervisor:
        supervisor = Supervisor(world, clock=world, sleep=world.sleep)
        with pytest.raises(asyncio.CancelledError):
            await supervisor.watch()
        return supervisor

    return asyncio.run(scenario())


def test_a_healthy_server_is_only_looked_at_many_times_a_second() -> None:
    world = World(*[Life.SERVING] * 5, Life.LOADING)
    status = _watch(world).status()
    assert (status.restarts, status.life) == (0, "loading")
    assert world.ensured == 1
    assert all(0.1 <= pause <= 0.2 for pause in world.sleeps)


@pytest.mark.parametrize("found", [Life.ABSENT, Life.SILENT])
def test_the_first_restart_comes_at_once_and_is_counted_and_logged(found: Life) -> None:
    world = World(found, Life.SERVING)
    with capture_logs() as logs:
        status = _watch(world).status()
    assert (status.restarts, status.life) == (1, "serving")
    assert world.sleeps[:2] == [0.15, 0.0]
    (event,) = [entry for entry in logs if entry["event"] == "store.restarted"]
    assert (event["was"], event["restarts"], event["log_level"]) == (found.value, 1, "error")


def test_a_server_that_recovered_or_was_restarted_by_another_is_not_counted() -> None:
    assert _watch(World(Life.SILENT, starts=False)).status().restarts == 0


def test_each_further_restart_waits_longer_up_to_a_bound() -> None:
    world = World(*[Life.ABSENT] * 11)
    assert _watch(world).status().restarts == 11
    pauses = [pause for pause in world.sleeps if pause != 0.15]
    assert pauses == [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_after_a_steady_time_the_next_restart_comes_at_once_again() -> None:
    world = World(*[Life.ABSENT] * 4, *[Life.SERVING] * 210, Life.ABSENT)
    _watch(world)
    assert world.sleeps[-2:] == [0.0, 0.15]


def test_a_restart_that_fails_is_logged_and_tried_again() -> None:
    world = World(*[Life.ABSENT] * 4, fails=3)
    with capture_logs() as logs:
        status = _watch(world).status()
    assert (status.restarts, status.failures, status.last_error) == (1, 3, None)
    failures = [entry for entry in logs if entry["event"] == "store.restart_failed"]
    assert [entry["retry_in_s"] for entry in failures] == [0.05, 0.1, 0.2]
    assert "does not start" in failures[0]["error"]


def test_a_trouble_that_lasts_is_in_the_status() -> None:
    status = _watch(World(Life.ABSENT, fails=1)).status()
    assert status.life == "absent"
    assert status.last_error == "store is unavailable: it does not start"


def test_starting_says_whether_the_server_was_adopted_once() -> None:
    async def scenario(world: World) -> list[str]:
        with capture_logs() as logs:
            supervisor = Supervisor(world, clock=world, sleep=world.sleep)
            await supervisor.start()
            await supervisor.start()
            await supervisor.stop()
        assert world.stopped
        assert supervisor.status().life == "absent"
        return [entry["event"] for entry in logs]

    assert asyncio.run(scenario(World())) == ["store.started"]
    assert asyncio.run(scenario(World(starts=False))) == ["store.adopted"]
