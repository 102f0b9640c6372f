"""The ledger over HTTP: C2SP tlog-tiles, proofs, and the keys to check them with.

The root log's checkpoint and hash tiles are public; its entries name tenants, so they are not.
A tenant's log is for that tenant: to anybody else it does not exist.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import PlainTextResponse

from actors.ledger.merkle import leaf_hash
from actors.ledger.reader import Proof, tlog_proof_text
from actors.ledger.view import Inclusion
from policies.errors import DependencyError, RefusalError
from policies.principal import Principal
from serve_app.api.auth import caller, services
from serve_app.api.fields import Handle, Id
from serve_app.api.openapi import Responses, problems
from serve_app.api.schemas import ConsistencyOut, ProofOut

router = APIRouter(tags=["ledger"])

_MERGE_WAIT_S: Final = 3.0
_TEXT: Final = "text/plain; charset=utf-8"
_NOTE: Final[Responses] = {200: {"description": "A signed note", "content": {"text/plain": {}}}}
_TILE: Final[Responses] = {
    200: {"description": "Hashes", "content": {"application/octet-stream": {}}}
}
_IMMUTABLE: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
TilePath = Annotated[str, Path(pattern=r"^[0-9a-z./]{1,80}$", description="as in C2SP tlog-tiles")]


@router.get(
    "/checkpoint",
    operation_id="rootCheckpoint",
    response_class=PlainTextResponse,
    responses={**_NOTE, **problems(404, 503)},
)
async def root_checkpoint(request: Request) -> Response:
    """Return the root log's checkpoint, which signs over every tenant's log."""
    return await _checkpoint(request, None)


@router.get(
    "/tile/{path:path}",
    operation_id="rootTile",
    response_class=Response,
    responses={**_TILE, **problems(401, 403, 404, 422, 503)},
)
async def root_tile(request: Request, path: TilePath) -> Response:
    """Return a tile of the root log; its entries need `tenants:admin`."""
    if path.startswith("entries/"):
        await caller(request, "tenants:admin")
    return await _tile(request, None, path)


@router.get(
    "/t/{tenant}/checkpoint",
    operation_id="tenantCheckpoint",
    response_class=PlainTextResponse,
    responses={**_NOTE, **problems(401, 403, 404, 422, 503)},
)
async def tenant_checkpoint(request: Request, tenant: Id) -> Response:
    """Return the checkpoint of your tenant's log."""
    await _own_log(request, tenant)
    return await _checkpoint(request, tenant)


@router.get(
    "/t/{tenant}/tile/{path:path}",
    operation_id="tenantTile",
    response_class=Response,
    responses={**_TILE, **problems(401, 403, 404, 422, 503)},
)
async def tenant_tile(request: Request, tenant: Id, path: TilePath) -> Response:
    """Return a tile or an entry bundle of your tenant's log."""
    await _own_log(request, tenant)
    return await _tile(request, tenant, path)


@router.get(
    "/rotation/{number}",
    operation_id="rootRotation",
    response_class=PlainTextResponse,
    responses={**_NOTE, **problems(404, 422, 503)},
)
async def root_rotation(
    request: Request, number: Annotated[int, Path(ge=0, le=1_000_000)]
) -> Response:
    """Return the root checkpoint that two keys signed when one followed the other."""
    return await _rotation(request, None, number)


@router.get(
    "/t/{tenant}/rotation/{number}",
    operation_id="tenantRotation",
    response_class=PlainTextResponse,
    responses={**_NOTE, **problems(401, 403, 404, 422, 503)},
)
async def tenant_rotation(
    request: Request, tenant: Id, number: Annotated[int, Path(ge=0, le=1_000_000)]
) -> Response:
    """Return the checkpoint that two keys signed when one followed the other."""
    await _own_log(request, tenant)
    return await _rotation(request, tenant, number)


@router.get(
    "/v1/ledger/key",
    operation_id="ledgerKey",
    response_class=PlainTextResponse,
    responses={
        200: {"description": "Verifier keys, newest first", "content": {"text/plain": {}}},
        **problems(422, 503),
    },
)
async def ledger_key(
    request: Request,
    tenant: Annotated[Id | None, Query(description="of a tenant's log; else the root's")] = None,
) -> Response:
    """Return the public keys that checkpoints are verified with. No secret, no token needed."""
    return PlainTextResponse(services(request).reader.verifier_keys(tenant))


