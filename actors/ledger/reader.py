"""The reader: what gateways and auditors ask of the ledger, answered from its files."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from actors.ledger import checkpoint as notes
from actors.ledger import generation
from actors.ledger.checkpoint import Checkpoint
from actors.ledger.entry import decision_from, open_entry
from actors.ledger.errors import TamperedError
from actors.ledger.index import Index, Query, Row, cursor_of, from_cursor
from actors.ledger.keys import ROOT, log_folder, log_origin, verifiers
from actors.ledger.merkle import leaf_hash
from actors.ledger.overflow import unfit
from actors.ledger.report import REPORT_KEPT_S, SequencerReport
from actors.ledger.root import ROOT_INDEX, RootIndex
from actors.ledger.store import ROTATIONS, blob_path
from actors.ledger.tail import Tail
from actors.ledger.tiles import WIDTH, parse_path
from actors.ledger.view import Cache, Inclusion, LogView
from cluster.clock import Clock, SystemClock
from cluster.store import keys
from cluster.store.client import Store
from policies.decision import Decision, Effect, Receipt, Recorded
from policies.errors import DependencyError, RefusalError

_ENTRY_ID: Final = re.compile(r"\A\d+-\d+\Z")


@dataclass(frozen=True, slots=True)
class Page:
    """Decisions, newest first, and where the next page begins."""

    decisions: Sequence[tuple[Decision, Receipt]]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Proof:
    """A decision's entry proved under its tenant's checkpoint, and that under the root.

    `root` is None while the root log does not cover a checkpoint with this entry yet.
    """

    inclusion: Inclusion
    root: Inclusion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a log stands: `lag_s` is how long the oldest record waits that is not in it yet."""

    origin: str
    size: int
    root: str
    last_id: str
    lag_s: float | None


