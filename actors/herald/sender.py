"""One channel and its queues: what is due is sent, and what fails comes again later, or dies.

Laws of this file:
1. What was taken is settled, or taken again when its lease is over: it is sent at least once.
2. A review is told in order; a notification that fails holds up its own review and channel only.
3. A channel whose circuit is open is left alone, and what waits for it has lost no attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from actors.herald.letter import DamagedNotificationError, unpack
from actors.herald.store import HeraldStore, Job, Outcome, Taken
from cluster import metrics
from cluster.breaker.circuit import Circuit
from cluster.channels.channel import Channel, GiveUpError, RetryLaterError
from cluster.channels.plans import AnyPlan
from cluster.clock import Clock
from cluster.errors import CircuitOpenError
from policies.errors import GovernanceError
from policies.notification import (
    AGE_MAX_S,
    ATTEMPTS_MAX,
    Notification,
    is_moot,
    retry_delay_s,
)
from policies.review import ENDED, Review, State

AT_ONCE: Final = 4  # sends of one tenant at the same time
TENANTS: Final = 8  # whose part is taken at the same time
REST_MAX_S: Final = 60.0  # a channel that asks for more is asked again, by another notification
ROUNDS: Final = 64  # how often a pass comes back to tenants that have more

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")
_ENDED: Final = frozenset(state.value for state in ENDED)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Sent:
    """What became of the notifications of one channel since it was opened."""

    sent: int = 0
    retried: int = 0
    postponed: int = 0
    dead: int = 0
    moot: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a sender works with; `chance` gives a number from 0 to 1."""

    store: HeraldStore
    clock: Clock
    chance: Callable[[], float]
    read: Callable[[bytes], Review]


