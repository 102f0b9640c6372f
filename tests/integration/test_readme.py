"""The tour of the README works when it is pasted, line by line, and prints what it shows there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from readme import Step, shape, steps
from running import ROOT, RunningBus, started

MARK = "<<end of a command>>"
# The tree takes a second to take in what was decided; a person who pastes takes that long anyway.
BREATH_S = 2
TOUR_TIMEOUT_S = 150


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone after `make setup`."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "tests").symlink_to(ROOT / "tests")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def terminal_1(clone: Path) -> Iterator[RunningBus]:
    with started(clone / ".acgs") as bus:
        deadline_s = time.monotonic() + 30  # it is ready a moment before it says so
        while " curl " not in bus.log.read_text():
            assert time.monotonic() < deadline_s, bus.log.read_text()
            time.sleep(0.1)
        yield bus


@pytest.mark.timeout(600)
def test_terminal_1_shows_what_the_readme_shows(terminal_1: RunningBus) -> None:
    (step,) = steps("run")
    assert step.command == "make run"
    made = subprocess.run(
        ["make", "--always-make", "--dry-run", "--no-print-directory", "run"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    )
    first, _, printed = step.shown.partition("\n")
    assert made.stdout.splitlines()[-1] == first
    assert shape(terminal_1.log.read_text()) == shape(printed)


@pytest.mark.timeout(600)
def test_the_curl_that_run_prints_works_when_it_is_pasted(terminal_1: RunningBus) -> None:
    curl = next(line for line in terminal_1.log.read_text().splitlines() if " curl " in line)
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    pasted = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True)
    assert '"effect":"allow"' in pasted.stdout


@pytest.mark.timeout(600)
def test_the_tour_prints_what_the_readme_shows(clone: Path, terminal_1: RunningBus) -> None:
    tour = steps("tour")
    if _has_openssl():
        tour += steps("by hand")
    if shutil.which("curl") is None:
        tour = [step for step in tour if not step.command.startswith("curl")]
    printed = _pasted(tour, clone, terminal_1)
    for step, text in zip(tour, printed, strict=True):
        assert shape(text) == shape(step.shown), step.command


def _pasted(tour: list[Step], clone: Path, bus: RunningBus) -> list[str]:
    """Run the commands in one shell; return what each printed."""
    address = f"{bus.settings.http_host}:{bus.settings.http_port}"
    script = "exec 2>&1\n"
    for step in tour:
        if "tail" in step.command or step.command.startswith("cp"):
            script += f"sleep {BREATH_S}\n"
        script += step.command.replace("127.0.0.1:8000", address) + f"\necho '{MARK}'\n"
    home = {name: value for name, value in os.environ.items() if not name.startswith("ACGS_")}
    ended = subprocess.run(
        ["bash"],
        input=script,
        cwd=clone,
        env={
            **home,
            # The one thing that a tour on port 8000 need not say.
            "ACGS_HTTP_PORT": str(bus.settings.http_port),
            "TMPDIR": str(clone),
            "COLUMNS": "80",
        },
        capture_output=True,
        text=True,
        timeout=TOUR_TIMEOUT_S,
        check=False,
    )
    assert ended.stderr == ""
    return ended.stdout.split(f"{MARK}\n")[:-1]


def _has_openssl() -> bool:
    """Say whether there is an openssl that can check Ed25519 (3.0 or later)."""
    if shutil.which("openssl") is None:
        return False
    version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True)
    return version.stdout.split()[:1] == ["OpenSSL"] and int(version.stdout.split()[1][0]) >= 3
