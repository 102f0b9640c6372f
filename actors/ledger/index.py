"""Where each decision is in the log: a table beside the tiles that can be made again from them."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from actors.ledger.entry import timestamp
from actors.ledger.generation import connect, current, fresh
from actors.ledger.wal import position
from policies.decision import Effect
from policies.errors import RefusalError

INDEX: Final = "index"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS leaf (
  leaf_index INTEGER PRIMARY KEY,
  wal_ms INTEGER NOT NULL,
  wal_serial INTEGER NOT NULL,
  kind TEXT NOT NULL,
  decision_id TEXT,
  message_id TEXT,
  decided_at TEXT,
  effect TEXT,
  agent TEXT
);
CREATE INDEX IF NOT EXISTS leaf_wal ON leaf (wal_ms, wal_serial);
CREATE INDEX IF NOT EXISTS leaf_decision ON leaf (decision_id) WHERE decision_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS leaf_message ON leaf (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS leaf_time ON leaf (decided_at, leaf_index)
  WHERE decision_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS leaf_agent ON leaf (agent, decided_at, leaf_index)
  WHERE decision_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER, root BLOB);
"""
_INSERT: Final = "INSERT OR REPLACE INTO leaf VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Row(NamedTuple):
    """One leaf, as the index keeps it; a decision's leaf says which one."""

    leaf_index: int
    wal_id: str
    kind: str
    decision_id: str | None = None
    message_id: str | None = None
    decided_at: str | None = None
    effect: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which decisions: newest first, before a cursor, at most so many."""

    since: datetime | None = None
    until: datetime | None = None
    effect: Effect | None = None
    agent: str | None = None
    limit: int = 50
    before: tuple[str, int] | None = None


class Index:
    """One log's index, open for one process; the sequencer writes, gateways read."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path = path
        self._connection = connect(path, _SCHEMA, writes=writes)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def is_sound(self) -> bool:
        """Say whether the file itself is whole; what it says is compared with the log's size."""
        try:
            ((answer,),) = self._connection.execute("PRAGMA quick_check").fetchall()
        except (sqlite3.DatabaseError, ValueError):
            return False
        return bool(answer == "ok")

    def state(self) -> tuple[int, bytes]:
        """Return the size and root of the log that it is about."""
        found = self._connection.execute("SELECT size, root FROM state").fetchone()
        return (0, b"") if found is None else (found[0], found[1])

    def add(self, rows: Iterable[Row], *, size: int, root: bytes) -> None:
        """Add the rows of a longer log, all or none."""
        with self._transaction():
            self._connection.executemany(_INSERT, (_values(row) for row in rows))
            self._connection.execute("INSERT OR REPLACE INTO state VALUES (0, ?, ?)", (size, root))

    def put(self, rows: Iterable[Row]) -> None:
        """Add rows while the index is made again; it counts when `add` says how far it goes."""
        with self._transaction():
            self._connection.executemany(_INSERT, (_values(row) for row in rows))

    def by_decision(self, decision_id: str) -> Row | None:
        """Return the row of a decision."""
        return self._one("decision_id = ?", decision_id)

    def by_message(self, message_id: str) -> Row | None:
        """Return the row of the first decision on a message."""
        return self._one("message_id = ?", message_id)

    def by_wal_id(self, wal_id: str) -> Row | None:
        """Return the row of a write-ahead record; hand-overs of keys do not count."""
        return self._one(
            "wal_ms = ? AND wal_serial = ? AND kind <> 'key_rotation'", *position(wal_id)
        )

    def last_wal_id(self) -> str:
        """Return the write-ahead id of the last leaf; empty when there is none."""
        found = self._connection.execute(
            "SELECT wal_ms, wal_serial FROM leaf ORDER BY leaf_index DESC LIMIT 1"
        ).fetchone()
        return "" if found is None else f"{found[0]}-{found[1]}"

    def known(self, decision_ids: Sequence[str]) -> set[str]:
        """Return which of these decisions are in the log already."""
        found: set[str] = set()
        for at in range(0, len(decision_ids), 500):
            some = decision_ids[at : at + 500]
            marks = ", ".join("?" * len(some))
            rows = self._connection.execute(
                f"SELECT decision_id FROM leaf WHERE decision_id IN ({marks})",  # noqa: S608 # marks only
                some,
            )
            found.update(decision_id for (decision_id,) in rows)
        return found

    def decisions(self, query: Query) -> list[Row]:
        """Return the rows of a page of decisions, newest first."""
        where, values = ["decision_id IS NOT NULL"], []
        for condition, value in _conditions(query):
            where.append(condition)
            values += value
        rows = self._connection.execute(
            f"SELECT * FROM leaf WHERE {' AND '.join(where)} "  # noqa: S608 # our own words only
            "ORDER BY decided_at DESC, leaf_index DESC LIMIT ?",
            (*values, query.limit),
        )
        return [_row(row) for row in rows]

    def _one(self, where: str, *values: object) -> Row | None:
        found = self._connection.execute(
            f"SELECT * FROM leaf WHERE {where} ORDER BY leaf_index LIMIT 1",  # noqa: S608 # our own
            values,
        ).fetchone()
        return None if found is None else _row(found)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def open_index(folder: Path, *, size: int, root: bytes) -> tuple[Index, bool]:
    """Return a log's index to write, and whether it is complete.

    One that is not is empty, and counts once it is given to `publish`.
    """
    path = current(folder, INDEX)
    if path is not None and path.exists():
        with suppress(sqlite3.DatabaseError):
            index = Index(path, writes=True)
            if index.is_sound() and index.state() == (size, root):
                return index, True
            index.close()
    return Index(fresh(folder, INDEX), writes=True), False


def cursor_of(row: Row) -> str:
    """Return the cursor of the page that begins after this row."""
    return base64.urlsafe_b64encode(f"{row.decided_at} {row.leaf_index}".encode()).decode()


def from_cursor(cursor: str) -> tuple[str, int]:
    """Return what `cursor_of` wrote. Raises RefusalError `request.bad_cursor` (422)."""
    try:
        decided_at, _, leaf = base64.urlsafe_b64decode(cursor).decode().partition(" ")
        return decided_at, int(leaf)
    except (binascii.Error, ValueError) as error:
        raise RefusalError(
            "request.bad_cursor", "the cursor is not one of ours; start without it", 422
        ) from error


def _conditions(query: Query) -> Iterator[tuple[str, list[object]]]:
    if query.since is not None:
        yield "decided_at >= ?", [timestamp(query.since)]
    if query.until is not None:
        yield "decided_at < ?", [timestamp(query.until)]
    if query.effect is not None:
        yield "effect = ?", [query.effect.value]
    if query.agent is not None:
        yield "agent = ?", [query.agent]
    if query.before is not None:
        yield "(decided_at, leaf_index) < (?, ?)", list(query.before)


def _values(row: Row) -> tuple[object, ...]:
    return (row.leaf_index, *position(row.wal_id), *row[2:])


def _row(values: Sequence[Any]) -> Row:
    return Row(values[0], f"{values[1]}-{values[2]}", *values[3:])
