"""C2SP signed notes and checkpoints: what a log says it is, and who says so."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from actors.ledger.errors import TamperedError

ED25519: Final = b"\x01"
NOTE_MAX: Final = 65_535  # a checkpoint is an entry of the root log
SIGNATURES_MAX: Final = 16
_DASH: Final = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it signs under."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_b64(ED25519 + self.public)}"

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Say whether this key made the signature over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


def parse_key(text: str) -> VerifierKey:
    """Return the key that `name+hex+base64` stands for. Raises ValueError when it is not one."""
    name, _, rest = text.strip().partition("+")
    key_id, _, material = rest.partition("+")
    try:
        data = base64.b64decode(material, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text!r} is not a verifier key: {error}") from error
    key = VerifierKey(name, data[1:])
    if not name or data[:1] != ED25519 or len(data) != 33 or str(key) != text.strip():
        raise ValueError(f"{text!r} is not an Ed25519 verifier key (name+hex+base64)")
    assert key.key_id.hex() == key_id
    return key


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and the name it signs under."""

    name: str
    seed: bytes = field(repr=False)

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, _private(self.seed)[1])

    def line(self, text: bytes) -> str:
        """Return the signature line for a note's text."""
        signature = _private(self.seed)[0].sign(text)
        return f"{_DASH}{self.name} {_b64(self.verifier.key_id + signature)}\n"


@lru_cache(maxsize=16)
def _private(seed: bytes) -> tuple[Ed25519PrivateKey, bytes]:
    # Deriving the public half costs three times what a signature does.
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return private, private.public_key().public_bytes_raw()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's origin, size and root; `note` is the signed text, empty when it is not signed."""

    origin: str
    size: int
    root: bytes
    note: str = ""

    @property
    def text(self) -> str:
        """The text that is signed, its last newline included."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"

    def signed_by(self, signers: Iterable[Signer]) -> Checkpoint:
        """Return the checkpoint with these signatures and no others."""
        text = self.text
        note = text + "\n" + "".join(signer.line(text.encode()) for signer in signers)
        return Checkpoint(self.origin, self.size, self.root, note)


def parse(note: str) -> Checkpoint:
    """Return the checkpoint in a signed note, without trusting it yet; `opened` checks who signed.

    Raises TamperedError (`ledger.checkpoint_malformed`).
    """
    text, _ = _parts(note)
    lines = text.split("\n")
    try:
        origin, digits, encoded = lines[0], lines[1], lines[2]
        root = base64.b64decode(encoded, validate=True)
    except (IndexError, binascii.Error) as error:
        raise _malformed("it is not origin, size and root") from error
    if not digits.isascii() or not digits.isdigit() or str(int(digits)) != digits:
        raise _malformed(f"{digits!r} is not a size")
    if not origin or len(root) != 32 or _b64(root) != encoded or lines[3:] != [""]:
        raise _malformed("it is not origin, size and root")
    return Checkpoint(origin, int(digits), root, note)


def opened(note: str, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, list[VerifierKey]]:
    """Return the checkpoint and which of the keys signed it: at least one.

    Unknown keys' signatures are skipped, as C2SP says; a known key's signature that does not
    verify is an error. Raises TamperedError: `ledger.checkpoint_malformed`,
    `ledger.signature_invalid`, `ledger.key_unknown`.
    """
    checkpoint = parse(note)
    text, lines = _parts(note)
    signed: list[VerifierKey] = []
    for line in lines:
        name, key_id, signature = _signature(line)
        for key in keys:
            if key.name != name or key.key_id != key_id:
                continue
            if not key.verifies(text.encode(), signature):
                raise TamperedError(
                    "ledger.signature_invalid",
                    f"the signature of {name}+{key_id.hex()} does not fit the checkpoint",
                    log=checkpoint.origin,
                )
            signed.append(key)
    if not signed:
        raise TamperedError(
            "ledger.key_unknown",
            "no key that you trust signed the checkpoint: " + ", ".join(str(key) for key in keys),
            log=checkpoint.origin,
        )
    return checkpoint, signed


def key_ids(note: str) -> list[tuple[str, str]]:
    """Return the name and hex key id of each signature of a note."""
    _, lines = _parts(note)
    return [(name, key_id.hex()) for name, key_id, _ in map(_signature, lines)]


def _parts(note: str) -> tuple[str, list[str]]:
    head, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or lines[-1] != "" or not 1 <= len(lines) - 1 <= SIGNATURES_MAX:
        raise _malformed("it is not a signed note")
    return head + "\n", lines[:-1]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise _malformed("a signature is not base64") from error
    if not line.startswith(_DASH) or not name or len(data) < 5:
        raise _malformed("a signature line is not `— name base64`")
    return name, data[:4], data[4:]


def _malformed(detail: str) -> TamperedError:
    return TamperedError("ledger.checkpoint_malformed", f"the checkpoint is malformed: {detail}")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
