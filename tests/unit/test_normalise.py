"""Text as it is read."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from policies.normalise import CACHE_MAX, _Folded, fold


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain ASCII", "plain ASCII"),
        ("\uff49\uff47\uff4e\uff4f\uff52\uff45", "ignore"),
        ("\U0001d422\U0001d4d6\U0001d52b\U0001d560", "iGno"),
        ("\u24d8\u24d6", "ig"),
        ("\u0456\u0435\u0430\u043e\u0440\u0441\u0445", "ieaopcx"),
        ("\u03bf\u03b1\u0391", "oaA"),
        ("\u1d00\u0299\u1d04", "abc"),
        ("\ua4ee\ua4d0", "AB"),
        ("caf\u00e9 na\u00efve \u0141\u00f3d\u017a", "cafe naive Lodz"),
        ("i\u0301\u0323g", "ig"),
        ("ig\u200b\u200d\u2060\ufeffn\u00adore", "ignore"),
        ("\u202eab\u202c\u2066c\u2069", "abc"),
        ("\u3164x\uffa0", "x"),
        ("a\u00a0b\u3000c\u2800d", "a b c d"),
        ("\u0661\u0662\u096b", "125"),
        ("\u2460\u00b2", "12"),
        ("\u2018x\u2019 \u201cy\u201d", "'x' \"y\""),
        ("1\u20132\u22123", "1-2-3"),
        ("\ufb03", "ffi"),
        ("stra\u00dfe \u00e6", "strasse ae"),
        ("\U000e0069\U000e0067", "ig"),
        ("\U0001f170\U0001f150\U0001f1e6", "AAA"),
        ("\u4e2d\u6587 \ud55c\uae00", "\u4e2d\u6587 \ud55c\uae00"),
        ("\U00020000", "\U00020000"),
        ("\ufdfa", "\ufdfa"),  # it would be eighteen letters
        ("\ud800", "\ud800"),
        ("\x00\x7f", "\x00\x7f"),
    ],
)
def test_it_is_read_as_it_looks(written: str, read: str) -> None:
    assert fold(written) == read


def test_folding_twice_is_folding_once() -> None:
    for code in range(0x80, sys.maxunicode + 1, 7):
        once = fold(chr(code))
        assert fold(once) == once or unicodedata.category(chr(code)) in {"Mc", "Lm", "Lo", "Sk"}


def test_what_is_remembered_is_bounded() -> None:
    folded = _Folded(dict.fromkeys(range(CACHE_MAX), ""))
    assert folded[0xE9 + CACHE_MAX] == chr(0xE9 + CACHE_MAX)
    assert len(folded) == CACHE_MAX
