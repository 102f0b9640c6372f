"""A writer that ends at any step leaves a true log, and finishes it when it starts again."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.ledger.checkpoint import Signer
from actors.ledger.entry import seal
from actors.ledger.errors import StorageFailedError, TamperedError
from actors.ledger.store import Folder, blob_path
from actors.ledger.verify import verify_log
from actors.ledger.writer import Opening, Writer

SIGNER = Signer("bus.example/t/acme", bytes(range(32)))
OPENING = Opening(origin=SIGNER.name, signers=[SIGNER])
FIRST = [seal(b'{"kind":"refusal","n":%d,"v":1}' % n, f"1-{n}") for n in range(250)]
SECOND = [seal(b'{"kind":"refusal","n":%d,"v":1}' % n, f"2-{n}") for n in range(30)]
BLOB = (blob_path("sha256:" + "0" * 64), b"ciphertext")


class PowerCutError(BaseException):
    """Ends the writer as a kill would: nothing after this happens."""


class Trap:
    """Counts the steps of writing, and springs at one of them."""

    def __init__(self, at: int = -1, error: type[BaseException] = PowerCutError) -> None:
        self.steps: list[tuple[str, str]] = []
        self._at = at
        self._error = error

    def __call__(self, what: str, path: str) -> None:
        if len(self.steps) == self._at:
            raise self._error
        self.steps.append((what, path))


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _written(folder: Path, trap: Trap) -> None:
    Writer.open(Folder(folder), OPENING).commit(FIRST)
    Writer.open(Folder(folder, step=trap), OPENING).commit(SECOND, files=[BLOB])


def _all_steps(tmp_path: Path) -> int:
    trap = Trap()
    _written(tmp_path, trap)
    return len(trap.steps)


def test_every_file_is_synced_before_its_name_counts_and_the_checkpoint_is_last(
    tmp_path: Path,
) -> None:
    trap = Trap()
    _written(tmp_path, trap)
    for at, (what, path) in enumerate(trap.steps):
        if what == "rename":
            assert ("fsync", path) in trap.steps[:at]
    (published,) = [at for at, step in enumerate(trap.steps) if step == ("rename", "checkpoint")]
    written = [at for at, (what, path) in enumerate(trap.steps) if path.startswith("tile")]
    assert max(written) < published
    synced = {path for what, path in trap.steps[:published] if what == "fsync folder"}
    assert {str((tmp_path / path).parent) for _, path in trap.steps[: max(written)] if "." in path}
    assert str(tmp_path / "tile/entries") in synced
    assert trap.steps[-1][0] == "fsync folder"


def test_a_power_cut_at_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    steps = _all_steps(whole)
    assert steps > 20
    for at in range(steps):
        folder = tmp_path / str(at)
        with pytest.raises(PowerCutError):
            _written(folder, Trap(at))
        survived = verify_log(Folder(folder), [SIGNER.verifier])
        assert survived.checkpoint.size in (250, 280)
        writer = Writer.open(Folder(folder), OPENING)
        missing = SECOND if writer.log.size == 250 else []
        assert writer.last_id == ("1-249" if missing else "2-29")
        if missing:
            writer.commit(missing, files=[BLOB])
        assert verify_log(Folder(folder), [SIGNER.verifier]).checkpoint.size == 280
        tiles = {path: data for path, data in _files(whole).items() if not path.endswith(".tmp")}
        assert tiles.items() <= _files(folder).items(), f"cut at {at}"


def test_a_power_cut_then_a_longer_batch_is_still_one_log(tmp_path: Path) -> None:
    steps = _all_steps(tmp_path / "whole")
    for at in range(0, steps, 3):
        folder = tmp_path / str(at)
        with pytest.raises(PowerCutError):
            _written(folder, Trap(at))
        writer = Writer.open(Folder(folder), OPENING)
        rest = [*SECOND, seal(b'{"kind":"refusal","v":1}', "3-0")][writer.log.size - 250 :]
        writer.commit(rest, files=[BLOB])
        assert verify_log(Folder(folder), [SIGNER.verifier]).checkpoint.size == 281


def test_a_disk_that_refuses_ends_the_writer_and_the_log_stays_as_it_was(tmp_path: Path) -> None:
    steps = _all_steps(tmp_path / "whole")
    for at in range(steps):
        folder = tmp_path / str(at)
        with pytest.raises(StorageFailedError):
            _written(folder, Trap(at, OSError))
        assert verify_log(Folder(folder), [SIGNER.verifier]).checkpoint.size in (250, 280)


def test_another_full_tile_in_the_way_is_a_fork_and_not_overwritten(tmp_path: Path) -> None:
    writer = Writer.open(Folder(tmp_path), OPENING)
    writer.commit(FIRST)
    (tmp_path / "tile/0").mkdir(exist_ok=True)
    (tmp_path / "tile/0/000").write_bytes(bytes(8192))
    with pytest.raises(TamperedError) as found:
        writer.commit(SECOND)
    assert found.value.code == "ledger.forked"


def test_only_the_partial_tiles_of_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    writer = Writer.open(Folder(tmp_path), OPENING)
    for entry in FIRST[:20]:
        writer.commit([entry])
    assert sorted(path.name for path in (tmp_path / "tile/0/000.p").iterdir()) == ["19", "20"]
    writer.commit(FIRST[20:] + SECOND)
    assert not (tmp_path / "tile/0/000.p").exists()
    assert not (tmp_path / "tile/entries/000.p").exists()
