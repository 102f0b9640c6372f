"""Every `test_*` rule beside the policy, as `opa test` would run it; and that none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from lawbook import Rule, books, modules_of_tests, rules, sources

# The defaults that stand behind chains which cover everything by themselves.
NEVER_REACHED = {
    "acgs/arguments.rego": ['default fault(_, _) := "type"'],
    "acgs/governance.rego": ["default decision := {"],
}


def _tests() -> Iterator[tuple[str, str]]:
    for source in modules_of_tests().values():
        package = re.search(r"^package (\S+)$", source, re.MULTILINE)
        assert package is not None
        for name in dict.fromkeys(re.findall(r"^(test_\w+)", source, re.MULTILINE)):
            yield package[1], name


TESTS = sorted(_tests())


@dataclass(frozen=True)
class Run:
    """One package of tests, evaluated at once: compiling takes longer than they all do."""

    results: Mapping[str, object]
    covered: Mapping[str, frozenset[int]]
    missed: Mapping[str, frozenset[int]]


@cache
def run(package: str) -> Run:
    results = books().eval_document(package, coverage=True)
    files: Mapping[str, Any] = books().last_coverage["files"]
    return Run(
        results=results,
        covered={path: _rows(report.get("covered")) for path, report in files.items()},
        missed={path: _rows(report.get("not_covered")) for path, report in files.items()},
    )


@pytest.mark.parametrize(("package", "name"), TESTS, ids=str)
def test_rego(package: str, name: str) -> None:
    # A rule that is undefined is not in the document, and a test that is undefined has failed.
    assert run(package).results.get(name) is True


def test_every_module_has_its_tests_beside_it() -> None:
    wanted = {path.removesuffix(".rego") + "_test.rego" for path in sources()}
    assert not wanted - modules_of_tests().keys()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_every_rule_is_tested_both_ways(rule: Rule) -> None:
    names = [name for package, name in TESTS if package == f"{rule.package}_test"]
    assert any(name.startswith(f"test_{rule.name}_speaks_") for name in names)
    assert any(name.startswith(f"test_{rule.name}_is_silent_") for name in names)


def test_the_tests_reach_every_rule_of_the_policy() -> None:
    runs = [run(package) for package in {package for package, _ in TESTS}]
    left_out = {}
    for path, source in sources().items():
        covered = frozenset[int]().union(*(one.covered.get(path, frozenset()) for one in runs))
        known = covered.union(*(one.missed.get(path, frozenset()) for one in runs))
        lines = [source.splitlines()[row - 1] for row in sorted(known - covered)]
        # A head is reached when its body held; the lines of a body are not counted one by one.
        left_out[path] = [line for line in lines if not line.startswith(("\t", "}"))]
    assert {path: lines for path, lines in left_out.items() if lines} == NEVER_REACHED


def _rows(ranges: list[Mapping[str, Mapping[str, int]]] | None) -> frozenset[int]:
    return frozenset(
        row for part in ranges or () for row in range(part["start"]["row"], part["end"]["row"] + 1)
    )
