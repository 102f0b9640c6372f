"""Reading a request body: bounded, JSON only, into its schema."""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from policies.errors import RefusalError

MESSAGE_BYTES_MAX: Final = 1 << 20
BATCH_BYTES_MAX: Final = 32 << 20

Model = TypeVar("Model", bound=BaseModel)


async def read_json(request: Request, model: type[Model], *, limit: int) -> tuple[Model, int]:
    """Return the body as `model` and its size in bytes.

    Raises RefusalError 413 over `limit`, 415 for another content type, and
    `pydantic.ValidationError` (400 or 422) for what is not this schema.
    """
    raw = await read_body(request, limit=limit)
    return model.model_validate_json(raw), len(raw)


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return the raw body of a JSON request, refusing as soon as it is over `limit` bytes."""
    _require_json(request)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise RefusalError(
            "request.unsupported_media_type", "send Content-Type: application/json", 415
        )


def _too_large(limit: int) -> RefusalError:
    return RefusalError(
        "message.too_large",
        f"the body is over {limit} bytes; store large content elsewhere and send its digest",
        413,
    )
