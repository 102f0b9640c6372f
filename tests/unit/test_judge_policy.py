"""The judge always answers, remembers only what the policy said, and lets nobody in by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from cluster.errors import CircuitOpenError, EngineUnavailableError
from cluster.opa.engine import (
    AnswerError,
    DeadlineError,
    Evaluation,
    EvaluationError,
    RevisionMismatchError,
    UndefinedError,
)
from policies.decision import Effect, Impact, Judgement
from policies.settlement import SettlementLaw, settle
from serve_app.judges.cache import VerdictCache
from serve_app.judges.policy import PolicyJudge
from serve_app.ports import Question

from builders import a_finding, a_message, a_principal

ALLOW = {"allow": True, "verdicts": [], "obligations": []}


class FakeEngine:
    """Answers with `value`, or raises `error`; `asked` are the documents that reached it."""

    name = "opa-embedded"

    def __init__(self, value: object = None, error: Exception | None = None) -> None:
        self.value = ALLOW if value is None else value
        self.error = error
        self.revision = "sha256:" + "1" * 64
        self.asked: list[bytes] = []
        self.deadlines: list[float] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def evaluate(self, document: bytes, deadline_s: float) -> Evaluation:
        self.asked.append(document)
        self.deadlines.append(deadline_s)
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return Evaluation(self.value, self.revision)

    async def check(self) -> str:
        return "fine"

    async def close(self) -> None:
        pass


def a_question(**message: Any) -> Question:
    return Question(principal=a_principal(), message=a_message(**message), findings=(), target=None)


def judge_of(engine: FakeEngine, cache: VerdictCache | None = None, **hooks: Any) -> PolicyJudge:
    return PolicyJudge(engine, VerdictCache() if cache is None else cache, timeout_s=0.25, **hooks)


def judged(judge: PolicyJudge, *questions: Question) -> Sequence[Judgement]:
    async def scenario() -> list[Judgement]:
        return [await judge.judge(question) for question in questions]

    return asyncio.run(scenario())


def effect_of(judgement: Judgement) -> Effect:
    law = SettlementLaw(review_from=0.9, deliberate_from=0.5)
    return settle(judgement, Impact(score=0.1, factors={}), law=law).effect


def test_an_allowed_question_is_allowed_under_the_revision_that_said_so() -> None:
    engine = FakeEngine()
    (judgement,) = judged(judge_of(engine), a_question())
    assert effect_of(judgement) is Effect.ALLOW
    assert (judgement.revision, judgement.engine) == (engine.revision, "opa-embedded")
    assert not judgement.cached
    assert engine.deadlines == [0.25]


FAILURES: list[tuple[Exception, str]] = [
    (UndefinedError("x"), "policy.undefined"),
    (EvaluationError("x"), "policy.error"),
    (DeadlineError("x"), "policy.timeout"),
    (AnswerError("x"), "policy.malformed"),
    (EngineUnavailableError("x"), "policy.unavailable"),
    (RevisionMismatchError("x"), "policy.revision_mismatch"),
    (RuntimeError("a bug"), "policy.error"),
    (RecursionError(), "policy.error"),
    (TimeoutError(), "policy.error"),
]


@pytest.mark.parametrize(("error", "code"), FAILURES, ids=repr)
def test_a_failure_denies_with_its_own_code_and_remedy_and_is_not_remembered(
    error: Exception, code: str
) -> None:
    engine = FakeEngine(error=error)
    cache = VerdictCache()
    judge = judge_of(engine, cache)
    for judgement in judged(judge, a_question(), a_question()):
        (verdict,) = judgement.verdicts
        assert (verdict.effect, verdict.code) == (Effect.DENY, code)
        assert verdict.message
        assert verdict.remedy
        assert effect_of(judgement) is Effect.DENY
        assert judgement.revision == engine.revision
    assert len(engine.asked) == 2
    assert cache.size == 0
    engine.error = None
    (judgement,) = judged(judge, a_question())
    assert effect_of(judgement) is Effect.ALLOW


def test_an_error_of_any_other_dependency_denies_too() -> None:
    (judgement,) = judged(judge_of(FakeEngine(error=CircuitOpenError("opa", 1.0))), a_question())
    assert effect_of(judgement) is Effect.DENY


def test_what_is_inside_is_not_told_to_the_caller() -> None:
    engine = FakeEngine(error=EvaluationError("/etc/policies/secret.rego:7: divide by zero"))
    (judgement,) = judged(judge_of(engine), a_question())
    assert "secret" not in repr(judgement)


@pytest.mark.parametrize("value", [True, "allow", [], 1, {"allow": True}, {"allow": "yes"}])
def test_an_answer_that_cannot_be_read_denies_and_is_not_remembered(value: object) -> None:
    cache = VerdictCache()
    (judgement,) = judged(judge_of(FakeEngine(value), cache), a_question())
    assert effect_of(judgement) is Effect.DENY
    assert judgement.verdicts[0].remedy
    assert cache.size == 0


def test_a_question_that_is_no_json_denies() -> None:
    for args in ({"x": "\ud800"}, {"x": float("nan"), "y": 10**30}, {"x": object()}):
        message = replace(a_message(), content={"action": "a", "args": args})
        question = Question(principal=a_principal(), message=message, findings=(), target=None)
        (judgement,) = judged(judge_of(FakeEngine()), question)
        assert [verdict.code for verdict in judgement.verdicts] == ["policy.error"]


def test_a_cancelled_caller_is_cancelled() -> None:
    async def scenario() -> None:
        with pytest.raises(asyncio.CancelledError):
            await judge_of(FakeEngine(error=asyncio.CancelledError())).judge(a_question())  # type: ignore[arg-type]  # a BaseException

    asyncio.run(scenario())


def test_the_same_question_is_asked_once_and_marked_as_cached() -> None:
    engine = FakeEngine()
    cache = VerdictCache()
    first, second = judged(judge_of(engine, cache), a_question(), a_question(id="message-2"))
    assert (first.cached, second.cached) == (False, True)
    assert replace(second, cached=False) == first
    assert len(engine.asked) == 1
    assert (cache.hits, cache.misses) == (1, 1)


def test_a_denial_of_the_policy_is_remembered_like_any_verdict() -> None:
    verdict = {"rule": "r", "effect": "deny", "code": "c", "message": "m", "remedy": "m"}
    engine = FakeEngine({"allow": False, "verdicts": [verdict], "obligations": []})
    first, second = judged(judge_of(engine), a_question(), a_question())
    assert second.cached
    assert first.verdicts == second.verdicts
    assert effect_of(second) is Effect.DENY


def test_a_new_revision_is_asked_anew() -> None:
    engine = FakeEngine()
    judge = judge_of(engine)
    judged(judge, a_question())
    engine.revision = "sha256:" + "2" * 64
    (judgement,) = judged(judge, a_question())
    assert not judgement.cached
    assert judgement.revision == engine.revision


def test_a_verdict_of_a_revision_that_came_meanwhile_is_not_kept_for_the_old_one() -> None:
    engine = FakeEngine()
    cache = VerdictCache()
    judge = judge_of(engine, cache)
    old = engine.revision
    engine.meanwhile = lambda: setattr(engine, "revision", "sha256:" + "2" * 64)
    (judgement,) = judged(judge, a_question())
    assert judgement.revision != old
    assert cache.size == 0


def test_nothing_is_cached_while_nobody_knows_which_revision_will_answer() -> None:
    engine = FakeEngine()
    engine.revision = ""
    first, second = judged(judge_of(engine), a_question(), a_question())
    assert not first.cached
    assert not second.cached
    assert len(engine.asked) == 2


def test_lookups_and_evaluations_are_counted() -> None:
    lookups: list[bool] = []
    evaluated: list[float] = []
    engine = FakeEngine()
    judge = judge_of(engine, on_lookup=lookups.append, on_evaluated=evaluated.append)
    judged(judge, a_question(), a_question())
    engine.error = DeadlineError("late")
    judged(judge, a_question(content={"action": "other"}))
    assert lookups == [False, True, False]
    assert len(evaluated) == 2


def test_obligations_and_reviews_reach_the_bus() -> None:
    verdict = {"rule": "r", "effect": "review", "code": "c", "message": "m", "remedy": "m"}
    duty = {"id": "o", "type": "redact", "properties": {"paths": ["/text"]}}
    engine = FakeEngine({"allow": True, "verdicts": [verdict], "obligations": [duty]})
    (judgement,) = judged(judge_of(engine), a_question())
    assert effect_of(judgement) is Effect.REVIEW
    assert judgement.obligations[0].properties == {"paths": ["/text"]}


def test_defect_4_another_agent_does_not_get_the_verdict_of_the_first() -> None:
    engine = FakeEngine()
    judge = judge_of(engine)
    trusted = a_question()
    stranger = replace(trusted, principal=a_principal(agent="stranger", roles=frozenset()))
    seen = replace(trusted, findings=(a_finding(),))
    judgements = judged(judge, trusted, stranger, seen)
    assert [judgement.cached for judgement in judgements] == [False, False, False]
    assert len(set(engine.asked)) == 3
