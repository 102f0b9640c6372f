"""What a detector is: a pattern, when it is worth trying, and what its matches must be.

Every pattern is linear by construction: repeats are bounded or possessive, neighbours share no
character, a run is tried from its first character only, and it begins with a character or word
that the engine can look for fast. `MISSES_MAX` bounds the arithmetic that confirms matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

MISSES_MAX: Final = 4096

Span = tuple[int, int]
Accept = Callable[["re.Match[str]", str], "Span | None"]


def whole(match: re.Match[str], _text: str) -> Span | None:
    """Accept the match as it is."""
    return match.span()


def first(match: re.Match[str], _text: str) -> Span | None:
    """Accept the first group of the match."""
    return match.span(1)


def first_if(is_one: Callable[[str], bool]) -> Accept:
    """Accept the first group, as the text has it, if it is one."""

    def accept(match: re.Match[str], text: str) -> Span | None:
        start, end = match.span(1)
        return (start, end) if is_one(text[start:end]) else None

    return accept


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A pattern, and what must be in a text before it is worth trying.

    The text holds one of the needles, if any are given, and a number of at least so many digits.
    With `lowered`, needles and pattern read the text in lower case. `accept` gets the match and
    the text as it is, and returns the span that is the finding, or None if it is nothing.
    """

    kind: str
    name: str
    pattern: re.Pattern[str]
    needles: tuple[str, ...] = ()
    digits: int = 0
    lowered: bool = False
    accept: Accept = whole

    def spans(self, text: str, low: str) -> Iterator[Span | None]:
        """Yield what is found; None at last when it gave up on too many near misses."""
        misses = 0
        for match in self.pattern.finditer(low if self.lowered else text):
            span = self.accept(match, text)
            misses += span is None
            if span is not None:
                yield span
            elif misses > MISSES_MAX:
                yield None
                return


def said(kind: str, name: str, accept: Accept) -> Callable[[str, str], Detector]:
    """Return what makes detectors of something after a word, both written in lower case.

    A pattern that begins with the word as it is, not with a choice of words, is fast.
    """

    def after(word: str, pattern: str) -> Detector:
        return Detector(
            kind=kind,
            name=name,
            pattern=re.compile(pattern),
            needles=(word,),
            lowered=True,
            accept=accept,
        )

    return after
