"""What goes in and out where people say who may decide. OpenAPI is made from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from policies.panel import WEIGHT_MAX
from policies.standin import REASON_MAX
from serve_app.api.fields import Answer, Id, Number, Strict, TimeText

Why = Annotated[str, StringConstraints(min_length=1, max_length=REASON_MAX)]
Time = Annotated[AwareDatetime, TimeText]
Weight = Annotated[int, Number, Field(ge=1, le=WEIGHT_MAX)]


class DelegationIn(Strict):
    """Why, until when (at most 14 days), and in which of your roles; without roles, in all."""

    reason: Why
    until: Time
    roles: Annotated[list[Id], Field(min_length=1, max_length=16)] | None = None


class DelegationOut(Answer):
    """`to` may decide in these roles in the stead of `giver`, who answers to `giver_owner`."""

    giver: str
    giver_owner: str | None
    to: str
    roles: list[str]
    reason: str
    made_at: datetime
    until: datetime


class DelegationList(Answer):
    """What is given in this tenant and is not over, by who gave it."""

    delegations: list[DelegationOut]


class ShiftIn(Strict):
    """Who is on call, from when until when (at most 31 days)."""

    person: Id
    starts_at: Time
    ends_at: Time


class ShiftOut(Answer):
    """Who is on call, from when until when."""

    shift_id: str
    person: str
    starts_at: datetime
    ends_at: datetime


class OnCallOut(Answer):
    """Who is on call now, and the shifts that are not over, the soonest first."""

    now: list[str]
    shifts: list[ShiftOut]


class CriticIn(Strict):
    """How much its word weighs on a panel."""

    weight: Weight


class CriticOut(Answer):
    """A critic; only as long as its agent is registered is it called to panels."""

    agent: str
    weight: int
    registered: bool


class CriticList(Answer):
    """The critics of this tenant, by name."""

    critics: list[CriticOut]
