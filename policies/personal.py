"""The detectors of personal data, each with the arithmetic that tells it from other numbers.

Seen: e-mail addresses; US social security numbers; payment cards by issuer and Luhn digit, also
with signs between all digits; phones in E.164 and in US form; IBANs by country and check digits;
UK national insurance numbers; and, after a word that says so, bare social security numbers, other
phones, dates of birth and passports.
Not seen: names, postal addresses, numbers written as words, `bob at example dot com`.
"""

from __future__ import annotations

import re
from string import ascii_uppercase
from typing import Final

from policies.detectors import Accept, Detector, Span, first, first_if, said, whole

_NO_SIGNS: Final = {ord(mark): None for mark in " -.()/"}


def _digits(text: str) -> str:
    return text.translate(_NO_SIGNS)


# E-mail: found from the `@`; a pattern that begins with the local part is quadratic.
_LOCAL: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
_LOCAL_MAX: Final = 64  # RFC 5321
_AT: Final = r"@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}+"


def _email(match: re.Match[str], text: str) -> Span | None:
    at = match.start()
    before = text[max(0, at - _LOCAL_MAX) : at]
    local = before[len(before.rstrip(_LOCAL)) :].lstrip(".-")
    if local:
        return at - len(local), match.end()
    return (at - 1, match.end()) if before[-1:].isalnum() else None


# US social security number: area not 000, 666 or 9xx, group not 00, serial not 0000.
_SSN: Final = r"([0-9](?<![0-9].)(?<![0-9]-.)[0-9]{2}([- ])[0-9]{2}\2[0-9]{4})(?![0-9])(?!-[0-9])"
_SSN_AFTER: Final = r"\b[^0-9\x1f]{0,24}([0-9]{3}[-. ]?[0-9]{2}[-. ]?[0-9]{4})(?![0-9])"


def is_ssn(text: str) -> bool:
    """Say whether these nine digits can be a social security number."""
    digits = _digits(text)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    issued = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    return len(digits) == 9 and digits.isdecimal() and issued


# Payment card: tried at every group of digits, for a card may stand among other numbers; but not
# next to a letter of hexadecimal, for a long digest holds every number.
_CARD: Final = (
    r"[2-6](?<![0-9A-Fa-f].)(?=([0-9]{12,18}(?![0-9A-Fa-f])"
    r"|[0-9]{3}(?:[-. ]{1,2}[0-9]{4}){2}[-. ]{1,2}[0-9]{1,4}(?:[-. ]{1,2}[0-9]{3})?(?![0-9])"
    r"|[0-9]{3}[-. ]{1,2}[0-9]{6}[-. ]{1,2}[0-9]{4,5}(?![0-9])))"
)
_CARD_SPACED: Final = (
    r"([2-6](?<![0-9].)(?<![0-9][ .-].)(?:[ .-][0-9]){12,18}+)(?![0-9])(?![ .-][0-9])"
)
_ISSUERS: Final[tuple[tuple[str, str, range], ...]] = (  # first, last, lengths
    ("4", "4", range(13, 20)),
    ("51", "55", range(16, 17)),
    ("2221", "2720", range(16, 17)),
    ("34", "34", range(15, 16)),
    ("37", "37", range(15, 16)),
    ("300", "305", range(14, 20)),
    ("36", "36", range(14, 20)),
    ("38", "39", range(14, 20)),
    ("3528", "3589", range(16, 20)),
    ("50", "50", range(13, 20)),
    ("56", "58", range(13, 20)),
    ("60", "69", range(13, 20)),
)
_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_VALUED: Final = bytes.maketrans(b"0123456789", bytes(range(10)))


def is_card(text: str) -> bool:
    """Say whether these digits have an issuer, a length of its, and the right Luhn digit."""
    digits = _digits(text)
    return digits.isdecimal() and digits.isascii() and _is_issued(digits) and _luhn(digits)


def _is_issued(digits: str) -> bool:
    return any(
        len(digits) in lengths and first <= digits[: len(first)] <= last
        for first, last, lengths in _ISSUERS
    )


def _luhn(digits: str) -> bool:
    backwards = digits.encode()[::-1]
    odd, even = backwards[0::2], backwards[1::2]
    return (sum(odd.translate(_VALUED)) + sum(even.translate(_DOUBLED))) % 10 == 0


def _card(match: re.Match[str], text: str) -> Span | None:
    start, end = match.start(), match.end(1)
    return (start, end) if is_card(text[start:end]) else None


