"""The secrets that the ledger works with, and the names that its logs sign under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from actors.ledger.checkpoint import Signer, VerifierKey
from policies.message import AGENT_ID

ROOT: Final = ""  # stands for the root log where a tenant's name would stand


class WriterKeys(Protocol):
    """What a recorder needs: it can write, and it cannot sign a checkpoint."""

    @property
    def wal_key(self) -> bytes:
        """Authenticates write-ahead records between a gateway and the sequencer."""
        ...

    @property
    def evidence_key(self) -> bytes:
        """Wraps the subjects' evidence keys; 32 bytes."""
        ...


def log_origin(origin: str, tenant: str) -> str:
    """Return the origin of a tenant's log, or of the root log."""
    return f"{origin}/t/{tenant}" if tenant else origin


def log_folder(tenant: str) -> str:
    """Return the path of a log below the ledger's folder and below the server's root alike."""
    if tenant and not AGENT_ID.match(tenant):
        raise ValueError(f"{tenant!r} is not a tenant id")
    return f"t/{tenant}/" if tenant else ""


def signers(seeds: Sequence[bytes], *, origin: str, tenant: str) -> list[Signer]:
    """Return who signs this log's checkpoints, newest first, of seeds that have the newest last."""
    return [Signer(log_origin(origin, tenant), seed) for seed in reversed(seeds)]


def verifiers(publics: Sequence[bytes], *, origin: str, tenant: str) -> list[VerifierKey]:
    """Return the keys that may sign this log's checkpoints, newest first, of newest last."""
    return [VerifierKey(log_origin(origin, tenant), public) for public in reversed(publics)]


def public_keys(seeds: Sequence[bytes]) -> list[bytes]:
    """Return the public halves of these seeds, in their order."""
    return [Signer("", seed).verifier.public for seed in seeds]
