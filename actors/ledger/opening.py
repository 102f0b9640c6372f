"""Opening a tenant's log: verified from end to end, with an index that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.ledger import checkpoint as notes
from actors.ledger.checkpoint import Checkpoint, Signer
from actors.ledger.entry import Kind, open_entry
from actors.ledger.generation import publish
from actors.ledger.index import INDEX, Index, Row, open_index
from actors.ledger.merkle import EMPTY_ROOT
from actors.ledger.overflow import about
from actors.ledger.store import Folder, Step, blob_path
from actors.ledger.tiles import CHECKPOINT
from actors.ledger.track import Track
from actors.ledger.verify import Progress
from actors.ledger.writer import Opening, Writer

_CHUNK: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOpening:
    """What a tenant's log is opened with.

    `signers` newest first; `remembered` from outside its folder; `at` the time that a hand-over of
    keys would be given.
    """

    tenant: str
    origin: str
    signers: Sequence[Signer]
    wal_key: bytes
    at: str
    remembered: Sequence[Checkpoint] = ()
    progress: Progress | None = None


def open_track(path: Path, opening: TrackOpening, *, step: Step) -> Track:
    """Verify a tenant's log, make its index again if it must be, and hand over keys if due.

    Raises TamperedError, naming what is wrong.
    """
    folder = Folder(path, step=step)
    note = folder.fetch(CHECKPOINT)
    claimed = notes.parse(note.decode(errors="replace")) if note else Checkpoint("", 0, EMPTY_ROOT)
    index, complete = open_index(path, size=claimed.size, root=claimed.root)
    rebuild = _Rebuild(folder, index)
    try:
        writer = Writer.open(
            folder,
            Opening(
                origin=opening.origin,
                signers=opening.signers,
                remembered=opening.remembered,
                progress=opening.progress,
                visit=None if complete else rebuild.visit,
            ),
        )
    except BaseException:
        index.close()
        raise
    if not complete:
        rebuild.finish(size=writer.log.size, root=writer.log.root)
        publish(index.path, INDEX)
    if writer.hand_over(at=opening.at):
        row = Row(writer.log.size - 1, writer.last_id, Kind.KEY_ROTATION.value)
        index.add([row], size=writer.log.size, root=writer.log.root)
    return Track(opening.tenant, writer, index, wal_key=opening.wal_key)


class _Rebuild:
    """Fills an empty index while the log is being verified."""

    def __init__(self, folder: Folder, index: Index) -> None:
        self._folder = folder
        self._index = index
        self._rows: list[Row] = []

    def visit(self, leaf_index: int, data: bytes, _leaf: bytes) -> None:
        found = open_entry(data)
        overflow = found.body.get("overflow")
        outside = self._folder.fetch(blob_path(overflow["digest"])) if overflow else None
        self._rows.append(Row(leaf_index, found.wal_id, *about(found.body, outside)))
        if len(self._rows) >= _CHUNK:
            self._index.put(self._rows)
            self._rows = []

    def finish(self, *, size: int, root: bytes) -> None:
        self._index.add(self._rows, size=size, root=root)