@router.get(
    "/v1/decisions/{decision_id}/proof",
    operation_id="decisionProof",
    response_model=ProofOut,
    responses={
        200: {
            "description": "A C2SP tlog-proof, or JSON when it is accepted",
            "content": {"text/plain": {}},
        },
        **problems(401, 403, 404, 422, 503),
    },
)
async def decision_proof(request: Request, decision_id: Annotated[Handle, Path()]) -> Response:
    """Prove that a decision is in the ledger; waits for the tree to take it in (a second)."""
    principal = await caller(request, "decisions:read")
    proof = await find_proof(request, principal, decision_id)
    if "application/json" in request.headers.get("accept", ""):
        return _json(proof_view(proof))
    return Response(tlog_proof_text(proof), media_type=_TEXT)


@router.get(
    "/v1/ledger/consistency",
    operation_id="consistencyProof",
    response_model=ConsistencyOut,
    responses=problems(401, 403, 404, 422, 503),
)
async def consistency(
    request: Request,
    *,
    first: Annotated[int, Query(ge=0, le=1 << 53)],
    second: Annotated[int, Query(ge=0, le=1 << 53)],
) -> Response:
    """Prove that your log of size `second` holds all of what it was at size `first`."""
    principal = await caller(request, "ledger:read")
    hashes = await services(request).reader.consistency(principal.tenant, first, second)
    return _json({"first": first, "second": second, "hashes": [_base64(each) for each in hashes]})


async def _own_log(request: Request, tenant: str) -> None:
    principal = await caller(request, "ledger:read")
    if tenant != principal.tenant:
        raise RefusalError("ledger.no_such_log", "there is no such log", 404)


async def _rotation(request: Request, tenant: str | None, number: int) -> Response:
    note = await services(request).reader.rotation(tenant, number)
    if note is None:
        raise RefusalError("ledger.no_such_rotation", "no key was changed that often", 404)
    return PlainTextResponse(note)


async def _checkpoint(request: Request, tenant: str | None) -> Response:
    note = await services(request).reader.checkpoint(tenant)
    if note is None:
        raise RefusalError("ledger.empty", "nothing is in this log yet", 404)
    return Response(note, media_type=_TEXT, headers={"Cache-Control": "no-store"})


async def _tile(request: Request, tenant: str | None, path: str) -> Response:
    tile = await services(request).reader.tile(tenant, f"tile/{path}")
    if tile is None:
        raise RefusalError("ledger.no_such_tile", "no such tile is in the signed tree", 404)
    return Response(tile, media_type="application/octet-stream", headers=_IMMUTABLE)


async def find_proof(request: Request, principal: Principal, decision_id: str) -> Proof:
    """Return the proof of a decision of the principal's tenant, once the tree has taken it in.

    Raises RefusalError `decision.not_found`, and DependencyError while the tree has it not.
    """
    here = services(request)
    if await here.recorder.decision(principal.tenant, decision_id) is None:
        raise RefusalError("decision.not_found", "no such decision in this tenant", 404)
    await here.reader.wait_for_leaf(principal.tenant, decision_id, timeout_s=_MERGE_WAIT_S)
    proof = await here.reader.proof(principal.tenant, decision_id)
    if proof is None:
        raise DependencyError("ledger", "the decision is recorded but not in the tree yet; retry")
    return proof


def proof_view(proof: Proof) -> dict[str, object]:
    """Return the proof as ProofOut."""
    view = _inclusion_view(proof.inclusion)
    view["root"] = None if proof.root is None else _inclusion_view(proof.root)
    return view


def _inclusion_view(inclusion: Inclusion) -> dict[str, object]:
    return {
        "leaf_index": inclusion.leaf_index,
        "tree_size": inclusion.checkpoint.size,
        "leaf_hash": _base64(leaf_hash(inclusion.entry)),
        "hashes": [_base64(each) for each in inclusion.path],
        "checkpoint": inclusion.checkpoint.note,
        "entry": _base64(inclusion.entry),
    }


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _json(view: object) -> Response:
    return Response(orjson.dumps(view), media_type="application/json")
