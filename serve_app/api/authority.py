"""Who may decide: who stands in for whom, who is on call, and which critics there are."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response

from policies.errors import RefusalError
from policies.principal import Principal
from policies.standin import Critic, Delegation, Gift, Shift, delegated, on_call, planned
from serve_app.api.auth import caller, services
from serve_app.api.authority_schemas import (
    CriticIn,
    CriticList,
    CriticOut,
    DelegationIn,
    DelegationList,
    DelegationOut,
    OnCallOut,
    ShiftIn,
    ShiftOut,
)
from serve_app.api.bodies import read_json
from serve_app.api.fields import Id
from serve_app.api.openapi import body as openapi_body
from serve_app.api.openapi import problems
from serve_app.api.review_steps import BODY_BYTES_MAX, DECIDES, allowed, to_json
from serve_app.api.views import time_text

router = APIRouter(tags=["authority"])

_READS: Final = "reviews:read"
_MANAGES: Final = "agents:manage"
_READING: Final = problems(401, 403, 503)
_CHANGING: Final = problems(400, 401, 403, 408, 409, 413, 415, 422, 503)
_ENDING: Final = problems(401, 403, 404, 422, 503)

Done = TypeVar("Done")
To = Annotated[Id, Path(description="who decides in the giver's stead")]
ShiftId = Annotated[Id, Path(description="a name of your choice within your tenant")]
AgentId = Annotated[Id, Path(description="the agent's id within your tenant")]


# -- delegations ----------------------------------------------------------------------------------


@router.get(
    "/v1/delegations",
    operation_id="listDelegations",
    response_model=DelegationList,
    responses=_READING,
)
async def list_delegations(request: Request) -> Response:
    """List who lets whom decide in their stead, in your tenant, now."""
    principal = await caller(request, _READS)
    standing = await services(request).authority.standing(principal.tenant)
    return to_json({"delegations": [_delegation(one) for one in standing.delegations]})


@router.put(
    "/v1/delegations/{to}",
    operation_id="delegate",
    response_model=DelegationOut,
    responses=_CHANGING,
    openapi_extra=openapi_body(DelegationIn),
)
async def delegate(request: Request, to: To) -> Response:
    """Let somebody decide on reviews in your stead, in roles of yours, for at most 14 days.

    Their vote is then yours: it counts once, and you cannot vote any more. What you gave to them
    before is replaced. Nobody can pass on what was given to them.
    """
    principal = await allowed(request, DECIDES)
    asked = await read_json(request, DelegationIn, limit=BODY_BYTES_MAX)
    said, here = asked.said, services(request)

    async def give() -> Delegation:
        roles = None if said.roles is None else frozenset(said.roles)
        gift = Gift(to=to, roles=roles, reason=said.reason, until=said.until)
        delegation = delegated(principal, gift, now=here.clock.now())
        await here.authority.give(principal.tenant, delegation)
        return delegation

    return to_json(_delegation(await _recorded(request, principal, give(), digest=asked.digest)))


@router.delete(
    "/v1/delegations/{to}",
    operation_id="withdrawDelegation",
    status_code=204,
    responses=_ENDING,
)
async def withdraw(
    request: Request,
    to: To,
    giver: Annotated[
        Id | None, Query(alias="from", description="who gave it, if not you: needs agents:manage")
    ] = None,
) -> Response:
    """Take back what you gave; a tenant's admin can end what others gave."""
    principal = await allowed(request, DECIDES if giver is None else _MANAGES)
    step = services(request).authority.withdraw(
        principal.tenant, giver or principal.agent, to, by=principal.agent
    )
    await _recorded(request, principal, step)
    return Response(status_code=204)


# -- on call --------------------------------------------------------------------------------------


@router.get(
    "/v1/on-call",
    operation_id="getOnCall",
    response_model=OnCallOut,
    responses=_READING,
)
async def get_on_call(request: Request) -> Response:
    """Say who is on call now, and who will be."""
    principal, here = await caller(request, _READS), services(request)
    shifts = (await here.authority.standing(principal.tenant)).shifts
    now = on_call(shifts, here.clock.now())
    return to_json({"now": list(now), "shifts": [_shift(shift) for shift in shifts]})


