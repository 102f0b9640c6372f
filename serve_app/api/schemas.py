"""What goes in and out of the API, field for field. OpenAPI is made from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from policies.decision import Effect, Lane
from policies.message import MessageType
from serve_app.api.fields import (
    Answer,
    Digest,
    Handle,
    Id,
    Number,
    PriorityWord,
    Recipient,
    Strict,
    TimeText,
)


class MessageIn(Strict):
    """A message as an agent sends it."""

    message_id: Handle | None = Field(None, description="yours, for retries; else a UUIDv7")
    conversation_id: Handle | None = None
    session_id: Handle | None = None
    from_agent: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="if given, must equal the token's `sub`"
    )
    tenant_id: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="if given, must equal the token's `tenant` once trimmed and lower-cased"
    )
    to_agent: Recipient | None = Field(None, description="an agent, or `*` for the whole tenant")
    message_type: MessageType = MessageType.COMMAND
    priority: PriorityWord = "normal"
    constitutional_hash: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    content: dict[str, JsonValue]
    ttl_seconds: Annotated[int, Field(ge=1, le=7 * 86_400), Number] | None = None
    expires_at: Annotated[datetime, TimeText] | None = Field(
        None, description="may stand instead of ttl_seconds"
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class ReasonOut(Answer):
    """Why, with the rule that said so and what would help."""

    code: str
    rule: str
    message: str
    remedy: str


class ObligationOut(Answer):
    """A duty without which the effect does not hold."""

    id: str
    type: str
    properties: dict[str, JsonValue]


class ImpactOut(Answer):
    """How much could go wrong, and the factors that made it so."""

    score: float = Field(ge=0.0, le=1.0)
    factors: dict[str, float]
    model: str | None = Field(description="digest of the model, or null: structure alone")
    degraded: bool = False


class ReceiptOut(Answer):
    """The promise that this leaf is, or within a second will be, in this log."""

    origin: str
    leaf_hash: str = Field(description="base64 of the RFC 6962 leaf hash")
    entry_id: str
    leaf_index: int | None = Field(None, ge=0)


class ReviewOut(Answer):
    """Where a held message waits."""

    review_id: str
    url: str
    expires_at: datetime


class DecisionOut(Answer):
    """The one answer to one message."""

    decision_id: str
    message_id: str
    effect: Effect
    lane: Lane
    reasons: list[ReasonOut]
    obligations: list[ObligationOut]
    impact: ImpactOut
    constitutional_hash: str
    constitution_digest: Digest
    policy_revision: str
    engine: str
    decided_at: datetime
    review: ReviewOut | None = Field(None, description="of what is held: where it waits")
    review_id: str | None = Field(None, description="of what was released: the review behind it")
    approvers: list[str] = Field(default_factory=list)
    receipt: ReceiptOut


class RecordedDecisionOut(DecisionOut):
    """A decision as the ledger keeps it."""

    agent: str
    to_agent: str | None
    message_type: MessageType
    priority: PriorityWord
    action: str
    tool: str
    content_digest: Digest
    args_digest: Digest


class DecisionPage(Answer):
    """One page of decisions, newest first."""

    decisions: list[RecordedDecisionOut]
    next_cursor: str | None


class BatchIn(Strict):
    """Up to 1000 messages; each is judged on its own. Each item is a MessageIn."""

    messages: Annotated[list[JsonValue], Field(min_length=1, max_length=1000)]


class ErrorItem(Answer):
    """One field that is wrong."""

    loc: list[str | int]
    msg: str


class Problem(Answer):
    """RFC 9457 problem details, with a stable code."""

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str
    request_id: str
    errors: list[ErrorItem] | None = None


class BatchOut(Answer):
    """The answers, in the order of the messages; a bad item fails alone."""

    results: list[DecisionOut | Problem]


class PrincipleOut(Answer):
    """One article of the constitution."""

    id: str
    title: str
    text: str
    enforced_by: list[str]


class ConstitutionOut(Answer):
    """The constitution in force."""

    constitutional_hash: str
    digest: Digest
    version: str
    principles: list[PrincipleOut]


class CheckOut(Answer):
    """One thing that was looked at."""

    status: Literal["pass", "fail"]
    detail: str


class ProbeOut(Answer):
    """The answer to a probe."""

    status: Literal["pass", "fail"]
    checks: dict[str, CheckOut]


class CircuitOut(Answer):
    """One circuit breaker of the replica that answers."""

    state: Literal["closed", "open", "half_open"]
    fail_counter: int
    success_counter: int


class HealthOut(Answer):
    """The health of this replica and what stands behind it."""

    score: float = Field(ge=0.0, le=1.0)
    status: Literal["healthy", "degraded", "critical", "unknown"]
    components: dict[str, CheckOut]
    circuits: dict[str, CircuitOut]


Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class AgentIn(Strict):
    """What an agent says about itself. Descriptive: its rights are in its token."""

    agent_type: Word = "default"
    capabilities: Annotated[list[Word], Field(max_length=64)] = Field(default_factory=list)
    roles: Annotated[list[Word], Field(max_length=16)] = Field(default_factory=list)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class AgentOut(Answer):
    """An agent that can be written to."""

    agent_id: str
    tenant_id: str
    agent_type: str
    capabilities: list[str]
    roles: list[str]
    metadata: dict[str, JsonValue]
    registered_at: datetime
    last_seen: datetime


class AgentPage(Answer):
    """One page of agents, by id."""

    agents: list[AgentOut]
    next_cursor: str | None


class HeartbeatOut(Answer):
    """When the agent was last seen: now."""

    agent_id: str
    last_seen: datetime


class DeliveredMessage(Answer):
    """A message as its recipient gets it."""

    message_id: str
    conversation_id: str
    session_id: str | None
    from_agent: str
    tenant_id: str
    to_agent: str
    message_type: MessageType
    priority: PriorityWord
    constitutional_hash: str
    content: dict[str, JsonValue]
    metadata: dict[str, JsonValue]
    sent_at: datetime
    expires_at: datetime


class EnvelopeOut(Answer):
    """A message in the recipient's hands until its lease ends at `expires_at`."""

    message: DeliveredMessage
    decision_id: str
    lease_id: str
    attempt: int = Field(ge=1)
    expires_at: datetime


