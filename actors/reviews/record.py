"""A review as bytes, as it lies in the store; every field comes back equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, TypeVar

import orjson

from policies.decision import Impact, Reason
from policies.errors import GovernanceError, NewerRecordError
from policies.panel import Choice, Opinion, Panel, PanelRule, Seat
from policies.review import (
    Claim,
    Closing,
    Glass,
    Ladder,
    Quorum,
    Review,
    Rule,
    State,
    Vote,
)

VERSION: Final = 2
T = TypeVar("T")
_SINCE_FIRST: Final = MappingProxyType(
    {"panel": None, "glass": None, "follows": None, "barred": (), "shape": ""}
)


class DamagedReviewError(GovernanceError):
    """These bytes are not a review that this build packed; nobody may decide by them."""

    code = "review.damaged"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the review is damaged: {self.detail}"


class NewerReviewError(DamagedReviewError, NewerRecordError):
    """A newer build packed this review, as while a cluster is upgraded node by node."""


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
        match outer["v"]:
            case 1:
                return _review(_from_first(outer["review"]))
            case 2:
                return _review(outer["review"])
            case int(other) if other > VERSION:
                raise NewerReviewError(f"it is of version {other!r}, not {VERSION}")
            case other:
                raise ValueError(f"it is of version {other!r}, not {VERSION}")  # noqa: TRY301
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedReviewError(repr(error)) from error


def _from_first(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the first version left out: it knew no panel, no glass and no stand-ins."""
    votes = [{**vote, "in_stead_of": []} for vote in fields["votes"]]
    return {**_SINCE_FIRST, **fields, "votes": votes}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset):
        return sorted(value)
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
            "claim": _maybe(_claim, fields["claim"]),
            "votes": _votes(fields["votes"]),
            "closing": _maybe(_closing, fields["closing"]),
            "panel": _maybe(_panel, fields["panel"]),
            "glass": _maybe(_glass, fields["glass"]),
            "barred": frozenset(fields["barred"]),
        }
    )


def _maybe(read: Callable[[Any], T], stored: Any) -> T | None:
    return None if stored is None else read(stored)


def _quorum(fields: Mapping[str, Any]) -> Quorum:
    return Quorum(**{**fields, "roles": tuple(fields["roles"]), "rule": Rule(fields["rule"])})


def _ladder(fields: Mapping[str, Any]) -> Ladder:
    next_at = _maybe(moment, fields["next_at"])
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
            "in_stead_of": tuple(fields["in_stead_of"]),
        }
    )


def _votes(listed: Sequence[Mapping[str, Any]]) -> tuple[Vote, ...]:
    return tuple(_vote(vote) for vote in listed)


def _glass(fields: Mapping[str, Any]) -> Glass:
    broken = _votes(fields["broken"])
    return Glass(**{**fields, "roles": tuple(fields["roles"]), "broken": broken})


def _panel(fields: Mapping[str, Any]) -> Panel:
    seats = fields["seats"]
    return Panel(
        **{
            **fields,
            "rule": PanelRule(fields["rule"]),
            "closes_at": moment(fields["closes_at"]),
            "seats": None if seats is None else tuple(Seat(**seat) for seat in seats),
            "opinions": tuple(_opinion(opinion) for opinion in fields["opinions"]),
        }
    )


def _opinion(fields: Mapping[str, Any]) -> Opinion:
    at = moment(fields["at"])
    return Opinion(**{**fields, "choice": Choice(fields["choice"]), "at": at})


def _closing(fields: Mapping[str, Any]) -> Closing:
    return Closing(**{**fields, "at": moment(fields["at"])})
