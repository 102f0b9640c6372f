"""How past reviews were like one that waits, without looking at what anybody's arguments say.

Laws of this file:
1. Likeness is symmetric, from 0 to 1, and 1 only where every part is the same.
2. Nothing in a shape or a mark tells an argument's value; a shape knows names and types alone.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final, TypeAlias

from policies.panel import Choice
from policies.review import Review

DEPTH_MAX: Final = 16
NODES_MAX: Final = 1024
RULES_MAX: Final = 8

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_PLAIN: Final = re.compile(r"\A[A-Za-z0-9._-]{1,64}\Z", re.ASCII)
_ROOT: Final = bytes(32)
_BEYOND: Final = "beyond"  # the type of what lies too deep, or behind too many others


class Part(StrEnum):
    """What is compared, the weightiest first: `action` is the very same action, by its digest."""

    TOOL = "tool"
    RULES = "rules"
    SHAPE = "shape"
    ACTION = "action"
    AGENT = "agent"


# What does not concern either of two reviews (a call without arguments has no shape) has no say.
WEIGHTS: Final[Mapping[Part, int]] = MappingProxyType(
    {Part.TOOL: 35, Part.RULES: 25, Part.SHAPE: 20, Part.ACTION: 10, Part.AGENT: 10}
)

Marks: TypeAlias = Mapping[Part, frozenset[str]]
_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike two reviews are: the parts that are the `same`, and those of which some is."""

    score: float
    same: tuple[Part, ...]
    partly: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedent:
    """A review that has ended, and how like the one in question it is.

    `afterwards` is the review that looked at its broken glass, if there was any.
    """

    review: Review
    likeness: Likeness
    ended_at: datetime
    afterwards: Review | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Who spoke for it, people, critics and who broke the glass alike, and who against it."""

    approved_by: tuple[str, ...]
    rejected_by: tuple[str, ...]


def marks_of(review: Review) -> Marks:
    """Return what a review is found by; each mark is short and holds nothing but plain signs."""
    values: Mapping[Part, Iterable[str]] = {
        Part.TOOL: [review.tool],
        Part.RULES: sorted({reason.rule for reason in review.reasons})[:RULES_MAX],
        Part.SHAPE: [review.shape],
        Part.ACTION: [review.action_digest],
        Part.AGENT: [review.agent],
    }
    return {
        part: frozenset(_mark(value) for value in found if value) for part, found in values.items()
    }


def likeness(one: Marks, other: Marks) -> Likeness:
    """Return how alike they are: of each part the share that both have, weighed by `WEIGHTS`."""
    got, whole = 0.0, 0
    same: list[Part] = []
    partly: list[Part] = []
    for part, weight in WEIGHTS.items():
        mine, others = one.get(part, _NONE), other.get(part, _NONE)
        if not mine and not others:
            continue
        whole += weight
        if mine == others:
            got += weight
            same.append(part)
        elif both := len(mine & others):
            got += weight * both / len(mine | others)
            partly.append(part)
    score = round(got / whole, 4) if whole else 0.0
    return Likeness(score=score, same=tuple(same), partly=tuple(partly))


def precedence(alike: Likeness, ended_at: datetime, review_id: str) -> tuple[float, timedelta, str]:
    """Return a key that sorts the most alike first, then the newest, then by id."""
    return -alike.score, -(ended_at - _LONG_AGO), review_id


def sides(review: Review) -> Sides:
    """Return who took which side; an abstention is none."""
    broken = review.glass.broken if review.glass is not None else ()
    opinions = review.panel.opinions if review.panel is not None else ()
    said = [(vote.by, vote.choice) for vote in (*review.votes, *broken)]
    said += [(opinion.by, opinion.choice) for opinion in opinions]
    return Sides(
        approved_by=_once(by for by, choice in said if choice is Choice.APPROVE),
        rejected_by=_once(by for by, choice in said if choice is Choice.REJECT),
    )


def argument_shape(args: Mapping[str, object]) -> str:
    """Return a digest of the names and types in these arguments, "" when there are none.

    The order of names, the length of lists and every value leave it as it is. Of what is deeper
    than `DEPTH_MAX` or behind the first `NODES_MAX` it only says that there is more.
    """
    if not args:
        return ""
    found = sorted({path + kind.encode() for path, kind in _paths(args)})
    return sha256(b"\n".join(found)).hexdigest()[:32]


def _paths(args: Mapping[str, object]) -> Iterator[tuple[bytes, str]]:
    """Yield a digest of the path and the type of each node, level by level."""
    waiting: deque[tuple[bytes, int, object]] = deque([(_ROOT, 0, args)])
    seen = 0
    while waiting:
        path, depth, node = waiting.popleft()
        if seen >= NODES_MAX:
            yield _ROOT, _BEYOND
            return
        if depth > DEPTH_MAX:
            yield _ROOT, _BEYOND
            continue
        seen += 1
        yield path, _kind(node)
        room = max(0, NODES_MAX + 1 - seen - len(waiting))
        waiting.extend((one, depth + 1, child) for one, child in _children(path, node, room))


def _children(path: bytes, node: object, room: int) -> Iterator[tuple[bytes, object]]:
    """Yield so many of a node's children, those of an object by name; list places are all one."""
    if isinstance(node, Mapping):
        for name in sorted(node)[:room]:
            # A path is a chain of digests: a long name is read once, however much lies below it.
            yield sha256(path + b"." + name.encode("utf-8", "surrogatepass")).digest(), node[name]
    elif isinstance(node, list | tuple):
        place = sha256(path + b"[").digest()
        for child in node[:room]:
            yield place, child


def _kind(node: object) -> str:  # noqa: PLR0911  # one for each type of JSON
    match node:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case list() | tuple():
            return "array"
        case _:
            return "other"


def _mark(value: str) -> str:
    if _PLAIN.match(value):
        return value
    # "~" is no plain sign, so a digest is never the same as somebody's plain name.
    return "~" + sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
