"""Personal data that a scan sees, and numbers that are none."""

from __future__ import annotations

import pytest

from policies.findings import scan


def detected(text: str) -> list[tuple[str, str]]:
    """The detectors that spoke, each with what it stands on."""
    return [
        (finding.detector, text[finding.start : finding.end])
        for finding in scan({"text": text})
        if finding.kind == "pii"
    ]


@pytest.mark.parametrize(
    ("text", "detector", "found"),
    [
        ("mail bob@example.com now", "email", "bob@example.com"),
        ("<first.last+tag@mail.example.co.uk>", "email", "first.last+tag@mail.example.co.uk"),
        ("j\u00fcrgen\u00f6@m\u00fcller.de", "email", "\u00f6@m\u00fcller.de"),
        ("bob@example.com1", "email", "bob@example.com"),
        ("user_1@x-y.io.", "email", "user_1@x-y.io"),
        ("mailto:a@b.museum?subject=x", "email", "a@b.museum"),
        ("SSN 123-45-6789.", "us_ssn", "123-45-6789"),
        ("it is 123 45 6789", "us_ssn", "123 45 6789"),
        ("ssn: 123456789", "us_ssn", "123456789"),
        ("Social Security number is 123.45.6789", "us_ssn", "123.45.6789"),
        ("4111111111111111", "payment_card", "4111111111111111"),
        ("pay 4111 1111 1111 1111 today", "payment_card", "4111 1111 1111 1111"),
        ("5555-5555-5555-4444", "payment_card", "5555-5555-5555-4444"),
        ("3782 822463 10005", "payment_card", "3782 822463 10005"),
        ("6011.1111.1111.1117", "payment_card", "6011.1111.1111.1117"),
        ("2223003122003222", "payment_card", "2223003122003222"),
        ("ref 1234 4111 1111 1111 1111", "payment_card", "4111 1111 1111 1111"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "payment_card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        ("+44 20 7946 0958", "phone", "+44 20 7946 0958"),
        ("tel:+14155550123", "phone", "+14155550123"),
        ("+49 (0)30 901820", "phone", "+49 (0)30 901820"),
        ("(212) 555-0199", "phone", "(212) 555-0199"),
        ("212-555-0199", "phone", "212-555-0199"),
        ("1-800-555-0199", "phone", "800-555-0199"),
        ("212.555.0199", "phone", "212.555.0199"),
        ("call me at 555 0199 22", "phone", "555 0199 22"),
        ("Phone number: 2125550199", "phone", "2125550199"),
        ("GB82 WEST 1234 5698 7654 32", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("DE89370400440532013000,", "iban", "DE89370400440532013000"),
        ("no93 8601 1117 947 is it", "iban", "no93 8601 1117 947"),
        ("AB123456C", "uk_nino", "AB123456C"),
        ("AB 12 34 56 C", "uk_nino", "AB 12 34 56 C"),
        ("born on 1990-01-31", "date_of_birth", "1990-01-31"),
        ("Date of birth: 31.01.1990", "date_of_birth", "31.01.1990"),
        ("DOB 1/31/90", "date_of_birth", "1/31/90"),
        ("Passport number: AB1234567", "passport", "AB1234567"),
    ],
)
def test_defect_21_personal_data_is_found_where_it_stands(
    text: str, detector: str, found: str
) -> None:
    assert detected(text) == [(detector, found)]


@pytest.mark.parametrize(
    "text",
    [
        "bob@example",
        "@example.com",
        "a@b@c",
        "user@localhost and x @ y.com",
        "000-45-6789",
        "666-45-6789",
        "900-45-6789",
        "123-00-6789",
        "123-45-0000",
        "123-45-67890",
        "1123-45-6789",
        "5-123-45-6789",
        "123456789",
        "ssn 000456789",
        "4111111111111112",
        "1111111111111117",
        "9999999999999995",
        "41111111111111111111111",
        "4111 1111 1111 1112",
        "a4111111111111111b",
        "1 2 3 4 5 6 7 8 9 10 11 12 13",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2",
        "2026-11-23T12:00:00Z",
        "1700000000000",
        "+1 is not a phone",
        "x+14155550123",
        "112-555-0199",
        "212-055-0199",
        "212-555-01999",
        "2212-555-0199",
        "version 10.20.30",
        "192.168.100.200",
        "call 12",
        "called 12345678 times",
        "GB82 WEST 1234 5698 7654 33",
        "XX82 WEST 1234 5698 7654 32",
        "GB82 WEST 1234",
        "DE893704004405320130001",
        "AB123456E",
        "XAB123456C",
        "reborn in 7 days",
        "5f3c1b0e-8d1f-4c3e-9a57-0b1d2e3f4a5b",
    ],
)
def test_numbers_that_are_nobodys_are_let_be(text: str) -> None:
    assert detected(text) == []


def test_several_stand_side_by_side() -> None:
    text = "a@b.io,c@d.io 123-45-6789 4111111111111111"
    assert [detector for detector, _ in detected(text)] == [
        "email",
        "email",
        "us_ssn",
        "payment_card",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "bob\u200b@exam\u200bple.com",
        "bob\uff20example.com",
        "\uff14\uff11\uff11\uff11 1111 1111 1111",
        "123\u201345\u20136789",
        "\U0001d7d2111111111111111",
        "\u0661\u0662\u0663-45-6789",
    ],
)
def test_personal_data_in_disguise_is_found_and_spans_the_string(text: str) -> None:
    ((_, found),) = detected(text)
    assert found == text


@pytest.mark.parametrize(
    ("name", "value", "detector"),
    [
        ("ssn", "123456789", "us_ssn"),
        ("socialSecurityNumber", "123 456 789", "us_ssn"),
        ("customer_ssn", 123456789, "us_ssn"),
        ("card-number", "4111 11 1111 1111 11", "payment_card"),
        ("phone", "5550199", "phone"),
        ("mobileNumber", 2125550199, "phone"),
        ("dob", "31 January 1990", "date_of_birth"),
        ("date_of_birth", "19900131", "date_of_birth"),
        ("cvv", "123", "card_security_code"),
        ("passportNo", "C01X00T47", "identity_document"),
        ("x" * 80 + "_phone", "5550199", "phone"),
    ],
)
def test_a_field_whose_name_says_so_is_believed(name: str, value: object, detector: str) -> None:
    (finding,) = scan({name: value})
    assert (finding.kind, finding.detector) == ("pii", detector)
    assert finding.path in {f"/{name}", "/#0"}
    assert (finding.start, finding.end) == (0, len(str(value)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ssn", "unknown"),
        ("ssn", "000456789"),
        ("card_number", "visa"),
        ("phone", "none"),
        ("phone", True),
        ("dob", ""),
        ("cvv", "12"),
        ("passport", "yes"),
        ("phone " + "x" * 80, "2125550"),
    ],
)
def test_a_field_that_holds_no_such_thing_is_let_be(name: str, value: object) -> None:
    assert scan({name: value}) == ()


def test_a_long_number_is_read_as_its_digits() -> None:
    (finding,) = scan({"n": [4111111111111111]})
    assert (finding.detector, finding.path) == ("payment_card", "/n/0")
    assert scan({"n": [4111111111111112, 41.5, -4111111111111111, 10**30, float("nan")]}) == ()
    (finding,) = scan({"n": 4111111111111111.0})
    assert (finding.start, finding.end) == (0, 16)
