"""Commands find the node that owns their key, and follow it where it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LostConnectionError

from cluster.store.address import Host
from cluster.store.lanes import Command
from cluster.store.shards import Shards

A, B, C = Host("a", 1), Host("b", 2), Host("c", 3)
_HALVES = [[0, 8191, [b"a", 1, b"id"]], [8192, 16383, [b"b", 2, b"id"], [b"r", 9, b"id"]]]

Answer = Callable[[Command], object]


class Node:
    """One node's lanes: answers CLUSTER SLOTS with its map, and the rest as it is told."""

    def __init__(self, slots: object, answer: Answer) -> None:
        self.slots = slots
        self.answer = answer
        self.heard: list[Command] = []
        self.trips = 0
        self.closed = False

    async def exchange(self, commands: Sequence[Command]) -> list[object]:
        self.trips += 1
        await asyncio.sleep(0)
        return [await self._reply(command) for command in commands]

    async def _reply(self, command: Command) -> object:
        if command[0] != "CLUSTER":
            self.heard.append(command)
            return self.answer(command)
        if self.slots == "silent":
            await asyncio.sleep(60)
        return self.slots

    async def close(self) -> None:
        self.closed = True


class Fleet:
    def __init__(self, **answers: Answer) -> None:
        echo: Answer = lambda command: command[-1]  # noqa: E731
        self.nodes = {host: Node(_HALVES, answers.get(host.name, echo)) for host in (A, B, C)}
        self.shards = Shards([A, B], self.nodes.__getitem__, patience_s=0.05)  # type: ignore[arg-type]

    def ask(self, *commands: Command) -> list[object]:
        return asyncio.run(self.shards.exchange(commands))


# The slot of "foo" is 12182, of "bar" 5061, of "hello" 866.
_FOO: Command = ("GET", "foo")
_BAR: Command = ("GET", "bar")


def test_each_node_gets_its_commands_in_one_trip_and_replies_keep_their_order() -> None:
    fleet = Fleet()
    commands: list[Command] = [_FOO, _BAR, ("SET", b"{foo}x", "1"), ("GET", "hello")]
    assert fleet.ask(*commands) == ["foo", "bar", "1", "hello"]
    assert fleet.nodes[B].heard == [commands[0], commands[2]]
    assert fleet.nodes[A].heard == [commands[1], commands[3]]
    assert fleet.nodes[B].trips == 1


@pytest.mark.parametrize(
    "command",
    [
        ("EVALSHA", "0" * 40, 1, "foo", "bar"),
        ("EVAL", "return 1", 2, b"foo", "{foo}", "bar"),
        ("XREAD", "COUNT", 1, "STREAMS", "foo", "0"),
        ("xreadgroup", "GROUP", "g", "c", b"streams", "foo", ">"),
        ("XGROUP", "CREATE", "foo", "g", "0"),
        ("XINFO", "STREAM", "foo"),
        ("XADD", "foo", "*", "bar", "hello"),
    ],
)
def test_a_command_goes_by_its_key(command: Command) -> None:
    fleet = Fleet()
    fleet.ask(command)
    assert fleet.nodes[B].heard == [command]


@pytest.mark.parametrize(
    "command", [("PING",), ("PUBLISH", "foo", "1"), ("EVAL", "x", 0), ("ECHO",)]
)
def test_a_command_without_a_key_goes_to_any_node(command: Command) -> None:
    fleet = Fleet()
    fleet.ask(command)
    assert sum(node.heard == [command] for node in fleet.nodes.values()) == 1


@pytest.mark.parametrize("name", ["SCAN", "keys", "FLUSHALL", "DBSIZE"])
def test_a_command_that_would_speak_of_one_node_only_is_refused(name: str) -> None:
    fleet = Fleet()
    refused, fine = fleet.ask((name, "0"), _FOO)
    assert isinstance(refused, ResponseError)
    assert fine == "foo"


