"""The detectors of secrets, and the names of fields whose value is private whatever it is.

Seen: keys and tokens that carry their issuer's prefix, private keys, JSON web tokens, credentials
inside an address, authorization headers, assignments such as `password=...` whose value could be
one, and the whole value of a field named, say, `api_key` or `ssn`.
Not seen: a bare password in a sentence, random text without a name or a prefix.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from policies.detectors import Accept, Detector, Span, first_if, said, whole
from policies.personal import is_card, is_phone, is_ssn
from policies.texts import SEPARATOR

REDACTED: Final = re.compile(r"\[REDACTED:[a-z_]+\]")
NAME_MAX: Final = 64  # characters at the end of a name: it is the end that tells

_KEY_END: Final = re.compile(r"-----END [A-Z ]{0,32}PRIVATE KEY-----")
_PRIVATE_KEY_MAX: Final = 16_384


def _private_key(match: re.Match[str], text: str) -> Span | None:
    """To the end of the key, over as many strings as its lines stand in; or of this string."""
    limit = match.end() + _PRIVATE_KEY_MAX
    end = _KEY_END.search(text, match.end(), limit)
    if end:
        return match.start(), end.end()
    own = text.find(SEPARATOR, match.end(), limit)
    return match.start(), own if own >= 0 else min(limit, len(text))


# `name = value`, all in lower case. The value ends where a quotation, a list or a call begins.
_KEYED: Final = "api|ess|ate|ret|ing|ion"  # how api, access, private, secret, signing... end
_NAMES: Final = (
    ("pass", "pass(?:word|wd|phrase|code)"),
    ("pwd", "pwd"),
    ("secret", "secret"),
    ("token", "token"),
    ("credential", "credentials?"),
    ("key", f"key(?:(?<=(?:{_KEYED})[_ -]key)|(?<=(?:{_KEYED})key))"),
)
_IS_VALUE: Final = (
    r"[\"']?(?:[ \t]{0,4}(?::=|=>|==?|:)|[ \t]{1,4}is)[ \t]{0,4}[\"'`]?"
    r"([^\s\"'`,;<>(){}\[\]]{6,256}+)(?![(\[])"
)
_STAND_IN: Final = re.compile(
    r"[$%].*|[*x.]+|\[redacted:[a-z_]+\]|none|null|true|false|undefined|string|required|optional|example|change_?me"
    r"|placeholder|redacted|pass(?:word|wd)?|secret|token|(?:your|my)[_-].*"
    r"|(?:os|self|this|process|config|settings|args|request|req|user|event|data|params)\.[\w.]*",
    re.IGNORECASE,
)


def could_be_secret(value: str) -> bool:
    """Say whether a value mixes enough kinds of characters, and stands in for no other value."""
    if _STAND_IN.fullmatch(value):
        return False
    digit, lower = _has_digit(value), any(map(str.islower, value))
    upper, mark = any(map(str.isupper, value)), not value.isalnum()
    return (digit and (lower or upper)) or lower + upper + mark + digit >= 3


def _is_private(value: str) -> bool:
    return not _STAND_IN.fullmatch(value)


def _has_digit(value: str) -> bool:
    return any(map(str.isdecimal, value))


def _is_pair(value: str) -> bool:
    """Say whether base64 hides `name:password`."""
    try:
        return b":" in binascii.a2b_base64(value + "==")
    except binascii.Error:
        return False


def _secret(name: str, pattern: str, *needles: str, accept: Accept = whole) -> Detector:
    return Detector(
        kind="secret", name=name, pattern=re.compile(pattern), needles=needles, accept=accept
    )


_END: Final = r"(?![A-Za-z0-9])"
MARKED: Final = (
    _secret(
        "private_key",
        r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----",
        "-----BEGIN ",
        accept=_private_key,
    ),
    _secret(
        "address_credentials",
        r"://[^\s:/@]{0,128}+:([^\s/@]{1,256}+)@[^\s@]",
        "://",
        accept=first_if(_is_private),
    ),
)
TOKENS: Final = (  # each has at least 15 characters and no space
    _secret(
        "aws_access_key_id",
        r"A(?<![A-Z0-9].)(?:KIA|SIA|ROA|IDA|BIA|CCA)[A-Z2-7]{16}(?![A-Z0-9])",
        *("AKIA", "ASIA", "AROA", "AIDA", "ABIA", "ACCA"),
    ),
    _secret(
        "github_token",
        r"gh[pousr]_[A-Za-z0-9]{36,255}+|github_pat_[A-Za-z0-9_]{22,255}+",
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    _secret("gitlab_token", r"glpat-[A-Za-z0-9_-]{20,64}+", "glpat-"),
    _secret(
        "slack_token",
        r"xox[abeoprs]-[A-Za-z0-9-]{10,255}+|xapp-[0-9]-[A-Za-z0-9-]{10,255}+",
        *("xox", "xapp-"),
    ),
    _secret("slack_webhook", r"hooks\.slack\.com/services/[A-Za-z0-9/_-]{20,128}+", "hooks.slack"),
    _secret(
        "stripe_key",
        r"(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16,255}+",
        *("k_live_", "k_test_", "whsec_"),
    ),
    _secret("google_api_key", r"AIza[A-Za-z0-9_-]{35}", "AIza"),
    _secret("google_oauth_token", r"ya29\.[A-Za-z0-9_-]{20,512}+", "ya29."),
    _secret("google_client_secret", r"GOCSPX-[A-Za-z0-9_-]{28}", "GOCSPX-"),
    _secret("model_api_key", r"sk-(?<![A-Za-z0-9]sk-)[A-Za-z0-9_-]{20,255}+", "sk-"),
    _secret("npm_token", r"npm_[A-Za-z0-9]{36}" + _END, "npm_"),
    _secret("pypi_token", r"pypi-AgE[A-Za-z0-9_-]{32,512}+", "pypi-AgE"),
    _secret("hugging_face_token", r"hf_[A-Za-z0-9]{34,40}" + _END, "hf_"),
    _secret("sendgrid_key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}", "SG."),
    _secret("twilio_key", r"SK(?<![A-Za-z0-9]SK)[0-9a-f]{32}" + _END, "SK"),
    _secret("digitalocean_token", r"do[opr]_v1_[0-9a-f]{64}", "_v1_"),
    _secret("azure_account_key", r"AccountKey=[A-Za-z0-9+/]{40,128}={0,2}", "AccountKey="),
    _secret(
        "json_web_token",
        r"eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{8,4096}+\.[A-Za-z0-9_-]{8,8192}+"
        r"\.[A-Za-z0-9_-]{0,1024}+",
        "eyJ",
    ),
)


_bearer = said("secret", "bearer_token", first_if(_has_digit))
_basic = said("secret", "basic_credentials", first_if(_is_pair))
_assigned = said("secret", "assigned_secret", first_if(could_be_secret))

HEADERS: Final = (
    _bearer("bearer", r"bearer[ \t]{1,4}([a-z0-9._~+/-]{16,4096}+)"),
    _basic("basic", r"basic[ \t]{1,4}([a-z0-9+/]{12,1024}+)"),
)
ASSIGNED: Final = tuple(_assigned(word, name + _IS_VALUE) for word, name in _NAMES)


class FieldRule(NamedTuple):
    """A field whose whole value is a finding when `is_one` says so."""

    kind: str
    detector: str
    is_one: Callable[[str], bool]


def _is_given(value: str) -> bool:
    return len(value) >= 4 and not (REDACTED.fullmatch(value) or _STAND_IN.fullmatch(value))


def _is_opaque(value: str) -> bool:
    return len(value) >= 16 and " " not in value and could_be_secret(value)


def _is_date(value: str) -> bool:
    return 4 <= sum(map(str.isdecimal, value)) <= 14


def _is_code(value: str) -> bool:
    return value.isdecimal() and 3 <= len(value) <= 4


def _is_document(value: str) -> bool:
    return 6 <= sum(map(str.isdecimal, value)) <= 12 and len(value) <= 24


# Endings of names, without separators and in lower case; the first that fits is the rule.
_FIELDS: Final[tuple[tuple[tuple[str, ...], FieldRule | None], ...]] = (
    (("pagetoken", "nexttoken", "continuationtoken", "synctoken"), None),
    (
        ("password", "passwd", "passphrase", "passcode", "pwd", "secret", "secretkey", "apikey",
         "accesskey", "privatekey", "signingkey", "encryptionkey", "credential", "credentials"),
        FieldRule("secret", "secret_field", _is_given),
    ),
    (("token", "authorization", "cookie", "sessionid", "jwt"),
     FieldRule("secret", "secret_field", _is_opaque)),
    (("ssn", "socialsecurity", "socialsecuritynumber"), FieldRule("pii", "us_ssn", is_ssn)),
    (("cardnumber", "creditcard", "ccnumber", "debitcard", "pan"),
     FieldRule("pii", "payment_card", is_card)),
    (("cvv", "cvc", "cvv2", "securitycode"), FieldRule("pii", "card_security_code", _is_code)),
    (("phone", "phonenumber", "mobile", "mobilenumber", "telephone", "fax", "whatsapp"),
     FieldRule("pii", "phone", is_phone)),
    (("dob", "dateofbirth", "birthdate", "birthday", "birthdaydate"),
     FieldRule("pii", "date_of_birth", _is_date)),
    (("passport", "passportnumber", "passportno", "driverslicense", "licensenumber"),
     FieldRule("pii", "identity_document", _is_document)),
)  # fmt: skip


def field_rule(name: str) -> FieldRule | None:
    """Return what the value of a field of this name would be, if its name says so."""
    return _field_rule(name[-NAME_MAX:])


@lru_cache(maxsize=4096)
def _field_rule(name: str) -> FieldRule | None:
    bare = "".join(filter(str.isalnum, REDACTED.sub("x", name))).lower()
    for endings, rule in _FIELDS:
        if bare.endswith(endings):
            return rule
    return None
