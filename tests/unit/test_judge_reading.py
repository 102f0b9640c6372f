"""Each way in which an answer can be wrong denies under a code of its own."""

from __future__ import annotations

from typing import Any

import pytest

from policies.decision import Effect
from serve_app.judges.reading import PERMITTED, UnreadableError, read


def an_answer(**changes: Any) -> dict[str, Any]:
    return {"allow": True, "verdicts": [], "obligations": [], **changes}


def a_verdict(**changes: Any) -> dict[str, Any]:
    verdict = {"rule": "r", "effect": "allow", "code": "c", "message": "m", "remedy": ""}
    return {**verdict, **changes}


def a_duty(**changes: Any) -> dict[str, Any]:
    return {"id": "o", "type": "redact", "properties": {}, **changes}


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


DENY = a_verdict(effect="deny")
REVIEW = a_verdict(effect="review")


def test_an_allow_that_says_no_more_is_a_verdict_and_not_silence() -> None:
    assert read(an_answer()).verdicts == (PERMITTED,)
    assert PERMITTED.effect is Effect.ALLOW


def test_verdicts_and_obligations_are_taken_as_they_were_said() -> None:
    reading = read(an_answer(verdicts=[REVIEW, a_verdict()], obligations=[a_duty()]))
    assert [verdict.effect for verdict in reading.verdicts] == [Effect.REVIEW, Effect.ALLOW]
    assert reading.obligations[0].type == "redact"


def test_a_denial_with_its_verdict_is_that_verdict() -> None:
    (verdict,) = read(an_answer(allow=False, verdicts=[DENY])).verdicts
    assert (verdict.effect, verdict.code) == (Effect.DENY, "c")


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], "policy.denied_without_reason"),
        ([a_verdict()], "policy.not_allowed"),
    ],
)
def test_allow_false_never_permits(verdicts: list[dict[str, Any]], code: str) -> None:
    reading = read(an_answer(allow=False, verdicts=verdicts))
    assert len(reading.verdicts) == len(verdicts) + 1
    last = reading.verdicts[-1]
    assert (last.effect, last.code) == (Effect.DENY, code)
    assert last.remedy


def test_allow_false_beside_a_review_is_held_and_beside_a_denial_is_denied() -> None:
    held = read(an_answer(allow=False, verdicts=[REVIEW]))
    assert [verdict.effect for verdict in held.verdicts] == [Effect.REVIEW]
    denied = read(an_answer(allow=False, verdicts=[REVIEW, a_verdict(effect="deny")]))
    assert Effect.DENY in [verdict.effect for verdict in denied.verdicts]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "policy.malformed"),
        (True, "policy.malformed"),
        ("allow", "policy.malformed"),
        ([an_answer()], "policy.malformed"),
        ({}, "policy.missing_field"),
        (without(an_answer(), "allow"), "policy.missing_field"),
        (without(an_answer(), "verdicts"), "policy.missing_field"),
        (without(an_answer(), "obligations"), "policy.missing_field"),
        (an_answer(obligation=[]), "policy.unknown_field"),
        (an_answer(allow=1), "policy.wrong_type"),
        (an_answer(allow="true"), "policy.wrong_type"),
        (an_answer(allow=None), "policy.wrong_type"),
        (an_answer(verdicts={}), "policy.wrong_type"),
        (an_answer(verdicts=None), "policy.wrong_type"),
        (an_answer(obligations="none"), "policy.wrong_type"),
        (an_answer(verdicts=["allow"]), "policy.wrong_type"),
        (an_answer(verdicts=[a_verdict(effect="permit")]), "policy.unknown_effect"),
        (an_answer(verdicts=[a_verdict(effect="ALLOW")]), "policy.unknown_effect"),
        (an_answer(verdicts=[a_verdict(effect="")]), "policy.unknown_effect"),
        (an_answer(verdicts=[a_verdict(effect=None)]), "policy.wrong_type"),
        (an_answer(verdicts=[a_verdict(code=7)]), "policy.wrong_type"),
        (an_answer(verdicts=[a_verdict(rule="")]), "policy.missing_field"),
        (an_answer(verdicts=[without(a_verdict(), "remedy")]), "policy.missing_field"),
        (an_answer(verdicts=[a_verdict(extra=1)]), "policy.unknown_field"),
        (an_answer(verdicts=[a_verdict()] * 257), "policy.malformed"),
        (an_answer(obligations=[a_duty()] * 65), "policy.malformed"),
        (an_answer(obligations=[a_duty(properties=[])]), "policy.wrong_type"),
        (an_answer(obligations=[without(a_duty(), "type")]), "policy.missing_field"),
        (an_answer(verdicts=[DENY]), "policy.contradiction"),
        (an_answer(verdicts=[a_verdict(), DENY]), "policy.contradiction"),
    ],
)
def test_what_is_not_exactly_an_answer_is_refused(value: object, code: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(value)
    assert caught.value.code == code