def test_a_slot_that_moved_is_learned_anew() -> None:
    fleet = Fleet(b=lambda _: MovedError("12182 c:3"))
    moved = [[0, 8191, [b"a", 1]], [8192, 16383, [b"c", 3]]]
    # The first map is old, the second one knows.
    maps = iter([_HALVES, moved])
    fleet.nodes[A]._reply = _maps(fleet.nodes[A], maps)  # type: ignore[method-assign]
    assert fleet.ask(_FOO, _BAR) == ["foo", "bar"]
    assert fleet.nodes[C].heard == [_FOO]
    assert fleet.nodes[A].heard == [_BAR]
    assert fleet.nodes[B].closed


def _maps(node: Node, maps: object) -> Callable[[Command], object]:
    async def reply(command: Command) -> object:
        if command[0] == "CLUSTER":
            return next(maps)  # type: ignore[call-overload]
        node.heard.append(command)
        return node.answer(command)

    return reply


def test_a_key_on_the_move_is_asked_for_where_it_goes_once() -> None:
    fleet = Fleet(b=lambda _: AskError("12182 c:3"))
    assert fleet.ask(_FOO) == ["foo"]
    assert fleet.nodes[C].heard == [("ASKING",), _FOO]
    assert fleet.nodes[A].trips == 1  # the map is as true as before


def test_keys_between_two_nodes_are_tried_again() -> None:
    tries = iter([TryAgainError("TRYAGAIN"), TryAgainError("TRYAGAIN"), "done"])
    fleet = Fleet(b=lambda _: next(tries))
    assert fleet.ask(_FOO) == ["done"]


def test_a_cluster_that_disagrees_for_ever_is_given_up() -> None:
    fleet = Fleet(b=lambda _: MovedError("12182 b:2"))
    (reply,) = fleet.ask(_FOO)
    assert isinstance(reply, MovedError)
    assert len(fleet.nodes[B].heard) == 5


def test_a_slot_that_nobody_owns_is_an_outage_of_its_keys_only() -> None:
    fleet = Fleet()
    fleet.nodes[A].slots = _HALVES[:1]
    missing, fine = fleet.ask(_FOO, _BAR)
    assert isinstance(missing, ClusterDownError)
    assert fine == "bar"


@pytest.mark.parametrize("slots", ["silent", [], LostConnectionError("refused")])
def test_a_node_that_does_not_know_is_passed_over(slots: object) -> None:
    fleet = Fleet()
    fleet.nodes[A].slots = slots
    assert fleet.ask(_FOO) == ["foo"]


def test_when_nobody_knows_every_command_says_so() -> None:
    fleet = Fleet()
    fleet.nodes[A].slots = LostConnectionError("refused")
    fleet.nodes[B].slots = "silent"
    replies = fleet.ask(_FOO, _BAR)
    assert all(isinstance(reply, LostConnectionError) for reply in replies)
    assert str(replies[0]) == "no node says who owns the slots: a:1 refused; b:2 is silent"


def test_after_a_lost_node_the_cluster_is_asked_again() -> None:
    answers = iter([LostConnectionError("gone"), "back"])
    fleet = Fleet(b=lambda _: next(answers))

    async def scenario() -> None:
        lost, fine = await fleet.shards.exchange([_FOO, _BAR])
        assert isinstance(lost, LostConnectionError)
        assert fine == "bar"
        assert await fleet.shards.exchange([_FOO]) == ["back"]
        await fleet.shards.close()

    asyncio.run(scenario())
    assert fleet.nodes[A].trips == 3  # two maps and a command
    assert fleet.nodes[A].closed


def test_many_callers_learn_from_one_question() -> None:
    fleet = Fleet()

    async def scenario() -> None:
        await asyncio.gather(*(fleet.shards.exchange([_FOO]) for _ in range(20)))

    asyncio.run(scenario())
    assert fleet.nodes[A].trips == 1


def test_a_node_without_a_name_is_the_one_that_was_asked() -> None:
    fleet = Fleet()
    fleet.nodes[A].slots = [[0, 16383, [None, 1, b"id"]]]
    assert fleet.ask(_FOO) == ["foo"]
    assert fleet.nodes[A].heard == [_FOO]
