"""Everything about a log recomputed from its files and a public key, trusting nobody.

Each kind of damage has its own code:

* `ledger.checkpoint_missing`, `ledger.checkpoint_malformed`, `ledger.origin_mismatch`
* `ledger.signature_invalid`, `ledger.key_unknown`: nobody that you trust signed it
* `ledger.tile_missing`, `ledger.tile_altered`, `ledger.bundle_malformed`, `ledger.truncated`
* `ledger.entry_altered`, `ledger.entry_malformed`, `ledger.reordered`: at this leaf
* `ledger.root_mismatch`: the files agree with one another and not with the checkpoint
* `ledger.rolled_back`: an older log than one that is remembered
* `ledger.forked`: another log of the same size as one that is remembered
* `ledger.rewritten`: a longer log that does not hold one that is remembered
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from actors.ledger import checkpoint as notes
from actors.ledger.checkpoint import Checkpoint, VerifierKey
from actors.ledger.entry import SEALED, EntryError
from actors.ledger.errors import TamperedError
from actors.ledger.merkle import EMPTY_ROOT, Peaks, fold, leaf_hash
from actors.ledger.rotation import Rotation, follow, rotation_in
from actors.ledger.store import ROTATIONS, Source
from actors.ledger.tiles import CHECKPOINT, HEIGHT, WIDTH, Tile, covering, hashes_of, unbundle
from actors.ledger.wal import position

Progress = Callable[[int, int], None]
"""Hears how many entries of how many are checked."""

Visit = Callable[[int, bytes, bytes], None]
"""Hears of every entry that is sound: its index, its bytes and its leaf hash."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A log that is what it says it is; `roots` are those at the sizes that were asked for."""

    checkpoint: Checkpoint
    signed_by: Sequence[VerifierKey]
    keys: Sequence[VerifierKey]
    roots: dict[int, bytes] = field(default_factory=dict)


def verify_log(
    source: Source,
    keys: Sequence[VerifierKey],
    *,
    origin: str = "",
    remembered: Sequence[Checkpoint] = (),
    progress: Progress | None = None,
    visit: Visit | None = None,
) -> Verified:
    """Return the log's checkpoint if everything about it is sound; raise TamperedError if not.

    `remembered` are checkpoints from outside the log's folder (a high-water mark, a root log, your
    own notes): only they can show a roll-back or a rewriting by the holder of the key.
    """
    note = _fetch_note(source)
    claimed = notes.parse(note)
    if origin and claimed.origin != origin:
        raise TamperedError("ledger.origin_mismatch", f"it is {claimed.origin!r}, not {origin!r}")
    hand_overs = list(_hand_overs(source))
    if not hand_overs:
        notes.opened(note, keys)  # a bad signature is named before anything else
    refuse_rollback(claimed, remembered)
    pass_ = _Pass(source, claimed, visit=visit)
    pass_.marks.update(each.size for each in remembered)
    pass_.marks.update(notes.parse(each).size for each in hand_overs)
    pass_.run(progress)
    _refuse_other_past(claimed, pass_.roots, remembered)
    trusted = follow(keys, hand_overs, pass_.rotations, roots=pass_.roots)
    checkpoint, signed_by = notes.opened(note, trusted)
    return Verified(checkpoint, signed_by, trusted, pass_.roots)


def refuse_rollback(claimed: Checkpoint, remembered: Sequence[Checkpoint]) -> None:
    """Raise TamperedError when a checkpoint is remembered that is larger, or a fork of this one."""
    for each in remembered:
        if each.size > claimed.size:
            raise TamperedError(
                "ledger.rolled_back",
                f"it has {claimed.size} entries, and once had {each.size}",
                log=claimed.origin,
            )
        if each.size == claimed.size and each.root != claimed.root:
            raise TamperedError(
                "ledger.forked",
                f"there are two logs of {each.size} entries",
                log=claimed.origin,
            )


