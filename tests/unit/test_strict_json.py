"""Strict JSON reads in one way only."""

import pytest

from policies.strict_json import read_object


def test_an_object_is_read() -> None:
    assert read_object(b'{"a": [1, {"b": "\xc5\x82"}]}') == {"a": [1, {"b": "ł"}]}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"a"',
        b"{} {}",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a":' * 50_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
)
def test_anything_else_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_object(raw)
