"""The judge that asks the policy engine.

Laws of this file:
1. It always answers: what it cannot judge, it denies, with a code and a remedy of its own.
2. It remembers only what the policy said, never that it could not be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from cluster.clock import Clock, SystemClock
from cluster.opa.engine import PolicyEngine
from policies.decision import Effect, Judgement, Verdict
from policies.errors import GovernanceError
from serve_app.judges.cache import VerdictCache, cache_key
from serve_app.judges.question import policy_input
from serve_app.judges.reading import read
from serve_app.ports import Question

log = structlog.get_logger(__name__)

RULE: Final = "judge.policy"
DETAIL_SIZE_MAX: Final = 300

_AUTHOR: Final = "the policy has a fault: ask a policy author to correct it or to roll it back"
_OPERATOR: Final = "send it again later; operators: see the policy engine in /health/ready"
# What the caller is told, and what would help. Any other code is a fault in the policy's answer.
_TOLD: Final[Mapping[str, tuple[str, str]]] = {
    "policy.undefined": (
        "the policy has no opinion on this message, and silence is a denial",
        "ask a policy author for a default decision",
    ),
    "policy.error": ("the policy failed on this message", _AUTHOR),
    "policy.timeout": (
        "the policy did not answer in time",
        "send it again; if it happens again with this message, ask a policy author",
    ),
    "policy.malformed": ("the policy's answer is not a decision", _AUTHOR),
    "policy.unavailable": ("the policy engine cannot be asked now", _OPERATOR),
    "policy.revision_mismatch": (
        "the policy engine judges under another revision than the active one",
        "send it again once the engine has the active revision; operators: load it there",
    ),
}
_UNREADABLE: Final = ("the policy's answer cannot be understood", _AUTHOR)


def _ignore(*_: object) -> None:
    """Count nothing."""


class PolicyJudge:
    """A `Judge` that evaluates the active revision within `timeout_s`, or finds its verdict.

    `on_lookup` hears whether a verdict was in the cache, `on_evaluated` how many seconds an
    evaluation took, however it ended.
    """

    def __init__(
        self,
        engine: PolicyEngine,
        cache: VerdictCache,
        *,
        timeout_s: float,
        clock: Clock | None = None,
        on_lookup: Callable[[bool], None] = _ignore,
        on_evaluated: Callable[[float], None] = _ignore,
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._on_lookup = on_lookup
        self._on_evaluated = on_evaluated

    async def judge(self, question: Question) -> Judgement:
        """Return the verdicts of the active revision, or a denial that says why there are none."""
        try:
            return await self._judge(question)
        except GovernanceError as error:
            return self._denial(error.code, str(error))
        except ValueError as error:  # the question cannot be written as JSON
            return self._denial("policy.error", str(error))
        except Exception as error:  # the port promises an answer, and a denial is a safe one
            log.exception("policy.judge_failed")
            return self._denial("policy.error", f"the judge failed: {type(error).__name__}")

    async def _judge(self, question: Question) -> Judgement:
        document = policy_input(question)
        revision = self._engine.revision
        key = cache_key(revision, document)
        found = self._cache.find(key) if revision else None
        self._on_lookup(found is not None)
        if found is not None:
            return found
        judgement = await self._evaluate(document)
        # Another revision may have become active meanwhile; then this is not its verdict.
        if revision and judgement.revision == revision:
            self._cache.keep(key, judgement)
        return judgement

    async def _evaluate(self, document: bytes) -> Judgement:
        began_s = self._clock.monotonic_s()
        try:
            evaluation = await self._engine.evaluate(document, self._timeout_s)
        finally:
            self._on_evaluated(self._clock.monotonic_s() - began_s)
        reading = read(evaluation.value)
        return Judgement(
            verdicts=reading.verdicts,
            obligations=reading.obligations,
            revision=evaluation.revision,
            engine=self._engine.name,
        )

    def _denial(self, code: str, detail: str) -> Judgement:
        """Deny, and log the detail: it may name what is inside, so the caller is not told it."""
        message, remedy = _TOLD.get(code, _UNREADABLE)
        log.warning("policy.not_judged", code=code, detail=detail[:DETAIL_SIZE_MAX])
        verdict = Verdict(rule=RULE, effect=Effect.DENY, code=code, message=message, remedy=remedy)
        return Judgement(
            verdicts=(verdict,), revision=self._engine.revision, engine=self._engine.name
        )
