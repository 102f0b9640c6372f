"""Reading a request body: bounded, JSON that can be read in one way only, into its schema."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Generic, NoReturn, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from policies.errors import RefusalError

MESSAGE_BYTES_MAX: Final = 1 << 20
BATCH_BYTES_MAX: Final = 32 << 20
JSON: Final = "application/json"
_ARRIVAL_MAX_S: Final = 20.0  # whoever sends slower holds a place that others wait for
_LARGE: Final = 256 * 1024  # from here on, reading leaves the event loop

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Body(Generic[Model]):
    """A request body: what it says, and the bytes that said so."""

    said: Model
    raw: bytes

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the bytes."""
        return f"sha256:{sha256(self.raw).hexdigest()}"


async def read_json(request: Request, model: type[Model], *, limit: int) -> Body[Model]:
    """Return the body as `model`.

    Raises RefusalError 408 when it comes too slowly, 413 over `limit`, 415 for another content
    type, 400 for what two readers could read in two ways, and `pydantic.ValidationError` (400 or
    422) for what is not this schema.
    """
    raw = await read_body(request, limit=limit)
    read = asyncio.to_thread(_read, model, raw) if len(raw) > _LARGE else None
    return Body(_read(model, raw) if read is None else await read, raw)


async def read_body(request: Request, *, limit: int, kind: str = JSON) -> bytes:
    """Return the raw body of a request of this media type, refusing it once it is over `limit`."""
    _require_kind(request, kind)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_ARRIVAL_MAX_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise RefusalError(
            "request.too_slow", f"the body did not arrive within {_ARRIVAL_MAX_S:.0f} s", 408
        ) from None
    except ClientDisconnect:
        raise RefusalError("request.incomplete", "the body ended before its end") from None
    return b"".join(chunks)


def _read(model: type[Model], raw: bytes) -> Model:
    # First pydantic's parser, which bounds the depth and knows UTF-8; it keeps the last of twins.
    said = model.model_validate_json(raw)
    json.loads(raw, object_pairs_hook=_without_twins, parse_constant=_no_constant)
    return said


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        # One reader keeps the first and another the last: what we judge, somebody else may not see.
        raise RefusalError("request.duplicate_name", "a name stands twice in one JSON object")
    return plain


def _no_constant(name: str) -> NoReturn:
    raise RefusalError("request.malformed_json", f"{name} is not JSON; send null or a text")


def _require_kind(request: Request, kind: str) -> None:
    declared = request.headers.get("content-type", kind).partition(";")[0].strip()
    if declared.lower() != kind:
        raise RefusalError("request.unsupported_media_type", f"send Content-Type: {kind}", 415)


def _too_large(limit: int) -> RefusalError:
    return RefusalError(
        "message.too_large",
        f"the body is over {limit} bytes; store large content elsewhere and send its digest",
        413,
    )
