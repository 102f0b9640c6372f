"""In which of the tenant's indexes a review stands, and under which name."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from policies.precedent import Marks, Part, marks_of
from policies.review import ENDED, OPEN, Review, State

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")
_MICROSECOND: Final = timedelta(microseconds=1)
_PARTS: Final = frozenset(Part)


def places(review: Review) -> list[tuple[str, str]]:
    """Return every index that it is in, and its name there.

    A review that follows another stands with neither the same nor the alike: it asks whether
    something was right, which no vote on the action itself answers.
    """
    indexes = [in_state(review.state)]
    if review.claim is not None:
        indexes.append(of_person(review.claim.by))
    if review.follows is None and review.state in OPEN:
        indexes.append(same_action(review.action_digest))
    if review.follows is None and review.state in ENDED:
        indexes += like_it(review)
    name = name_of(review)
    return [(index, name) for index in indexes]


def in_state(state: State) -> str:
    """The index of the reviews in one state."""
    return f"in:{state.value}"


def of_person(person: str) -> str:
    """The index of what one person has claimed."""
    return f"of:{person}"


def same_action(digest: str) -> str:
    """The index of what is open about exactly one action."""
    return f"same:{digest}"


def like_it(review: Review) -> list[str]:
    """The indexes of what has ended and shares a mark with this review; a dozen at most.

    `move.lua` and `due.lua` know the prefix `like:`.
    """
    return [f"like:{part}:{mark}" for part, held in marks_of(review).items() for mark in held]


def marks_in(noted: str) -> Marks:
    """Return the marks of a review out of its places, as `move.lua` noted them.

    A part that this build does not know has no say.
    """
    found: dict[Part, set[str]] = {}
    for place in noted.split(" "):
        part, _, mark = place.removeprefix("like:").partition(":")
        if part in _PARTS:
            found.setdefault(Part(part), set()).add(mark)
    return {part: frozenset(held) for part, held in found.items()}


def name_of(review: Review) -> str:
    """Names sort by when a live review was opened, and an ended one ended."""
    at = review.opened_at if review.closing is None else review.closing.at
    return f"{micros(at):016d}:{review.review_id}"


def id_in(name: str) -> str:
    """Return whose name this is."""
    return name[17:]


def time_in(name: str) -> datetime:
    """Return the time by which this name sorts."""
    return _EPOCH + int(name[:16]) * _MICROSECOND


def micros(at: datetime) -> int:
    """Return the time in microseconds since 1970, 0 for what was before."""
    return max(0, (at - _EPOCH) // _MICROSECOND)
