"""The failure matrix names tests that exist, and has a row for each kind of fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
MATRIX: Final = (ROOT / "docs" / "failure-matrix.md").read_text()
_NAMED: Final = re.compile(r"`(?P<file>tests/\S+\.py)?::(?P<test>test_\w+)`")
PARTS: Final = (
    "Policy engine",
    "Scorer",
    "Ledger store",
    "Ledger sequencer",
    "Identity keys",
    "Control board",
    "Clock",
    "Mailbox",
    "Gateway",
)


def test_every_test_that_the_matrix_names_exists() -> None:
    named = 0
    file = ""
    for found in _NAMED.finditer(MATRIX):
        file = found["file"] or file
        assert f"\ndef {found['test']}(" in (ROOT / file).read_text(), found[0]
        named += 1
    assert named > 30


def test_every_part_has_a_row_for_down_slow_and_wrong() -> None:
    chapters = {
        chapter.partition("\n")[0].partition(" (")[0]: chapter
        for chapter in MATRIX.split("\n## ")[1:]
    }
    for part in PARTS:
        kinds = set(re.findall(r"^\| (down|slow|wrong)", chapters[part], re.MULTILINE))
        kinds |= {"wrong"} if "| slow or wrong" in chapters[part] else set()
        assert kinds == {"down", "slow", "wrong"}, part
