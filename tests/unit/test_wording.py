"""The words of a name, and the money in a value."""

from __future__ import annotations

import math

import pytest

from policies.wording import NAME_MAX, amount_of, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("email.send", {"email", "send"}),
        ("deleteAllUsers", {"delete", "all", "users"}),
        ("HTTPServer.DELETE", {"http", "server", "delete"}),
        ("payment_transfer-v2", {"payment", "transfer", "v", "2"}),
        ("undeleted", {"undeleted"}),
        ("d\u0435lete", {"delete"}),  # with a Cyrillic letter
        ("", set()),
    ],
)
def test_a_name_falls_into_whole_words(name: str, words: set[str]) -> None:
    assert words_of(name) == words


def test_only_the_head_of_a_long_name_is_read() -> None:
    assert words_of("a" * NAME_MAX + ".delete") == {"a" * NAME_MAX}


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (12, 12.0),
        (-12.5, 12.5),
        ("13", 13.0),
        ("12,500", 12_500.0),
        ("12.500,00", 12_500.0),
        ("12,500.75", 12_500.75),
        ("1.234", 1.234),
        ("12,5", 12.5),
        ("1.000.000", 1_000_000.0),
        ("EUR 12 500", 12_500.0),
        ("$1,000,000.50", 1_000_000.5),
        ("12.5k", 12_500.0),
        ("about 3 million", 3_000_000.0),
        ("2bn", 2e9),
        ("1e9", 1e9),
        ("-50000", 50_000.0),
        ("\u0661\u0662", 12.0),  # Arabic digits
    ],
)
def test_an_amount_is_read_as_people_write_it(value: object, amount: float) -> None:
    assert amount_of(value) == amount


@pytest.mark.parametrize("value", [None, True, False, "none", "", [], {}])
def test_what_holds_no_number_has_no_amount(value: object) -> None:
    assert amount_of(value) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -math.inf, 10**400, "1e999"])
def test_what_is_no_finite_number_is_as_large_as_can_be(value: object) -> None:
    assert amount_of(value) == math.inf