class Sender:
    """Empties the queues of one channel, pass after pass."""

    def __init__(self, plan: AnyPlan, channel: Channel, means: Means, *, circuit: Circuit) -> None:
        self._plan = plan
        self._channel = channel
        self._circuit = circuit
        self._means = means
        self._store = means.store
        self._rests_until_s = float("-inf")
        self._gone: GiveUpError | None = None
        self.counts = Sent()
        # A send may take two requests; and whoever dies keeps a notification no longer than this.
        self._lease_ms = int((3 * plan.timeout_s + 30) * 1000)

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._plan.name

    async def once(self, tenants: Sequence[str]) -> None:
        """Send what is due, a bounded part of it, a little of every tenant and then again.

        Raises the first thing that the store did not do, once all other tenants were served.
        """
        mine = [tenant for tenant in tenants if self.concerns(tenant)]
        groups = [mine[start : start + TENANTS] for start in range(0, len(mine), TENANTS)]
        waiting = dict.fromkeys(range(len(groups)), 0)
        failed: dict[str, Exception] = {}
        busy = list(waiting)
        for _ in range(ROUNDS):
            more: list[int] = []
            for number in busy:
                group = [tenant for tenant in groups[number] if tenant not in failed]
                taken = await self._take(group)
                waiting[number] = taken.waiting
                failed |= taken.failed
                failed |= await self._send_all(taken.jobs)
                if taken.jobs:
                    more.append(number)
            busy = more
            if not busy:
                break
        metrics.NOTIFICATIONS_WAITING.labels(self.name).set(sum(waiting.values()))
        for tenant, error in failed.items():
            log.warning("notification.stuck", channel=self.name, tenant=tenant, error=str(error))
        if failed:
            raise next(iter(failed.values()))

    def concerns(self, tenant: str) -> bool:
        """Say whether anything of this tenant may go there."""
        return self._plan.interest.concerns(tenant)

    async def close(self) -> None:
        """Let go of the channel."""
        await self._channel.close()

    async def _take(self, tenants: Sequence[str]) -> Taken:
        rests = self._means.clock.monotonic_s() < self._rests_until_s
        # Nothing is taken while it rests; how much waits is still to be known.
        return await self._store.take(
            tenants,
            self.name,
            at_most=0 if rests else AT_ONCE,
            lease_ms=self._lease_ms,
            now_ms=self._ms(),
        )

    async def _send_all(self, jobs: Sequence[Job]) -> dict[str, Exception]:
        """Send them, and return what kept jobs from being settled, by tenant."""
        failed: dict[str, Exception] = {}
        outcomes = await asyncio.gather(*map(self._try, jobs), return_exceptions=True)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Exception):
                failed.setdefault(job.tenant, outcome)
            elif outcome is not None:
                raise outcome
        return failed

    async def _try(self, job: Job) -> None:
        try:
            notification = unpack(job.packed)
        except DamagedNotificationError as error:
            await self._settle(job, Outcome("dead", code=error.code, reason=str(error)))
            return
        if self._is_late(job):
            reason = "it was not taken within a day"
            outcome = Outcome("dead", code="channel.too_late", reason=reason)
        elif self._gone is not None:
            outcome = Outcome("dead", code=self._gone.code, reason=str(self._gone))
        elif await self._is_moot(job, notification):
            outcome = Outcome("done", last=notification.state in _ENDED)
            self._count("moot")
        else:
            outcome = await self._send(job, notification)
        await self._settle(job, outcome)

    async def _send(self, job: Job, notification: Notification) -> Outcome:
        call = partial(self._channel.send, notification, job.trace)
        try:
            trace = await self._circuit.run(call)
        except CircuitOpenError as error:
            self._rest(error.retry_in_s)
            self._count("postponed")
            return Outcome("postpone", due_ms=self._ms(error.retry_in_s))
        except GiveUpError as error:
            self._gone = error if error.gone else None
            return Outcome("dead", code=error.code, reason=str(error))
        except RetryLaterError as error:
            if error.retry_after_s is not None:
                # It is we who are asked to stay away, not this notification alone.
                self._rest(min(error.retry_after_s, REST_MAX_S))
            return self._again(job, str(error), error.retry_after_s)
        except Exception as error:
            log.exception("notification.failed", channel=self.name, id=job.id)
            return self._again(job, f"a defect of ours: {type(error).__name__}", None)
        delay_s = (self._means.clock.now() - notification.at).total_seconds()
        metrics.NOTIFICATION_DELAY.labels(self.name).observe(max(0.0, delay_s))
        self._count("sent")
        return Outcome("done", trace=trace, last=notification.state in _ENDED)

    def _again(self, job: Job, reason: str, asked_s: float | None) -> Outcome:
        if job.attempt >= ATTEMPTS_MAX:
            return Outcome("dead", code="channel.exhausted", reason=reason)
        self._count("retried")
        wait_s = retry_delay_s(job.attempt, self._means.chance(), asked_s)
        log.warning(
            "notification.postponed",
            channel=self.name,
            id=job.id,
            attempt=job.attempt,
            wait_s=round(wait_s, 1),
            reason=reason,
        )
        return Outcome("retry", due_ms=self._ms(wait_s))

    async def _settle(self, job: Job, outcome: Outcome) -> None:
        dropped = await self._store.settle(job, self.name, outcome, now_ms=self._ms())
        if dropped is None:
            self.counts.lost += 1
        elif outcome.word == "dead":
            self._count("dead")
            metrics.NOTIFICATIONS_DROPPED.inc(dropped)
            log.error(
                "notification.dead",
                channel=self.name,
                id=job.id,
                code=outcome.code,
                reason=outcome.reason,
                dropped=dropped,
            )

    async def _is_moot(self, job: Job, notification: Notification) -> bool:
        (stored,) = await self._store.reviews(job.tenant, [job.review_id])
        state: State | None = None
        if stored is not None:
            try:
                state = self._means.read(stored).state
            except GovernanceError:
                return False  # nobody knows that it is over
        return is_moot(notification, self._plan.interest.kind, state)

    def _rest(self, seconds: float) -> None:
        until_s = self._means.clock.monotonic_s() + seconds
        self._rests_until_s = max(self._rests_until_s, until_s)

    def _is_late(self, job: Job) -> bool:
        return self._ms() - job.queued_ms > AGE_MAX_S * 1000

    def _count(self, outcome: str) -> None:
        metrics.NOTIFICATIONS.labels(self.name, outcome).inc()
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)

    def _ms(self, later_s: float = 0.0) -> int:
        at = self._means.clock.now() + timedelta(seconds=later_s)
        return (at - _EPOCH) // timedelta(milliseconds=1)
