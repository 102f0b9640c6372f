"""In-memory stand-ins for the bus's ports. They keep the ports' promises, in memory only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from actors.ledger.entry import answers
from policies.controls import Controls
from policies.decision import Decision, Effect, Impact, Judgement, Receipt, Recorded, Verdict
from policies.errors import DependencyError, RefusalError
from policies.message import Message
from serve_app.ports import Question

PERMIT = Verdict(
    rule="test.permit", effect=Effect.ALLOW, code="policy.permitted", message="ok", remedy=""
)


@dataclass
class Diary:
    """What happened, in order."""

    lines: list[str] = field(default_factory=list)


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)) -> None:
        self.time = now
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic_s(self) -> float:
        return self.elapsed_s

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.elapsed_s += seconds


@dataclass
class FakeJudge:
    """Answers what it was told to, and remembers the questions."""

    diary: Diary = field(default_factory=Diary)
    verdicts: tuple[Verdict, ...] = (PERMIT,)
    answer: Callable[[Question], Judgement] | None = None
    questions: list[Question] = field(default_factory=list)

    async def judge(self, question: Question) -> Judgement:
        self.questions.append(question)
        self.diary.lines.append("judged")
        if self.answer is not None:
            return self.answer(question)
        return Judgement(
            verdicts=self.verdicts, revision="sha256:" + "0" * 64, engine="opa-embedded"
        )


@dataclass
class FakeRecorder:
    """Keeps decisions by what they answer, as the ledger does."""

    diary: Diary = field(default_factory=Diary)
    down: bool = False
    carries_out: bool = False
    recorded: dict[tuple[str, str], Recorded] = field(default_factory=dict)

    async def append(
        self, decision: Decision, message: Message, *, release: Message | None
    ) -> Recorded:
        if self.down:
            raise DependencyError("ledger", "it is down")
        key = (decision.tenant, answers(decision.message_id, decision.review_id))
        first = self.recorded.get(key)
        if first is not None:
            if first.decision.content_digest != decision.content_digest:
                raise RefusalError("message.id_reused", "this id named other content", 409)
            return Recorded(decision=first.decision, receipt=first.receipt, replayed=True)
        receipt = Receipt(
            origin=f"test/t/{decision.tenant}",
            leaf_hash="AAAA",
            entry_id=f"{len(self.recorded) + 1}-0",
        )
        self.recorded[key] = Recorded(
            decision=decision, receipt=receipt, replayed=False, carried_out=self.carries_out
        )
        self.diary.lines.append(f"recorded {decision.effect.value}")
        return self.recorded[key]

    async def find(self, tenant: str, message_id: str) -> Decision | None:
        found = self.recorded.get((tenant, message_id))
        return found.decision if found else None


@dataclass
class FakeCourier:
    """Delivers once for each decision."""

    diary: Diary = field(default_factory=Diary)
    agents: set[tuple[str, str]] = field(default_factory=lambda: {("acme", "mailer")})
    down: bool = False
    delivered: dict[str, Message] = field(default_factory=dict)

    async def knows(self, tenant: str, agent: str) -> bool:
        return (tenant, agent) in self.agents

    async def deliver(self, message: Message, decision_id: str) -> None:
        if self.down:
            raise DependencyError("mailbox", "it is down")
        if decision_id not in self.delivered:
            self.delivered[decision_id] = message
            self.diary.lines.append("delivered")


@dataclass
class FakeMeter:
    """Counts."""

    effects: list[Effect] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    def decided(self, decision: Decision, latency_s: float) -> None:
        assert latency_s >= 0
        self.effects.append(decision.effect)

    def refused(self, code: str) -> None:
        self.codes.append(code)


@dataclass
class FakeScorer:
    """Scores as it was told to."""

    value: float = 0.0
    down: bool = False

    async def score(self, message: Message, impact: Impact) -> Impact:
        if self.down:
            raise DependencyError("scorer", "it is down")
        return Impact(
            score=max(impact.score, self.value),
            factors={**impact.factors, "semantic": self.value},
            model="sha256:" + "1" * 64,
        )


def no_controls() -> Controls:
    """Nothing is revoked or killed."""
    return Controls()
