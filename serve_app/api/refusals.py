"""The refusals of callers who proved who they are: each is evidence, so it goes into the ledger.

Only what a tenant's auditor must see, and never what a request said: the code, who, when, and a
digest of its bytes. Slips of form (a wrong type, a body too large) and strangers are only counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from cluster.clock import Clock
from policies.admission import HANDLE
from policies.decision import Receipt
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.principal import Principal
from policies.rate import RateLimitedError, RateTable

RECORDED: Final = frozenset(
    {
        "agent.unknown",
        "auth.revoked",  # where a door minds; others only count it
        "auth.scope_missing",
        "auth.sender_mismatch",
        "auth.tenant_mismatch",
        "callback.bad_signature",
        "callback.replayed",
        "callback.stale",
        "callback.unknown_person",
        "constitution.mismatch",
        "control.killed",
        "critic.self_seated",
        "message.expired",
        "message.id_reused",
        "review.already_voted",
        "review.closed",
        "review.consumed",
        "review.digest_mismatch",
        "review.expired",
        "review.not_found",
        "review.not_requester",
        "review.role_missing",
        "review.self_approval",
        "standin.own_house",
        "standin.role_missing",
    }
)
_WAIT_MAX_S: Final = 2.0  # the caller waits for its refusal no longer than this

log = structlog.get_logger(__name__)


class Register(Protocol):
    """Keeps refusals; LedgerRecorder is one."""

    async def refuse(
        self,
        principal: Principal,
        *,
        code: str,
        request_digest: str | None,
        message_id: str | None = None,
    ) -> Receipt:
        """Return once the refusal survives a power cut."""
        ...


class Refusals:
    """Records refusals, and never makes one worse: what cannot be recorded is logged and counted.

    `rates` bounds how much of the ledger one agent can fill with nonsense; `on_lost` hears why a
    refusal was not recorded: `rate` or `ledger`.
    """

    def __init__(
        self, register: Register, *, clock: Clock, rates: RateTable, on_lost: Callable[[str], None]
    ) -> None:
        self._register = register
        self._clock = clock
        self._rates = rates
        self._on_lost = on_lost

    async def record(
        self,
        principal: Principal,
        error: GovernanceError,
        *,
        request_digest: str | None = None,
        message_id: str | None = None,
    ) -> None:
        """Return when the refusal is recorded, or known not to be. Raises nothing.

        `request_digest` is None when the request was refused before its body was read.
        """
        if not isinstance(error, RefusalError) or error.code not in RECORDED:
            return
        known = message_id if message_id is not None and HANDLE.match(message_id) else None
        try:
            self._rates.admit(principal.tenant, principal.agent, now_s=self._clock.monotonic_s())
            async with asyncio.timeout(_WAIT_MAX_S):
                await self._register.refuse(
                    principal, code=error.code, request_digest=request_digest, message_id=known
                )
        except RateLimitedError:
            self._lost(principal, error, why="rate")
        except (DependencyError, TimeoutError) as failure:
            self._lost(principal, error, why="ledger", failure=repr(failure))

    def _lost(
        self, principal: Principal, error: RefusalError, *, why: str, failure: str = ""
    ) -> None:
        self._on_lost(why)
        log.error(
            "refusal.unrecorded",
            tenant=principal.tenant,
            agent=principal.agent,
            code=error.code,
            why=why,
            failure=failure,
        )
