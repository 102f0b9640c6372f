"""Every string and its pointer."""

from __future__ import annotations

import pytest

from policies.texts import collect, escaped, ranks, text_of, unescaped


def test_values_stand_level_by_level_and_keys_after_them() -> None:
    texts = collect({"a": "1", "b": {"c": "3", "d": ["4", {}]}, "e": "2"})
    assert texts.strings == ["1", "2", "3", "4", "a", "b", "e", "c", "d"]
    assert texts.names == ["a", "e", "c", "d"]
    assert [texts.is_key(index) for index in range(9)] == [False] * 4 + [True] * 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (123456789, "123456789"),
        (123456789.0, "123456789"),
        (12345678, None),
        (10**24, None),
        (-123456789, None),
        (True, None),
        (None, None),
        (float("inf"), None),
        ([], None),
    ],
)
def test_a_long_number_is_read_as_text(value: object, text: str | None) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("key", ["", "a", "/", "~", "~1", "a/~b", "~01"])
def test_a_key_survives_being_a_token(key: str) -> None:
    assert unescaped(escaped(key)) == key
    assert "/" not in escaped(key)


def test_keys_are_ranked_as_in_canonical_json() -> None:
    assert ranks({"b": 1, "a": 2, "\uffee": 3, "\U0001f600": 4}) == {
        "a": "#0",
        "b": "#1",
        "\U0001f600": "#2",
        "\uffee": "#3",
    }
