"""RFC 8785: one JSON value, one sequence of bytes, one digest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

import orjson
import rfc8785

from policies.errors import RefusalError

DEPTH_MAX: Final = 200  # nested lists and objects; orjson itself stops at 254
_FAST: Final = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def canonical(value: object) -> bytes:
    """Return the RFC 8785 form of a JSON value.

    Raises RefusalError with code `content.number_out_of_range` (an integer beyond ±(2^53 - 1),
    NaN or an infinity), `content.invalid_unicode` (a lone surrogate), `content.too_deep`, or
    `content.not_json`.
    """
    try:
        return orjson.dumps(_fast(value, 0), option=_FAST)
    except (_SlowError, TypeError):
        return _slowly(value)


def fragment(value: object) -> orjson.Fragment:
    """Return the RFC 8785 form of a value, to stand inside a value given to `assembled`."""
    return orjson.Fragment(canonical(value))


def assembled(value: object) -> bytes:
    """Return the RFC 8785 form of a value of our own making, several times as fast.

    Its keys are ASCII, its strings valid, its integers small, and everything else, floats
    included, is a `fragment`.
    """
    return orjson.dumps(value, option=_FAST)


def digest(value: object) -> str:
    """Return `sha256:<hex>` over the RFC 8785 form; raises what `canonical` raises."""
    return digest_of(canonical(value))


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>` over bytes."""
    return "sha256:" + sha256(data).hexdigest()


class _SlowError(Exception):
    """Only the reference implementation knows what to do with this value."""


def _fast(value: object, depth: int) -> object:
    """Return the value as orjson would write it canonically, or raise _SlowError.

    orjson differs from RFC 8785 in two things: how it writes floats, which the reference
    implementation writes here, and how it sorts keys beyond ASCII (code points, not UTF-16).
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return orjson.Fragment(_float_text(value))
    if depth == DEPTH_MAX:
        raise _SlowError
    if kind is dict:
        return _fast_object(value, depth + 1)  # type: ignore[arg-type]  # its type was compared
    if kind is list or kind is tuple:
        return [_fast(item, depth + 1) for item in value]  # type: ignore[attr-defined]  # likewise
    raise _SlowError


def _fast_object(value: dict[object, object], depth: int) -> dict[str, object]:
    ready: dict[str, object] = {}
    for key, item in value.items():
        if type(key) is not str or not key.isascii():
            raise _SlowError
        kind = type(item)
        plain = kind is str or kind is int or kind is bool or item is None
        ready[key] = item if plain else _fast(item, depth)
    return ready


@lru_cache(maxsize=4096)
def _float_text(number: float) -> bytes:
    try:
        return rfc8785.dumps(number)
    except rfc8785.FloatDomainError as error:
        raise _SlowError from error


def _slowly(value: object) -> bytes:
    try:
        return rfc8785.dumps(_plain(value, 0))  # type: ignore[arg-type]  # it is JSON by then
    except (rfc8785.IntegerDomainError, rfc8785.FloatDomainError) as error:
        raise RefusalError(
            "content.number_out_of_range",
            f"{error}; send it as a string",
        ) from error
    except UnicodeEncodeError as error:
        raise _invalid_unicode() from error
    except rfc8785.CanonicalizationError as error:
        if "UTF-8" in str(error):
            raise _invalid_unicode() from error
        raise RefusalError("content.not_json", f"{error}; send plain JSON") from error


def _plain(value: object, depth: int) -> object:
    # The reference takes dicts only, and would follow any depth until Python's stack ends.
    if isinstance(value, str | int | float) or value is None:
        return value
    if depth == DEPTH_MAX:
        raise RefusalError(
            "content.too_deep", f"lists and objects are nested more than {DEPTH_MAX} deep"
        )
    if isinstance(value, Mapping):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    raise RefusalError("content.not_json", f"{type(value).__name__} is not a JSON type")


def _invalid_unicode() -> RefusalError:
    return RefusalError(
        "content.invalid_unicode", "a string holds half of a surrogate pair; send valid Unicode"
    )
