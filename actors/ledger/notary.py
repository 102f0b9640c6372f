"""Notes of reviews and of who decides on them, for rooms that append to the stream themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from actors.ledger import entry, wal
from cluster.keyring import load_keyring
from cluster.settings import Settings


class Note(NamedTuple):
    """A write-ahead record: the canonical body, and its MAC."""

    body: bytes
    mac: bytes


@dataclass(frozen=True, slots=True, repr=False)
class LedgerNotary:
    """Makes records that the sequencer takes in; it writes nothing itself."""

    wal_key: bytes

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the notary of these settings. Raises ConfigurationError for an unsound key."""
        return cls(load_keyring(settings).wal_key)

    def review_note(self, tenant: str, facts: Mapping[str, object]) -> Note:
        """Return the record of one step of a review.

        Raises RefusalError `content.invalid_unicode` for facts that no ledger can hold.
        """
        return self._note(tenant, entry.Kind.REVIEW, facts)

    def authority_note(self, tenant: str, facts: Mapping[str, object]) -> Note:
        """Return the record of one change of who may decide; raises as `review_note` does."""
        return self._note(tenant, entry.Kind.AUTHORITY, facts)

    def _note(self, tenant: str, kind: entry.Kind, facts: Mapping[str, object]) -> Note:
        body = entry.other_body(kind, {kind.value: facts})
        return Note(body, wal.mac(self.wal_key, tenant, body))
