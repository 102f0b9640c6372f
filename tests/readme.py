"""The README as a user follows it: its commands, and what it says they print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"

# What differs each time, and the word that stands for it in both. The first that fits wins.
_WILD = (
    (re.compile(r"eyJ[\w.…-]+"), "<token>"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<clock>"),
    (re.compile(r"(?<=acgs\.local )[A-Za-z0-9+/=]{60,}"), "<signature>"),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "<hash>"),
    (re.compile(r"root hash [0-9a-f]{16}…"), "root hash <hash>"),
    (re.compile(r"\d+ entries|\d+ bytes"), "<many>"),
    (re.compile(r"leaf +\d+( of \d+)?"), "leaf <n>"),
    (re.compile(r"entries/000\.p/\d+"), "entries/<bundle>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"data in \S+"), "data in <folder>"),
    (re.compile(r"(?<=acgs\.local )\d+(?= <hash>)"), "<size>"),
    (re.compile(r"\d+\.\d+(?= s\b)|(?<=p\d\d )\d+\.\d"), "<t>"),
    (re.compile(r"\(\d+/s\)"), "(<rate>)"),
)


@dataclass(frozen=True)
class Step:
    """One command of the README, and what it shows below it."""

    command: str
    shown: str


def steps(mark: str) -> list[Step]:
    """The commands between `<!-- mark -->` and `<!-- /mark -->`, in order."""
    return list(_steps(between(mark)))


def between(mark: str) -> str:
    """What stands between two marks."""
    _, _, rest = README.read_text().partition(f"<!-- {mark} -->")
    inside, end, _ = rest.partition(f"<!-- /{mark} -->")
    assert end, f"the README has no {mark}"
    return inside


def shape(text: str) -> str:
    """The text with what differs each time replaced, and however it was folded."""
    text = " ".join(text.split())
    for pattern, word in _WILD:
        text = pattern.sub(word, text)
    return text


def _steps(text: str) -> Iterator[Step]:
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        commands = re.split(r"^\$ ", block, flags=re.MULTILINE)
        assert commands[0] == "", "a block begins with a command"
        for each in commands[1:]:
            command, _, shown = each.partition("\n")
            yield Step(command, shown)
