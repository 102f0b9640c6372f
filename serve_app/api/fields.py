"""The kinds of fields that bodies, paths and queries are made of."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{1,63}$")]
Handle = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Recipient = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z0-9][a-z0-9_-]{1,63})$")]
PriorityWord = Literal["low", "normal", "high", "critical"]


_RFC_3339: Final = re.compile(r"\A\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", re.ASCII)


def _number(value: object) -> object:
    # 5.0 is an integer to JSON Schema, so it is to us; true and "5" are not.
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("a number, not a text or a truth value")
    return value


def _time_text(value: object) -> object:
    # A bare number could be seconds or milliseconds: whoever reads it has to guess.
    if value is not None and not (isinstance(value, str) and _RFC_3339.match(value)):
        raise ValueError("a time as text, such as 2026-11-23T12:00:00Z")
    return value


Number = BeforeValidator(_number)
TimeText = BeforeValidator(_time_text)


class Strict(BaseModel):
    """A request body: unknown fields are refused, wrong types are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """A response body."""

    model_config = ConfigDict(frozen=True)
