"""What a notification says to people, in a line and in facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from policies.notification import TEST, Notification
from policies.review import State, Step

_HOW: Final[Mapping[str, str]] = MappingProxyType(
    {
        State.APPROVED.value: "Approved",
        State.REJECTED.value: "Rejected",
        State.EXPIRED.value: "Expired",
        State.CANCELLED.value: "Taken back",
        State.CONSUMED.value: "Approved and done",
    }
)


def headline(notification: Notification) -> str:
    """Return what happened, in a line: who wants what, and whether that waits for people."""
    what = f"{notification.agent}: {notification.action}"
    if notification.step == TEST:
        return f"A test of the channel {notification.channel}: nothing waits for you"
    if notification.over:
        return f"{_HOW.get(notification.state, notification.state.capitalize())} - {what}"
    if notification.step == Step.BREAK_GLASS.value:
        return f"Waits for one more to let it go at once - {what}"
    if notification.step == Step.ESCALATE.value:
        return f"Still waits for approval - {what}"
    if notification.asks:
        return f"Waits for approval - {what}"
    return f"{notification.state.capitalize()} ({notification.step}) - {what}"


def facts(notification: Notification) -> tuple[tuple[str, str], ...]:
    """Return what there is to know, as labels and values; what does not apply is left out."""
    if notification.step == TEST:
        return (("Sent for", notification.tenant),)
    people = "person" if notification.needed == 1 else "people"
    known = (
        ("Agent", f"{notification.agent} of {notification.tenant}"),
        ("Wants", notification.action),
        ("Impact", f"{notification.impact:.2f}, tier {notification.tier}"),
        ("Needs", f"{notification.needed} {people} in {', '.join(notification.roles)}"),
        ("Until", moment(notification.expires_at)),
        ("Ended by", notification.code or ""),
    )
    asks = frozenset({"Needs", "Until"})
    return tuple(
        (label, value)
        for label, value in known
        if value and not (notification.over and label in asks)
    )


def grounds(notification: Notification) -> tuple[str, ...]:
    """Return why it is held, a line for each reason."""
    return tuple(f"{ground.code}: {ground.message}" for ground in notification.grounds)


def moment(at: datetime) -> str:
    """Return a time as people everywhere read it."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
