"""What holds of the policy for every input: it answers, only tightens, and its shortcut is one."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lawbook import bundle, decide, table
from policy_inputs import asked

from cluster.opa.engine import ENTRYPOINT, Bundle
from cluster.opa.native import NativeEngine
from policies.message import MessageType
from policies.roles import ROLE_SCOPES

SEVERITY = {"allow": 0, "review": 1, "deny": 2}
TOOLS = [*table("cfg", "tools"), "frobnicate", "deleteUser", "query", "validate", ""]
LABELS = [*table("cfg", "labels", "ranks"), "odd"]
PATHS = ["", "/text", "/resource", "/args/to", "/args/to/0", "/args/body", "/args/url"]
ARGUMENTS: Mapping[str, list[Any]] = {
    "to": ["ann@example.com", ["ann@example.com"], "DE02", 5],
    "url": ["https://api.example.com/", "https://evil.example/"],
    "path": ["notes/a.md", "../a"],
    "query": ["x", {}],
    "sql": ["select 1", "drop table a"],
    "amount": [0, 1, 100, 100.5, 1e6, 1e9, "1", None],
    "currency": ["EUR", "eur"],
    "order": ["o-1"],
    "limit": [0, 1, 1.5, 100],
    "text": ["x"],
    "title": ["x"],
    "command": ["ls"],
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
findings = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["pii", "secret", "injection"]),
        "detector": st.sampled_from(["email", "iban", "overflow", "any"]),
        "path": st.sampled_from(PATHS),
        "start": st.just(0),
        "end": st.just(4),
    }
)
targets = st.none() | st.fixed_dictionaries(
    {
        "known": st.booleans(),
        "agent": st.sampled_from(["writer", "planner"]),
        "roles": st.lists(st.sampled_from(["agent", "executive", "judicial"]), max_size=2),
    }
)


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    """Well-formed inputs, near enough to good ones that most rules speak now and then."""
    tool = draw(st.sampled_from(TOOLS))
    names = draw(st.lists(st.sampled_from(sorted(ARGUMENTS)), unique=True, max_size=3))
    required = list(table("cfg", "tools").get(tool, {}).get("required", ()))
    args = {name: draw(st.sampled_from(ARGUMENTS.get(name, ["x"]))) for name in {*names, *required}}
    return asked(
        {
            "principal.roles": draw(
                st.one_of(
                    st.just(["agent"]),
                    st.lists(st.sampled_from([*ROLE_SCOPES, "root"]), max_size=3),
                )
            ),
            "message.tenant": draw(st.sampled_from(["acme", "acme", "acme", "globex"])),
            "message.sender": draw(st.sampled_from(["writer", "writer", "writer", "boss"])),
            "message.recipient": draw(st.sampled_from(["mailer", "mailer", "*", None])),
            "message.type": draw(st.sampled_from([type_.value for type_ in MessageType])),
            "message.priority": draw(st.integers(0, 3)),
            "message.constitutional_hash": draw(
                st.sampled_from(["cdd01ef066bc6cf2", "cdd01ef066bc6cf2", ""])
            ),
            "message.action": draw(st.sampled_from([tool, tool, tool, "wipe", "audit", "note"])),
            "message.tool": tool,
            "message.args": args,
            "message.content_size": draw(st.sampled_from([0, 119, 4096, 4097, 2_000_000])),
            "message.metadata": draw(
                st.one_of(
                    st.just({}),
                    st.builds(
                        lambda labels: {"labels": labels},
                        st.lists(st.sampled_from(LABELS), max_size=2),
                    ),
                )
            ),
            "findings": draw(st.lists(findings, max_size=2)),
            "target": draw(targets),
        }
    )


@st.composite
def broken(draw: st.DrawFn) -> Any:
    """Inputs in which one place holds anything at all."""
    document = draw(inputs())
    part = draw(st.sampled_from(["principal", "message", "findings", "target", None]))
    if part is None:
        return draw(json_values)
    node, key = document, part
    if isinstance(document[part], dict) and draw(st.booleans()):
        node, key = document[part], draw(st.sampled_from(sorted(document[part])))
    if draw(st.booleans()):
        del node[key]
    else:
        node[key] = draw(json_values)
    return document


def severity(decision: Mapping[str, Any]) -> int:
    """How strict the answer is: the strictest of what was said."""
    return max(SEVERITY[verdict["effect"]] for verdict in decision["verdicts"])


def assert_well_formed(decision: Any) -> None:
    assert set(decision) == {"allow", "verdicts", "obligations"}
    assert isinstance(decision["allow"], bool)
    for verdict in decision["verdicts"]:
        assert set(verdict) == {"rule", "effect", "code", "message", "remedy"}
        assert all(isinstance(text, str) for text in verdict.values())
    for duty in decision["obligations"]:
        assert set(duty) == {"id", "type", "properties"}
    effects = [verdict["effect"] for verdict in decision["verdicts"]]
    assert effects, "silence is never an answer"
    assert decision["allow"] is (set(effects) == {"allow"})
    rules = [verdict["rule"] for verdict in decision["verdicts"]]
    assert len(rules) == len(set(rules))


@settings(deadline=None)
@given(inputs())
def test_a_well_formed_input_gets_a_well_formed_answer(document: dict[str, Any]) -> None:
    decision = decide(document)
    assert_well_formed(decision)
    assert decision["verdicts"][0]["code"] != "policy.input_invalid"


@settings(deadline=None)
@given(broken())
def test_any_other_input_gets_one_too(document: Any) -> None:
    assert_well_formed(decide(document))


@settings(deadline=None)
@given(inputs(), findings)
def test_a_finding_more_never_makes_it_milder(document: dict[str, Any], more: Any) -> None:
    stricter = copy.deepcopy(document)
    stricter["findings"].append(more)
    assert severity(decide(stricter)) >= severity(decide(document))


@settings(deadline=None)
@given(inputs(), st.sampled_from(LABELS))
def test_a_label_more_never_makes_it_milder(document: dict[str, Any], more: str) -> None:
    stricter = copy.deepcopy(document)
    stricter["message"]["metadata"].setdefault("labels", []).append(more)
    assert severity(decide(stricter)) >= severity(decide(document))


@settings(deadline=None)
@given(inputs())
def test_more_urgency_never_makes_it_milder(document: dict[str, Any]) -> None:
    levels = [
        severity(decide({**document, "message": {**document["message"], "priority": priority}}))
        for priority in range(4)
    ]
    assert levels == sorted(levels)


@settings(deadline=None)
@given(inputs(), st.sampled_from([("message", "tenant"), ("message", "sender")]))
def test_nobody_speaks_for_another(document: dict[str, Any], place: tuple[str, str]) -> None:
    document[place[0]][place[1]] = "somebody-else"
    assert severity(decide(document)) == SEVERITY["deny"]


@settings(deadline=None)
@given(inputs())
def test_findings_in_another_order_are_the_same_findings(document: dict[str, Any]) -> None:
    turned = {**document, "findings": document["findings"][::-1]}
    assert decide(turned) == decide(document)


# The shortcut, under the tables as they are and under tables that somebody changed.
CHANGES: Mapping[str, tuple[str, Any]] = {
    "none": ("cfg.hosts", table("cfg", "hosts")),
    "another constitution": ("cfg.constitutional_hash", "0"),
    "agents send nothing": ("cfg.roles.agent.types", {}),
    "agents are slow": ("cfg.roles.agent.priority_max", "low"),
    "agents see little": ("cfg.roles.agent.clearance", "public"),
    "agents are a power": (
        "cfg.powers.names",
        {"agent": True, "executive": True, "legislative": True, "judicial": True},
    ),
    "a verb is constitutional": (
        "cfg.powers.named_actions",
        {"email.send": True, "say": True, "validate": True},
    ),
    "the executive is idle": ("cfg.powers.actions.executive", {}),
    "judges do all": (
        "cfg.roles.judicial.types",
        dict.fromkeys((type_.value for type_ in MessageType), True),
    ),
    "nobody proposes": ("cfg.powers.ordinary", {"query": True}),
    "unlabelled is confidential": ("cfg.labels.unlabelled", "confidential"),
    "high is for people": ("cfg.impact.held_from_priority", "high"),
    "commands are short": ("cfg.limits.size_max.command", 100),
    "no arguments": ("cfg.limits.arguments_max", 0),
    "unknown tools run": ("cfg.calls.unknown_tool", "allow"),
    "mails are reviewed": ("cfg.tools.email.send.effect", "review"),
    "mails are high impact": ("cfg.tools.email.send.high_impact", True),
    "no mails for agents": ("cfg.tools.email.send.roles", {"executive": True}),
    "mails touch secrets": ("cfg.tools.email.send.touches", "restricted"),
    "mails are public": ("cfg.tools.email.send.label_max", "public"),
    "a mail has a body": ("cfg.tools.email.send.required", ["body"]),
    "few results": ("cfg.tools.search.held_above", {"limit": 1}),
}


@cache
def engines(change: str) -> tuple[NativeEngine, NativeEngine]:
    """The policy under this change of its data, as it is and without its shortcut."""
    files = dict(bundle().modules())
    data = copy.deepcopy(table())
    place, value = CHANGES[change]
    node, key = _node(data, place)
    assert key in node
    node[key] = value
    files["data.json"] = json.dumps(data)
    slow = {**files, "acgs/ordinary.rego": "package acgs.ordinary\n\nimport rego.v1\n"}
    return (
        NativeEngine(Bundle.of(files), ENTRYPOINT),
        NativeEngine(Bundle.of(slow), ENTRYPOINT),
    )


def _node(data: dict[str, Any], place: str) -> tuple[dict[str, Any], str]:
    """The mapping and the key at this dotted place; keys may hold dots themselves."""
    node, rest = data, place
    while True:
        key = max((key for key in node if rest == key or rest.startswith(f"{key}.")), key=len)
        if rest == key:
            return node, key
        node, rest = node[key], rest[len(key) + 1 :]


@pytest.mark.parametrize("change", sorted(CHANGES))
@settings(max_examples=60, deadline=None)  # the first example compiles two policies
@given(data=st.data())
def test_the_shortcut_decides_as_the_rules_do(change: str, data: st.DataObject) -> None:
    document = json.dumps(data.draw(st.one_of(inputs(), ordinary_inputs()))).encode()
    short, long = engines(change)
    assert short.evaluate(document) == long.evaluate(document)


SECRET = {"kind": "secret", "detector": "any", "path": "/text", "start": 0, "end": 4}


@st.composite
def ordinary_inputs(draw: st.DrawFn) -> dict[str, Any]:
    """Inputs that the shortcut recognises unless one thing is unusual about them."""
    return asked(
        {
            "message.type": draw(
                st.sampled_from(["command", "query", "event", "constitutional_validation"])
            ),
            "message.priority": draw(st.integers(0, 2)),
            "message.content_size": draw(st.sampled_from([100, 101, 4096])),
            **draw(
                st.sampled_from(
                    [
                        {},
                        {"message.args": {}},
                        {
                            "message.action": "search",
                            "message.tool": "search",
                            "message.args": {"query": "x", "limit": 2},
                        },
                        {"message.action": "note", "message.tool": "note", "message.args": {}},
                        {"message.action": "", "message.tool": "", "message.args": {}},
                        {"principal.roles": ["executive"]},
                        {"principal.roles": ["legislative"]},
                        {"principal.roles": ["judicial"]},
                        {"principal.roles": ["executive", "judicial"]},
                        {"principal.roles": ["agent", "agent"]},
                        {"findings": [SECRET]},
                        {"message.recipient": "*"},
                        {"message.recipient_tenant": "globex"},
                        {"message.metadata": {"labels": ["restricted"]}},
                        {"message.action": "x" * 257, "message.tool": ""},
                        {"message.action": "", "message.tool": "x" * 257, "message.args": {}},
                        {"message.resource": "x" * 2049},
                    ]
                )
            ),
        }
    )


def test_the_shortcut_recognises_what_is_ordinary() -> None:
    """Else the property above would hold of a shortcut that nobody takes."""
    reached = NativeEngine(bundle(), "acgs.ordinary.call")
    assert reached.evaluate(json.dumps(asked()).encode()) is True
