"""JSON that can be read in one way only, for what decides whom and what we trust."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def read_object(raw: bytes) -> dict[str, Any]:
    """Return the one JSON object that these bytes are.

    Raises ValueError for anything else: other encodings than UTF-8, a name that stands twice
    (two readers that keep different twins would see two different things), NaN, bottomless nesting.
    """
    try:
        parsed = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_twins, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  # one kind of error for bad bytes
    return parsed


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise ValueError("a name stands twice")
    return plain


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
