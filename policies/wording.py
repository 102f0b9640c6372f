"""Small readings of what agents write: the words of a name, the money in a value."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

from policies.normalise import fold

NAME_MAX: Final = 256  # a longer name is no name of a tool or of a field

# ACRONYMWord, Word, word, ACRONYM, 42: each part is of another class, so nothing backtracks far.
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MONEY: Final = re.compile(
    r"[^0-9]{0,16}+([0-9][0-9.,_' ]{0,63}+)(?:e\+?([0-9]{1,3}))?"
    r" ?(k|m|mn|bn|b|thousand|million|billion)?\b",
    re.IGNORECASE,
)
_TIMES: Final = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "b": 1e9}
_BILLION: Final = 1e9


def words_of(name: str) -> frozenset[str]:
    """Return the lower-case words of a name, split at `.`, `_`, `-`, spaces and camelCase.

    Only the first `NAME_MAX` characters are read.
    """
    return _words(name[:NAME_MAX])


@lru_cache(maxsize=4096)
def _words(name: str) -> frozenset[str]:
    return frozenset(part.lower() for part in _PARTS.findall(fold(name)))


def amount_of(value: object) -> float | None:
    """Return how much a number, or the first number of a text, is; its sign does not matter.

    `12,500`, `12.500,00`, `EUR 12 500` and `12.5k` are all twelve and a half thousand. None when
    there is no number. What is too large for a float, or no number at all, is infinity.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _size(value)
    return _written(value) if isinstance(value, str) else None


def _size(value: float) -> float:
    try:
        size = abs(float(value))
    except OverflowError:
        return math.inf
    return math.inf if math.isnan(size) else size


def _written(text: str) -> float | None:
    found = _MONEY.match(fold(text[:NAME_MAX]))
    if found is None:
        return None
    digits, exponent, unit = found.groups()
    times = _TIMES.get(unit.lower(), _BILLION) if unit else 1.0
    return float(_plain(digits.strip(" ,.'_")) + f"e{exponent or 0}") * times


def _plain(digits: str) -> str:
    """Drop what groups thousands, and make the decimal mark a point."""
    digits = re.sub(r"[ _']", "", digits)
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return digits
    mark, whole, rest = digits[last], re.sub(r"[.,]", "", digits[:last]), digits[last + 1 :]
    grouped = digits.count(mark) > 1 or (mark == "," and len(rest) == 3)
    return whole + rest if grouped else f"{whole}.{rest}"
