"""C2SP tlog-tiles: where each hash and entry of a log lies, as paths and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from actors.ledger.errors import TamperedError
from actors.ledger.merkle import HASH_SIZE

WIDTH: Final = 256  # hashes in a full tile, entries in a full bundle
HEIGHT: Final = 8  # levels of the tree in one tile
ENTRY_MAX: Final = 65_535  # the length prefix of a bundle has 16 bits
CHECKPOINT: Final = "checkpoint"


class Tile(NamedTuple):
    """One tile, or one entry bundle when `level` is None; `width` is 256 when it is full."""

    level: int | None
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix, such as `tile/0/x001/067.p/12`."""
        name = "entries" if self.level is None else str(self.level)
        part = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{name}/{digits(self.number)}{part}"

    @property
    def full(self) -> Tile:
        """The same place when it is full."""
        return self._replace(width=WIDTH)


def digits(number: int) -> str:
    """Return the number in groups of three, all but the last marked: 1234067 → x001/x234/067."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def parse_path(path: str) -> Tile | None:
    """Return the tile that a path names, or None when it is not exactly such a path."""
    head, _, rest = path.partition("/")
    name, _, rest = rest.partition("/")
    rest, partial, width = rest.partition(".p/")
    try:
        level = None if name == "entries" else int(name)
        number = int("".join(group.removeprefix("x") for group in rest.split("/")))
        tile = Tile(level, number, int(width) if partial else WIDTH)
    except ValueError:
        return None
    sound = head == "tile" and 0 < tile.width <= WIDTH and (level is None or 0 <= level < HEIGHT)
    return tile if sound and tile.path == path else None


def tiles_of(size: int, level: int | None) -> tuple[int, int]:
    """Return how many full tiles a log of this size has at a level, and the next one's width."""
    return divmod(size >> (HEIGHT * (level or 0)), WIDTH)


def all_tiles(size: int) -> Iterable[Tile]:
    """Name every tile and bundle of a log of this size, bundles first, then level by level."""
    yield from _row(size, None)
    level = 0
    while size >> (HEIGHT * level):
        yield from _row(size, level)
        level += 1


def _row(size: int, level: int | None) -> Iterable[Tile]:
    full, width = tiles_of(size, level)
    yield from (Tile(level, number) for number in range(full))
    if width:
        yield Tile(level, full, width)


def covering(size: int, level: int | None, number: int) -> Tile:
    """Return the tile with this number as it stands in a log of this size."""
    full, width = tiles_of(size, level)
    return Tile(level, number) if number < full else Tile(level, full, width)


def bundle(entries: Iterable[bytes]) -> bytes:
    """Return the entries as one bundle; each must fit (`ENTRY_MAX`)."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unbundle(data: bytes, *, path: str = "") -> list[bytes]:
    """Return the entries of a bundle. Raises TamperedError when it ends in the middle of one."""
    entries: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if at > end or start > end:
            raise TamperedError(
                "ledger.bundle_malformed", "the bundle ends inside an entry", path=path
            )
        entries.append(data[start:at])
    return entries


def hashes_of(data: bytes) -> Sequence[bytes]:
    """Return the hashes of a tile."""
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