def _refuse_other_past(
    claimed: Checkpoint, roots: dict[int, bytes], remembered: Sequence[Checkpoint]
) -> None:
    sound = 0
    for each in sorted(remembered, key=lambda known: known.size):
        if roots[each.size] != each.root:
            raise TamperedError(
                "ledger.rewritten",
                f"its first {each.size} entries are not those that were signed once; "
                f"the change is at or after leaf {sound}",
                log=claimed.origin,
                leaf=sound,
            )
        sound = each.size
    if roots[claimed.size] != claimed.root:
        raise TamperedError(
            "ledger.root_mismatch",
            "its files agree with one another but not with its checkpoint; "
            f"the change is at or after leaf {sound}",
            log=claimed.origin,
            leaf=sound,
        )


def _fetch_note(source: Source) -> str:
    data = source.fetch(CHECKPOINT)
    if data is None:
        raise TamperedError("ledger.checkpoint_missing", "there is no checkpoint", path=CHECKPOINT)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise TamperedError(
            "ledger.checkpoint_malformed", "the checkpoint is not UTF-8", path=CHECKPOINT
        ) from error


def _hand_overs(source: Source) -> Iterator[str]:
    number = 0
    while (data := source.fetch(f"{ROTATIONS}/{number}")) is not None:
        yield data.decode(errors="replace")
        number += 1


