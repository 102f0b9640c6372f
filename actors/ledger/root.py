"""The log over the logs: each tenant's checkpoints, one after the other, under one root."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.ledger import checkpoint as notes
from actors.ledger.checkpoint import Checkpoint
from actors.ledger.entry import SEALED
from actors.ledger.errors import TamperedError
from actors.ledger.generation import connect, fresh, publish
from actors.ledger.store import Folder
from actors.ledger.writer import Opening, Writer

ROOT_INDEX: Final = "root"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS covered (
  origin TEXT NOT NULL, size INTEGER NOT NULL, leaf_index INTEGER NOT NULL,
  PRIMARY KEY (origin, size)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Covered:
    """A tenant's log at one size, as one leaf of the root log."""

    origin: str
    size: int
    leaf_index: int


class RootIndex:
    """Which leaf of the root log covers which size of which log; made again from the log."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        self._connection = connect(path, _SCHEMA, writes=writes)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def add(self, rows: Iterable[Covered]) -> None:
        """Add what new leaves cover."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT OR IGNORE INTO covered VALUES (?, ?, ?)",
            ((row.origin, row.size, row.leaf_index) for row in rows),
        )
        self._connection.execute("COMMIT")

    def latest(self, origin: str) -> Covered | None:
        """Return the newest leaf about this log."""
        found = self._connection.execute(
            "SELECT origin, size, leaf_index FROM covered WHERE origin = ? "
            "ORDER BY size DESC LIMIT 1",
            (origin,),
        ).fetchone()
        return None if found is None else Covered(*found)


class RootLog:
    """The root log, open for writing."""

    def __init__(self, writer: Writer, index: RootIndex, covered: Mapping[str, Checkpoint]) -> None:
        self.writer = writer
        self._index = index
        self._covered = dict(covered)

    @classmethod
    def open(cls, folder: Folder, opening: Opening) -> RootLog:
        """Verify the root log and make its index again. Raises TamperedError."""
        rows: list[Covered] = []
        covered: dict[str, Checkpoint] = {}

        def visit(index: int, entry: bytes, _leaf: bytes) -> None:
            checkpoint = checkpoint_in(entry)
            if checkpoint is not None:
                rows.append(Covered(checkpoint.origin, checkpoint.size, index))
                covered[checkpoint.origin] = checkpoint

        writer = Writer.open(
            folder,
            Opening(
                origin=opening.origin,
                signers=opening.signers,
                remembered=opening.remembered,
                visit=visit,
            ),
        )
        path = fresh(folder.folder, ROOT_INDEX)
        index = RootIndex(path, writes=True)
        index.add(rows)
        publish(path, ROOT_INDEX)
        return cls(writer, index, covered)

    def remembered(self, origin: str) -> Checkpoint | None:
        """Return what this log remembers last of a tenant's log."""
        return self._covered.get(origin)

    def cover(self, checkpoints: Iterable[Checkpoint]) -> Checkpoint | None:
        """Append the checkpoints that are new; return the root's own, or None if none was."""
        fresh = [each for each in checkpoints if self._is_new(each)]
        if not fresh:
            return None
        first = self.writer.log.size
        self.writer.commit([each.note.encode() for each in fresh])
        self._index.add(
            Covered(each.origin, each.size, first + at) for at, each in enumerate(fresh)
        )
        self._covered.update((each.origin, each) for each in fresh)
        return self.writer.checkpoint

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def _is_new(self, checkpoint: Checkpoint) -> bool:
        known = self._covered.get(checkpoint.origin)
        if known is None or checkpoint.size > known.size:
            return True
        if checkpoint.size == known.size and checkpoint.root == known.root:
            return False
        raise TamperedError(
            "ledger.forked",
            f"the root log covers {known.size} other entries of it",
            log=checkpoint.origin,
        )


def checkpoint_in(entry: bytes) -> Checkpoint | None:
    """Return the tenant's checkpoint in an entry of the root log; a hand-over of keys has none."""
    if entry.startswith(SEALED):
        return None
    return notes.parse(entry.decode())
