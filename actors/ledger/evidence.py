"""What was judged, kept so that it can be forgotten: ciphertext under a key of its subject.

The subject of a message is its sender in its tenant. Deleting the subject's key erases the
evidence of all its messages, while every entry, and so every proof, stays as it was.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from actors.ledger.canonical import digest_of
from actors.ledger.errors import LedgerError

INLINE_MAX: Final = 32 * 1024  # bytes of ciphertext kept in the entry itself
NONCE_SIZE: Final = 12
KEY_SIZE: Final = 32
ALGORITHM: Final = "A256GCM"


class EvidenceError(LedgerError):
    """The evidence cannot be read: its key is gone, or it is not what was stored."""

    code = "evidence.unreadable"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the evidence cannot be read: {self.detail}"


@dataclass(frozen=True, slots=True)
class Sealed:
    """Evidence as the entry holds it, and the ciphertext that lies beside the entry, if it does."""

    record: bytes
    outside: bytes = b""


@dataclass(frozen=True, slots=True)
class Place:
    """Where evidence belongs; ciphertext that is moved elsewhere no longer opens."""

    tenant: str
    subject: str
    decision_id: str

    @property
    def label(self) -> bytes:
        """The associated data of the encryption."""
        return f"acgs evidence v1\n{self.tenant}\n{self.subject}\n{self.decision_id}".encode()


def wrap(key: bytes, *, evidence_key: bytes, tenant: str, subject: str, nonce: bytes) -> bytes:
    """Return a subject's key as it may lie in the store."""
    return nonce + AESGCM(evidence_key).encrypt(nonce, key, _wrapping(tenant, subject))


def unwrap(wrapped: bytes, *, evidence_key: bytes, tenant: str, subject: str) -> bytes:
    """Return the subject's key. Raises EvidenceError when the wrapping is not ours."""
    nonce, sealed = wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:]
    try:
        return AESGCM(evidence_key).decrypt(nonce, sealed, _wrapping(tenant, subject))
    except (InvalidTag, ValueError) as error:
        raise EvidenceError("the subject's key does not unwrap") from error


def seal_evidence(
    content: bytes, *, place: Place, key: bytes, nonce: bytes, room: int = INLINE_MAX
) -> Sealed:
    """Encrypt the content. Ciphertext over `room` or INLINE_MAX bytes goes outside, by digest."""
    ciphertext = _cipher(key, place).encrypt(nonce, content, place.label)
    outside = len(ciphertext) > INLINE_MAX or len(ciphertext) * 4 // 3 + 4 > room
    held = (
        b'"digest":"%b"' % digest_of(ciphertext).encode()
        if outside
        else b'"ciphertext":"%b"' % b64encode(ciphertext)
    )
    record = b'{"alg":"%b",%b,"nonce":"%b","size":%d}' % (
        ALGORITHM.encode(),
        held,
        b64encode(nonce),
        len(ciphertext),
    )
    return Sealed(record, ciphertext if outside else b"")


def open_evidence(
    record: Mapping[str, Any], *, place: Place, key: bytes, outside: bytes | None = None
) -> bytes:
    """Return the content as it was judged. Raises EvidenceError."""
    try:
        nonce = b64decode(record["nonce"], validate=True)
        inline = record.get("ciphertext")
        ciphertext = outside if inline is None else b64decode(inline, validate=True)
        if ciphertext is None:
            raise EvidenceError("its ciphertext is missing")
        if inline is None and digest_of(ciphertext) != record["digest"]:
            raise EvidenceError("its ciphertext is not the one that was recorded")
        return _cipher(key, place).decrypt(nonce, ciphertext, place.label)
    except (InvalidTag, KeyError, ValueError) as error:
        raise EvidenceError("it was not sealed with this subject's key") from error


def _cipher(key: bytes, place: Place) -> AESGCM:
    # One key for each decision: random nonces under one key are safe for 2^32 messages only,
    # and a busy agent sends more.
    return AESGCM(hmac.digest(key, place.label, sha256))


def _wrapping(tenant: str, subject: str) -> bytes:
    return f"acgs subject key v1\n{tenant}\n{subject}".encode()
