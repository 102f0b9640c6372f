"""The road of one message. The only place that knows the order of its steps.

Laws: nothing acts before it is recorded; silence, error and timeout are denials; a replayed
message answers with its first decision and is delivered once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import structlog

from cluster.clock import Clock, new_id
from policies.admission import Limits, admit
from policies.constitution import Constitution
from policies.controls import Controls
from policies.decision import (
    Decision,
    Effect,
    Finding,
    Impact,
    Judgement,
    Recorded,
)
from policies.errors import DependencyError, RefusalError
from policies.findings import scan
from policies.impact import AgentHistories, ImpactTable, weigh
from policies.message import BROADCAST, Message, MessageType
from policies.obligations import fulfil, uphold
from policies.principal import Principal
from policies.rate import RateTable
from policies.release import released
from policies.review import Review
from policies.review_law import ReviewLaw
from policies.roles import granted_scopes
from policies.settlement import Settlement, SettlementLaw, settle
from serve_app.ports import Courier, Judge, Meter, Question, Recorder, Scorer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What the bus judges under: the constitution, and what was read out of it."""

    constitution: Constitution
    limits: Limits
    impact: ImpactTable
    settlement: SettlementLaw
    reviews: ReviewLaw


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who may come in at all: kill switches, revocations, and each agent's rate.

    `controls` returns the current switches, and raises DependencyError when they are too old to
    be believed.
    """

    controls: Callable[[], Controls]
    rates: RateTable

    def open_for(self, principal: Principal, message: Message, *, now_s: float) -> None:
        """Return if the message may come in; raises RefusalError 401, 403 or 429 if not."""
        self.stand(principal, message)
        self.rates.admit(principal.tenant, principal.agent, now_s=now_s)

    def stand(self, principal: Principal, message: Message) -> None:
        """Return if nobody stopped the agent or the tool; raises RefusalError 403 if somebody did.

        Raises DependencyError as `controls` does.
        """
        refusal = self.controls().refusal(principal, message.tool)
        if refusal is not None:
            raise refusal


class Bus:
    """Carries messages, or refuses to.

    `scorer` is None until a model is deployed: structure alone is weighed,
    and the decision says so (`impact.model` is null).
    """

    def __init__(
        self,
        *,
        law: Law,
        judge: Judge,
        recorder: Recorder,
        courier: Courier,
        meter: Meter,
        clock: Clock,
        gate: Gate,
        scorer: Scorer | None = None,
    ) -> None:
        self._law = law
        self._judge = judge
        self._recorder = recorder
        self._courier = courier
        self._meter = meter
        self._clock = clock
        self._gate = gate
        self._scorer = scorer
        self._histories = AgentHistories()

    async def submit(
        self, principal: Principal, message: Message, *, delivers: bool = True
    ) -> Recorded:
        """Admit, find, judge, weigh, settle, record, act, account.

        Raises RefusalError when the request is at fault: nothing was decided. Raises
        DependencyError when the bus cannot govern now: where the store did not confirm in time
        the decision may be recorded, and sending the same message again finds out.
        """
        started_s = self._clock.monotonic_s()
        await self._admit(principal, message, delivers=delivers)
        findings = scan(message.content)
        target = await self._target(message)
        judgement = await self._judge.judge(
            Question(principal=principal, message=message, findings=findings, target=target)
        )
        impact = await self._weigh(message)
        settlement = settle(judgement, impact, law=self._law.settlement)
        if delivers:
            settlement = uphold(settlement)
        release = _release(message, settlement, findings)
        decision = self._decide(
            principal,
            message,
            judged=(judgement, findings, impact, settlement),
            delivers=delivers,
        )
        recorded = await self._recorder.append(decision, message, release=release)
        await self._act(release, recorded)
        if not recorded.replayed:
            self._meter.decided(recorded.decision, self._clock.monotonic_s() - started_s)
        return recorded

    async def release(self, review: Review, message: Message) -> Recorded:
        """Let go what people approved, if the law still lets it: judge again, record, act, account.

        `message` is what is held for the review. The answer allows or denies, is recorded once
        for the review however often this is called, and takes the message out of the held.
        Raises RefusalError while the agent is stopped and when the message has expired, and
        DependencyError as `submit` does; then nothing has changed.
        """
        started_s = self._clock.monotonic_s()
        principal = _asker(review)
        self._gate.stand(principal, message)
        if message.expires_at <= self._clock.now():
            raise RefusalError("message.expired", "it expired while it was held; ask again", 409)
        findings = scan(message.content)
        target = await self._target(message)
        judgement = await self._judge.judge(
            Question(principal=principal, message=message, findings=findings, target=target)
        )
        settlement = settle(judgement, review.impact, law=self._law.settlement)
        fresh = self._decide(
            principal,
            message,
            judged=(judgement, findings, review.impact, settlement),
            delivers=review.delivers,
        )
        decision = released(fresh, review, self._law.reviews)
        release = None
        if decision.effect is Effect.ALLOW:
            release = fulfil(message, decision.obligations, findings)
        recorded = await self._recorder.append(decision, message, release=release)
        await self._act(release, recorded)
        if not recorded.replayed:
            self._meter.decided(recorded.decision, self._clock.monotonic_s() - started_s)
        return recorded

    async def _admit(self, principal: Principal, message: Message, *, delivers: bool) -> None:
        self._gate.open_for(principal, message, now_s=self._clock.monotonic_s())
        admit(message, principal, now=self._clock.now(), limits=self._law.limits)
        if message.recipient is None:
            if delivers:
                raise RefusalError(
                    "message.recipient_required", "name the recipient in to_agent", 422
                )
        elif message.recipient != BROADCAST:
            await self._know(message.tenant, message.recipient)

    async def _know(self, tenant: str, recipient: str) -> None:
        if not await self._courier.knows(tenant, recipient):
            raise RefusalError(
                "agent.unknown",
                f"no agent {recipient!r} is registered here; register it with "
                f"PUT /v1/agents/{recipient} or correct to_agent",
                404,
            )

    async def _target(self, message: Message) -> Mapping[str, object] | None:
        """Look up who produced the output that a judicial agent is asked to validate."""
        if message.type is not MessageType.CONSTITUTIONAL_VALIDATION:
            return None
        output_id = message.content.get("output_id")
        produced = None
        if isinstance(output_id, str):
            produced = await self._recorder.find(message.tenant, output_id)
        if produced is None:
            return {"known": False, "agent": "", "roles": []}
        return {"known": True, "agent": produced.agent, "roles": list(produced.roles)}

    async def _weigh(self, message: Message) -> Impact:
        impact = weigh(
            message,
            history=self._histories.of(message.tenant, message.sender),
            table=self._law.impact,
            now=self._clock.now(),
        )
        if self._scorer is None:
            return impact
        try:
            return await self._scorer.score(message, impact)
        except DependencyError as error:
            log.warning("scorer.degraded", error=str(error))
            return Impact(score=impact.score, factors=impact.factors, degraded=True)

    def _decide(
        self,
        principal: Principal,
        message: Message,
        *,
        judged: tuple[Judgement, Sequence[Finding], Impact, Settlement],
        delivers: bool,
    ) -> Decision:
        judgement, findings, impact, settlement = judged
        now = self._clock.now()
        return Decision(
            decision_id=new_id(now),
            message_id=message.id,
            conversation_id=message.conversation_id,
            session_id=message.session_id,
            tenant=principal.tenant,
            agent=principal.agent,
            roles=tuple(sorted(principal.roles)),
            recipient=message.recipient,
            message_type=message.type.value,
            priority=message.priority.word,
            action=message.action,
            tool=message.tool,
            resource=message.resource,
            content_digest=message.content_digest,
            args_digest=message.args_digest,
            effect=settlement.effect,
            lane=settlement.lane,
            reasons=settlement.reasons,
            obligations=settlement.obligations,
            findings=tuple(findings),
            impact=impact,
            constitutional_hash=message.constitutional_hash,
            constitution_digest=self._law.constitution.digest,
            policy_revision=judgement.revision,
            engine=judgement.engine,
            decided_at=now,
            expires_at=message.expires_at,
            delivers=delivers,
            owner=principal.owner,
        )

    async def _act(self, release: Message | None, recorded: Recorded) -> None:
        """Deliver what is allowed. What is held stays held until people decide."""
        decision = recorded.decision
        if release is None or recorded.replayed or recorded.carried_out or not decision.delivers:
            return
        match decision.effect:
            case Effect.ALLOW:
                await self._deliver(release, decision.decision_id)
            case Effect.REVIEW | Effect.DENY:
                pass
            case _:
                assert_never(decision.effect)

    async def _deliver(self, message: Message, decision_id: str) -> None:
        """Deliver now, or leave it to the outbox: the decision is recorded either way."""
        try:
            await self._courier.deliver(message, decision_id)
        except DependencyError as error:
            log.warning("delivery.postponed", decision_id=decision_id, error=str(error))


def _asker(review: Review) -> Principal:
    """Who asked for what is reviewed. Its token is long gone: its roles carry what they do now."""
    return Principal(
        tenant=review.tenant,
        agent=review.agent,
        roles=frozenset(review.agent_roles),
        scopes=granted_scopes(review.agent_roles, None),
        token_id="",
        expires_at_s=0.0,
        owner=review.owner,
    )


def _release(
    message: Message, settlement: Settlement, findings: Sequence[Finding]
) -> Message | None:
    """Return what may leave, now or after a review; None when nothing may."""
    if settlement.effect is Effect.DENY:
        return None
    return fulfil(message, settlement.obligations, findings)
