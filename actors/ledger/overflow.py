"""A decision too large for an entry: its largest fields lie beside the entry, by digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from actors.ledger.canonical import canonical, digest_of
from actors.ledger.entry import BODY_MAX, EntryError, Kind, answers

CORE_MAX: Final = BODY_MAX - 2048  # leaves room for the names of digests and fields


@dataclass(frozen=True, slots=True)
class Core:
    """A decision's fields as the entry holds them, and what lies outside it, if anything does."""

    inside: bytes
    record: bytes = b""
    outside: bytes = b""


def fit(record: Mapping[str, object], whole: bytes) -> Core:
    """Return the decision's fields so that they fit; `whole` is their canonical form."""
    if len(whole) <= CORE_MAX:
        return Core(whole)
    sizes = {name: len(canonical(value)) for name, value in record.items()}
    moved: list[str] = []
    excess = len(whole) - CORE_MAX
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if excess <= 0:
            break
        moved.append(name)
        excess -= sizes[name]
    moved.sort()
    outside = canonical({name: record[name] for name in moved})
    inside = canonical({name: value for name, value in record.items() if name not in moved})
    named = {"digest": digest_of(outside), "fields": moved, "size": len(outside)}
    return Core(inside, canonical(named), outside)


def unfit(body: Mapping[str, Any], outside: bytes | None) -> Mapping[str, Any]:
    """Return all of the decision's fields. Raises EntryError when those outside are not there."""
    overflow = body.get("overflow")
    inside: Mapping[str, Any] = body["decision"]
    if overflow is None:
        return inside
    if outside is None or digest_of(outside) != overflow["digest"]:
        raise EntryError("the fields that lie beside it are missing or altered")
    return {**inside, **orjson.loads(outside)}


class About(NamedTuple):
    """What an index keeps of an entry; `message_id` is what a decision answers."""

    kind: str
    decision_id: str | None = None
    message_id: str | None = None
    decided_at: str | None = None
    effect: str | None = None
    agent: str | None = None


def about(body: Mapping[str, Any], outside: bytes | None) -> About:
    """Return what an index keeps of the entry with this body. Raises EntryError."""
    kind = body["kind"]
    if kind != Kind.DECISION:
        return About(kind)
    core = unfit(body, outside)
    return About(
        kind,
        core["decision_id"],
        answers(core["message_id"], core.get("review_id")),
        core["decided_at"],
        core["effect"],
        core["agent"],
    )
