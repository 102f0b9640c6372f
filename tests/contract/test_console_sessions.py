"""Sessions of the console in a real store: bounded for each person, ended together, sealed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from cluster.store import keys
from cluster.store.redis_store import RedisStore
from policies.principal import Principal
from serve_app.console.sessions import SESSIONS_MAX, Sessions

from builders import NOW, a_principal

if TYPE_CHECKING:
    from contract.conftest import Valkey

Story = Callable[[Sessions, RedisStore], Awaitable[None]]


def told(valkey: Valkey, story: Story) -> None:
    async def tell() -> None:
        async with valkey.store() as store:
            await story(Sessions(store), store)

    asyncio.run(tell())


def a_person(valkey: Valkey) -> Principal:
    return a_principal(tenant=valkey.tenant(), agent="rita")


async def begun(sessions: Sessions, person: Principal, number: int, *, seconds: int = 600) -> str:
    now = NOW + timedelta(microseconds=number)
    handle, _ = await sessions.begin(f"token {number}", person, seconds=seconds, now=now)
    return handle


def test_one_session_too_many_ends_the_oldest_of_the_same_person(valkey: Valkey) -> None:
    rita, sam = a_person(valkey), a_person(valkey)

    async def story(sessions: Sessions, _: RedisStore) -> None:
        other = await begun(sessions, sam, 0)
        handles = [await begun(sessions, rita, number) for number in range(SESSIONS_MAX + 2)]
        tokens = [await sessions.token(handle) for handle in handles]
        assert tokens == [None, None, *(f"token {n}" for n in range(2, SESSIONS_MAX + 2))]
        assert await sessions.token(other) == "token 0"
        alive = await sessions.alive(rita, handles[-1])
        assert [one.is_this for one in alive] == [True] + [False] * (SESSIONS_MAX - 1)
        assert alive[0].at == NOW + timedelta(microseconds=SESSIONS_MAX + 1)

    told(valkey, story)


def test_what_ended_by_itself_does_not_count(valkey: Valkey) -> None:
    rita = a_person(valkey)

    async def story(sessions: Sessions, _: RedisStore) -> None:
        first = await begun(sessions, rita, 0)
        for number in range(1, SESSIONS_MAX):
            await sessions.end(await begun(sessions, rita, number))
        last = await begun(sessions, rita, SESSIONS_MAX)
        assert await sessions.token(first) == "token 0"
        assert len(await sessions.alive(rita, last)) == 2

    told(valkey, story)


def test_all_sessions_of_a_person_end_at_once(valkey: Valkey) -> None:
    rita, sam = a_person(valkey), a_person(valkey)

    async def story(sessions: Sessions, store: RedisStore) -> None:
        handles = [await begun(sessions, rita, number) for number in range(3)]
        other = await begun(sessions, sam, 0)
        assert await sessions.end_all(rita) == 3
        assert [await sessions.token(handle) for handle in handles] == [None] * 3
        assert await sessions.token(other) == "token 0"
        assert await sessions.end_all(rita) == 0
        person = keys.console("person", f"{rita.tenant}:{rita.agent}")
        assert await store.execute("EXISTS", person) == 0

    told(valkey, story)


def test_what_is_known_of_a_person_ends_with_the_longest_session(valkey: Valkey) -> None:
    rita = a_person(valkey)

    async def story(sessions: Sessions, store: RedisStore) -> None:
        await begun(sessions, rita, 0, seconds=900)
        await begun(sessions, rita, 1, seconds=60)
        left_s = await store.execute("TTL", keys.console("person", f"{rita.tenant}:{rita.agent}"))
        assert isinstance(left_s, int)
        assert 60 < left_s <= 900

    told(valkey, story)


def test_an_attempt_is_for_one_browser_and_counts_once(valkey: Valkey) -> None:
    mine, other = "m" * 43, "o" * 43

    async def story(sessions: Sessions, store: RedisStore) -> None:
        code = await sessions.attempt("the verifier", browser=mine)
        for wrong in (other, "", "../" + "x" * 40, mine[:-1]):
            assert await sessions.resume(code, browser=wrong) is None
        stored = await store.execute("KEYS", keys.console("attempt", "*"))
        assert isinstance(stored, list)
        assert all(code.encode() not in key and mine.encode() not in key for key in stored)
        assert await sessions.resume(code, browser=mine) == "the verifier"
        assert await sessions.resume(code, browser=mine) is None

    told(valkey, story)
