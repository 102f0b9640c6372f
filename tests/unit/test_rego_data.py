"""The tables of the policy: complete, well formed, and of one mind with the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from lawbook import books, table

from cluster.constants import CONSTITUTIONAL_HASH
from policies.decision import Obligation
from policies.findings import KINDS, OVERFLOW, scan
from policies.message import AGENT_ID, MessageType
from policies.panel_law import REQUIRE_PANEL, panel_demands
from policies.roles import ROLE_SCOPES
from policies.wording import words_of

from builders import a_decision

TYPES = {type_.value for type_ in MessageType}
TOOLS: Mapping[str, Mapping[str, Any]] = table("cfg", "tools")
ENTRY = {
    "effect",
    "roles",
    "leaves",
    "label_max",
    "touches",
    "high_impact",
    "pii",
    "expects",
    "closed",
    "held_above",
    "required",
    "args",
}
BOUNDS = {
    "text": {"length_max"},
    "string": {"length_max", "pattern"},
    "url": {"length_max"},
    "strings": {"count_max", "length_max", "pattern"},
    "integer": {"min", "max"},
    "number": {"min", "max"},
    "boolean": set(),
    "object": {"count_max"},
    "values": {"count_max"},
}


def test_the_policy_enforces_the_constitution_of_this_build() -> None:
    assert table("cfg", "constitutional_hash") == CONSTITUTIONAL_HASH


def test_findings_are_of_the_kinds_that_the_scans_know() -> None:
    assert set(table("cfg", "finding_kinds")) == set(KINDS)
    assert OVERFLOW == "overflow"  # as acgs.findings names it


def test_roles_are_those_of_the_api() -> None:
    assert set(table("cfg", "roles")) == set(ROLE_SCOPES)


@pytest.mark.parametrize("role", sorted(ROLE_SCOPES))
def test_a_role_sends_when_its_scopes_let_it_send(role: str) -> None:
    entry = table("cfg", "roles", role)
    assert set(entry) == {"types", "broadcasts", "priority_max", "clearance"}
    assert bool(entry["types"]) is ("messages:send" in ROLE_SCOPES[role])
    assert set(entry["types"]) <= TYPES
    assert set(entry["broadcasts"]) <= set(entry["types"])
    assert entry["priority_max"] in table("cfg", "priorities")
    assert entry["clearance"] in table("cfg", "labels", "ranks")


def test_every_type_of_message_is_an_action_and_has_a_size() -> None:
    powers = table("cfg", "powers")
    assert set(powers["action_of"]) == TYPES
    assert set(powers["action_of"].values()) <= set(powers["named_actions"])
    assert set(table("cfg", "limits", "size_max")) == TYPES
    assert set(table("cfg", "calls", "types")) <= TYPES


def test_the_powers_are_those_of_the_reference() -> None:
    powers = table("cfg", "powers")
    assert {role: set(actions) for role, actions in powers["actions"].items()} == {
        "executive": {"propose", "synthesize", "query"},
        "legislative": {"extract_rules", "synthesize", "query"},
        "judicial": {"validate", "audit", "query"},
    }
    assert set(powers["names"]) == set(powers["actions"]) == set(powers["validated"])
    assert powers["validated"] == {"executive": True, "legislative": True, "judicial": False}
    assert "validate" not in powers["ordinary"]


def test_unknown_tools_wait_for_a_person() -> None:
    assert table("cfg", "calls", "unknown_tool") == "review"


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_is_described_in_full(name: str) -> None:
    tool, ranks = TOOLS[name], table("cfg", "labels", "ranks")
    assert set(tool) - {"panel"} == ENTRY
    assert tool["effect"] in {"allow", "review", "deny"}
    assert set(tool["roles"]) <= set(ROLE_SCOPES)
    assert set(tool["roles"].values()) <= {True}
    assert isinstance(tool["leaves"], bool)
    assert isinstance(tool["high_impact"], bool)
    assert isinstance(tool["closed"], bool)
    assert tool["label_max"] in ranks
    assert tool["touches"] in ranks
    assert tool["pii"] in {"allow", "redact", "review", "deny"}
    assert set(tool["required"]) <= set(tool["args"])
    assert set(tool["held_above"]) <= set(tool["args"])
    for bound in tool["held_above"].values():
        assert isinstance(bound, int | float)


def test_every_panel_of_the_table_is_one_that_is_understood() -> None:
    panels = [tool["panel"] for tool in TOOLS.values() if "panel" in tool]
    assert panels
    for properties in panels:
        duty = Obligation(id="acgs.tools.panel", type=REQUIRE_PANEL, properties=properties)
        assert None not in panel_demands(a_decision(obligations=(duty,)))


SAMPLES = {"email": "ann@example.com", "iban": "DE89370400440532013000"}


@pytest.mark.parametrize(
    ("path", "detector"),
    sorted(
        {
            (path, detector)
            for tool in TOOLS.values()
            for path, detectors in tool["expects"].items()
            for detector in detectors
        }
    ),
)
def test_what_a_tool_expects_is_what_the_scan_finds_there(path: str, detector: str) -> None:
    place = path.removeprefix("/args/")
    sample = SAMPLES[detector]
    content = {"resource": sample} if path == "/resource" else {"args": {place: sample}}
    found = {(finding.kind, finding.detector, finding.path) for finding in scan(content)}
    assert found == {("pii", detector, path)}


def test_what_a_tool_expects_is_an_argument_of_its_own() -> None:
    for name, tool in TOOLS.items():
        for path in tool["expects"]:
            assert path == "/resource" or path.removeprefix("/args/") in tool["args"], name


@pytest.mark.parametrize(
    ("name", "argument"), [(name, arg) for name in sorted(TOOLS) for arg in TOOLS[name]["args"]]
)
def test_an_argument_is_bounded(name: str, argument: str) -> None:
    spec = TOOLS[name]["args"][argument]
    assert set(spec) - {"type", "alone"} == BOUNDS[spec["type"]]
    assert "alone" not in spec or spec["type"] == "strings"
    if "pattern" in spec:
        assert books().eval_query("ok := regex.is_valid(input)", spec["pattern"])[0]["ok"]
        assert spec["pattern"].startswith("^")
    if "min" in spec:
        assert spec["min"] < spec["max"]


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_whose_name_says_that_it_is_high_impact_is(name: str) -> None:
    words = set(table("cfg", "impact", "words"))
    if words & set(words_of(name)):
        assert TOOLS[name]["high_impact"]


def test_tools_that_leave_hold_nothing_restricted() -> None:
    for name, tool in TOOLS.items():
        if tool["leaves"]:
            assert tool["label_max"] != "restricted", name


def test_an_id_in_rego_is_an_id_in_python() -> None:
    for text in ("ab", "a", "", "A1", "a b", "-a", "a" * 64, "a" * 65, "a_b-1", "ab\n", "ä1"):
        found = books().eval_query("ok := regex.match(`^[a-z0-9][a-z0-9_-]{1,63}$`, input)", text)
        assert found[0]["ok"] is bool(AGENT_ID.match(text)), text


def test_hosts_are_plain_lower_case_names() -> None:
    for host in table("cfg", "hosts"):
        assert re.fullmatch(r"[a-z0-9.-]+", host), host
