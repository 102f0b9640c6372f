"""One tenant's way from the write-ahead stream into the signed tree."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actors.ledger import checkpoint as notes
from actors.ledger import entry, wal
from actors.ledger.checkpoint import Checkpoint
from actors.ledger.errors import LedgerError, TamperedError, WalRecordError
from actors.ledger.index import Index, Row
from actors.ledger.merkle import leaf_hash
from actors.ledger.store import blob_path
from actors.ledger.wal import Record, Settled
from actors.ledger.writer import BEGINNING, Writer, raise_mark_call
from cluster.store import keys
from cluster.store.client import Call, Script, Store

LEFT_MAX: Final = 10_000  # records that one run may leave integrated and not settled

# Ids never start again below the last integrated one, even if the store lost its stream: what is
# written there would be acknowledged and never read.
_FENCE: Final = Script("""
redis.pcall('XADD', KEYS[1], ARGV[1], 'f', '')
return redis.call('XINFO', 'STREAM', KEYS[1])[8]
""")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records that can be integrated, and the first that cannot."""

    records: Sequence[Record]
    bad: LedgerError | None


class Track:
    """A tenant's log while it is being sequenced."""

    def __init__(self, tenant: str, writer: Writer, index: Index, *, wal_key: bytes) -> None:
        self.tenant = tenant
        self.writer = writer
        self.waiting_since_ms: int | None = None
        self._index = index
        self._wal_key = wal_key
        self._unsettled: list[Settled] = []
        self._mark_due = writer.checkpoint is not None

    def read_call(self) -> Call:
        """Return the call that answers what has been recorded since the last round."""
        return wal.read_call(self.tenant, self.writer.last_id)

    async def round(self, store: Store, replies: Sequence[object]) -> int:
        """Integrate what `read_call` answered; return how many records that was.

        Raises WalRecordError or TamperedError when the log must stop, StoreUnavailableError when
        the round could not be finished: the next one finishes it.
        """
        await self._finish(store)
        if not replies:
            self.waiting_since_ms = None
            return 0
        batch = await asyncio.to_thread(self._check, replies)
        if batch.records:
            self.waiting_since_ms = wal.position(batch.records[0].entry_id)[0]
            self._unsettled = await asyncio.to_thread(self._integrate, batch.records)
            self._mark_due = True
            await self._finish(store)
        if batch.bad is not None:
            raise batch.bad
        return len(batch.records)

    async def recover(self, store: Store) -> None:
        """Settle what an earlier run integrated and did not live to settle.

        Raises WalRecordError `wal.out_of_order` for a record that the log has passed by.
        """
        last_id = self.writer.last_id
        if last_id == BEGINNING:
            return
        left = await store.run(wal.left_call(self.tenant, last_id, count=LEFT_MAX))
        assert isinstance(left, list), "the script answers a list"
        for reply in left:
            entry_id, fields = wal.entry_fields(reply)
            if b"f" in fields:
                continue
            row = self._index.by_wal_id(entry_id)
            if row is None:
                raise WalRecordError(
                    "wal.out_of_order", entry_id, f"the log has gone on to {last_id} without it"
                )
            if row.message_id is not None:
                body = wal.checked(reply, tenant=self.tenant, wal_key=self._wal_key).body
                leaf = b64encode(leaf_hash(entry.seal(body, entry_id))).decode()
                self._unsettled.append(Settled(row.message_id, entry_id, leaf, row.leaf_index))
        await store.run(Call(_FENCE, [keys.wal(self.tenant)], [last_id]))
        await self._finish(store)

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def _check(self, replies: Sequence[object]) -> _Batch:
        records: list[Record] = []
        try:
            for reply in replies:
                record = wal.checked(reply, tenant=self.tenant, wal_key=self._wal_key)
                _refuse_hand_over(record)
                records.append(record)
        except WalRecordError as error:
            return self._first_time_only(records, error)
        return self._first_time_only(records, None)

    def _first_time_only(self, records: list[Record], bad: LedgerError | None) -> _Batch:
        """Refuse a record whose decision is in the log: somebody played it again."""
        ids = [record.about.decision_id for record in records]
        known = self._index.known([each for each in ids if each])
        for at, each in enumerate(ids):
            if each is None:
                continue
            if each in known:
                again = WalRecordError(
                    "wal.replayed",
                    records[at].entry_id,
                    f"decision {each} is in the log already",
                )
                return _Batch(records[:at], again)
            known.add(each)
        return _Batch(records, bad)

    def _integrate(self, records: Sequence[Record]) -> list[Settled]:
        first = self.writer.log.size
        entries = [entry.seal(record.body, record.entry_id) for record in records]
        outside = [
            (blob_path(digest), data)
            for record in records
            for digest, data in record.outside.items()
        ]
        growth = self.writer.commit(entries, files=outside)
        self.writer.last_id = records[-1].entry_id
        rows = [
            Row(first + at, record.entry_id, *record.about) for at, record in enumerate(records)
        ]
        self._index.add(rows, size=growth.log.size, root=growth.log.root)
        return [
            Settled(row.message_id, row.wal_id, b64encode(leaf).decode(), row.leaf_index)
            for row, leaf in zip(rows, growth.leaves, strict=True)
            if row.message_id is not None
        ]

    async def _finish(self, store: Store) -> None:
        """Remember the checkpoint outside, tell remembered messages their leaves, and trim."""
        if self._mark_due and self.writer.checkpoint is not None:
            standing = await store.run(raise_mark_call(self.writer.checkpoint))
            if isinstance(standing, bytes):
                self._refuse(notes.parse(standing.decode()), self.writer.checkpoint)
            settled = self._unsettled
            await store.run(wal.settle_call(self.tenant, self.writer.last_id, settled))
            self._mark_due, self._unsettled = False, []

    def _refuse(self, standing: Checkpoint, ours: Checkpoint) -> None:
        raise TamperedError(
            "ledger.rolled_back" if standing.size > ours.size else "ledger.forked",
            f"ours has {ours.size} entries and the high-water mark is another at {standing.size}",
            log=ours.origin,
        )


def _refuse_hand_over(record: Record) -> None:
    # Only the sequencer, which holds the signing key, may say that the key changes.
    if record.about.kind == entry.Kind.KEY_ROTATION:
        raise WalRecordError(
            "wal.malformed", record.entry_id, "a gateway cannot hand over the signing key"
        )
