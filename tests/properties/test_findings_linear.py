"""A hostile text of 1 MiB takes no longer, for its size, than a quarter of it.

Time is processor time of this process. What is asserted holds on a slow and busy machine; the
figures themselves are printed by `python tests/bench/findings.py`.
"""

from __future__ import annotations

import time

import pytest

from policies.findings import scan

MIB: int = 1 << 20
WORST_S = 2.0  # on any machine; about 0.1 on an idle one
SHAPES = [
    *(
        "a",
        " ",
        "1",
        "1 ",
        "@",
        "a@",
        "a@a.",
        "@a.a.",
        "A",
        "(",
        "[",
        "<",
        "#",
        "+1",
        "://",
        "=",
        "\\x",
    ),
    *("eyJ", "eyJaaaaaaaaa.", "AKIA", "sk-", "xox", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----"),
    *("password=", "password = ", "pass", "token is ", "bearer ", "basic ", "://a:b", "api_key:"),
    *("4 1 1 1 1 1 1 1 1 1 1 ", "4111 1111 1111 1112 ", "4111111111111112 ", "000-45-6789 "),
    *("212-555-", "(212) 555-01", "GB82", "GB82WEST12345698765433 ", "AB123456C", "call 123 "),
    *("ssn 123", "born 1", "passport 123456x "),
    *("ignore ", "ignore all previous ", "i g n o r e ", "i.g.n.o.r.e ", "ignoreprevious"),
    *("1gn0r3 pr3v10us ", "instructions ", "your ", "you are now ", "not tell the user ", "[inst"),
    *("%41", "%", "&#105;", "&lt;", "\\u0069", "aGVsbG8gd29ybGQgaGVsbG8= ", "ab" * 20 + " "),
    *(
        "\u0301",
        "\u0301\u0323",
        "\uff49",
        "\U0001d422",
        "\u0130",
        "\u0456gn\u043er\u0435 ",
        "\u2167",
    ),
    *("\x1f", "ab\x1f", "ignore\x1f"),
]


def took_s(text: str) -> float:
    started_s = time.process_time()
    scan({"text": text})
    return time.process_time() - started_s


def filled(shape: str, size: int) -> str:
    return (shape * (size // len(shape.encode()) + 1))[:size]


@pytest.mark.parametrize("shape", SHAPES)
def test_time_grows_with_the_text_and_with_nothing_else(shape: str) -> None:
    quarter_s = min(took_s(filled(shape, MIB // 4)) for _ in range(2))
    whole_s = took_s(filled(shape, MIB))
    assert whole_s < WORST_S
    assert whole_s < 12 * quarter_s + 0.1


def test_many_small_strings_cost_what_their_size_costs() -> None:
    started_s = time.process_time()
    scan({"l": ["a"] * 100_000, "n": [123456789] * 50_000, "o": [{"k": {}}] * 50_000})
    assert time.process_time() - started_s < WORST_S