# Phone: international with its plus; North American by its shape; others after a word.
_PHONE: Final = r"\+(?<![A-Za-z0-9_+].)[1-9](?:[-. ()]{0,3}[0-9]){6,14}+(?![0-9])"
_PHONE_US: Final = (
    r"[2-9](?<![0-9].)(?<![02-9][-.].)(?<![0-9]1[-.].)"
    r"[0-8][0-9][-.][2-9][0-9]{2}[-. ][0-9]{4}(?![0-9])(?![-.][0-9])"
)
_PHONE_US_AREA: Final = (
    r"\([2-9][0-8][0-9]\)[-. ]{0,2}[2-9][0-9]{2}[-. ][0-9]{4}(?![0-9])(?![-.][0-9])"
)
_PHONE_AFTER: Final = (
    r"(?:[ _-]?(?:number|no|nr|at|me|is))?\b"
    r"[^0-9(+\x1f]{0,16}(\+?[0-9(][0-9 ().-]{5,22}[0-9])(?![0-9])"
)
_PHONE_WORDS: Final = ("phone", "tel", "mobile", "cell", "whatsapp", "fax", "call")


def is_phone(text: str) -> bool:
    """Say whether the text has as many digits as a phone number, E.164's fifteen at most."""
    return 7 <= sum(map(str.isdecimal, text)) <= 15


# IBAN: the country's length and the remainder of 97 (ISO 13616, ISO 7064).
_IBAN: Final = (
    r"[0-9]{2}(?<=[A-Za-z]{2}..)(?<![A-Za-z0-9][A-Za-z]{2}..)"
    r"[ -]?(?:[A-Za-z0-9]{4}[ -]?){2,7}[A-Za-z0-9]{0,3}"
)
_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH CR HR LI LV",
        22: "BG BH DE GB GE IE ME RS",
        23: "AE GI IL IQ TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "PT",
        26: "IS TR",
        27: "FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
    }.items()
    for country in countries.split()
}
_IBAN_VALUES: Final = {ord(letter): str(int(letter, 36)) for letter in ascii_uppercase}


def _iban(match: re.Match[str], text: str) -> Span | None:
    start = match.start() - 2
    written = text[start : match.end()]
    length = _IBAN_LENGTHS.get(written[:2].upper(), 99)
    compact = written.replace(" ", "").replace("-", "")[:length].upper()
    if len(compact) < length:
        return None
    if int((compact[4:] + compact[:4]).translate(_IBAN_VALUES)) % 97 != 1:
        return None
    places = [place for place, character in enumerate(written) if character.isalnum()]
    end = start + places[length - 1] + 1
    return None if text[end : end + 1].isalnum() else (start, end)


_NINO: Final = (
    r"[A-CEGHJ-PR-TW-Z](?<![A-Za-z0-9].)[A-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D](?![A-Za-z0-9])"
)
_BIRTHS: Final = (("birth", "birth(?:[ _-]?date|day)?"), ("dob", "dob"), ("born", "born"))
_BORN: Final = r"\b[^0-9\x1f]{0,12}([0-9]{1,4}[-/. ][0-9]{1,2}[-/. ][0-9]{1,4})(?![0-9])"
_PASSPORT: Final = (
    r"passport\b[ :#]{0,3}(?:number|no\.?|num|is)?[ :#]{0,3}([a-z]{0,2}[0-9]{6,9})(?![a-z0-9])"
)


def _pii(
    name: str, pattern: str, *needles: str, digits: int = 0, accept: Accept = whole
) -> Detector:
    return Detector(
        kind="pii",
        name=name,
        pattern=re.compile(pattern),
        needles=needles,
        digits=digits,
        accept=accept,
    )


_ssn_after = said("pii", "us_ssn", first_if(is_ssn))
_phone_after = said("pii", "phone", first_if(is_phone))
_birth_after = said("pii", "date_of_birth", first)
_passport_after = said("pii", "passport", first)

MARKED: Final = (_pii("email", _AT, "@", accept=_email),)
NUMBERS: Final = (
    _pii("phone", _PHONE, "+", digits=7),
    _pii("phone", _PHONE_US_AREA, "(", digits=7),
    _pii("phone", _PHONE_US, digits=10),
    _pii("us_ssn", _SSN, digits=9, accept=first_if(is_ssn)),
    _pii("payment_card", _CARD, digits=13, accept=_card),
    _pii("payment_card", _CARD_SPACED, digits=13, accept=first_if(is_card)),
    _pii("iban", _IBAN, digits=9, accept=_iban),
    _pii("uk_nino", _NINO, digits=6),
)
SAID: Final = (
    _ssn_after("ssn", "ssn" + _SSN_AFTER),
    _ssn_after("social", "social[ _-]?security" + _SSN_AFTER),
    *(_phone_after(word, word + _PHONE_AFTER) for word in _PHONE_WORDS),
    *(_birth_after(word, pattern + _BORN) for word, pattern in _BIRTHS),
    _passport_after("passport", _PASSPORT),
)
