"""What goes in and out about reviews that are alike: precedents, and votes on the same action."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from policies.precedent import Part
from policies.review import State
from serve_app.api.fields import Answer, Digest
from serve_app.api.review_schemas import ClosingOut, ReviewDetailOut, SaidIn
from serve_app.api.schemas import Problem


class BulkIn(SaidIn):
    """Why, and on exactly which action; `cursor` is the `next_cursor` of the answer before."""

    action_digest: Digest
    cursor: Annotated[str, StringConstraints(max_length=256)] | None = None


class BulkResultOut(Answer):
    """What became of one vote: the review after it, or the problem with it."""

    review_id: str
    review: ReviewDetailOut | None
    problem: Problem | None


class BulkOut(Answer):
    """One result for each review that was voted on, the oldest first."""

    results: list[BulkResultOut]
    more: bool = Field(description="whether others are left that this call did not come to")
    next_cursor: str | None = Field(description="where to go on when there are more")


class AfterwardsOut(Answer):
    """The review that looked at the broken glass of another: consumed means that it was right."""

    review_id: str
    state: State


class PrecedentOut(Answer):
    """A review that has ended, how, and what it has in common with the one in question."""

    review_id: str
    state: State
    tool: str
    action: str
    agent: str
    closing: ClosingOut
    ended_at: datetime
    approved_by: list[str] = Field(description="people, critics, and who broke the glass")
    rejected_by: list[str]
    score: float = Field(ge=0, le=1, description="1: the very same action, held by the same rules")
    same: list[Part] = Field(description="what is the same in both")
    partly: list[Part] = Field(description="what is the same in part, such as one of two rules")
    afterwards: AfterwardsOut | None = Field(description="what others said of its broken glass")


class PrecedentsOut(Answer):
    """The most alike first, of equals the newest."""

    precedents: list[PrecedentOut]