class LedgerReader:
    """A ledger's folder, open for reading. Belongs to one event loop.

    `publics` are the Ed25519 public keys, newest last; without them signatures are not checked
    and no verifier key can be shown. With a `store`, the lag is known.
    """

    def __init__(
        self,
        folder: Path,
        *,
        origin: str,
        publics: Sequence[bytes] = (),
        store: Store | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._publics = publics
        self._store = store
        self._clock = clock or SystemClock()
        self._cache = Cache()
        self._views: dict[str, LogView] = {}
        self._tails: dict[str, Tail] = {}
        self._root_index: tuple[generation.Mark, RootIndex] | None = None

    async def checkpoint(self, tenant: str | None = None) -> str | None:
        """Return the signed note of a tenant's log, or of the root log; None while it is empty."""
        checkpoint = self._view(tenant).checkpoint()
        return None if checkpoint is None else checkpoint.note

    async def tile(self, tenant: str | None, path: str) -> bytes | None:
        """Return the tile or entry bundle at a tlog-tiles path; None for any other path."""
        tile = parse_path(path)
        view = self._view(tenant)
        checkpoint = view.checkpoint()
        if tile is None or checkpoint is None:
            return None
        end = (tile.number * WIDTH + tile.width) << 8 * (tile.level or 0)
        if end > checkpoint.size:
            return None  # it may be on disk, but nobody has signed it
        return await asyncio.to_thread(view.tile, tile)

    async def rotation(self, tenant: str | None, number: int) -> str | None:
        """Return the checkpoint that two keys signed when one followed the other, by number."""
        data = self._view(tenant).fetch(f"{ROTATIONS}/{int(number)}")
        return None if data is None else data.decode()

    def verifier_keys(self, tenant: str | None = None) -> str:
        """Return the log's verifier keys, one `name+hex+base64` a line, newest first."""
        keys_ = verifiers(self._publics, origin=self._origin, tenant=tenant or ROOT)
        return "".join(f"{key}\n" for key in keys_)

    async def proof(self, tenant: str, decision_id: str) -> Proof | None:
        """Return the proof of a decision, or None when it is not in the tree (yet).

        It stands under the newest checkpoint that the root log covers, when that has the entry.
        Raises ProofError or TamperedError when the files do not prove it any more.
        """
        return await asyncio.to_thread(self._proof, tenant, decision_id)

    async def consistency(self, tenant: str | None, first: int, second: int) -> Sequence[bytes]:
        """Return the proof that the log of size `second` holds the one of size `first`.

        Raises RefusalError `ledger.consistency_refused` (422): from 0, backwards, or too large.
        """
        view = self._view(tenant)
        checkpoint = view.checkpoint()
        size = 0 if checkpoint is None else checkpoint.size
        if checkpoint is None or not 0 < first <= second <= size:
            raise RefusalError(
                "ledger.consistency_refused",
                f"give sizes with 0 < first <= second <= {size}; from 0 nothing is proved",
                422,
            )
        return await asyncio.to_thread(view.prove_growth, first, second, checkpoint=checkpoint)

    async def decisions(
        self,
        tenant: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        effect: Effect | None = None,
        agent: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of the decisions in the signed tree, newest first.

        Raises RefusalError `request.bad_cursor` (422) for a cursor that is not ours.
        """
        query = Query(
            since=since,
            until=until,
            effect=effect,
            agent=agent,
            limit=limit + 1,
            before=None if cursor is None else from_cursor(cursor),
        )
        return await asyncio.to_thread(self._page, tenant, query)

    async def recorded(self, tenant: str, decision_id: str) -> Recorded | None:
        """Return a decision that is in the signed tree."""
        return await asyncio.to_thread(self._recorded, tenant, decision_id, by_message=False)

    async def recorded_for(self, tenant: str, message_id: str) -> Recorded | None:
        """Return the first decision on a message that is in the signed tree."""
        return await asyncio.to_thread(self._recorded, tenant, message_id, by_message=True)

    async def entry(self, tenant: str, leaf_index: int) -> bytes:
        """Return an entry. Raises RefusalError `ledger.no_such_leaf` (404)."""
        view = self._view(tenant)
        checkpoint = view.checkpoint()
        if checkpoint is None or not 0 <= leaf_index < checkpoint.size:
            raise RefusalError("ledger.no_such_leaf", f"there is no leaf {leaf_index}", 404)
        return await asyncio.to_thread(view.entry, leaf_index, checkpoint.size)

    async def outside(self, tenant: str, digest: str) -> bytes | None:
        """Return what was too large for an entry, by the digest that the entry names."""
        return await asyncio.to_thread(self._view(tenant).fetch, blob_path(digest))

    async def wait_for_leaf(self, tenant: str, name: str, *, timeout_s: float) -> int | None:
        """Return the leaf index of a decision id or write-ahead entry id once it is in the tree.

        None when that takes longer than the timeout.
        """
        view = self._view(tenant)
        tail = self._tails.setdefault(tenant, Tail(lambda: _size(view)))
        deadline_s = self._clock.monotonic_s() + timeout_s
        while True:
            seen = _size(view)
            index = view.index()
            row = None if index is None else _row_named(index, name)
            if row is not None:
                return row.leaf_index
            if not await tail.grown(seen, timeout_s=deadline_s - self._clock.monotonic_s()):
                return None

    async def standing(self, tenant: str | None = None) -> Standing:
        """Return how a log stands."""
        view = self._view(tenant)
        checkpoint = view.checkpoint()
        index = view.index() if tenant else None
        last_id = "" if index is None else index.last_wal_id()
        return Standing(
            origin=log_origin(self._origin, tenant or ROOT),
            size=0 if checkpoint is None else checkpoint.size,
            root="" if checkpoint is None else checkpoint.root.hex(),
            last_id=last_id,
            lag_s=await self._lag_s(tenant, last_id) if tenant else None,
        )

    async def check(self, store: Store) -> str:
        """Say how the ledger does. Raises DependencyError when no sequencer runs.

        A log that has stopped is named; its own tenant is refused, and nobody else.
        """
        said = await store.execute("GET", keys.SEQUENCER)
        if not isinstance(said, bytes):
            raise DependencyError("ledger", f"no sequencer has reported for {REPORT_KEPT_S} s")
        stopped = SequencerReport.from_json(said).stopped
        reasons = "; ".join(f"{tenant}: {why}" for tenant, why in sorted(stopped.items()))
        return f"it runs, but has stopped for {reasons}" if stopped else "it runs for every tenant"

    async def close(self) -> None:
        """Let go of the indexes."""
        for view in self._views.values():
            view.close()
        if self._root_index is not None:
            self._root_index[1].close()

    def tenants(self) -> list[str]:
        """Name the tenants that have a log."""
        logs = self._folder / "t"
        return sorted(path.name for path in logs.iterdir()) if logs.is_dir() else []

    def entries(self, tenant: str, *, last: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the body of every entry of a tenant's log, in order; or of the last so many."""
        view = self._view(tenant)
        checkpoint = view.checkpoint()
        size = 0 if checkpoint is None else checkpoint.size
        start = 0 if last is None else max(0, size - last)
        for first in range(start - start % WIDTH, size, WIDTH):
            for data in view.entries(first, size)[max(0, start - first) :]:
                yield open_entry(data).body

    def _view(self, tenant: str | None) -> LogView:
        name = tenant or ROOT
        view = self._views.get(name)
        if view is None:
            try:
                path = self._folder / log_folder(name)
            except ValueError as error:
                raise RefusalError("ledger.no_such_log", "there is no such log", 404) from error
            trusted = verifiers(self._publics, origin=self._origin, tenant=name)
            view = LogView(path, keys=trusted, cache=self._cache)
            if view.checkpoint() is not None:  # names that have no log are not remembered
                self._views[name] = view
        return view

    def _proof(self, tenant: str, decision_id: str) -> Proof | None:
        view = self._view(tenant)
        checkpoint, row = view.checkpoint(), self._row(view, decision_id)
        if checkpoint is None or row is None or row.leaf_index >= checkpoint.size:
            return None
        root = self._root_inclusion(tenant)
        if root is not None:
            covered = notes.parse(root.entry.decode())
            if row.leaf_index < covered.size:
                return Proof(self._proved(view, row, covered), root)
        return Proof(self._proved(view, row, checkpoint), None)

    def _proved(self, view: LogView, row: Row, checkpoint: Checkpoint) -> Inclusion:
        inclusion = view.prove(row.leaf_index, checkpoint)
        _check_row(row, inclusion.entry)
        return inclusion

    def _root_inclusion(self, tenant: str) -> Inclusion | None:
        view, index = self._view(None), self._covered_index()
        checkpoint = view.checkpoint()
        if index is None or checkpoint is None:
            return None
        covered = index.latest(log_origin(self._origin, tenant))
        if covered is None or covered.leaf_index >= checkpoint.size:
            return None
        return view.prove(covered.leaf_index, checkpoint)

    def _covered_index(self) -> RootIndex | None:
        mark = generation.mark(self._folder, ROOT_INDEX)
        if self._root_index is None or self._root_index[0] != mark:
            index = generation.open_current(
                self._folder, ROOT_INDEX, lambda path: RootIndex(path, writes=False)
            )
            if index is None or mark is None:
                return None
            self._root_index = (mark, index)
        return self._root_index[1]

    def _row(self, view: LogView, decision_id: str) -> Row | None:
        index = view.index()
        return None if index is None else index.by_decision(decision_id)

    def _recorded(self, tenant: str, name: str, *, by_message: bool) -> Recorded | None:
        view = self._view(tenant)
        index, checkpoint = view.index(), view.checkpoint()
        if index is None or checkpoint is None:
            return None
        row = index.by_message(name) if by_message else index.by_decision(name)
        if row is None or row.leaf_index >= checkpoint.size:
            return None
        data = view.entry(row.leaf_index, checkpoint.size)
        decision, receipt = self._read(view, row, data)
        return Recorded(decision=decision, receipt=receipt, replayed=False)

    def _page(self, tenant: str, query: Query) -> Page:
        view = self._view(tenant)
        index, checkpoint = view.index(), view.checkpoint()
        if index is None or checkpoint is None:
            return Page((), None)
        rows = [row for row in index.decisions(query) if row.leaf_index < checkpoint.size]
        shown = rows[: query.limit - 1]
        bundles = {
            first: view.entries(first * WIDTH, checkpoint.size)
            for first in {row.leaf_index // WIDTH for row in shown}
        }
        decisions = [
            self._read(view, row, bundles[row.leaf_index // WIDTH][row.leaf_index % WIDTH])
            for row in shown
        ]
        return Page(decisions, cursor_of(shown[-1]) if len(rows) > len(shown) else None)

    def _read(self, view: LogView, row: Row, data: bytes) -> tuple[Decision, Receipt]:
        body = _check_row(row, data)
        overflow = body.get("overflow")
        outside = view.fetch(blob_path(overflow["digest"])) if overflow else None
        receipt = Receipt(
            origin=log_origin(self._origin, view.path.name),
            leaf_hash=base64.b64encode(leaf_hash(data)).decode(),
            entry_id=row.wal_id,
            leaf_index=row.leaf_index,
        )
        return decision_from(unfit(body, outside)), receipt

    async def _lag_s(self, tenant: str, last_id: str) -> float | None:
        if self._store is None:
            return None
        reply = await self._store.execute(
            "XRANGE", keys.wal(tenant), f"({last_id or '0-0'}", "+", "COUNT", 1
        )
        if not isinstance(reply, list) or not reply:
            return 0.0
        written_s = int(reply[0][0].split(b"-")[0]) / 1000
        return max(0.0, self._clock.now().timestamp() - written_s)


def tlog_proof_text(proof: Proof) -> str:
    """Return the proof as a C2SP tlog-proof file."""
    inclusion = proof.inclusion
    hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in inclusion.path)
    return (
        f"c2sp.org/tlog-proof@v1\nindex {inclusion.leaf_index}\n{hashes}\n"
        f"{inclusion.checkpoint.note}"
    )


def _check_row(row: Row, data: bytes) -> Mapping[str, Any]:
    """Return the entry's body if it is the one that the index says it is."""
    found = open_entry(data)
    if found.wal_id != row.wal_id or found.kind != row.kind:
        raise TamperedError(
            "ledger.index_damaged",
            "the index names another entry; restart the sequencer to make it again",
            leaf=row.leaf_index,
        )
    return found.body


def _row_named(index: Index, name: str) -> Row | None:
    return index.by_wal_id(name) if _ENTRY_ID.match(name) else index.by_decision(name)


def _size(view: LogView) -> int:
    index = view.index()
    return 0 if index is None else index.state()[0]
