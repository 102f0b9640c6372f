"""What the agent that asked is told about its review, and what it is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.message import AGENT_ID, MessageType
from policies.parcel import open_parcel, parcel
from policies.review import Closing, Review, State
from policies.review_notice import NOTICE_TTL, SENDER, notice_id, notice_of

from builders import NOW, a_review, digest_of


def ended(state: State, reason: str = "it cannot be undone") -> Review:
    closing = Closing(code=f"review.{state.value}", reason=reason, by="rita", at=NOW)
    return a_review(state=state, closing=closing, version=4)


@pytest.mark.parametrize("state", [State.REJECTED, State.EXPIRED, State.CANCELLED])
def test_an_agent_is_told_how_its_review_ended(state: State) -> None:
    review = ended(state)
    notice = notice_of(review, now=NOW)
    assert notice is not None
    assert (notice.tenant, notice.recipient) == (review.tenant, review.agent)
    assert notice.type is MessageType.NOTIFICATION
    assert notice.id == notice_id(review) == "notice-decision-1-4"
    assert notice.sent_at == NOW
    assert notice.expires_at == NOW + NOTICE_TTL
    assert notice.action == f"review.{state.value}"
    assert notice.args == {
        "review_id": "decision-1",
        "decision_id": "decision-1",
        "message_id": "message-1",
        "state": state.value,
        "action_digest": review.action_digest,
        "code": f"review.{state.value}",
        "reason": "it cannot be undone",
    }


@pytest.mark.parametrize("state", [State.PENDING, State.CLAIMED, State.CONSUMED])
def test_it_is_not_told_what_it_need_not_know(state: State) -> None:
    assert notice_of(replace(ended(state), delivers=False), now=NOW) is None


def test_it_is_told_of_an_approval_that_it_must_use_itself() -> None:
    review = a_review(state=State.APPROVED, delivers=False)
    notice = notice_of(review, now=NOW + timedelta(minutes=1))
    assert notice is not None
    assert notice.expires_at == review.expires_at
    assert "code" not in notice.args
    assert notice_of(replace(review, delivers=True), now=NOW) is None


def test_its_sender_is_an_agent_as_any_other() -> None:
    assert AGENT_ID.match(SENDER)


@pytest.mark.parametrize("reason", ["plain", 'q"\\/\b\f\n\r\t\x01\x1f\x7f', "ü€😀\u2028"])
def test_its_digests_are_those_of_the_canonical_form(reason: str) -> None:
    notice = notice_of(ended(State.REJECTED, reason), now=NOW)
    assert notice is not None
    assert notice.content_digest == digest_of(notice.content)
    assert notice.args_digest == digest_of(notice.args)
    assert open_parcel(parcel(notice, notice.id)) == notice
