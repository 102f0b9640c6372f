"""Text as a reader would take it: look-alike letters read alike, what cannot be seen is gone.

`fold` maps each character by itself, in one pass, so its time grows with the text and with
nothing else; whole-string Unicode normalisation sorts runs of combining marks, which a hostile
text can make quadratic.

Seen: compatibility forms (full-width, circled, mathematical), accents and stacked marks,
zero-width and bidirectional controls, soft hyphens, invisible fillers, ASCII hidden in Unicode
tag characters, foreign digits, and the Latin look-alikes tabled below.
Not seen: letters turned upside down, text written backwards, look-alikes outside the table.
"""

# ruff: noqa: RUF001  # a table of look-alikes is made of them

from __future__ import annotations

import unicodedata
from typing import Final

CACHE_MAX: Final = 65_536  # characters remembered; beyond them folding is slower, not different
EXPANSION_MAX: Final = 3  # U+FDFA alone stands for 18 letters: such a character stays itself

_TAGS: Final = range(0xE0020, 0xE007F)  # ASCII, invisibly
_LETTER_BLOCKS: Final = (0x1F150, 0x1F170, 0x1F1E6)  # negative circled, negative squared, regional
_INVISIBLE: Final = frozenset("\u115f\u1160\u3164\uffa0")  # fillers of Hangul, category letter
_BLANK: Final = frozenset("\u2800\u1680")

# Each pair: what is written, and the Latin letters that it is read as.
_LOOK_ALIKES: Final[tuple[tuple[str, str], ...]] = (
    ("авекмнорстухіјѕԁԛԝһӏѵгьпи", "abekmhopctyxijsdqwhlvrbnu"),  # Cyrillic
    ("АВЕКМНОРСТУХІЈЅԌԚԜҺӀѴЬ", "ABEKMHOPCTYXIJSGQWHIVb"),
    ("αβγεηικνορτυχωσϲϳ", "abyenikvoptuxwocj"),  # Greek
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹ", "ABEZHIKMNOPTYXC"),
    ("օսոհցզաԼՏՍՕ", "ounhgqwLSUO"),  # Armenian
    ("ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃ", "ABCDEGHiJKLMPRSTVWZ"),  # Cherokee
    ("ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", "ABCDEFGHIJKLMNOPRSTUVWXYZ"),  # Lisu
    ("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz"),  # small capitals
    ("ıȷɑɡɩɪʋøØđĐłŁħĦŧŦƒɓɗɖƙɴɾʂʈʐ", "ijagiivoOdDlLhHtTfbddknrstz"),  # Latin, marked
    ("‐‑‒–—―−⁃", "--------"),  # every dash
    ("‘’‚‛′“”„″«»‹›", "'''''\"\"\"\"\"\"''"),  # every quotation mark
    ("∶ː․∙•·⁄∕∣⏐", "::....//||"),
)
_READ_AS: Final = {
    written: read for pair in _LOOK_ALIKES for written, read in zip(pair[0], pair[1], strict=True)
} | {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "ð": "d"}


def fold(text: str) -> str:
    """Return the text as it is read. ASCII stays as it is; length and offsets may change."""
    return text if text.isascii() else text.translate(_FOLDED)


class _Folded(dict[int, str]):
    """Code point to what it reads as, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        # Ideographs and Hangul are many, and read as themselves.
        plain = 0x3400 <= code < 0xA000 or 0xAC00 <= code < 0xD7A4 or 0x20000 <= code < 0x40000
        read = chr(code) if plain else _read(code)
        if len(self) < CACHE_MAX:
            self[code] = read
        return read


_FOLDED: Final = _Folded()


def _read(code: int) -> str:
    if code in _TAGS:
        return chr(code - 0xE0000)
    for first in _LETTER_BLOCKS:
        if first <= code < first + 26:
            return chr(ord("A") + code - first)
    character = chr(code)
    if character.isascii():
        return character
    if not unicodedata.decomposition(character):
        return _part(character)
    read = "".join(_part(part) for part in unicodedata.normalize("NFKD", character))
    return read if len(read) <= EXPANSION_MAX else character


def _part(part: str) -> str:
    if part in _READ_AS:
        return _READ_AS[part]
    if part in _INVISIBLE or unicodedata.category(part) in {"Mn", "Me", "Cf"}:
        return ""
    if part in _BLANK:
        return " "
    digit = unicodedata.decimal(part, None)
    return part if digit is None else str(digit)
