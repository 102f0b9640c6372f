"""What follows a record in the same breath: the delivery of what goes, the review of what waits."""

from __future__ import annotations

from typing import assert_never

from actors.ledger.client import Sequel
from actors.mailbox.client import Mailboxes
from actors.reviews.client import Reviews
from policies.decision import Decision, Effect
from policies.message import Message
from policies.precedent import argument_shape
from policies.review_law import ReviewLaw, review_of


class Effects:
    """The recorder's `Onward`: hands each record on to the room that acts on it."""

    def __init__(self, mailboxes: Mailboxes, reviews: Reviews, law: ReviewLaw) -> None:
        self._mailboxes = mailboxes
        self._reviews = reviews
        self._law = law

    def sequel(self, decision: Decision, release: Message) -> Sequel | None:
        """Return what follows; None for a broadcast, which takes several calls."""
        match decision.effect:
            case Effect.ALLOW:
                return self._delivery(decision, release)
            case Effect.REVIEW:
                return self._review(decision, release)
            case Effect.DENY:
                return None
            case _:
                assert_never(decision.effect)

    def _delivery(self, decision: Decision, release: Message) -> Sequel | None:
        call = self._mailboxes.onward(release, decision.decision_id)
        if call is None:
            return None
        return Sequel(call, lambda reply: self._mailboxes.carried(release, reply))

    def _review(self, decision: Decision, held: Message) -> Sequel:
        review = review_of(decision, self._law, shape=argument_shape(held.args))
        return Sequel(
            self._reviews.opening(review),
            self._reviews.opened,
            beside=self._reviews.packed(review),
            held_max=self._law.open_max,
        )
