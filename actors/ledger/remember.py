"""What the store remembers of a decided message for the replay window: enough to answer again.

A value is the write-ahead id, the identity of the request and the decision's fields, compressed
against the words that every decision has in common, which makes it a sixth as large; and, once the
entry is in the tree, its leaf.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from actors.ledger.canonical import canonical, digest
from policies.message import Message

# Never change a dictionary that values were packed with: add another under a new mark.
_MARK: Final = b"1"
_WORDS: Final = (
    b'"findings":[{"detector":"email","end":0,"kind":"pii","path":"/text","start":0}],'
    b'"obligations":[{"id":"","properties":{},"type":"redact"}],"session_id":null,'
    b'"effect":"review","effect":"deny","lane":"deliberation","priority":"high","opa-server",'
    b'{"action":"","agent":"","args_digest":"sha256:","constitution_digest":"sha256:",'
    b'"constitutional_hash":"cdd01ef066bc6cf2","content_digest":"sha256:","conversation_id":"",'
    b'"decided_at":"2026-01-01T00:00:00.000000Z","decision_id":"","delivers":true,'
    b'"effect":"allow","engine":"opa-embedded","expires_at":"2026-01-01T00:00:00.000000Z",'
    b'"findings":[],"impact":{"degraded":false,"factors":{"permission":0.,"volume":0.,'
    b'"context":0.,"drift":0.,"priority":0.,"type":0.},"model":null,"score":0.},"lane":"fast",'
    b'"message_id":"","message_type":"command","obligations":[],"policy_revision":"sha256:",'
    b'"priority":"normal","reasons":[{"code":"policy.","message":"","remedy":"","rule":"acgs."}],'
    b'"recipient":"","resource":"","roles":["agent"],"session_id":null,"tenant":"","tool":""}'
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A decision as it was answered; its leaf is known once it is in the tree."""

    entry_id: str
    identity: str
    core: bytes
    leaf_hash: str = ""
    leaf_index: int | None = None


def identity_of(message: Message, *, delivers: bool) -> str:
    """Return the hex digest of what the sender asked for: the same in every honest repetition.

    Times are left out: a repetition with the same `ttl_seconds` expires later.
    """
    asked = [
        message.sender,
        message.recipient,
        message.type.value,
        int(message.priority),
        message.conversation_id,
        message.session_id,
        message.constitutional_hash,
        message.content_digest,
        digest(message.metadata) if message.metadata else "",
        delivers,
    ]
    return sha256(canonical(asked)).hexdigest()


def pack(identity: str, core: bytes) -> bytes:
    """Return what to remember; the store puts the entry's id and a newline before it."""
    squeezer = zlib.compressobj(level=1, zdict=_WORDS)
    squeezed = squeezer.compress(core) + squeezer.flush()
    return b"%b\n%b\n%d\n%b" % (identity.encode(), _MARK, len(squeezed), squeezed)


def unpack(value: bytes) -> Remembered:
    """Return what is remembered. Raises ValueError for what `pack` did not make."""
    entry_id, identity, mark, length, rest = value.split(b"\n", 4)
    if mark != _MARK:
        raise ValueError(f"a value of mark {mark!r} was remembered by another version")
    opener = zlib.decompressobj(zdict=_WORDS)
    core = opener.decompress(rest[: int(length)])
    settled = rest[int(length) :].split(b"\n", 2)
    if len(settled) == 1:
        return Remembered(entry_id.decode(), identity.decode(), core)
    leaf, _, index = settled[1].decode().partition(" ")
    return Remembered(entry_id.decode(), identity.decode(), core, leaf, int(index))
