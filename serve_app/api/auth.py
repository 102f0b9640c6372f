"""Who calls, and may they: the bearer token of a request becomes a Principal."""

from __future__ import annotations

from starlette.requests import Request

from policies.errors import RefusalError
from policies.principal import Principal
from policies.roles import require_scope
from serve_app.api.services import Services


def services(request: Request) -> Services:
    """The services of this replica."""
    found: Services = request.app.state.services
    return found


async def verified(request: Request) -> Principal:
    """Return the verified caller, who may be stopped by a kill but is not revoked.

    For the controls themselves: an operator of a stopped tenant must be able to release it.
    """
    here = services(request)
    return await here.verifier.verify(_bearer(request), now=here.clock.now())


async def identify(request: Request) -> Principal:
    """Return the verified caller, neither revoked nor stopped, whatever its scopes.

    Raises RefusalError with 401 or 403, DependencyError when identity cannot be checked.
    """
    principal = await verified(request)
    require_free(request, principal)
    return principal


async def caller(request: Request, scope: str) -> Principal:
    """Return the verified caller, who also holds `scope`; raises as `identify`, and 403."""
    principal = await identify(request)
    require_scope(principal, scope)
    return principal


def require_free(request: Request, principal: Principal) -> None:
    """Refuse with 403 a caller whom an operator stopped."""
    refusal = services(request).controls.current().refusal(principal, None)
    if refusal is not None:
        raise refusal


def _bearer(request: Request) -> str:
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise RefusalError(
            "auth.missing", "send a token: Authorization: Bearer <JWT> (acgs token makes one)", 401
        )
    return token.strip()
