"""What goes in and out of the reviews API, field for field. OpenAPI is made from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from policies.message import MessageType
from policies.panel import WEIGHT_MAX, Choice, Outcome, PanelRule
from policies.review import LEVEL_MAX, REASON_MAX, Rule, State, Step
from serve_app.api.fields import Answer, Digest, PriorityWord, Strict
from serve_app.api.schemas import ImpactOut, ReasonOut

Said = Annotated[str, StringConstraints(min_length=1, max_length=REASON_MAX)]


class SaidIn(Strict):
    """Why; it is recorded."""

    reason: Said


class VoteIn(SaidIn):
    """Why, and what the reviewer was shown: a vote on anything else is refused."""

    action_digest: Digest | None = None


class OpinionIn(VoteIn):
    """What a critic thinks, why, and what it was shown."""

    opinion: Choice


class ConsumeIn(Strict):
    """What the agent is about to do; the approval holds for exactly this."""

    action_digest: Digest


class QuorumOut(Answer):
    """How many people must approve, in which roles; with `each`, every role among them."""

    needed: int = Field(ge=1)
    roles: list[str]
    each: bool
    rule: Rule = Field(description="veto: one rejection ends it; majority: as many as approve it")


class VoteOut(Answer):
    """One person's word, in the role that counted; `roles` are all that would have."""

    by: str
    role: str
    roles: list[str]
    vote: Choice
    reason: str
    at: datetime
    in_stead_of: list[str] = Field(description="who let the voter decide for them, if anybody")


class SeatOut(Answer):
    """A critic who was called, and what its word weighs."""

    agent: str
    weight: int = Field(ge=1, le=WEIGHT_MAX)


class OpinionOut(Answer):
    """One critic's word."""

    by: str
    weight: int = Field(ge=1, le=WEIGHT_MAX)
    opinion: Choice
    reason: str
    at: datetime


class PanelOut(Answer):
    """The critics who may decide it before people do, and what they said.

    `seats` is null until they are called; `outcome` is what the opinions come to: `split` when
    neither side can win any more, and people decide.
    """

    rule: PanelRule
    needed: int = Field(ge=1, description="how many critics must take a side")
    closes_at: datetime
    seats: list[SeatOut] | None
    opinions: list[OpinionOut]
    outcome: Outcome


class GlassOut(Answer):
    """How many people in which roles may let it go without its quorum, and who did."""

    needed: int = Field(ge=2)
    roles: list[str]
    broken: list[VoteOut]


class ClaimOut(Answer):
    """Who looks at it, and until when nobody else can decide."""

    by: str
    until: datetime


class EscalationOut(Answer):
    """How far up it is, and when it goes further by itself; null: no further."""

    level: int = Field(ge=1, le=LEVEL_MAX)
    next_at: datetime | None


class ClosingOut(Answer):
    """How it ended; `by` is null where time or the law ended it."""

    code: str
    reason: str
    by: str | None
    at: datetime


class ReviewDetailOut(Answer):
    """A held decision that waits for people, and what they said about it so far."""

    review_id: str
    state: State
    version: int = Field(ge=1, description="counts what happened; the ETag")
    decision_id: str
    message_id: str
    tenant_id: str
    agent: str
    to_agent: str | None
    action: str
    tool: str
    resource: str
    action_digest: Digest
    impact: ImpactOut
    reasons: list[ReasonOut]
    tier: str
    quorum: QuorumOut
    eligible: list[str] = Field(description="the roles that may vote now")
    votes: list[VoteOut]
    panel: PanelOut | None = Field(description="null: people decide")
    glass: GlassOut | None = Field(description="null: nobody may break it")
    follows: str | None = Field(description="the review whose broken glass this one looks at")
    barred: list[str] = Field(description="who may not decide on it")
    shape: str = Field(description="digest of what arguments it has, without their values")
    claimed: ClaimOut | None
    escalation: EscalationOut
    delivers: bool = Field(description="delivered when approved; else the agent consumes it")
    policy_revision: str
    constitution_digest: Digest
    opened_at: datetime
    expires_at: datetime
    closing: ClosingOut | None
    released_by: str | None = Field(description="the decision that let it go")


class ReviewPage(Answer):
    """One page of reviews: open ones oldest first, ended ones newest first."""

    reviews: list[ReviewDetailOut]
    next_cursor: str | None


class HeldMessage(Answer):
    """A message as it would leave; without a recipient the agent itself acts."""

    message_id: str
    conversation_id: str
    session_id: str | None
    from_agent: str
    tenant_id: str
    to_agent: str | None
    message_type: MessageType
    priority: PriorityWord
    constitutional_hash: str
    content: dict[str, JsonValue]
    metadata: dict[str, JsonValue]
    sent_at: datetime
    expires_at: datetime


class HeldOut(Answer):
    """What leaves if it is approved, and the digest to approve it by.

    What is private in content and metadata reads `[REDACTED:<detector>]` unless it is revealed.
    """

    review_id: str
    action_digest: Digest
    message: HeldMessage
    masked: list[str] = Field(description="the detectors that saw something private in it")
    revealed: bool = Field(description="whether it is shown all the same; that is on record")


class ReviewEventOut(Answer):
    """One step of one review, as the stream tells it.

    `review` is as it stands when it is told, which may be later than the step; null when it
    cannot be read any more.
    """

    review_id: str
    step: str = Field(description=f"one of: open, {', '.join(Step)}")
    state: State
    version: int
    at: datetime
    review: ReviewDetailOut | None
