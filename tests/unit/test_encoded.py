"""Text inside text."""

from __future__ import annotations

import base64

import pytest

from policies.encoded import DECODED_MAX, RUNS_MAX, Decoder, has_escapes

SAID = "the quick brown fox"


def said(text: str) -> list[str]:
    return [piece.text for piece in Decoder().runs(text)]


@pytest.mark.parametrize("size", [17, 18, 19])
def test_base64_is_undone_with_and_without_its_padding(size: int) -> None:
    text = "x" * size
    run = base64.b64encode(text.encode()).decode()
    assert said(run) == [text]
    assert said(run.rstrip("=")) == [text]
    assert said(run.rstrip("=") + "A")[:1] in ([text], [])


def test_base64url_is_undone() -> None:
    text = "\u00ff\u00fe\u00fb???>>>\u00ff\u00fe\u00fb~~~"
    run = base64.urlsafe_b64encode(text.encode()).decode()
    assert "-" in run or "_" in run
    assert said(run) == [text]


def test_hexadecimal_is_undone() -> None:
    assert SAID in said(SAID.encode().hex())
    assert SAID in said("0x" + SAID.encode().hex().upper())


@pytest.mark.parametrize(
    "text",
    [
        "short",
        "internationalisation",
        "d41d8cd98f00b204e9800998ecf8427e",
        "5f3c1b0e-8d1f-4c3e-9a57-0b1d2e3f4a5b",
        base64.b64encode(bytes(range(60))).decode(),
        "=" * 40,
        "",
    ],
)
def test_what_says_nothing_is_no_text(text: str) -> None:
    assert said(text) == []


def test_a_piece_knows_where_it_stood() -> None:
    run = base64.b64encode(SAID.encode()).decode()
    (piece,) = Decoder().runs(f"ab {run} cd")
    assert (piece.start, piece.end) == (3, 3 + len(run))


def test_layout_is_text() -> None:
    text = "one\ttwo\r\nthree four five"
    assert said(base64.b64encode(text.encode()).decode()) == [text]


@pytest.mark.parametrize(
    ("text", "undone"),
    [
        ("%61%62%63", "abc"),
        ("&#97;&#x62;c", "abc"),
        ("&lt;b&gt;", "<b>"),
        ("\\x61\\x62\\x63", "abc"),
        ("\\u0061\\u{62}\\u{1F600}", "ab\U0001f600"),
        ("\\u{FFFFF}\\u{61}\\x", "\U000fffffa\\x"),
    ],
)
def test_escapes_are_undone_in_the_whole_text(text: str, undone: str) -> None:
    assert has_escapes(text)
    (piece,) = Decoder().escapes(text)
    assert (piece.text, piece.start, piece.end) == (undone, 0, len(text))


@pytest.mark.parametrize("text", ["50% of 3%", "R&D & co", "C:\\temp", "plain"])
def test_a_sign_or_two_are_no_escapes(text: str) -> None:
    assert list(Decoder().escapes(text)) == []


def test_what_is_undone_is_bounded() -> None:
    decoder = Decoder()
    long = "%41%41%41" + "a" * DECODED_MAX
    assert list(decoder.escapes(long)) == []
    assert decoder.gave_up


def test_runs_are_bounded() -> None:
    decoder = Decoder()
    list(decoder.runs(" ".join(["0" * 20] * (RUNS_MAX + 1))))
    assert decoder.gave_up
    decoder = Decoder()
    list(decoder.runs(" ".join(["0" * 20] * 100)))
    assert not decoder.gave_up
