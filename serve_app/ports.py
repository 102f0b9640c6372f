"""What the bus needs from others, in the bus's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from policies.decision import Decision, Finding, Impact, Judgement, Recorded
from policies.message import Message
from policies.principal import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything a policy may see about one message; the verdict cache is keyed by all of it.

    `target` are the recorded facts of the output that a judicial agent is asked to validate:
    `{"agent", "roles", "known"}`; None for every other type of message.
    """

    principal: Principal
    message: Message
    findings: Sequence[Finding]
    target: Mapping[str, object] | None


class Judge(Protocol):
    """Says what each rule thinks. Never raises: when it cannot judge, that is a DENY verdict."""

    async def judge(self, question: Question) -> Judgement:
        """Return the verdicts of the tenant's active policy revision."""
        ...


class Scorer(Protocol):
    """Weighs what could go wrong. May raise DependencyError; the bus then degrades, loudly."""

    async def score(self, message: Message, impact: Impact) -> Impact:
        """Return an impact that is at least the structural one."""
        ...


class Recorder(Protocol):
    """Keeps decisions."""

    async def append(
        self, decision: Decision, message: Message, *, release: Message | None
    ) -> Recorded:
        """Return once the decision, and the promise of its effect, survives a power cut.

        `release` is what may leave: the message with its obligations fulfilled, to be delivered
        (allow) or held (review); None when nothing may. A recorder that can let an allowed one
        leave in the same breath says so by `carried_out`. The same message id with the same
        content answers with the first decision. Raises RefusalError `message.id_reused` for
        other content, DependencyError if it cannot record.
        """
        ...

    async def find(self, tenant: str, message_id: str) -> Decision | None:
        """Return the decision on a message, or None if this tenant never had one recorded."""
        ...


class Courier(Protocol):
    """Brings allowed messages to their recipients."""

    async def knows(self, tenant: str, agent: str) -> bool:
        """Say whether the agent is registered in this tenant."""
        ...

    async def deliver(self, message: Message, decision_id: str) -> None:
        """Move a recorded message into its mailbox, once however often this is called for it."""
        ...


class Meter(Protocol):
    """Counts. Takes under 5 microseconds, never waits, never raises."""

    def decided(self, decision: Decision, latency_s: float) -> None:
        """Count one decision and how long it took."""
        ...

    def refused(self, code: str) -> None:
        """Count one refusal by its problem code."""
        ...
