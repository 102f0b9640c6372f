"""A review as bytes, as it lies in the store; every field comes back equal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

import orjson

from policies.decision import Impact, Reason
from policies.errors import GovernanceError
from policies.review import (
    Choice,
    Claim,
    Closing,
    Ladder,
    Quorum,
    Review,
    Rule,
    State,
    Vote,
)

VERSION: Final = 1


class DamagedReviewError(GovernanceError):
    """These bytes are not a review that this build packed; nobody may decide by them."""

    code = "review.damaged"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the review is damaged: {self.detail}"


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 UTC with all six digits, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """Return the time that `timestamp` wrote; ValueError for what it would write otherwise."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or timestamp(found) != text:
        raise ValueError(f"{text!r} is not a time as we write it")
    return found


def pack(review: Review) -> bytes:
    """Return the review as JSON; `unpack` gives it back equal.

    Raises ValueError for what JSON cannot hold: half a surrogate, or a score that is no number.
    """
    weighed = (review.impact.score, *review.impact.factors.values())
    if not all(isfinite(number) for number in weighed):
        raise ValueError("its impact is not a number")
    try:
        return orjson.dumps(
            {"v": VERSION, "review": review},
            default=_plain,
            option=orjson.OPT_PASSTHROUGH_DATETIME,
        )
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from error


def unpack(packed: bytes) -> Review:
    """Return the review that was packed. Raises DamagedReviewError for anything else."""
    try:
        outer = orjson.loads(packed)
        if outer["v"] != VERSION:
            raise ValueError(f"it is of version {outer['v']!r}, not {VERSION}")  # noqa: TRY301
        return _review(outer["review"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedReviewError(repr(error)) from error


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be packed")


def _review(fields: Mapping[str, Any]) -> Review:
    if type(fields["version"]) is not int:
        raise TypeError("its version is not a number")
    return Review(
        **{
            **fields,
            "agent_roles": tuple(fields["agent_roles"]),
            "impact": Impact(**fields["impact"]),
            "reasons": tuple(Reason(**reason) for reason in fields["reasons"]),
            "quorum": _quorum(fields["quorum"]),
            "ladder": _ladder(fields["ladder"]),
            "opened_at": moment(fields["opened_at"]),
            "expires_at": moment(fields["expires_at"]),
            "state": State(fields["state"]),
            "claim": fields["claim"] and _claim(fields["claim"]),
            "votes": tuple(_vote(vote) for vote in fields["votes"]),
            "closing": fields["closing"] and _closing(fields["closing"]),
        }
    )


def _quorum(fields: Mapping[str, Any]) -> Quorum:
    return Quorum(**{**fields, "roles": tuple(fields["roles"]), "rule": Rule(fields["rule"])})


def _ladder(fields: Mapping[str, Any]) -> Ladder:
    next_at = fields["next_at"] and moment(fields["next_at"])
    return Ladder(**{**fields, "next_at": next_at, "adds": tuple(fields["adds"])})


def _claim(fields: Mapping[str, Any]) -> Claim:
    return Claim(**{**fields, "until": moment(fields["until"])})


def _vote(fields: Mapping[str, Any]) -> Vote:
    return Vote(
        **{
            **fields,
            "roles": tuple(fields["roles"]),
            "choice": Choice(fields["choice"]),
            "at": moment(fields["at"]),
        }
    )


def _closing(fields: Mapping[str, Any]) -> Closing:
    return Closing(**{**fields, "at": moment(fields["at"])})
