"""An index is read while another process makes it, ends, and makes it again."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actors.ledger.generation import current, fresh, open_current, publish
from actors.ledger.index import INDEX, Index, Row, open_index
from policies.errors import DependencyError

ROOT = bytes(32)


def a_row(number: int) -> Row:
    return Row(number, f"{number}-1", "decision", f"d{number}", f"m{number}", "t", "allow", "a")


def a_reader(folder: Path) -> Index | None:
    return open_current(folder, INDEX, lambda path: Index(path, writes=False))


def make(folder: Path, size: int) -> None:
    index, complete = open_index(folder, size=-1, root=ROOT)
    assert not complete
    index.add([a_row(number) for number in range(size)], size=size, root=ROOT)
    publish(index.path, INDEX)
    index.close()


def test_a_reader_only_ever_sees_a_whole_index(tmp_path: Path) -> None:
    done = threading.Event()

    def write() -> None:
        for _ in range(40):
            make(tmp_path, 50)
        done.set()

    assert a_reader(tmp_path) is None
    make(tmp_path, 50)
    writer = threading.Thread(target=write)
    writer.start()
    held = a_reader(tmp_path)
    while not done.is_set():
        index = a_reader(tmp_path)
        assert index is not None
        assert index.state() == (50, ROOT)
        assert index.by_decision("d49") == a_row(49)
        index.close()
    writer.join()
    assert held is not None
    assert held.by_decision("d49") == a_row(49), "what is open stays readable"
    held.close()
    assert len(list(tmp_path.glob("index-*.sqlite"))) == 1


def test_a_reader_sees_what_a_killed_writer_had_committed(tmp_path: Path) -> None:
    make(tmp_path, 1)
    code = (
        "import os, sys; from pathlib import Path; from actors.ledger.index import *; "
        "i, _ = open_index(Path(sys.argv[1]), size=1, root=bytes(32)); "
        "i.add([Row(1, '1-1', 'refusal')], size=2, root=bytes(32)); os.kill(os.getpid(), 9)"
    )
    for lost in ("", "-shm"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        path = current(tmp_path, INDEX)
        assert path is not None
        if lost:
            path.with_name(f"{path.name}{lost}").unlink(missing_ok=True)
        index = a_reader(tmp_path)
        assert index is not None
        assert index.state() == (2, ROOT)
        index.close()


def test_an_index_that_cannot_be_opened_is_an_outage_and_not_an_absence(tmp_path: Path) -> None:
    make(tmp_path, 1)
    path = current(tmp_path, INDEX)
    assert path is not None
    path.unlink()
    with pytest.raises(DependencyError, match="ledger index"):
        a_reader(tmp_path)


def test_an_index_is_complete_only_for_the_log_it_was_made_for(tmp_path: Path) -> None:
    make(tmp_path, 1)
    index, complete = open_index(tmp_path, size=1, root=ROOT)
    assert complete
    assert index.by_wal_id("0-1") == a_row(0)
    assert index.known(["d0", "d1"]) == {"d0"}
    index.close()
    for size, root in ((2, ROOT), (1, bytes(31) + b"x")):
        index, complete = open_index(tmp_path, size=size, root=root)
        assert not complete
        assert index.by_decision("d0") is None
        index.close()


def test_a_name_that_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("../../etc/passwd")
    assert current(tmp_path, INDEX) is None
    assert fresh(tmp_path, INDEX).name == "index-1.sqlite"