class _Pass:
    """One walk over all entries of a log, comparing every stored hash with its own."""

    def __init__(self, source: Source, claimed: Checkpoint, *, visit: Visit | None) -> None:
        self.marks = {0, claimed.size}
        self.roots = {0: EMPTY_ROOT}
        self.rotations: list[Rotation] = []
        self._source = source
        self._size = claimed.size
        self._origin = claimed.origin
        self._visit = visit
        self._peaks = Peaks()
        self._upper: dict[int, list[bytes]] = {}
        self._last = (-1, -1)

    def run(self, progress: Progress | None) -> None:
        bundles, width = divmod(self._size, WIDTH)
        for number in range(bundles + (width > 0)):
            self._bundle(number)
            if progress is not None:
                progress(self._peaks.size, self._size)
        for level, hashes in sorted(self._upper.items()):
            if hashes:
                number = (self._size >> HEIGHT * level) // WIDTH
                self._compare(covering(self._size, level, number), hashes)

    def _bundle(self, number: int) -> None:
        tile = covering(self._size, None, number)
        entries = unbundle(self._fetch(tile), path=tile.path)
        leaves = [leaf_hash(entry) for entry in entries]
        if len(entries) != tile.width:
            raise self._tampered(
                "ledger.truncated" if len(entries) < tile.width else "ledger.entry_altered",
                f"{len(entries)} entries instead of {tile.width}",
                tile=tile,
                leaf=number * WIDTH + len(entries),
            )
        self._compare_leaves(tile._replace(level=0), leaves, entries)
        for offset, (entry, leaf) in enumerate(zip(entries, leaves, strict=True)):
            self._leaf(number * WIDTH + offset, entry, leaf)

    def _leaf(self, index: int, entry: bytes, leaf: bytes) -> None:
        if entry.startswith(SEALED):  # others, such as a root log's checkpoints, have no order
            self._check_order(index, entry)
        self._peaks.push(leaf, completed=self._completed)
        if self._peaks.size in self.marks:
            self.roots[self._peaks.size] = self._peaks.root()
        if self._visit is not None:
            self._visit(index, entry, leaf)

    def _check_order(self, index: int, entry: bytes) -> None:
        try:
            here = position(orjson.loads(entry)["wal_id"])
            rotation = rotation_in(entry, index)
        except (EntryError, KeyError, TypeError, ValueError) as error:
            raise self._tampered("ledger.entry_malformed", repr(error), leaf=index) from error
        if rotation is not None:
            self.rotations.append(rotation)  # made by the sequencer, after the record before it
        elif here <= self._last:
            raise self._tampered(
                "ledger.reordered", "the entry was written before the one it follows", leaf=index
            )
        self._last = here

    def _completed(self, height: int, node: bytes) -> None:
        if height % HEIGHT:
            return
        level = height // HEIGHT
        hashes = self._upper.setdefault(level, [])
        hashes.append(node)
        if len(hashes) == WIDTH:
            number = (self._peaks.size + 1 >> height) // WIDTH - 1
            self._compare(Tile(level, number), hashes)
            hashes.clear()

    def _compare(self, tile: Tile, hashes: list[bytes]) -> None:
        stored = hashes_of(self._fetch(tile))
        for offset, (ours, theirs) in enumerate(zip(hashes, stored, strict=False)):
            if ours != theirs:
                first = (tile.number * WIDTH + offset) << HEIGHT * (tile.level or 0)
                raise self._tampered(
                    "ledger.tile_altered", f"hash {offset} is another", tile=tile, leaf=first
                )
        if len(hashes) != len(stored):
            raise self._tampered(
                "ledger.truncated", f"{len(stored)} hashes of {len(hashes)}", tile=tile
            )

    def _compare_leaves(
        self, tile: Tile, leaves: Sequence[bytes], entries: Sequence[bytes]
    ) -> None:
        stored = hashes_of(self._fetch(tile))
        if len(stored) != len(leaves):
            raise self._tampered(
                "ledger.truncated", f"{len(stored)} hashes of {len(leaves)}", tile=tile
            )
        wrong = [at for at, leaf in enumerate(leaves) if leaf != stored[at]]
        if not wrong:
            return
        first = tile.number * WIDTH + wrong[0]
        if len(wrong) > 1 and {leaves[at] for at in wrong} == {stored[at] for at in wrong}:
            raise self._tampered(
                "ledger.reordered", f"{len(wrong)} entries changed places", leaf=first
            )
        if self._vouched(tile, leaves):
            raise self._tampered(
                "ledger.tile_altered", f"hash {wrong[0]} is another", tile=tile, leaf=first
            )
        raise self._tampered(
            "ledger.entry_altered",
            f"the entry ({len(entries[wrong[0]])} bytes) is not the one that was hashed",
            tile=tile._replace(level=None),
            leaf=first,
        )

    def _vouched(self, tile: Tile, leaves: Sequence[bytes]) -> bool:
        """Say whether the tile above knows these leaves, so that their tile is the altered one."""
        number, offset = divmod(tile.number, WIDTH)
        above = covering(self._size, 1, number)
        if tile.width < WIDTH or above.width == 0:
            return False
        hashes = hashes_of(self._source.fetch(above.path) or b"")
        return offset < len(hashes) and hashes[offset] == fold(leaves)

    def _fetch(self, tile: Tile) -> bytes:
        data = self._source.fetch(tile.path)
        if data is not None:
            return data
        first = tile.number * WIDTH << HEIGHT * (tile.level or 0)
        if self._ends_here(tile):
            raise self._tampered(
                "ledger.truncated", f"its entries from {first} on are gone", tile=tile, leaf=first
            )
        raise self._tampered("ledger.tile_missing", "the file is missing", tile=tile, leaf=first)

    def _ends_here(self, tile: Tile) -> bool:
        """Say whether nothing is left from this tile on: a cut end, not a lost file."""
        if tile.level:
            return False
        last = (self._size - 1) // WIDTH
        other = 0 if tile.level is None else None
        rest = (covering(self._size, other, tile.number), covering(self._size, tile.level, last))
        return all(self._source.fetch(each.path) is None for each in rest)

    def _tampered(
        self, code: str, detail: str, *, tile: Tile | None = None, leaf: int | None = None
    ) -> TamperedError:
        path = "" if tile is None else tile.path
        return TamperedError(code, detail, log=self._origin, path=path, leaf=leaf)
