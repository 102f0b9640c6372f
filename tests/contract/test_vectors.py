"""The published vectors, asked of every policy engine there is."""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
from lawbook import VECTORS, bundle, rules
from opa_server import OpaServer

from cluster.breaker.circuit import Circuit
from cluster.opa.embedded import EmbeddedEngine
from cluster.opa.engine import ENTRYPOINT, PolicyEngine
from cluster.opa.rest import RestEngine
from policies.message import MessageType
from policies.roles import ROLE_SCOPES

BUDGET_S = 10.0
# What no input of the shipped policy can bring about: faults of the policy or of its data.
FAULTS = {"policy.unconfigured", "policy.not_permitted", "policy.undefined"}

Book: TypeAlias = Mapping[str, Any]
BOOKS: Mapping[str, Book] = {
    path.stem: json.loads(path.read_text()) for path in sorted(VECTORS.glob("*.json"))
}
EVERY_VECTOR = [vector for book in BOOKS.values() for vector in book["vectors"]]


@asynccontextmanager
async def _embedded() -> AsyncIterator[PolicyEngine]:
    engine = EmbeddedEngine(bundle())
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _server() -> AsyncIterator[PolicyEngine]:
    with OpaServer(bundle()) as server:
        engine = RestEngine(
            server.url, expected_revision=bundle().revision, circuit=Circuit("opa_server")
        )
        try:
            yield engine
        finally:
            await engine.close()


Open: TypeAlias = Callable[[], AbstractAsyncContextManager[PolicyEngine]]


@pytest.fixture(params=[_embedded, _server], ids=["opa-embedded", "opa-server"])
def opened(request: pytest.FixtureRequest) -> Open:
    chosen: Open = request.param
    return chosen


@pytest.mark.parametrize("name", sorted(BOOKS))
def test_an_engine_decides_as_the_vectors_say(opened: Open, name: str) -> None:
    async def scenario() -> None:
        async with opened() as engine:
            for vector in BOOKS[name]["vectors"]:
                document = json.dumps(vector["input"]).encode()
                evaluation = await engine.evaluate(document, BUDGET_S)
                assert _plainly(evaluation.value) == vector["expect"], vector["name"]
                assert evaluation.revision == bundle().revision

    asyncio.run(scenario())


def test_a_verdict_says_more_than_the_vectors_write_down() -> None:
    async def scenario() -> None:
        async with _embedded() as engine:
            for vector in EVERY_VECTOR:
                document = json.dumps(vector["input"]).encode()
                value: Any = (await engine.evaluate(document, BUDGET_S)).value
                for verdict in value["verdicts"]:
                    assert verdict["message"], vector["name"]
                    assert bool(verdict["remedy"]) is (verdict["effect"] != "allow")

    asyncio.run(scenario())


def test_the_files_are_what_their_source_writes() -> None:
    written = runpy.run_path(str(VECTORS / "make.py"))["books"]()
    assert set(written) == set(BOOKS)
    for name, book in written.items():
        assert (VECTORS / f"{name}.json").read_text() == book.text(), (
            f"run python tests/vectors/make.py and review what changed in {name}.json"
        )


def test_there_are_enough_and_each_is_named_once() -> None:
    assert len(EVERY_VECTOR) >= 60
    assert {book["entrypoint"] for book in BOOKS.values()} == {ENTRYPOINT}
    for book in BOOKS.values():
        names = [vector["name"] for vector in book["vectors"]]
        assert len(names) == len(set(names))


def test_every_rule_speaks_in_a_vector() -> None:
    spoken = {
        *(verdict["rule"] for vector in EVERY_VECTOR for verdict in vector["expect"]["verdicts"]),
        *(duty for vector in EVERY_VECTOR for duty in vector["expect"]["obligations"]),
    }
    silent = {rule.id for rule in rules() if rule.says.get("code") not in FAULTS} - spoken
    assert not silent


# Rules that cannot object alone: a role that is unknown may send nothing, with no priority.
NEVER_ALONE = {
    "policy.role_unknown",
    "policy.priority_exceeded",  # the only role with a lower bound is also held for critical
    "policy.tool_refused",  # what is refused is of high impact too
    "policy.tool_clearance_exceeded",  # what needs it is for executives, who have it
}


def test_every_rule_objects_alone_in_a_vector() -> None:
    alone = set()
    for vector in EVERY_VECTOR:
        against = [said for said in vector["expect"]["verdicts"] if said["effect"] != "allow"]
        if len(against) == 1:
            alone.add(against[0]["code"])
    objecting = {
        rule.says["code"] for rule in rules() if rule.says.get("effect") not in (None, "allow")
    }
    assert objecting - alone - FAULTS == NEVER_ALONE


def test_every_role_sends_every_type_in_a_vector() -> None:
    seen = {
        (vector["input"]["principal"]["roles"][0], vector["input"]["message"]["type"])
        for vector in BOOKS["role_by_type"]["vectors"]
    }
    assert seen == {(role, type_.value) for role in ROLE_SCOPES for type_ in MessageType}


def _plainly(value: Any) -> Mapping[str, Any]:
    """The answer without its texts, in an order of its own."""
    verdicts = [
        {key: verdict[key] for key in ("rule", "effect", "code")} for verdict in value["verdicts"]
    ]
    return {
        "allow": value["allow"],
        "verdicts": sorted(verdicts, key=lambda verdict: verdict["code"]),
        "obligations": sorted(duty["id"] for duty in value["obligations"]),
    }
