"""A log that grows: new entries in, new tiles and a new root out; nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from actors.ledger.errors import TamperedError
from actors.ledger.merkle import HASH_SIZE, Peaks, Range, fold, leaf_hash, node_hash, split
from actors.ledger.tiles import ENTRY_MAX, HEIGHT, WIDTH, Tile, bundle, hashes_of, unbundle

ReadTile = Callable[[Tile], bytes]
"""Gives the bytes of a tile or bundle; raises TamperedError when it is missing."""

_LEVELS: Final = 8  # 256^8 leaves are more than there will ever be


@dataclass(frozen=True, slots=True)
class Log:
    """A log's size, its peaks, and its unfinished tiles: all that appending needs.

    `edges[L]` are the hashes in the partial tile at level L, `bundle` the entries of the partial
    bundle. What is whole is on disk, so memory stays the same however long the log is.
    """

    size: int
    root: bytes
    peaks: tuple[bytes, ...]
    edges: tuple[bytes, ...]
    bundle: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """A longer log, the tiles and bundles that changed, and the hashes of the new leaves."""

    log: Log
    writes: tuple[tuple[Tile, bytes], ...]
    leaves: tuple[bytes, ...]


EMPTY: Final = Log(0, Peaks().root(), (), (b"",) * _LEVELS, ())


def append(log: Log, entries: Sequence[bytes]) -> Growth:
    """Return the longer log. The old one stays true, and the same entries give the same bytes."""
    assert entries, "an empty batch would publish the same head twice"
    assert all(len(entry) <= ENTRY_MAX for entry in entries), "a bundle cannot hold such an entry"
    growing = _Growing(log)
    leaves = tuple(growing.push(entry) for entry in entries)
    return Growth(growing.log(), tuple(growing.writes()), leaves)


class _Growing:
    """The same log while a batch goes in."""

    def __init__(self, log: Log) -> None:
        self._peaks = Peaks(log.size, log.peaks)
        self._edges = [bytearray(edge) for edge in log.edges]
        self._bundle = list(log.bundle)
        self._before = log
        self._full: list[tuple[Tile, bytes]] = []

    def push(self, entry: bytes) -> bytes:
        leaf = leaf_hash(entry)
        self._bundle.append(entry)
        if len(self._bundle) == WIDTH:
            tile = Tile(None, self._peaks.size // WIDTH)
            self._full.append((tile, bundle(self._bundle)))
            self._bundle = []
        position = self._peaks.size
        self._extend(0, leaf, position)
        self._peaks.push(
            leaf,
            completed=lambda height, node: (
                self._extend(height // HEIGHT, node, position >> height)
                if height % HEIGHT == 0
                else None
            ),
        )
        return leaf

    def _extend(self, level: int, node: bytes, position: int) -> None:
        edge = self._edges[level]
        edge += node
        if len(edge) == WIDTH * HASH_SIZE:
            self._full.append((Tile(level, position // WIDTH), bytes(edge)))
            self._edges[level] = bytearray()

    def log(self) -> Log:
        return Log(
            self._peaks.size,
            self._peaks.root(),
            tuple(self._peaks.hashes),
            tuple(bytes(edge) for edge in self._edges),
            tuple(self._bundle),
        )

    def writes(self) -> Sequence[tuple[Tile, bytes]]:
        """Full tiles, then those partial ones that grew."""
        size, writes = self._peaks.size, list(self._full)
        if self._bundle:
            writes.append((Tile(None, size // WIDTH, len(self._bundle)), bundle(self._bundle)))
        for level, edge in enumerate(self._edges):
            if edge and (size >> HEIGHT * level) != (self._before.size >> HEIGHT * level):
                number = (size >> HEIGHT * level) // WIDTH
                writes.append((Tile(level, number, len(edge) // HASH_SIZE), bytes(edge)))
        return writes


def load(size: int, read: ReadTile) -> Log:
    """Return the log of this size from its tiles; it is as true as they are (see verify)."""
    edges = tuple(_edge(size, level, read) for level in range(_LEVELS))
    # A partial tile is always needed as it was: its hashes are the peaks of this level.
    peaks = [peak for edge in reversed(edges) for peak in _peaks(hashes_of(edge))]
    tree = Peaks(size, peaks)
    width = size % WIDTH
    tail = Tile(None, size // WIDTH, width)
    entries = tuple(unbundle(read(tail), path=tail.path)) if width else ()
    if len(entries) != width:
        raise TamperedError(
            "ledger.truncated", f"{len(entries)} of {width} entries", path=tail.path
        )
    return Log(size, tree.root(), tuple(tree.hashes), edges, entries)


def _edge(size: int, level: int, read: ReadTile) -> bytes:
    number, width = divmod(size >> HEIGHT * level, WIDTH)
    if not width:
        return b""
    tile = Tile(level, number, width)
    data = read(tile)
    if len(data) != width * HASH_SIZE:
        raise TamperedError("ledger.truncated", f"{len(data)} bytes of hashes", path=tile.path)
    return data


def _peaks(hashes: Sequence[bytes]) -> list[bytes]:
    peaks: list[bytes] = []
    at = 0
    for bit in reversed(range(len(hashes).bit_length())):
        if len(hashes) >> bit & 1:
            peaks.append(fold(hashes[at : at + (1 << bit)]))
            at += 1 << bit
    return peaks


def subtrees(size: int, hashes: Callable[[Tile], Sequence[bytes]]) -> Range:
    """Return the hash of any subtree that a proof in the tree of this size can ask for.

    `hashes` gives the hashes of a tile, in which those beyond its width are not looked at.
    """

    def whole(height: int, position: int) -> bytes:
        level, up = divmod(height, HEIGHT)
        first, count = position << up, 1 << up
        number, offset = divmod(first, WIDTH)
        full, width = divmod(size >> HEIGHT * level, WIDTH)
        tile = Tile(level, number) if number < full else Tile(level, number, width)
        return fold(hashes(tile)[offset : offset + count])

    def subtree(first: int, last: int) -> bytes:
        count = last - first
        if count & (count - 1) == 0:
            height = count.bit_length() - 1
            return whole(height, first >> height)
        middle = first + split(count)
        return node_hash(subtree(first, middle), subtree(middle, last))

    return subtree
