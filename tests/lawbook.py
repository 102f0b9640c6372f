"""The policy as tests read it: its modules, its rules, and somebody to ask.

The modules are asked through OPA's library, with their tests beside them. What is said about the
rules (names, codes, effects) comes from OPA's own syntax tree, not from a search in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from cluster.opa.bundles import load_folder, read_folder
from cluster.opa.engine import ENTRYPOINT, Bundle
from cluster.opa.native import NativeEngine, load_library

ROOT: Final = Path(__file__).resolve().parents[1]
REGO: Final = ROOT / "policies" / "rego"
VECTORS: Final = ROOT / "tests" / "vectors"
_METADATA: Final = re.compile(r"^# METADATA\n((?:#.*\n)+)(?=(\S+))", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """One rule as it stands in the tree: who it says it is, and what it says."""

    package: str
    name: str
    says: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.package}.{self.name}"


@cache
def bundle() -> Bundle:
    """The policy as it is shipped."""
    return load_folder(REGO)


@cache
def sources() -> Mapping[str, str]:
    """Every module that is shipped, by its path."""
    return dict(bundle().modules())


@cache
def modules_of_tests() -> Mapping[str, str]:
    """Every module of tests, by its path."""
    modules = read_folder(REGO, with_tests=True).modules()
    return {path: text for path, text in modules if path.endswith("_test.rego")}


@cache
def table(*place: str) -> Any:
    """What stands at this place of the policy's data."""
    merged: dict[str, Any] = {}
    for _, document in bundle().documents():
        _merge(merged, json.loads(document))
    value: Any = merged
    for key in place:
        value = value[key]
    return value


@cache
def books() -> Any:
    """An `OpaEngine` that knows the policy, its data and its tests; ask it with `eval_*`."""
    load_library()
    from opa_bindings import OpaEngine

    engine = OpaEngine()
    for path, source in {**sources(), **modules_of_tests()}.items():
        engine.add_policy(path, source)
    engine.add_data(table())
    return engine


@cache
def _judge() -> NativeEngine:
    return NativeEngine(bundle(), ENTRYPOINT)


def decide(document: object) -> Any:
    """What the shipped policy says about this input."""
    return _judge().evaluate(json.dumps(document).encode())


@cache
def tree(source: str) -> Mapping[str, Any]:
    """OPA's own syntax tree of a module."""
    load_library()
    from opa_bindings import OpaEngine

    with OpaEngine() as engine:
        engine.add_data({"source": source})
        answers = engine.eval_query('tree := rego.parse_module("module.rego", data.source)')
    parsed: Mapping[str, Any] = answers[0]["tree"]
    return parsed


def package_of(parsed: Mapping[str, Any]) -> str:
    """The dotted name of a module's package, without `data`."""
    return ".".join(str(term["value"]) for term in parsed["package"]["path"][1:])


def heads(parsed: Mapping[str, Any]) -> Iterator[tuple[list[str], Mapping[str, Any]]]:
    """Each rule of a module: the path of its head, and the rule."""
    for rule in parsed.get("rules", ()):
        yield [str(term["value"]) for term in rule["head"]["ref"]], rule


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule that may speak: the heads `verdicts.<name>` and `obligations.<name>`."""
    return tuple(_rules())


def _rules() -> Iterator[Rule]:
    for source in sources().values():
        parsed = tree(source)
        constants = {tuple(path): rule["head"] for path, rule in heads(parsed)}
        for path, rule in heads(parsed):
            if len(path) == 2 and path[0] in ("verdicts", "obligations"):
                said = _said(rule["head"]["value"], constants)
                yield Rule(package_of(parsed), path[1], said)


def _said(value: Mapping[str, Any], constants: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    if value["type"] == "call":
        function, rule, code, message, remedy = value["value"]
        effect = function["value"][-1]["value"]
        terms = {"rule": rule, "code": code, "message": message, "remedy": remedy}
        return {"effect": effect, **{key: term.get("value") for key, term in terms.items()}}
    if value["type"] == "var":
        return _said(constants[(value["value"],)]["value"], constants)
    assert value["type"] == "object", value
    return {key["value"]: term.get("value") for key, term in value["value"]}


def annotations(source: str) -> Mapping[str, Mapping[str, Any]]:
    """The METADATA of a module, by the head that each block stands above."""
    return {
        head: yaml.safe_load(re.sub(r"^# ?", "", block, flags=re.MULTILINE))
        for block, head in _METADATA.findall(source)
    }


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            assert key not in into, f"{key} stands in two data files"
            into[key] = value
