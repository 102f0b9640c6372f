"""The files of many processes, read while they are written."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from cluster import metric_files


def a_file(path: Path, value: float) -> None:
    counts = MmapedDict(str(path))
    counts.write_value(mmap_key("x", "x_total", [], [], "X"), value, 0.0)
    counts.close()


def test_a_scrape_waits_for_a_file_that_is_being_made(tmp_path: Path) -> None:
    path = tmp_path / f"counter_{os.getpid()}.db"
    path.touch()

    def finish() -> None:
        a_file(tmp_path / "whole", 3.0)
        time.sleep(0.02)
        (tmp_path / "whole").replace(path)

    thread = threading.Thread(target=finish)
    thread.start()
    body = metric_files.read_all(tmp_path)
    thread.join()
    assert b"x_total 3.0" in body


def test_a_scrape_does_not_wait_forever(tmp_path: Path) -> None:
    (tmp_path / f"counter_{os.getpid()}.db").touch()
    with pytest.raises(struct.error):
        metric_files.read_all(tmp_path)


def test_a_file_that_a_living_process_never_mapped_is_another_processs(tmp_path: Path) -> None:
    path = tmp_path / f"gauge_livesum_{os.getpid()}.db"
    a_file(path, 3.0)
    metric_files.read_all(tmp_path)
    assert path.exists()  # it may be about to
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    metric_files.read_all(tmp_path)
    assert not path.exists()


def test_without_a_directory_a_process_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metric_files.VARIABLE, "")
    assert metric_files.directory() is None
    monkeypatch.delenv(metric_files.VARIABLE)
    assert metric_files.directory() is None
