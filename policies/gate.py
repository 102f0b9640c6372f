"""Which detectors are worth trying on a text, told by the cheapest looks at it.

Most messages hold no number long enough for a card, no word long enough for a token, and no `=`
or `:` after a name: for them, this is all that the search for personal data and secrets costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from policies import credentials, personal
from policies.detectors import Detector

TOKEN_MIN: Final = 12  # characters without a space; every token is longer
SAID_DIGITS: Final = 6  # the shortest number that a word makes personal
NUMBERS_MAX: Final = 256  # runs of digits that are measured; more are taken to be long

_NUMBER: Final = re.compile(r"[0-9][0-9 ().,/-]{3,}+")
_SIGNS: Final = {ord(sign): None for sign in " ().,/-"}

Needles = tuple[tuple[str, Detector], ...]


def _by_needle(group: Iterable[Detector]) -> Needles:
    return tuple((needle, detector) for detector in group for needle in detector.needles)


_MARKED: Final = _by_needle((*personal.MARKED, *credentials.MARKED))
_TOKENS: Final = _by_needle(credentials.TOKENS)
_HEADERS: Final = _by_needle(credentials.HEADERS)
_ASSIGNED: Final = _by_needle(credentials.ASSIGNED)
_SAID: Final = _by_needle(personal.SAID)


def worth_trying(text: str, low: str) -> Iterable[Detector]:
    """Return the detectors that may find something in the text; `low` is it in lower case."""
    chosen = [detector for needle, detector in _MARKED if needle in text]
    longs = [word for word in text.split() if len(word) >= TOKEN_MIN]
    if longs:
        tokens = " ".join(longs)
        chosen += [detector for needle, detector in _TOKENS if needle in tokens]
        chosen += [detector for needle, detector in _HEADERS if needle in low]
    if "=" in text or ":" in text or " is " in low:
        chosen += [detector for needle, detector in _ASSIGNED if needle in low]
    digits = _digits_together(text)
    if digits:
        chosen += [
            detector
            for detector in personal.NUMBERS
            if digits >= detector.digits and all(sign in text for sign in detector.needles)
        ]
        chosen += [
            detector for needle, detector in _SAID if digits >= detector.digits and needle in low
        ]
    return dict.fromkeys(chosen)


def _digits_together(text: str) -> int:
    """How many digits the longest number has, signs between them allowed."""
    numbers = _NUMBER.findall(text)
    if len(numbers) > NUMBERS_MAX:
        return len(text)
    return max((len(number.translate(_SIGNS)) for number in numbers), default=0)
