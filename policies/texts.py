"""Every string of a JSON object, in one pass, and the pointer that says where each one stands.

The walk goes level by level, so that the strings of one list or object stand side by side and a
phrase split over them reads as one; all keys stand after all values. There is no recursion:
depth costs nothing. Numbers long enough to be a card, a phone or somebody's id are read as text.

Pointers are RFC 6901. A key that is itself a finding, is long, or begins with `#` is written as
`#` and its place among the sorted keys of its object, so that a pointer never carries what it
points at; a `#` at the very end names the key itself, as in relative JSON pointers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SEPARATOR: Final = "\x1f"  # stands between strings that are read together; it is white space
KEY_SHOWN_MAX: Final = 64
NUMBER_FROM: Final = 10**8  # nine digits: the shortest id that is looked for
NUMBER_TO: Final = 10**24

Branch = Mapping[str, object] | Sequence[object]
# Where a value stands: the place of its object or list (None for the root), that object or list,
# and the key or index in it. A plain tuple: there may be a quarter of a million of them.
Place = tuple["Place | None", Branch, "str | int"]


@dataclass(frozen=True, slots=True)
class Texts:
    """The strings of one object: first the values, whose nearest keys are `names`, then keys."""

    strings: list[str]
    places: list[Place]
    names: list[str]

    def is_key(self, index: int) -> bool:
        """Say whether this string is the name of a member rather than a value."""
        return index >= len(self.names)


def collect(content: Mapping[str, object]) -> Texts:
    """Return every string at any depth, keys and lists included."""
    found = Texts([], [], [])
    keys: list[str] = []
    key_places: list[Place] = []
    waiting: list[tuple[Branch, Place | None, str]] = [(content, None, "")]
    for branch, node, inherited in waiting:  # grows while it is read
        name = inherited
        is_object = isinstance(branch, Mapping)
        for token, value in members_of(branch):
            place: Place = (node, branch, token)
            if is_object:
                name = str(token)
                keys.append(name)
                key_places.append(place)
            text = value if isinstance(value, str) else text_of(value)
            if text is not None:
                found.strings.append(text)
                found.places.append(place)
                found.names.append(name)
            elif value and isinstance(value, Mapping | list | tuple):
                waiting.append((value, place, name))
    found.strings.extend(keys)
    found.places.extend(key_places)
    return found


def members_of(branch: Branch) -> Iterable[tuple[str | int, object]]:
    """Return the values of an object by their keys, or of a list by their indices."""
    return branch.items() if isinstance(branch, Mapping) else enumerate(branch)


def text_of(value: object) -> str | None:
    """Return what is read of a value: a string as it is, a long number as its digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and NUMBER_FROM <= value < NUMBER_TO:
        return str(int(value))
    return None


def escaped(key: str) -> str:
    """Return a key as a token of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def unescaped(token: str) -> str:
    """Return the key that a token of a JSON pointer stands for."""
    return token.replace("~1", "/").replace("~0", "~")


def ranks(branch: Mapping[str, object]) -> dict[str, str]:
    """Return `#` and its place for every key, in the order of RFC 8785."""
    ordered = sorted(branch, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return {key: f"#{rank}" for rank, key in enumerate(ordered)}


class Pointers:
    """Makes the pointers of one object, without naming the keys that `hides` says must not be."""

    def __init__(self, texts: Texts, hides: Callable[[str], bool]) -> None:
        self._texts = texts
        self._hides = hides
        self._ranks: dict[int, dict[str, str]] = {}

    def to(self, index: int) -> str:
        """The pointer to the string of this index."""
        tokens = []
        place: Place | None = self._texts.places[index]
        while place is not None:
            place, branch, key = place
            tokens.append(self._token(branch, key))
        if self._texts.is_key(index):
            tokens[0] = self._rank(*self._texts.places[index][1:]) + "#"
        return "".join(f"/{token}" for token in reversed(tokens))

    def _token(self, branch: Branch, key: str | int) -> str:
        if isinstance(key, int):
            return str(key)
        if len(key) > KEY_SHOWN_MAX or key.startswith("#") or self._hides(key):
            return self._rank(branch, key)
        return escaped(key)

    def _rank(self, branch: Branch, key: str | int) -> str:
        assert isinstance(branch, Mapping), "only the members of an object have names"
        known = self._ranks.get(id(branch))
        if known is None:
            known = self._ranks[id(branch)] = ranks(branch)
        return known[str(key)]
