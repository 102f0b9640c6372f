"""Reading the law: typed, bounded values out of one section of a document.

Every reader raises ValueError with the full name of the clause, what it must be and what it is,
so that a constitution that cannot be understood is refused before anything is judged under it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final, NoReturn

_COUNT_MAX: Final = 1_000_000_000


class Clause:
    """One section; `close` refuses every key that nobody has read."""

    def __init__(self, section: object, name: str) -> None:
        if not isinstance(section, Mapping):
            _refuse(name, "must be a mapping", section)
        self.name = name
        self._section: Mapping[object, object] = section
        self._unread = set(section)

    def part(self, key: str) -> Clause:
        """The section under `key`."""
        return Clause(self._take(key), f"{self.name}.{key}")

    def number(self, key: str, low: float, high: float) -> float:
        """The number under `key`, from `low` to `high`; a bool is not a number, nor is NaN."""
        return _number(self._take(key), f"{self.name}.{key}", (low, high))

    def numbers(self, low: float, high: float) -> dict[str, float]:
        """Every number of the section that nobody has read yet, by its key."""
        keys = [str(key) for key in self._section if key in self._unread]
        return {key: self.number(key, low, high) for key in keys}

    def names(self) -> tuple[str, ...]:
        """The keys that nobody has read yet."""
        return tuple(str(key) for key in self._section if key in self._unread)

    def flag(self, key: str) -> bool:
        """The true or false under `key`."""
        value = self._take(key)
        if not isinstance(value, bool):
            _refuse(f"{self.name}.{key}", "must be true or false", value)
        return value

    def count(self, key: str, low: int, high: int) -> int:
        """The whole number under `key`, from `low` to `high`."""
        value = self.number(key, low, high)
        if not value.is_integer():
            _refuse(f"{self.name}.{key}", "must be a whole number", value)
        return int(value)

    def one_of(self, key: str, words: Collection[str]) -> str:
        """The word under `key`, which is one of these."""
        value = self._take(key)
        if not isinstance(value, str) or value not in words:
            _refuse(f"{self.name}.{key}", f"must be one of {', '.join(sorted(words))}", value)
        return value

    def ordered(self, key: str) -> tuple[str, ...]:
        """The lower-case words listed under `key`, in their order, none of them twice."""
        name, listed = f"{self.name}.{key}", self._take(key)
        words = tuple(_word(word, name) for word in _listed(listed, name))
        if len(set(words)) < len(words):
            _refuse(name, "must list each word once", listed)
        return words

    def words(self, key: str) -> frozenset[str]:
        """The lower-case words listed under `key`."""
        name, listed = f"{self.name}.{key}", self._take(key)
        return frozenset(_word(word, name) for word in _listed(listed, name))

    def steps(self, key: str) -> tuple[tuple[float, float], ...]:
        """The pairs `[below, factor]` under `key`: the first must rise, the second not fall."""
        name, listed = f"{self.name}.{key}", self._take(key)
        pairs = tuple(_pair(pair, name) for pair in _listed(listed, name))
        rising = all(low[0] < high[0] and low[1] <= high[1] for low, high in pairwise(pairs))
        if not (pairs and rising):
            _refuse(name, "must list pairs that rise", listed)
        return pairs

    def close(self) -> None:
        """Refuse what nobody has read: a misspelt clause would be a law that nobody keeps."""
        if self._unread:
            unknown = ", ".join(sorted(str(key) for key in self._unread))
            raise ValueError(f"{self.name} has clauses that this build does not know: {unknown}")

    def _take(self, key: str) -> object:
        if key not in self._section:
            raise ValueError(f"{self.name}.{key} is missing")
        self._unread.discard(key)
        return self._section[key]


def _refuse(name: str, must: str, value: object) -> NoReturn:
    raise ValueError(f"{name} {must}, not {value!r}")


def _number(value: object, name: str, bounds: tuple[float, float]) -> float:
    low, high = bounds
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(name, "must be a number", value)
    if not low <= value <= high:  # so that NaN is refused
        _refuse(name, f"must be from {low:g} to {high:g}", value)
    return float(value)


def _listed(value: object, name: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        _refuse(name, "must be a list", value)
    return value


def _word(value: object, name: str) -> str:
    if not isinstance(value, str) or not value or value != value.lower():
        _refuse(name, "must list lower-case words", value)
    return value


def _pair(value: object, name: str) -> tuple[float, float]:
    pair = _listed(value, name)
    if len(pair) != 2:
        _refuse(name, "must list pairs [below, factor]", value)
    return _number(pair[0], name, (0, _COUNT_MAX)), _number(pair[1], name, (0, 1))
