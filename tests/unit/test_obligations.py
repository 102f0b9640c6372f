"""Obligations: fulfilled before the message leaves, or it does not leave."""

from __future__ import annotations

import pytest

from policies.decision import Effect, Lane, Obligation
from policies.findings import scan
from policies.message import Message
from policies.obligations import fulfil, uphold
from policies.settlement import Settlement

from builders import a_message, an_obligation

MAIL = {
    "action": "email.send",
    "args": {"to": "ann@example.org", "body": "write to bob@example.org"},
}


def released(*obligations: Obligation) -> Message:
    return fulfil(a_message(content=MAIL), obligations, scan(MAIL))


def test_only_the_strings_that_the_policy_names_are_redacted() -> None:
    args = released(an_obligation(properties={"paths": ["/args/body"]})).args
    assert args["to"] == "ann@example.org"
    assert "bob@example.org" not in str(args["body"])


@pytest.mark.parametrize("paths", [None, [], ["/args/nowhere"], "/args/body"])
def test_a_redaction_that_is_not_clear_about_where_redacts_everything(paths: object) -> None:
    properties = {} if paths is None else {"paths": paths}
    text = str(released(an_obligation(properties=properties)).content)
    assert "ann@example.org" not in text
    assert "bob@example.org" not in text


def test_without_an_obligation_nothing_is_changed() -> None:
    assert released().content == MAIL


def a_settlement(effect: Effect, *obligations: Obligation) -> Settlement:
    return Settlement(effect=effect, lane=Lane.FAST, reasons=(), obligations=obligations)


def test_a_permission_with_an_unknown_duty_is_a_denial() -> None:
    upheld = uphold(a_settlement(Effect.ALLOW, an_obligation(type="step-up")))
    assert upheld.effect is Effect.DENY
    assert [reason.code for reason in upheld.reasons] == ["obligation.unsupported"]


@pytest.mark.parametrize("effect", [Effect.REVIEW, Effect.DENY])
def test_what_is_not_permitted_anyway_stays_as_it_is(effect: Effect) -> None:
    settlement = a_settlement(effect, an_obligation(type="step-up"))
    assert uphold(settlement) == settlement


def test_a_permission_whose_duties_the_bus_knows_stands() -> None:
    settlement = a_settlement(Effect.ALLOW, an_obligation(type="redact"))
    assert uphold(settlement) == settlement
