"""One log as it is read: tiles, entries and proofs from the files that its writer left."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.ledger import checkpoint as notes
from actors.ledger import generation
from actors.ledger.checkpoint import Checkpoint, VerifierKey
from actors.ledger.errors import TamperedError
from actors.ledger.index import INDEX, Index
from actors.ledger.log import subtrees
from actors.ledger.merkle import (
    HASH_SIZE,
    Range,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from actors.ledger.store import Folder
from actors.ledger.tiles import CHECKPOINT, WIDTH, Tile, bundle, covering, hashes_of, unbundle

CACHE_BYTES: Final = 64 << 20


class Cache:
    """Full tiles never change, so they are kept: the most recently used, up to so many bytes."""

    def __init__(self, bytes_max: int = CACHE_BYTES) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """Return what is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, data: bytes) -> None:
        """Keep it, and drop what was not used for the longest time."""
        with self._lock:
            if key in self._kept or len(data) > self._bytes_max:
                return
            self._kept[key] = data
            self._bytes += len(data)
            while self._bytes > self._bytes_max:
                self._bytes -= len(self._kept.popitem(last=False)[1])


@dataclass(frozen=True, slots=True)
class Inclusion:
    """An entry, and the path from its leaf to a signed root; it has been checked."""

    leaf_index: int
    entry: bytes
    leaf: bytes
    path: Sequence[bytes]
    checkpoint: Checkpoint


class LogView:
    """A log's files, open for reading. Safe for several threads.

    With `keys`, a checkpoint that none of them signed raises TamperedError.
    """

    def __init__(self, path: Path, *, keys: Sequence[VerifierKey], cache: Cache) -> None:
        self.path = path
        self._folder = Folder(path)
        self._keys = keys
        self._cache = cache
        self._opened: Checkpoint | None = None
        self._index: tuple[generation.Mark, Index] | None = None
        self._lock = threading.Lock()

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint, or None while the log is empty."""
        data = self._folder.fetch(CHECKPOINT)
        if data is None:
            return None
        note = data.decode()
        if self._opened is None or self._opened.note != note:
            self._opened = notes.opened(note, self._keys)[0] if self._keys else notes.parse(note)
        return self._opened

    def fetch(self, path: str) -> bytes | None:
        """Return any other file of the log."""
        return self._folder.fetch(path)

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile or bundle, cut from a wider one if need be; None if there is none."""
        key = (self.path, tile.full)
        data = self._cache.get(key)
        if data is None:
            data = self._folder.fetch(tile.path)
            if data is not None and tile.width == WIDTH:
                self._cache.put(key, data)
            if data is not None:
                return data
            data = self._wider(tile)
        return None if data is None else _cut(data, tile)

    def entry(self, index: int, size: int) -> bytes:
        """Return an entry of a log of this size. Raises TamperedError when it is not there."""
        tile = covering(size, None, index // WIDTH)
        return unbundle(self._need(tile), path=tile.path)[index % WIDTH]

    def entries(self, first: int, size: int) -> Sequence[bytes]:
        """Return the entries of the bundle in which this one is."""
        tile = covering(size, None, first // WIDTH)
        return unbundle(self._need(tile), path=tile.path)

    def prove(self, index: int, checkpoint: Checkpoint) -> Inclusion:
        """Return the proof of an entry under a checkpoint of this log.

        Raises ProofError when the files do not give one: they were altered after the start.
        """
        entry = self.entry(index, checkpoint.size)
        leaf = leaf_hash(entry)
        path = prove_inclusion(index, checkpoint.size, self._range(checkpoint.size))
        verify_inclusion(leaf, index, checkpoint.size, path=path, root=checkpoint.root)
        return Inclusion(index, entry, leaf, path, checkpoint)

    def prove_growth(self, first: int, second: int, *, checkpoint: Checkpoint) -> list[bytes]:
        """Return the consistency proof between two sizes of this log. Raises ProofError."""
        subtree = self._range(second)
        path = prove_consistency(first, second, subtree)
        roots = [
            checkpoint.root if size == checkpoint.size else self._range(size)(0, size)
            for size in (first, second)
        ]
        verify_consistency(first, second, path=path, first_root=roots[0], second_root=roots[1])
        return path

    def index(self) -> Index | None:
        """Return the log's index as its writer keeps it now, or None before there is one."""
        mark = generation.mark(self.path, INDEX)
        with self._lock:
            if self._index is None or self._index[0] != mark:
                index = generation.open_current(
                    self.path, INDEX, lambda path: Index(path, writes=False)
                )
                if index is None or mark is None:
                    return None
                self._index = (mark, index)
            return self._index[1]

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            if self._index is not None:
                self._index[1].close()
                self._index = None

    def _range(self, size: int) -> Range:
        return subtrees(size, lambda tile: hashes_of(self._need(tile)))

    def _need(self, tile: Tile) -> bytes:
        data = self.tile(tile)
        if data is None:
            raise TamperedError("ledger.tile_missing", "the file is missing", path=tile.path)
        return data

    def _wider(self, tile: Tile) -> bytes | None:
        # The writer keeps only the widest partial tiles; each begins with all narrower ones.
        full = self._folder.fetch(tile.full.path)
        if full is not None or tile.width == WIDTH:
            return full
        partials = self.path / f"{tile.full.path}.p"
        try:
            widths = sorted(int(name) for name in os.listdir(partials) if name.isdigit())  # noqa: PTH208  # names only
        except FileNotFoundError:
            return self._folder.fetch(tile.full.path)  # it became full in between
        for width in reversed(widths):
            data = self._folder.fetch(tile._replace(width=width).path)
            if data is not None and width >= tile.width:
                return data
        return self._folder.fetch(tile.full.path)


def _cut(data: bytes, tile: Tile) -> bytes | None:
    if tile.width == WIDTH:
        return data
    if tile.level is None:
        entries = unbundle(data, path=tile.path)
        return bundle(entries[: tile.width]) if len(entries) >= tile.width else None
    return data[: tile.width * HASH_SIZE] if len(data) >= tile.width * HASH_SIZE else None
