"""Decisions as readable cases: scanned, judged by the shipped policy, weighed and settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
import yaml
from lawbook import ROOT, decide

from cluster.law import load_constitution
from policies.decision import Effect, Judgement, Obligation, Verdict
from policies.findings import scan
from policies.impact import AgentHistory, ImpactTable, weigh
from policies.message import Message, MessageType, Priority
from policies.settlement import Settlement, SettlementLaw, settle
from serve_app.judges.question import policy_input
from serve_app.ports import Question

from builders import NOW, a_message, a_principal

LAW = load_constitution()
FIELDS = {"type", "to", "priority", "labels"}


def _cases() -> Iterator[Any]:
    for path in sorted((ROOT / "tests" / "cases").glob("*.yaml")):
        for case in yaml.safe_load(path.read_text()):
            assert set(case) <= {"case", "by", "says", "about", "then"}, case
            yield pytest.param(case, id=f"{path.stem}: {case['case']}")


@pytest.mark.parametrize("case", list(_cases()))
def test_case(case: Mapping[str, Any]) -> None:
    settlement = _settled(case)
    then = case["then"]
    assert settlement.effect.value == then["effect"]
    assert [reason.code for reason in settlement.reasons] == sorted(then["because"])
    assert [duty.type for duty in settlement.obligations] == then.get("owes", [])
    if "lane" in then:
        assert settlement.lane.value == then["lane"]


def _settled(case: Mapping[str, Any]) -> Settlement:
    message = _message(case["says"])
    question = Question(
        principal=a_principal(roles=frozenset(case.get("by", ["agent"]))),
        message=message,
        findings=scan(message.content),
        target=case.get("about"),
    )
    answer = decide(orjson.loads(policy_input(question)))
    judgement = Judgement(
        verdicts=tuple(
            Verdict(**{**verdict, "effect": Effect(verdict["effect"])})
            for verdict in answer["verdicts"]
        ),
        obligations=tuple(Obligation(**duty) for duty in answer["obligations"]),
        revision="",
        engine="opa-embedded",
    )
    impact = weigh(
        message, history=AgentHistory(), table=ImpactTable.from_mapping(LAW.impact), now=NOW
    )
    return settle(judgement, impact, law=SettlementLaw.from_mapping(LAW.settlement))


def _message(says: Mapping[str, Any]) -> Message:
    return a_message(
        type=MessageType(says.get("type", "command")),
        priority=Priority[says.get("priority", "normal").upper()],
        recipient=says.get("to", "mailer"),
        metadata={"labels": says["labels"]} if "labels" in says else {},
        content={name: value for name, value in says.items() if name not in FIELDS},
    )
