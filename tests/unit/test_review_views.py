"""A review as JSON: every field is there, and it is what the schema promises."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from actors.reviews.events import ReviewEvent
from policies.decision import Effect, Receipt, Recorded
from policies.panel import Choice
from policies.review import (
    Cancelled,
    Claimed,
    Consumed,
    Event,
    Ladder,
    Review,
    Rule,
    State,
    Step,
    Voted,
)
from policies.review_law import terms_of
from policies.reviewing import advance
from serve_app.api.review_schemas import HeldOut, ReviewDetailOut, ReviewEventOut
from serve_app.api.review_views import etag, event_view, held_view, review_view
from serve_app.api.schemas import DecisionOut, RecordedDecisionOut
from serve_app.api.views import decision_view, recorded_view
from serve_app.masking import masked, unmasked

from builders import NOW, a_decision, a_message, a_person, a_quorum, a_review, a_review_law

RECEIPT = Receipt(origin="test", leaf_hash="AAAA", entry_id="1-0")
# What the API calls otherwise, or says in a part of its own.
RENAMED = {
    "tenant": "tenant_id",
    "recipient": "to_agent",
    "claim": "claimed",
    "ladder": "escalation",
}
# The tokens and owners of agents are not for those who read reviews.
KEPT_BACK = {"owner", "agent_roles"}


def sent(view: dict[str, object], model: type[BaseModel]) -> dict[str, Any]:
    """The view as it comes out of the wire, with exactly the fields of its schema."""
    read: dict[str, Any] = orjson.loads(orjson.dumps(view))
    model.model_validate(read)
    assert read.keys() == model.model_fields.keys()
    return read


def after(review: Review, *events: Event) -> Review:
    for event in events:
        review = advance(review, event, now=NOW + timedelta(minutes=1))
    return review


def a_vote(choice: Choice = Choice.APPROVE, *, by: str = "rita") -> Voted:
    return Voted(by=a_person(by), choice=choice, reason=f"{by} says so")


def test_nothing_of_a_review_is_left_out() -> None:
    view = review_view(a_review())
    shown = {RENAMED.get(field.name, field.name) for field in fields(Review)} - KEPT_BACK
    assert view.keys() == shown | {"eligible"}


def test_an_open_review_says_what_it_waits_for() -> None:
    view = sent(review_view(a_review(quorum=a_quorum(2, rule=Rule.MAJORITY))), ReviewDetailOut)
    assert view["state"] == "pending"
    assert view["quorum"] == {
        "needed": 2,
        "roles": ["reviewer"],
        "each": False,
        "rule": "majority",
    }
    assert view["escalation"] == {"level": 1, "next_at": "2026-11-23T12:10:00.000Z"}
    assert (view["votes"], view["claimed"], view["closing"]) == ([], None, None)
    assert view["expires_at"] == "2026-11-23T13:00:00.000Z"


def test_a_vote_says_who_in_which_role_what_and_why() -> None:
    view = sent(review_view(after(a_review(), a_vote())), ReviewDetailOut)
    assert view["state"] == "approved"
    assert view["votes"] == [
        {
            "by": "rita",
            "role": "reviewer",
            "roles": ["reviewer"],
            "vote": "approve",
            "reason": "rita says so",
            "at": "2026-11-23T12:01:00.000Z",
            "in_stead_of": [],
        }
    ]


def test_who_may_vote_now_follows_the_level() -> None:
    ladder = Ladder(level=2, step_s=600, next_at=None, adds=("tenant_admin",))
    view = sent(review_view(a_review(ladder=ladder)), ReviewDetailOut)
    assert view["eligible"] == ["reviewer", "tenant_admin"]
    assert view["quorum"]["roles"] == ["reviewer"]
    assert view["escalation"] == {"level": 2, "next_at": None}


def test_a_claim_says_who_and_until_when() -> None:
    claimed = after(a_review(), Claimed(by=a_person(), seconds=60))
    view = sent(review_view(claimed), ReviewDetailOut)
    assert view["claimed"] == {"by": "rita", "until": "2026-11-23T12:02:00.000Z"}


@pytest.mark.parametrize(
    ("events", "state", "code", "by"),
    [
        ([a_vote(Choice.REJECT)], State.REJECTED, "review.rejected", "rita"),
        (
            [Cancelled(by=a_person("writer"), reason="not now")],
            State.CANCELLED,
            "review.cancelled",
            "writer",
        ),
        ([a_vote(), Consumed(released_by="d-2")], State.CONSUMED, "review.consumed", None),
    ],
)
def test_an_end_says_how_it_came(
    events: list[Event], *, state: State, code: str, by: str | None
) -> None:
    view = sent(review_view(after(a_review(), *events)), ReviewDetailOut)
    assert (view["state"], view["closing"]["code"], view["closing"]["by"]) == (state, code, by)
    assert view["released_by"] == ("d-2" if state is State.CONSUMED else None)


def test_the_tag_is_strong_and_another_after_every_step() -> None:
    review = a_review()
    assert etag(review) == '"1"'
    assert etag(after(review, a_vote())) == '"2"'


@pytest.mark.parametrize("recipient", ["mailer", None])
def test_what_would_leave_is_shown_whole_with_the_digest_to_approve_it_by(
    recipient: str | None,
) -> None:
    message = a_message(recipient=recipient)
    view = sent(held_view(a_review(), message, masked(message), revealed=False), HeldOut)
    assert view["action_digest"] == a_review().action_digest
    assert view["message"]["content"] == message.content
    assert view["message"]["to_agent"] == recipient


def test_what_is_private_is_masked_in_content_and_metadata_alike() -> None:
    message = a_message(
        content={"args": {"to": "anna@example.com", "text": "hello"}},
        metadata={"card": "4111 1111 1111 1111"},
    )
    hidden = masked(message)
    view = sent(held_view(a_review(), message, hidden, revealed=False), HeldOut)
    assert view["message"]["content"] == {"args": {"to": "[REDACTED:email]", "text": "hello"}}
    assert "4111" not in str(view["message"])
    assert (view["masked"], view["revealed"]) == (list(hidden.kinds), False)
    assert len(hidden.kinds) == 2
    shown = unmasked(message, hidden.kinds)
    whole = sent(held_view(a_review(), message, shown, revealed=True), HeldOut)
    assert whole["message"]["metadata"] == message.metadata
    assert (whole["masked"], whole["revealed"]) == (list(hidden.kinds), True)


def test_an_event_carries_the_review_as_it_stands_and_null_when_it_is_gone() -> None:
    review = after(a_review(), a_vote())
    event = ReviewEvent(
        id="1-0",
        review_id=review.review_id,
        step=Step.VOTE,
        state=State.APPROVED,
        version=2,
        at=NOW,
    )
    view = sent(event_view(event, review), ReviewEventOut)
    assert (view["step"], view["state"], view["version"]) == ("vote", "approved", 2)
    assert view["review"]["review_id"] == review.review_id
    assert sent(event_view(event, None), ReviewEventOut)["review"] is None


def test_a_held_message_is_answered_with_where_it_waits_and_until_when() -> None:
    law = a_review_law()
    held = a_decision(effect=Effect.REVIEW)
    view = decision_view(Recorded(decision=held, receipt=RECEIPT, replayed=False), law)
    DecisionOut.model_validate(orjson.loads(orjson.dumps(view)))
    terms = terms_of(held, law)
    assert view["review"] == {
        "review_id": held.decision_id,
        "url": f"/v1/reviews/{held.decision_id}",
        "expires_at": terms.expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


@pytest.mark.parametrize("effect", [Effect.ALLOW, Effect.DENY])
def test_what_is_not_held_waits_nowhere(effect: Effect) -> None:
    decision = a_decision(effect=effect)
    view = decision_view(
        Recorded(decision=decision, receipt=RECEIPT, replayed=False), a_review_law()
    )
    assert (view["review"], view["review_id"], view["approvers"]) == (None, None, [])


def test_what_was_released_names_its_review_and_who_approved_it() -> None:
    decision = a_decision(effect=Effect.ALLOW, review_id="decision-1", approvers=("rita", "ralf"))
    view = recorded_view(decision, RECEIPT, law=a_review_law())
    read = RecordedDecisionOut.model_validate(orjson.loads(orjson.dumps(view)))
    assert (read.review, read.review_id, read.approvers) == (None, "decision-1", ["rita", "ralf"])
