"""The shapes of what is said about notifications."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from serve_app.api.fields import Answer


class DeadNotificationOut(Answer):
    """A notification that will not be sent unless it is redriven."""

    id: str = Field(description="the id under which its receiver knows it")
    channel: str
    review_id: str
    step: str
    state: str
    code: str
    reason: str
    attempts: int = Field(ge=0)
    died_at: datetime


class DeadNotificationPage(Answer):
    """One page of them, oldest first."""

    dead_letters: list[DeadNotificationOut]
    next_cursor: str | None


class TestedOut(Answer):
    """The channel has taken a notification that says that it is a test."""

    channel: str
    notification_id: str
