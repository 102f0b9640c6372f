r"""Text inside text: what a string says once its encoding is undone.

Undone once, never twice: base64 and base64url, hexadecimal, `\xNN` and `\uNNNN` escapes, percent
encoding and numeric character references. A run that decodes to something else than text is not
text. How much is undone is bounded; `Decoder.gave_up` says that there was more.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Final, NamedTuple
from urllib.parse import unquote

RUN_MIN: Final = 20  # characters; shorter runs hold no phrase, card or key
RUNS_MAX: Final = 65_536  # more than fit into a message of 1 MiB
DECODED_MAX: Final = 262_144  # characters of text from all runs together

_RUN: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{20,}+={0,2}")
_ESCAPE: Final = re.compile(r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\u\{([0-9A-Fa-f]{1,5})\}")


class Piece(NamedTuple):
    """What was said by the encoded text at this span."""

    text: str
    start: int
    end: int


class Decoder:
    """Undoes encodings within one budget for a whole message; `gave_up` when it is spent."""

    def __init__(self) -> None:
        self._runs = RUNS_MAX
        self._left = DECODED_MAX
        self.gave_up = False

    def runs(self, text: str) -> Iterator[Piece]:
        """Yield what the base64 and hexadecimal runs in the text say."""
        if max(map(len, text.split()), default=0) < RUN_MIN:
            return
        for match in _RUN.finditer(text):
            self._runs -= 1
            if self._runs < 0:
                self.gave_up = True
                return
            for said in _undone(match[0]):
                if self._affords(said):
                    yield Piece(said, match.start(), match.end())

    def escapes(self, text: str) -> Iterator[Piece]:
        """Yield the whole text with its escapes undone, once for each kind of them."""
        for marks, least, undo in _WAYS:
            if sum(map(text.count, marks)) >= least and self._affords(text):
                yield Piece(undo(text), 0, len(text))

    def _affords(self, text: str) -> bool:
        self._left -= len(text)
        self.gave_up = self.gave_up or self._left < 0
        return self._left >= 0


def has_escapes(text: str) -> bool:
    """Say whether `escapes` has anything to look at."""
    return "%" in text or "&" in text or "\\" in text


def _undone(run: str) -> Iterator[str]:
    for decode in (_base64, _hexadecimal):
        said = _as_text(decode(run))
        if said:
            yield said


def _base64(run: str) -> bytes:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    body = body[: len(body) - (len(body) % 4 == 1)]  # one character over is not a byte
    return binascii.a2b_base64(body + "==")


def _hexadecimal(run: str) -> bytes:
    try:
        return bytes.fromhex(run.removeprefix("0x"))
    except ValueError:
        return b""


def _as_text(decoded: bytes) -> str:
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        return ""
    visible = text.translate(_LAYOUT)
    return text if visible.isprintable() else ""


_LAYOUT: Final = dict.fromkeys(b"\t\n\r", " ")


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _character(match[1] or match[2] or match[3]), text)


def _character(code: str) -> str:
    number = int(code, 16)
    return chr(number) if number <= 0x10FFFF else "\ufffd"


# Each way: its marks, how many of them make it worth undoing, and how it is undone. One character
# reference can make a tag; a single percent sign is just that.
_WAYS: Final[tuple[tuple[tuple[str, ...], int, Callable[[str], str]], ...]] = (
    (("%",), 3, unquote),
    (("&#", "&lt;"), 1, unescape),
    (("\\x", "\\u"), 3, _unescaped),
)
