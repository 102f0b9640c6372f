"""Searching by words: every word must be found; the work has a bound, and the page says how far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from actors.ledger.entry import answers
from actors.ledger.reader import LedgerReader
from policies.decision import Decision, Effect, Receipt
from policies.review import Review

WORDS_MAX: Final = 8
LOOKS_MAX: Final = 2000  # decisions that one page looks at; its link goes on where it stopped
PAGE: Final = 50  # what a page shows at least, when there is so much
_SLICE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for. `words` are those of the person, as they were typed."""

    words: tuple[str, ...] = ()
    effect: Effect | None = None
    agent: str | None = None

    def fits(self, decision: Decision) -> bool:
        """Say whether it is one of those that are wanted."""
        return (
            self.effect in (None, decision.effect)
            and self.agent in (None, decision.agent)
            and decision_holds(decision, self.words)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Decisions, newest first, and where to go on; `looked` is how many were looked at."""

    decisions: list[tuple[Decision, Receipt]]
    next_cursor: str | None
    looked: int
    oldest: Decision | None


def words_of(text: str) -> tuple[str, ...]:
    """Return the words to look for; more than `WORDS_MAX` are too many, and the rest is ignored."""
    return tuple(text.split()[:WORDS_MAX])


def holds(words: Iterable[str], texts: Iterable[str], *, ids: Iterable[str]) -> bool:
    """Say whether every word stands in one of the texts, or one of the ids begins with it."""
    plain = "\n".join(texts).casefold()
    names = [name.casefold() for name in ids]
    return all(
        word in plain or any(name.startswith(word) for name in names)
        for word in (each.casefold() for each in words)
    )


def decision_holds(decision: Decision, words: Iterable[str]) -> bool:
    """Say whether a decision has all of these words."""
    return holds(
        words,
        (
            decision.agent,
            decision.recipient or "",
            decision.tool,
            decision.action,
            *(reason.code for reason in decision.reasons),
        ),
        ids=(decision.decision_id, decision.message_id, decision.review_id or ""),
    )


def review_holds(review: Review, words: Iterable[str]) -> bool:
    """Say whether a review has all of these words."""
    return holds(
        words,
        (
            review.agent,
            review.recipient or "",
            review.tool,
            review.action,
            review.tier,
            *(f"{reason.code}\n{reason.message}" for reason in review.reasons),
        ),
        ids=(review.review_id, review.message_id),
    )


async def search(
    reader: LedgerReader,
    tenant: str,
    wanted: Wanted,
    *,
    cursor: str | None,
    looks_max: int = LOOKS_MAX,
) -> Found:
    """Return what fits among the next `looks_max` decisions of the tenant that are in the tree.

    One that is named by its whole id comes first, however old it is. Raises RefusalError
    `request.bad_cursor` (422).
    """
    found = [] if cursor else await _named(reader, tenant, wanted)
    known = {decision.decision_id for decision, _ in found}
    place, looked, oldest = cursor, 0, None
    for _ in range(looks_max // _SLICE):
        page = await reader.decisions(
            tenant, effect=wanted.effect, agent=wanted.agent, limit=_SLICE, cursor=place
        )
        place = page.next_cursor
        looked += len(page.decisions)
        oldest = page.decisions[-1][0] if page.decisions else oldest
        found += [
            pair
            for pair in page.decisions
            if pair[0].decision_id not in known and wanted.fits(pair[0])
        ]
        if place is None or len(found) >= PAGE:
            break
    return Found(decisions=found, next_cursor=place, looked=looked, oldest=oldest)


async def _named(
    reader: LedgerReader, tenant: str, wanted: Wanted
) -> list[tuple[Decision, Receipt]]:
    """Return the decisions of which the only word is a whole id: their own, or what they answer."""
    if len(wanted.words) != 1:
        return []
    (name,) = wanted.words
    recorded = [
        await reader.recorded(tenant, name),
        await reader.recorded_for(tenant, name),
        await reader.recorded_for(tenant, answers("", name)),  # what a review let go
    ]
    by_id = {one.decision.decision_id: one for one in recorded if one is not None}
    return [(one.decision, one.receipt) for one in by_id.values() if wanted.fits(one.decision)]