@router.put(
    "/v1/on-call/{shift_id}",
    operation_id="planShift",
    response_model=ShiftOut,
    responses=_CHANGING,
    openapi_extra=openapi_body(ShiftIn),
)
async def plan(request: Request, shift_id: ShiftId) -> Response:
    """Plan a shift of at most 31 days, or change it.

    While it lasts, whoever decides on reviews holds the role `on_call` for them as well.
    """
    principal = await allowed(request, _MANAGES)
    asked = await read_json(request, ShiftIn, limit=BODY_BYTES_MAX)
    said, here = asked.said, services(request)

    async def put() -> Shift:
        shift = planned(
            Shift(
                shift_id=shift_id,
                person=said.person,
                starts_at=said.starts_at,
                ends_at=said.ends_at,
            ),
            now=here.clock.now(),
        )
        await here.authority.plan(principal.tenant, shift, by=principal.agent)
        return shift

    return to_json(_shift(await _recorded(request, principal, put(), digest=asked.digest)))


@router.delete(
    "/v1/on-call/{shift_id}",
    operation_id="removeShift",
    status_code=204,
    responses=_ENDING,
)
async def unplan(request: Request, shift_id: ShiftId) -> Response:
    """Take a shift away; who is on call in it is not any more."""
    principal = await allowed(request, _MANAGES)
    step = services(request).authority.unplan(principal.tenant, shift_id, by=principal.agent)
    await _recorded(request, principal, step)
    return Response(status_code=204)


# -- critics --------------------------------------------------------------------------------------


@router.get(
    "/v1/critics",
    operation_id="listCritics",
    response_model=CriticList,
    responses=_READING,
)
async def list_critics(request: Request) -> Response:
    """List the agents that are called to panels of critics, and what their words weigh."""
    principal = await caller(request, _READS)
    bench = await services(request).authority.bench(principal.tenant)
    found = [_critic(one.critic, is_registered=one.is_registered) for one in bench]
    return to_json({"critics": found})


@router.put(
    "/v1/critics/{agent}",
    operation_id="seatCritic",
    response_model=CriticOut,
    responses={**_CHANGING, **problems(404)},
    openapi_extra=openapi_body(CriticIn),
)
async def seat(request: Request, agent: AgentId) -> Response:
    """Let a registered agent be called to panels, or change what its word weighs.

    To be heard there, its token must carry the role `critic`.
    """
    principal = await allowed(request, _MANAGES)
    asked = await read_json(request, CriticIn, limit=BODY_BYTES_MAX)
    critic = Critic(agent=agent, weight=asked.said.weight)
    if agent in {principal.agent, principal.owner}:
        refusal = RefusalError("critic.self_seated", "nobody gives themselves a seat", 403)
        await services(request).refusals.record(principal, refusal, request_digest=asked.digest)
        raise refusal
    step = services(request).authority.seat(principal.tenant, critic, by=principal.agent)
    await _recorded(request, principal, step, digest=asked.digest)
    return to_json(_critic(critic, is_registered=True))


@router.delete(
    "/v1/critics/{agent}",
    operation_id="unseatCritic",
    status_code=204,
    responses=_ENDING,
)
async def unseat(request: Request, agent: AgentId) -> Response:
    """Call an agent to no more panels; those that it was called to already still hear it."""
    principal = await allowed(request, _MANAGES)
    step = services(request).authority.unseat(principal.tenant, agent, by=principal.agent)
    await _recorded(request, principal, step)
    return Response(status_code=204)


# -- parts ----------------------------------------------------------------------------------------


async def _recorded(
    request: Request, principal: Principal, step: Awaitable[Done], *, digest: str | None = None
) -> Done:
    """Take the step; that it was refused goes into the ledger."""
    try:
        return await step
    except RefusalError as error:
        await services(request).refusals.record(principal, error, request_digest=digest)
        raise


def _delegation(delegation: Delegation) -> dict[str, object]:
    return {
        "giver": delegation.giver,
        "giver_owner": delegation.giver_owner,
        "to": delegation.to,
        "roles": sorted(delegation.roles),
        "reason": delegation.reason,
        "made_at": time_text(delegation.made_at),
        "until": time_text(delegation.until),
    }


def _shift(shift: Shift) -> dict[str, object]:
    return {
        "shift_id": shift.shift_id,
        "person": shift.person,
        "starts_at": time_text(shift.starts_at),
        "ends_at": time_text(shift.ends_at),
    }


def _critic(critic: Critic, *, is_registered: bool) -> dict[str, object]:
    return {"agent": critic.agent, "weight": critic.weight, "registered": is_registered}
