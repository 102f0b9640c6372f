"""Signs of life: a detached actor writes one each second, and readiness reads it.

So that no gateway has to call an actor to know whether it lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson

from cluster.store import keys
from cluster.store.client import Store
from policies.errors import DependencyError

BEAT_S: Final = 1.0
STALE_S: Final = 10.0

Facts = Callable[[], Awaitable[Mapping[str, object]]]


async def keep_beating(store: Store, name: str, facts: Facts) -> None:
    """Write the actor's facts each second until cancelled; a store that is away is waited for."""
    while True:
        try:
            beat = orjson.dumps(await facts(), default=str)
            await store.execute("SET", keys.heartbeat(name), beat, "PX", int(STALE_S * 1000))
        except DependencyError:
            pass  # then readers see the beat run out, which is the truth
        await asyncio.sleep(BEAT_S)


async def last_beat(store: Store, name: str) -> Mapping[str, Any]:
    """Return the actor's last facts. Raises DependencyError when it was silent for 10 s."""
    beat = await store.execute("GET", keys.heartbeat(name))
    if not isinstance(beat, bytes):
        raise DependencyError(name, f"no sign of life for {STALE_S:.0f} s; Ray restarts it")
    facts: Mapping[str, Any] = orjson.loads(beat)
    return facts
