"""A change of signing keys: the log says it in an entry, and the old key signs that it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from actors.ledger.checkpoint import VerifierKey, opened, parse_key
from actors.ledger.entry import EntryError, Kind, other_body
from actors.ledger.errors import TamperedError

MARK: Final = b'"kind":"key_rotation"'


@dataclass(frozen=True, slots=True)
class Rotation:
    """The leaf that names the next key beside the one before it."""

    leaf: int
    old: VerifierKey
    new: VerifierKey


def rotation_body(old: VerifierKey, new: VerifierKey, *, at: str) -> bytes:
    """Return the canonical body of the entry that hands over from one key to the next."""
    facts = {"old": str(old), "new": str(new), "at": at}
    return other_body(Kind.KEY_ROTATION, {Kind.KEY_ROTATION.value: facts})


def rotation_in(data: bytes, leaf: int) -> Rotation | None:
    """Return the change of keys that an entry is about, or None when it is about another thing."""
    if MARK not in data:
        return None
    body: Mapping[str, Any] = orjson.loads(data)["body"]
    if body.get("kind") != Kind.KEY_ROTATION:
        return None
    try:
        facts = body[Kind.KEY_ROTATION.value]
        return Rotation(leaf, parse_key(facts["old"]), parse_key(facts["new"]))
    except (KeyError, TypeError, ValueError) as error:
        raise EntryError(f"its keys cannot be read: {error!r}") from error


def follow(
    trusted: Sequence[VerifierKey],
    notes: Sequence[str],
    rotations: Sequence[Rotation],
    *,
    roots: Mapping[int, bytes],
) -> list[VerifierKey]:
    """Return the keys to trust after every hand-over that a trusted key has signed.

    `notes` are the co-signed checkpoints in order, `roots` the tree's root at each of their
    sizes. A hand-over counts when its leaf is in a tree that the old key signed, and that tree is
    a beginning of this one. Raises TamperedError when a signed hand-over is of another tree.
    """
    keys = list(trusted)
    for note in notes:
        try:
            checkpoint, _ = opened(note, keys)
        except TamperedError as error:
            if error.code == "ledger.key_unknown":
                continue
            raise
        if roots.get(checkpoint.size) != checkpoint.root:
            raise TamperedError(
                "ledger.rewritten",
                f"the hand-over of keys signed at size {checkpoint.size} is of another tree",
                log=checkpoint.origin,
            )
        known = {key.key_id for key in keys}
        keys += [
            each.new
            for each in rotations
            if each.leaf < checkpoint.size
            and each.old in keys
            and each.new.key_id not in known
            and each.new.name == checkpoint.origin
        ]
    return keys
