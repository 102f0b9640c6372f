"""Finds the phrases of prompt injection, plainly written or in disguise.

Text is read as a row of words, each word as the one letter that stands for its classes, and all
phrases as one expression over those letters: no word is looked at twice, whatever stands between.

Seen in disguise: digits and signs for letters (`1gn0re`), letters set apart by spaces or
punctuation (`i g n o r e`, `i.g.n.o.r.e`), words run together (`ignorepreviousinstructions`).
Not seen: words cut into syllables, misspelt or paraphrased ones, other languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, repeat
from typing import Final

from policies.phrases import ANCHORS, CLASSES, PHRASES, STEMS, TAGS
from policies.texts import SEPARATOR

HITS_MAX: Final = 256
UNRAVELLED_MAX: Final = 16_384  # letters of joined or spaced text that are looked at one by one
JOINED_FROM: Final = 14  # letters; a shorter word is one word
SPACED_FROM: Final = 4  # single letters; fewer are words and initials

Hit = tuple[str, int, int]

_WORD: Final = re.compile(r"[a-z0-9]+")
_TAGS: Final = tuple(
    (mark, re.compile(f"{re.escape(mark)}(?:{tail})")) for mark, tail in TAGS.items()
)

# Letters as digits and signs write them; l and 1 are read alike, as i, in text and table both.
_LEET: Final = str.maketrans("013457@$l", "oieastasi")
_SQUEEZE: Final = {
    code: chr(code).translate(_LEET) if chr(code).isalnum() or chr(code) in "@$" else None
    for code in range(0x80)
}
# Single letters set apart, or a long word that may be several.
_RAVELLED: Final = re.compile(
    r"[a-z](?<![a-z0-9].)(?:(?:[^a-z0-9\x1f]{1,3}+[a-z](?![a-z0-9])){3,}+|[a-z]{13,}+)"
)


def _signatures() -> dict[str, frozenset[str]]:
    """Every word of the table with the classes it belongs to."""
    listed: dict[str, set[str]] = {}
    for name, words in CLASSES.items():
        for word in words.split():
            listed.setdefault(word, set()).add(name)
    return {word: frozenset(names) for word, names in listed.items()}


_CLASSES_OF: Final = _signatures()
_LETTERS: Final = {
    names: chr(0xA1 + index)
    for index, names in enumerate(sorted(set(_CLASSES_OF.values()), key=sorted))
}
_LETTER_OF: Final = {word: _LETTERS[names] for word, names in _CLASSES_OF.items()}
_LEET_LETTER_OF: Final = {word.translate(_LEET): code for word, code in _LETTER_OF.items()}
_OTHER: Final = " "


def _any_of(name: str) -> str:
    return "[" + "".join(code for names, code in _LETTERS.items() if name in names) + "]"


def _row(steps: list[str]) -> str:
    """The expression over letters for the rest of a phrase."""
    row = ""
    for step in steps:
        if step.startswith("<"):
            row += f".{{0,{step[1:]}}}"
        else:
            row += _any_of(step)
    return row


def _expression() -> tuple[re.Pattern[str], dict[str, str]]:
    """All phrases as one expression, by their first class, and the detector of each group."""
    rows: dict[str, list[str]] = {}
    detectors: dict[str, str] = {}
    for detector, phrases in PHRASES.items():
        for phrase in phrases:
            group, (first, *rest) = f"g{len(detectors)}", phrase.split()
            detectors[group] = detector
            rows.setdefault(first, []).append(f"(?P<{group}>{_row(rest)})")
    heads = (f"{_any_of(first)}(?:{'|'.join(tails)})" for first, tails in rows.items())
    return re.compile(f"(?!{_OTHER})(?:{'|'.join(heads)})"), detectors


_PHRASE, _DETECTOR_OF = _expression()
_ANCHORS: Final = frozenset(word for name in ANCHORS.split() for word in CLASSES[name].split())
_LEET_ANCHORS: Final = frozenset(word.translate(_LEET) for word in _ANCHORS)
_STEMS: Final = tuple(stem.translate(_LEET) for stem in STEMS.split())
_STEM: Final = re.compile("|".join(_STEMS))
_KNOWN: Final = re.compile("|".join(sorted(_LEET_LETTER_OF, key=lambda word: (-len(word), word))))


_SIGN: Final = re.compile(r"[013457@$](?:[a-z]|(?<=[a-z].))")  # one that may stand for a letter


def words_in(low: str) -> list[str]:
    """The words of a text in lower case, which `hits` and `disguised` both read."""
    return _WORD.findall(low)


def hits(low: str, words: list[str]) -> Iterator[Hit]:
    """Yield the phrases and tags that stand plainly in text in lower case, with their spans."""
    if not _ANCHORS.isdisjoint(words):
        yield from _located(_rows(words, _LETTER_OF), low)
    for mark, pattern in _TAGS:
        if mark in low:
            for match in islice(pattern.finditer(low), HITS_MAX):
                yield "model_delimiter", match.start(), match.end()


def disguised(low: str, words: list[str]) -> tuple[list[tuple[str, int]], bool]:
    """Return the phrases that stand in disguise, each with the number of its string in `low`.

    The second value is True when there was more joined or spaced text than is looked at.
    """
    if not _SIGN.search(low):
        lengths = list(map(len, words))
        if lengths.count(1) < SPACED_FROM and max(lengths, default=0) < JOINED_FROM:
            return [], False
    squeezed = low.translate(_SQUEEZE)
    if not any(stem in squeezed for stem in _STEMS):
        return [], False
    unraveller = _Unraveller()
    plain = _RAVELLED.sub(unraveller, low.translate(_LEET))
    read = _WORD.findall(plain)
    if _LEET_ANCHORS.isdisjoint(read):
        return [], unraveller.gave_up
    located = _located(_rows(read, _LEET_LETTER_OF), plain)
    found = [(detector, plain.count(SEPARATOR, 0, start)) for detector, start, _ in located]
    return found, unraveller.gave_up


class _Unraveller:
    """Puts spaced letters together and takes joined words apart, so far as it knows them."""

    def __init__(self) -> None:
        self._left = UNRAVELLED_MAX
        self.gave_up = False

    def __call__(self, match: re.Match[str]) -> str:
        letters = match[0].translate(_SQUEEZE)
        is_joined = len(letters) == len(match[0])
        if is_joined and not _STEM.search(letters):
            return match[0]
        self._left -= len(letters)
        if self._left < 0:
            self.gave_up = True
            return match[0]
        return " ".join(_KNOWN.findall(letters))


def _rows(words: list[str], letter_of: dict[str, str]) -> list[tuple[str, int, int]]:
    """The phrases in a row of words: detector, first word and last word."""
    letters = "".join(map(letter_of.get, words, repeat(_OTHER)))
    found = []
    for match in islice(_PHRASE.finditer(letters), HITS_MAX):
        group = match.lastgroup
        assert group is not None, "every phrase is a group"
        found.append((_DETECTOR_OF[group], match.start(), match.end() - 1))
    return found


def _located(rows: list[tuple[str, int, int]], text: str) -> Iterator[Hit]:
    """Turn numbers of words into offsets; the text is read again only up to the last hit."""
    if not rows:
        return
    spans = [match.span() for match in islice(_WORD.finditer(text), rows[-1][2] + 1)]
    for detector, first, last in rows:
        yield detector, spans[first][0], spans[last][1]
