"""Logs: events named `noun.verb` with facts, one JSON object a line, and never a secret.

What is logged passes `redact`: by the name of a key, for what is secret or is a message's text,
and by the form of a value, for what looks like a credential wherever it stands. A value that is
not plain data shows as its type, since its text may hold anything.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from datetime import date
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, Final, TextIO, cast
from uuid import UUID

import orjson
import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from cluster.settings import Environment, Settings

REDACTED: Final = "[redacted]"

_DEPTH_MAX: Final = 6
_ITEMS_MAX: Final = 64
_TEXT_MAX: Final = 8192
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# A key that has one of these words in it names a secret.
_SECRET_WORD: Final = re.compile(
    "authorization|apikey|bearer|cookies?|credentials?|jwt|passphrase|passwd|passwords?|pin|pwd"
    "|secrets?|tokens?"
)
# A key that ends in one of these is what a message says; `content_size` says nothing of it.
_TEXT_WORD: Final = re.compile("args|arguments|body|completion|contents?|payload|prompt|texts?")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CREDENTIALS: Final = (
    # To the last @: a password that holds one, or a slash, was not encoded.
    (re.compile(r"(?<=://)[^\s'\"<>]{1,512}@"), f"{REDACTED}@"),
    (re.compile(r"\b(bearer|basic) +[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), REDACTED),
    (
        re.compile(
            r"(pass(?:word|wd|phrase)?|secret|token|api[_-]?key)(['\"]?\s?[=:]\s?)"
            r"(?:\"[^\"]*\"?|'[^']*'?|[^\s,;&]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}",
    ),
    # pydantic's errors quote what was entered.
    (
        re.compile(r"input_value=.*?, input_type=", re.DOTALL),
        f"input_value={REDACTED}, input_type=",
    ),
)


# At INFO they name every address that they call, and an address may carry a secret.
_TELLS_ADDRESSES: Final = ("httpx", "httpcore")


class _NamedLogger(structlog.WriteLogger):
    """Writes to a stream, and knows the module that it was made for."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        super().__init__(stream)
        self.name = name


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send every log of this process to `stream` (stderr): JSON lines, or prose in `dev`.

    Also what libraries log. May be called again; the last call counts.
    """
    stream = stream or sys.stderr
    level = _LEVELS[settings.log_level]
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending = _for_people(stream) if settings.env is Environment.DEV else _for_machines()
    structlog.configure(
        processors=[*chain, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=partial(_NamedLogger, stream),
        cache_logger_on_first_use=True,
    )
    foreign = logging.StreamHandler(stream)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
            foreign_pre_chain=chain,
        )
    )
    logging.root.handlers[:] = [foreign]
    logging.root.setLevel(max(level, logging.INFO))
    for library in _TELLS_ADDRESSES:
        logging.getLogger(library).setLevel(logging.WARNING)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose events carry the module they come from."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def bound(
    *, request_id: str | None = None, tenant: str | None = None, decision_id: str | None = None
) -> AbstractContextManager[None]:
    """Bind these to every event of a `with` block, in this task and in those it starts."""
    facts = {"request_id": request_id, "tenant": tenant, "decision_id": decision_id}
    return bound_contextvars(**{name: fact for name, fact in facts.items() if fact is not None})


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001  # structlog's signature
    """Return the event without secrets and without what messages say."""
    return cast("EventDict", _clean(event, 0))


def _for_machines() -> list[Processor]:
    trace = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
    return [
        structlog.processors.ExceptionRenderer(trace),
        redact,
        structlog.processors.JSONRenderer(serializer=_json),
    ]


def _for_people(stream: TextIO) -> list[Processor]:
    return [
        structlog.processors.ExceptionRenderer(),
        redact,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _clean(value: object, depth: int) -> object:
    if isinstance(value, str) and not isinstance(value, Enum):
        return _scrub(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEPTH_MAX:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return _clean_mapping(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(each, depth + 1) for each in list(value)[:_ITEMS_MAX]]
    return _shown(value)


def _clean_mapping(value: Mapping[Any, object], depth: int) -> dict[str, object]:
    kept: MutableMapping[str, object] = {}
    for key in list(value)[:_ITEMS_MAX]:
        name = str(key)
        kept[name] = REDACTED if _is_private(name) else _clean(value[key], depth + 1)
    return dict(kept)


def _shown(value: object) -> object:
    match value:
        case Enum():
            return value.value if isinstance(value.value, str | int) else value.name
        case UUID() | PurePath():
            return _scrub(str(value))
        case date():
            return value.isoformat()
        case BaseException():
            return f"{type(value).__name__}: {_scrub(str(value))}"
        case _:
            return f"<{type(value).__name__}>"


def _is_private(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    is_key = len(words) > 1 and words[-1] == "key"  # api_key and wal_key, but not a Redis key
    is_text = words == ["message"] or _TEXT_WORD.fullmatch(words[-1]) is not None
    return is_key or is_text or any(_SECRET_WORD.fullmatch(word) for word in words)


def _scrub(text: str) -> str:
    text = text[: 2 * _TEXT_MAX]  # beyond the cut, so that no credential is cut in two
    for form, instead in _CREDENTIALS:
        text = form.sub(instead, text)
    return text[:_TEXT_MAX]


def _json(event: object, **_: object) -> str:
    return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS).decode()