class MailboxOut(Answer):
    """What was leased; empty when nothing came."""

    messages: list[EnvelopeOut]


class NackIn(Strict):
    """Why this attempt failed, and when to try again (else 1 s, doubling, up to 300 s)."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    retry_in_s: Annotated[float, Field(ge=0, le=3600), Number] | None = None


class ExtendIn(Strict):
    """How long to hold the message, from now."""

    lease_s: Annotated[int, Field(ge=1, le=3600), Number] = 30


class ExtendedOut(Answer):
    """When the lease now ends."""

    lease_id: str
    expires_at: datetime


class DeadLetterOut(Answer):
    """A message that will not be delivered unless it is redriven."""

    message: DeliveredMessage
    decision_id: str
    code: str
    reason: str
    attempts: int
    died_at: datetime


class DeadLetterPage(Answer):
    """One page of dead letters, oldest first; an empty page is the end."""

    dead_letters: list[DeadLetterOut]
    next_cursor: str | None


class InclusionOut(Answer):
    """An entry, and the hashes that lead from its leaf to the signed root (all base64)."""

    leaf_index: int = Field(ge=0)
    tree_size: int = Field(ge=1)
    leaf_hash: str
    hashes: list[str]
    checkpoint: str
    entry: str


class ProofOut(InclusionOut):
    """A decision proved under its tenant's checkpoint, and that checkpoint under the root log."""

    root: InclusionOut | None


class ConsistencyOut(Answer):
    """The hashes that prove that a log only grew (base64)."""

    first: int
    second: int
    hashes: list[str]


class ScopeIn(Strict):
    """What a kill reaches: all that matches every part it names."""

    tenant: Id | None = None
    agent: Id | None = None
    tool: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None


class KillIn(Strict):
    """What to stop (or release), and why."""

    scope: ScopeIn
    reason: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class KillOut(Answer):
    """The kill in force: an earlier one of the same scope keeps its reason."""

    scope: ScopeIn
    reason: str
    by: str
    at: datetime


class ReleasedOut(Answer):
    """Whether the scope was stopped before."""

    released: bool


class RevokeIn(Strict):
    """Either `jti` with `until` (when the token ends), or `tenant` with `agent`."""

    jti: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    until: Annotated[AwareDatetime, TimeText] | None = None
    tenant: Id | None = None
    agent: Id | None = None

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        token = self.jti is not None and self.until is not None
        agent = self.tenant is not None and self.agent is not None
        given = [self.jti, self.until, self.tenant, self.agent]
        if token == agent or sum(value is not None for value in given) != 2:
            raise ValueError("give jti and until, or tenant and agent")
        return self
