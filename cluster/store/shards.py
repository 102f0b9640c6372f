"""A Redis Cluster: each command goes to the node that owns the slot of its key."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LostConnectionError

from cluster.store.address import Host
from cluster.store.lanes import Command, Lanes

_HOPS_MAX: Final = 5  # a slot on the move costs one or two; more is a cluster that disagrees
_TRY_AGAIN_S: Final = 0.02
_SECOND_WORD: Final = frozenset({"MEMORY", "OBJECT", "XGROUP", "XINFO"})
_ANYWHERE: Final = frozenset({"CLUSTER", "CONFIG", "INFO", "PING", "PUBLISH", "SCRIPT", "TIME"})
_NOWHERE: Final = frozenset({"DBSIZE", "FLUSHALL", "FLUSHDB", "KEYS", "RANDOMKEY", "SCAN", "WAIT"})


class _Range(NamedTuple):
    first: int
    last: int
    host: Host


class Shards:
    """The nodes of one cluster; `open_lanes` opens the connections of a node.

    Learns who owns which slot from the first node that answers within `patience_s`, and again
    after a node moved, failed or lost its slots.
    """

    def __init__(
        self, seeds: Sequence[Host], open_lanes: Callable[[Host], Lanes], *, patience_s: float
    ) -> None:
        self._seeds = tuple(seeds)
        self._open_lanes = open_lanes
        self._patience_s = patience_s
        self._nodes: dict[Host, Lanes] = {}
        self._owners: list[_Range] = []
        self._learning = asyncio.Lock()
        self._stale = True

    async def exchange(self, commands: Sequence[Command]) -> list[object]:
        """Send each node its commands in one write, all nodes at once; follow what moved."""
        replies: list[object] = [None] * len(commands)
        todo = list(range(len(commands)))
        for _ in range(_HOPS_MAX):
            try:
                await self._learn()
            except LostConnectionError as error:
                for i in todo:
                    replies[i] = error
                break
            await self._send(commands, todo, replies)
            await self._follow_asks(commands, todo, replies)
            self._stale = self._stale or any(_is_stale(replies[i]) for i in todo)
            todo = [i for i in todo if isinstance(replies[i], (MovedError, TryAgainError))]
            if not todo:
                break
            if any(isinstance(replies[i], TryAgainError) for i in todo):
                await asyncio.sleep(_TRY_AGAIN_S)
        return replies

    async def close(self) -> None:
        """Close every connection; a later exchange opens new ones."""
        nodes, self._nodes = list(self._nodes.values()), {}
        self._stale = True
        for lanes in nodes:
            await lanes.close()

    async def _send(
        self, commands: Sequence[Command], todo: Iterable[int], replies: list[object]
    ) -> None:
        """Put the reply, or the exception, of each command in its place."""
        groups: dict[Host, list[int]] = defaultdict(list)
        for i in todo:
            owner = self._owner(commands[i])
            if isinstance(owner, Host):
                groups[owner].append(i)
            else:
                replies[i] = owner
        answers = await asyncio.gather(
            *(
                self._lanes(host).exchange([commands[i] for i in indexes])
                for host, indexes in groups.items()
            )
        )
        for i, answer in zip(
            chain.from_iterable(groups.values()), chain.from_iterable(answers), strict=True
        ):
            replies[i] = answer

    async def _follow_asks(
        self, commands: Sequence[Command], todo: Iterable[int], replies: list[object]
    ) -> None:
        """Ask the node that a migrating key is moving to; the next one is asked as before."""
        for i in todo:
            redirect = replies[i]
            if isinstance(redirect, AskError) and not isinstance(redirect, MovedError):
                asked = self._owner(commands[i])
                assert isinstance(asked, Host), "an owner was asked, and redirected us"
                lanes = self._lanes(Host(redirect.host or asked.name, redirect.port))
                replies[i] = (await lanes.exchange([("ASKING",), commands[i]]))[1]

    def _lanes(self, host: Host) -> Lanes:
        if host not in self._nodes:
            self._nodes[host] = self._open_lanes(host)
        return self._nodes[host]

    def _owner(self, command: Command) -> Host | Exception:
        name = _text(command[0]).upper()
        if name in _NOWHERE:
            return ResponseError(f"{name} speaks of one node, and this store is a cluster")
        key = _key(command)
        if key is None:
            return self._owners[0].host
        slot = key_slot(key if isinstance(key, bytes) else str(key).encode())
        place = bisect_right(self._owners, slot, key=_first_slot) - 1
        if place >= 0 and slot <= self._owners[place].last:
            return self._owners[place].host
        return ClusterDownError(f"CLUSTERDOWN no node owns the slot {slot}")

    async def _learn(self) -> None:
        """Ask who owns what, if that is not known; one caller asks for all that wait."""
        if self._stale:
            async with self._learning:
                if self._stale:
                    await self._relearn()

    async def _relearn(self) -> None:
        self._owners = await self._ask_owners()
        self._stale = False
        owners = {owned.host for owned in self._owners}
        for host in [host for host in self._nodes if host not in owners]:
            await self._nodes.pop(host).close()

    async def _ask_owners(self) -> list[_Range]:
        problems: list[str] = []
        for host in dict.fromkeys((*self._nodes, *self._seeds)):
            try:
                async with asyncio.timeout(self._patience_s):
                    (reply,) = await self._lanes(host).exchange([("CLUSTER", "SLOTS")])
            except TimeoutError:
                reply = "is silent"
            if isinstance(reply, list) and reply:
                return sorted([_range(row, asked=host) for row in reply], key=_first_slot)
            problems.append(f"{host.name}:{host.port} {reply}")
        raise LostConnectionError("no node says who owns the slots: " + "; ".join(problems))


def _first_slot(owned: _Range) -> int:
    return owned.first


def _range(row: Any, *, asked: Host) -> _Range:
    """Read one row of CLUSTER SLOTS; a node without a name is the one that was asked."""
    first, last, (name, port, *_), *_replicas = row
    return _Range(first, last, Host(_text(name or asked.name), port))


def _is_stale(reply: object) -> bool:
    """Say whether a reply shows that what we know of the cluster is old."""
    if isinstance(reply, ResponseError):
        return isinstance(reply, (ClusterDownError, MovedError, ReadOnlyError))
    return isinstance(reply, (RedisError, OSError))


def _key(command: Command) -> str | bytes | int | float | None:
    """Return the key that a command goes by, None when any node will do."""
    name = _text(command[0]).upper()
    if name in _ANYWHERE:
        return None
    if name.startswith("EVAL"):
        return command[3] if int(command[2]) else None
    if name in {"XREAD", "XREADGROUP"}:
        words = [_text(word).upper() for word in command]
        return command[words.index("STREAMS") + 1]
    position = 2 if name in _SECOND_WORD else 1
    return command[position] if len(command) > position else None


def _text(word: object) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
