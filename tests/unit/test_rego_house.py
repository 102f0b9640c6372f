"""How the policy is written: what a reader may rely on, and the defects that it must not have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from lawbook import (
    REGO,
    Rule,
    annotations,
    bundle,
    decide,
    heads,
    modules_of_tests,
    package_of,
    rules,
    sources,
    table,
    tree,
)
from policy_inputs import asked, calls, finding

from cluster.opa.inspection import inspect
from cluster.opa.native import NativeEngine
from policies.constitution import rules_in
from policies.message import Priority

SHIPPED = sorted(sources().items())
ALL = sorted({**sources(), **modules_of_tests()}.items())
GIVEN_CODE = "policy.undefined"


@pytest.mark.parametrize(("path", "source"), ALL, ids=lambda part: part[:40])
def test_a_module_is_rego_v1_in_a_package_of_its_own(path: str, source: str) -> None:
    parsed = tree(source)
    imports = ["/".join(t["value"] for t in one["path"]["value"]) for one in parsed["imports"]]
    assert "rego/v1" in imports
    assert package_of(parsed) == path.removesuffix(".rego").replace("/", ".").replace(
        "acgs.fixtures_test", "acgs.fixtures"
    )


@pytest.mark.parametrize(("path", "source"), SHIPPED, ids=lambda part: part[:40])
def test_a_package_and_its_rules_say_what_they_are_for(path: str, source: str) -> None:
    told = annotations(source)
    assert told["package"]["title"], path
    for rule in rules():
        if rule.package == package_of(tree(source)):
            assert _about(told, rule)["title"], rule.id


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_what_a_rule_says_is_what_its_annotation_promises(rule: Rule) -> None:
    source = next(text for text in sources().values() if f"package {rule.package}\n" in text)
    custom = _about(annotations(source), rule)["custom"]
    said = rule.says
    if "id" in said:  # a duty
        assert said["id"] == rule.id
        assert said["type"] == custom["type"]
        return
    assert said["rule"] == rule.id
    assert said["code"] == custom["code"]
    assert said["remedy"] == custom.get("remedy", "")
    # One effect is a datum, and the annotation names its default.
    assert said["effect"] == custom["effect"] or rule.id == "acgs.tools.unknown"


def test_a_code_belongs_to_one_rule() -> None:
    codes = [rule.says["code"] for rule in rules() if "code" in rule.says]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"policy\.[a-z_]+", code) for code in codes)


def test_every_objection_names_a_remedy() -> None:
    for rule in rules():
        if rule.says.get("effect") not in (None, "allow"):
            assert rule.says["remedy"], rule.id
            assert rule.says["message"], rule.id


def test_the_readme_lists_every_code() -> None:
    listed = re.findall(
        r"^\| `(policy\.\w+)` \| `([\w.]+)` \| (\w+) \|",
        (REGO / "README.md").read_text(),
        re.MULTILINE,
    )
    effects = {
        (rule.says["code"], rule.id, _effect(rule)) for rule in rules() if "code" in rule.says
    }
    undefined = (GIVEN_CODE, "acgs.governance.decision", "deny")
    assert set(listed) == effects | {undefined}
    assert len(listed) == len(set(listed))


def test_the_text_and_the_tree_name_the_same_rules() -> None:
    assert rules_in(sources().values()) == {rule.id for rule in rules()}


def test_nothing_of_the_policy_shares_a_root_with_the_data() -> None:
    packages = {package_of(tree(source)).split(".")[0] for source in sources().values()}
    assert packages == {"acgs"}
    assert set(table()) == {"cfg"}


def test_no_rule_negates_a_call_that_may_be_undefined() -> None:
    safe = set(_with_defaults())
    for path, source in SHIPPED:
        for expression in _negated(tree(source)):
            name = _negated_name(expression, package_of(tree(source)))
            # A reference into data or input alone is read as OPA reads it: undefined is false.
            assert name in safe or name.startswith(("data.cfg.", "input.")), f"{path}: not {name}"


def test_the_policy_knows_no_clock_no_chance_and_no_network() -> None:
    inspect(bundle())  # raises for a forbidden built-in


# The defects of the original, by the numbers of REFERENCE.md.


def test_defect_19_the_bundle_loads_and_compiles_and_a_valid_message_is_allowed() -> None:
    engine = NativeEngine(bundle(), "acgs.governance.decision")
    engine.close()
    assert decide(asked())["allow"] is True


def test_defect_20_the_entrypoint_is_defined_for_everything() -> None:
    for document in (None, {}, [], "x", 1, asked()):
        decision = decide(document)
        assert set(decision) == {"allow", "verdicts", "obligations"}
        assert decision["verdicts"]


def test_defect_21_personal_data_fires() -> None:
    document = calls("http.request", {"url": "https://api.example.com/", "body": "x"})
    document["findings"] = [finding("pii", "email", "/args/body")]
    codes = {verdict["code"] for verdict in decide(document)["verdicts"]}
    assert "policy.pii_leaves" in codes


def test_defect_22_priorities_rise_as_they_do_in_python() -> None:
    assert table("cfg", "priorities") == {level.word: int(level) for level in Priority}
    assert max(table("cfg", "priorities").values()) == Priority.CRITICAL
    held = {verdict["code"] for verdict in decide(asked({"message.priority": 3}))["verdicts"]}
    assert "policy.critical_priority" in held
    assert decide(asked({"message.priority": 0}))["allow"] is True


def test_defect_23_nothing_is_true_by_default() -> None:
    for path, source in SHIPPED:
        for head, rule in heads(tree(source)):
            if rule.get("default"):
                value = rule["head"].get("value", {"value": True})
                assert value["value"] is not True, f"{path}: default {head}"
                assert value["value"] != "allow", f"{path}: default {head}"


def _about(told: Mapping[str, Mapping[str, Any]], rule: Rule) -> Mapping[str, Any]:
    kind = "obligations" if "id" in rule.says else "verdicts"
    return told[f"{kind}.{rule.name}"]


def _effect(rule: Rule) -> str:
    return "review" if rule.id == "acgs.tools.unknown" else str(rule.says["effect"])


def _with_defaults() -> Iterator[str]:
    for source in sources().values():
        parsed = tree(source)
        for head, rule in heads(parsed):
            if rule.get("default"):
                yield f"data.{package_of(parsed)}.{'.'.join(head)}"


def _negated(node: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if node.get("negated"):
            yield node
        for value in node.values():
            yield from _negated(value)
    elif isinstance(node, list):
        for value in node:
            yield from _negated(value)


def _negated_name(expression: Mapping[str, Any], package: str) -> str:
    """What is negated, as a full name; for a call, the function."""
    terms = expression["terms"]
    term = terms[0] if isinstance(terms, list) else terms
    if term["type"] == "var":
        return f"data.{package}.{term['value']}"
    assert term["type"] == "ref", term
    first, *rest = (str(part["value"]) for part in term["value"])
    if first in ("data", "input"):
        return ".".join([first, *rest])
    if not rest:
        return f"data.{package}.{first}"
    return ".".join(["data.acgs", first, *rest])  # an imported package
