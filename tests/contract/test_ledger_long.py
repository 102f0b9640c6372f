"""A ledger of a hundred thousand entries: it verifies, and every kind of damage is found in it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from actors.ledger.checkpoint import Signer, parse
from actors.ledger.entry import seal
from actors.ledger.errors import TamperedError
from actors.ledger.store import Folder
from actors.ledger.tiles import bundle, unbundle
from actors.ledger.verify import verify_log
from actors.ledger.writer import Opening, Writer

KEY = Signer("bus.example/t/acme", bytes(range(32)))
SIZE = 100_000


def _entries(first: int, last: int, word: bytes) -> list[bytes]:
    body = b'{"kind":"refusal","n":%d,"v":1,"w":"%b"}'
    return [seal(body % (n, word), f"{n}-1") for n in range(first, last)]


def _write(folder: Path, size: int, word: bytes = b"kept") -> list[float]:
    writer = Writer.open(Folder(folder), Opening(origin=KEY.name, signers=[KEY]))
    took = []
    for first in range(0, size, 1000):
        started = time.perf_counter()
        writer.commit(_entries(first, min(first + 1000, size), word))
        took.append(time.perf_counter() - started)
    return took


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    _write(folder, SIZE)
    return folder


@pytest.mark.timeout(180)
def test_a_long_ledger_verifies_and_each_damage_to_it_is_named(
    long_log: Path, tmp_path: Path
) -> None:
    found = verify_log(Folder(long_log), [KEY.verifier])
    assert found.checkpoint.size == SIZE

    def refused(folder: Path, *remembered: str) -> tuple[str, int | None]:
        with pytest.raises(TamperedError) as refusal:
            verify_log(
                Folder(folder), [KEY.verifier], remembered=[parse(note) for note in remembered]
            )
        return refusal.value.code, refusal.value.leaf

    note = (long_log / "checkpoint").read_text()
    log = Path(shutil.copytree(long_log, tmp_path / "log"))
    path = log / "tile/entries/300"
    whole = path.read_bytes()

    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert refused(log) == ("ledger.entry_altered", 300 * 256 + 1)
    entries = unbundle(whole)
    path.write_bytes(bundle([entries[1], entries[0], *entries[2:]]))
    assert refused(log) == ("ledger.reordered", 300 * 256)
    path.unlink()
    assert refused(log) == ("ledger.tile_missing", 300 * 256)
    path.write_bytes(whole)

    tile = log / "tile/1/000"
    hashes = tile.read_bytes()
    tile.write_bytes(hashes[:70] + bytes([hashes[70] ^ 4]) + hashes[71:])
    assert refused(log) == ("ledger.tile_altered", 2 * 256)
    tile.write_bytes(hashes)

    for folder in (log / "tile/entries/390.p", log / "tile/0/390.p"):
        shutil.rmtree(folder)
    assert refused(log) == ("ledger.truncated", 390 * 256)

    older = tmp_path / "older"
    _write(older, 30_000)
    assert refused(older, note) == ("ledger.rolled_back", None)
    fork = tmp_path / "fork"
    _write(fork, 30_000, b"lies")
    assert refused(fork, (older / "checkpoint").read_text()) == ("ledger.forked", None)
    Writer.open(Folder(fork), Opening(origin=KEY.name, signers=[KEY])).commit([b"more"])
    assert refused(fork, (older / "checkpoint").read_text()) == ("ledger.rewritten", 0)


@pytest.mark.timeout(120)
def test_defect_15_writing_stays_as_fast_as_the_log_grows(tmp_path: Path) -> None:
    took = _write(tmp_path, 60_000)
    first, last = sorted(took[:20])[10], sorted(took[-20:])[10]
    assert last < first * 3, "a batch at the end costs what one at the beginning did"
