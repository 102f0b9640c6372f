"""No JSON whatever raises from the judge, and only a well-formed permission permits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from cluster.opa.engine import Evaluation
from policies.decision import Effect, Impact, Judgement
from policies.settlement import SettlementLaw, settle
from serve_app.judges.cache import VerdictCache
from serve_app.judges.policy import PolicyJudge
from serve_app.ports import Question

from builders import a_message, a_principal

QUESTION = Question(principal=a_principal(), message=a_message(), findings=(), target=None)
LAW = SettlementLaw(review_from=1.0, deliberate_from=1.0)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
texts = st.sampled_from(["", "a", "allow", "deny"])
effects = st.sampled_from(["allow", "review", "deny", "ALLOW", "permit", ""])


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Usually what is usual, sometimes anything: so that most of an answer is right."""
    return st.integers(0, 9).flatmap(lambda draw: usual if draw else json_values)


def an_object(fields: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with these fields; some may be missing, and one may be too many."""
    names = sorted(fields)
    whole = st.fixed_dictionaries({name: mostly(field) for name, field in fields.items()})
    lost = st.sampled_from([*[""] * 20, *names])
    more = st.sampled_from([{}] * 20 + [{"extra": 1}])
    return st.builds(
        lambda all_of, gone, extra: {k: v for k, v in all_of.items() if k != gone} | extra,
        whole,
        lost,
        more,
    )


verdicts = an_object(
    {"rule": texts, "effect": effects, "code": texts, "message": texts, "remedy": texts}
)
obligations = an_object({"id": texts, "type": texts, "properties": st.just({})})
near_answers = an_object(
    {
        "allow": st.booleans(),
        "verdicts": st.lists(verdicts, max_size=3),
        "obligations": st.lists(obligations, max_size=2),
    }
)


class _Saying:
    """An engine that says one thing."""

    name = "opa-embedded"
    revision = "sha256:" + "1" * 64

    def __init__(self, value: object) -> None:
        self._value = value

    async def evaluate(self, document: bytes, deadline_s: float) -> Evaluation:
        assert document
        assert deadline_s > 0
        return Evaluation(self._value, self.revision)

    async def check(self) -> str:
        return ""

    async def close(self) -> None:
        pass


def judged(value: object) -> Judgement:
    judge = PolicyJudge(_Saying(value), VerdictCache(), timeout_s=1.0)
    return asyncio.run(judge.judge(QUESTION))


def is_exactly_a_permission(value: Any) -> bool:
    """The definition, written down a second time and as plainly as can be."""
    return (
        type(value) is dict
        and set(value) == {"allow", "verdicts", "obligations"}
        and value["allow"] is True
        and type(value["verdicts"]) is list
        and type(value["obligations"]) is list
        and all(
            type(verdict) is dict
            and set(verdict) == {"rule", "effect", "code", "message", "remedy"}
            and all(type(text) is str for text in verdict.values())
            and verdict["rule"] != ""
            and verdict["code"] != ""
            and verdict["effect"] == "allow"
            for verdict in value["verdicts"]
        )
        and all(
            type(duty) is dict
            and set(duty) == {"id", "type", "properties"}
            and all(type(duty[name]) is str and duty[name] != "" for name in ("id", "type"))
            and type(duty["properties"]) is dict
            for duty in value["obligations"]
        )
    )


@given(json_values | near_answers)
@example({"allow": True, "verdicts": [], "obligations": []})
@example({"allow": 1, "verdicts": [], "obligations": []})
@example({"allow": False, "verdicts": [], "obligations": []})
def test_an_answer_allows_if_and_only_if_it_is_exactly_a_permission(value: object) -> None:
    judgement = judged(value)
    effect = settle(judgement, Impact(score=0.0, factors={}), law=LAW).effect
    assert (effect is Effect.ALLOW) == is_exactly_a_permission(value)


@given(near_answers)
def test_every_refusal_of_an_answer_carries_a_code_and_a_remedy(value: object) -> None:
    for verdict in judged(value).verdicts:
        assert verdict.rule
        assert verdict.code
        if verdict.rule == "judge.policy":
            assert verdict.code.startswith("policy.")
            assert verdict.remedy
