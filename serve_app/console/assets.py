"""Scripts and styles, served from the package: named by their digest, so kept for ever."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response

from policies.errors import RefusalError

router = APIRouter(include_in_schema=False)

_KINDS: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it leaves: its bytes, the same packed, its media type and its digest."""

    body: bytes
    packed: bytes
    kind: str
    digest: str


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """Return every script and style by its name."""
    folder = files("serve_app.console") / "static"
    return {
        entry.name: _asset(entry.read_bytes(), kind)
        for entry in folder.iterdir()
        for suffix, kind in _KINDS.items()
        if entry.name.endswith(suffix)
    }


def asset_url(name: str) -> str:
    """Return where this file is found, as it is now."""
    return f"/console/static/{assets()[name].digest}/{name}"


@router.get("/console/static/{digest}/{name}")
async def static(request: Request, digest: str, name: str) -> Response:
    """Return a script or a style."""
    found = assets().get(name)
    if found is None or found.digest != digest:
        raise RefusalError("request.not_found", "there is no such file", 404)
    headers = {
        "Cache-Control": _FOREVER,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, 200, headers, media_type=found.kind)
    return Response(found.body, 200, headers, media_type=found.kind)


def _asset(body: bytes, kind: str) -> Asset:
    return Asset(body, gzip.compress(body, mtime=0), kind, sha256(body).hexdigest()[:16])
