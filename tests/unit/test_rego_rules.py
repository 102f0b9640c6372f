"""Every `test_*` rule beside the policy, as `opa test` would run it; and that none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from lawbook import Rule, books, rules, sources, modules_of_tests


def _tests() -> Iterator[tuple[str, str]]:
    for source in modules_of_tests().values():
        package = re.search(r"^package (\S+)$", source, re.MULTILINE)
        assert package is not None
        for name in dict.fromkeys(re.findall(r"^(test_\w+)", source, re.MULTILINE)):
            yield package[1], name


TESTS = sorted(_tests())


@pytest.mark.parametrize(("package", "name"), TESTS, ids=lambda part: part)
def test_rego(package: str, name: str) -> None:
    # An undefined test is a failed one; eval_document raises for it.
    assert books().eval_document(f"{package}.{name}") is True


def test_every_module_has_its_tests_beside_it() -> None:
    missing = [
        path
        for path in sources()
        if path.removesuffix(".rego") + "_test.rego" not in modules_of_tests()
    ]
    assert not missing


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_every_rule_is_tested_both_ways(rule: Rule) -> None:
    names = [name for package, name in TESTS if package == f"{rule.package}_test"]
    assert any(name.startswith(f"test_{rule.name}_speaks_") for name in names)
    assert any(name.startswith(f"test_{rule.name}_is_silent_") for name in names)


# The defaults that stand behind chains which cover everything by themselves.
NEVER_REACHED = {
    "acgs/arguments.rego": ["default fault(_, _) := \"type\""],
    "acgs/governance.rego": ["default decision := {"],
}


def test_the_tests_reach_every_line_of_the_policy() -> None:
    covered: dict[str, set[int]] = {}
    everything: dict[str, set[int]] = {}
    for package, name in TESTS:
        books().eval_document(f"{package}.{name}", coverage=True)
        for path, report in books().last_coverage["files"].items():
            hit, missed = _rows(report, "covered"), _rows(report, "not_covered")
            covered.setdefault(path, set()).update(hit)
            everything.setdefault(path, set()).update(hit | missed)
    unreached = {
        path: [source.splitlines()[row - 1] for row in sorted(everything[path] - covered[path])]
        for path, source in sources().items()
    }
    left_out = {
        path: [line for line in lines if not line.startswith(("\t", "}"))]
        for path, lines in unreached.items()
    }
    assert {path: lines for path, lines in left_out.items() if lines} == NEVER_REACHED


def _rows(report: Mapping[str, Any], key: str) -> set[int]:
    return {
        row
        for part in report.get(key) or ()
        for row in range(part["start"]["row"], part["end"]["row"] + 1)
    }
