"""Any history of a review keeps the laws of `policies.reviewing`, whoever does what when.

History number n is the walk with the seed n, so the number in a failure is the whole report. A run
walks for a minute; `REVIEW_HISTORIES=1000000` walks so many instead, however long that takes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations, count, product
from random import Random
from typing import Final, TypeVar, assert_never

import pytest

from policies.errors import RefusalError
from policies.review import (
    ENDED,
    TRANSITIONS,
    Cancelled,
    Choice,
    Claimed,
    Consumed,
    Escalated,
    Event,
    Ladder,
    Overruled,
    Person,
    Quorum,
    Review,
    Rule,
    State,
    Step,
    TimePassed,
    Unclaimed,
    Voted,
)
from policies.reviewing import advance, consumable

from builders import NOW, a_person, a_quorum, a_review

HISTORIES: Final = int(os.environ.get("REVIEW_HISTORIES", "0"))
BUDGET_S: Final = 60.0
STEPS_MAX: Final = 14
DIGEST: Final = a_review().action_digest
OTHER: Final = "sha256:" + "9" * 64

# Every name has the same roles wherever it appears, so that a vote's roles can be told from it.
ROLES: Final = {
    "rita": ("reviewer",),
    "ralf": ("reviewer",),
    "rosa": ("reviewer",),
    "boss": ("reviewer",),
    "ritabot": ("reviewer", "critic"),
    "tina": ("tenant_admin",),
    "tom": ("tenant_admin", "reviewer"),
    "carl": ("critic",),
    "cleo": ("critic", "tenant_admin", "reviewer"),
    "olaf": ("operator",),
    "writer": ("agent", "reviewer"),
    "olga": ("reviewer", "tenant_admin"),
    "helper": ("reviewer",),
    "minion": ("reviewer", "critic"),
}
OWNERS: Final = (
    *((name, None) for name in ROLES),
    ("rita", "boss"),  # the same token subject, and once it says who answers for it
    ("ritabot", "rita"),
    ("helper", "olga"),  # of the house of the agent that asked
    ("minion", "writer"),
    ("writer", "carol"),
    ("olga", "carol"),
    ("carl", "carol"),
    ("cleo", "carol"),
)
CAST: Final = tuple(a_person(name, *ROLES[name], owner=owner) for name, owner in OWNERS)
HOUSE: Final = {"writer", "olga"}
WRITER: Final = a_person("writer", "agent")


def _quorums() -> Iterator[Quorum]:
    roles = ("critic", "reviewer", "tenant_admin")
    some = [named for size in (1, 2, 3) for named in combinations(roles, size)]
    for needed, named, each, rule in product((1, 2, 3), some, (False, True), Rule):
        if not each or needed >= len(named):
            yield a_quorum(needed, *named, each=each, rule=rule)


def _reviews() -> Iterator[Review]:
    for quorum, adds in product(_quorums(), ((), ("tenant_admin",), ("tenant_admin", "critic"))):
        ladder = Ladder(level=1, step_s=600, next_at=NOW + timedelta(seconds=600), adds=adds)
        yield a_review(quorum=quorum, ladder=ladder)


def _events() -> Iterator[tuple[Event, int]]:
    """Everything that anybody could do, and how often it is done."""
    for person in CAST:
        yield Voted(by=person, choice=Choice.APPROVE, reason="yes", digest=None), 8
        yield Voted(by=person, choice=Choice.APPROVE, reason="yes", digest=DIGEST), 8
        yield Voted(by=person, choice=Choice.APPROVE, reason="yes", digest=OTHER), 1
        yield Voted(by=person, choice=Choice.APPROVE, reason=" ", digest=DIGEST), 1
        yield Voted(by=person, choice=Choice.REJECT, reason="no", digest=None), 2
        yield Voted(by=person, choice=Choice.ABSTAIN, reason="don't know", digest=DIGEST), 2
        yield Claimed(by=person, seconds=120), 2
        yield Claimed(by=person, seconds=3000), 1
        yield Unclaimed(by=person), 1
        yield Escalated(by=person, reason="more eyes"), 2
        yield Cancelled(by=person, reason="no need"), 2 if person.name == "writer" else 1
    yield Escalated(by=CAST[0], reason=""), 1
    yield Cancelled(by=WRITER, reason=""), 1
    yield TimePassed(), 120
    for decision in ("decision-2", "decision-3"):
        yield Consumed(released_by=decision), 20
        yield Overruled(code="policy.forbidden", reason="it changed", released_by=decision), 8


REVIEWS: Final = tuple(_reviews())
EVENTS: Final = tuple(event for event, often in _events() for _ in range(often))
PAUSES: Final = tuple(
    timedelta(seconds=each) for each in (0, 0, 0, 0, 1, 1, 5, 30, 119, 120, 300, 600, 1300, 3600)
)
CODES: Final = {
    "review.already_voted": 409,
    "review.claimed": 409,
    "review.closed": 409,
    "review.consumed": 409,
    "review.digest_mismatch": 409,
    "review.expired": 409,
    "review.not_approved": 409,
    "review.not_claimed": 409,
    "review.not_requester": 403,
    "review.reason_required": 422,
    "review.role_missing": 403,
    "review.self_approval": 403,
    "review.top_level": 409,
}


# The oracle: the same laws, said in another way than the code says them.


def eligible(review: Review) -> set[str]:
    joined = {2: 1, 3: 2}.get(review.ladder.level, 0)
    return {*review.quorum.roles, *list(review.ladder.adds)[:joined]}


def house_or_heard(review: Review, person: Person) -> bool:
    names = {person.name, person.owner} - {None}
    heard = {name for vote in review.votes for name in (vote.by, vote.answers)}
    return bool(names & (HOUSE | heard))


def outcome(review: Review) -> State:
    """What these votes come to; for roles that each must be held, by Hall's theorem."""
    tally = Counter(vote.choice for vote in review.votes)
    quorum = review.quorum
    limit = {Rule.VETO: 1, Rule.MAJORITY: quorum.needed}[quorum.rule]
    if tally[Choice.REJECT] >= limit:
        return State.REJECTED
    if tally[Choice.APPROVE] < quorum.needed:
        return State.PENDING
    if quorum.each:
        held = [set(ROLES[vote.by]) for vote in review.votes if vote.choice is Choice.APPROVE]
        for size in range(1, len(quorum.roles) + 1):
            for some in combinations(quorum.roles, size):
                if sum(not roles.isdisjoint(some) for roles in held) < size:
                    return State.PENDING
    return State.APPROVED


def may_act(review: Review, person: Person, now: datetime) -> bool:
    """Whether this person may claim, or vote if they have something to say."""
    is_free = review.claim is None or review.claim.by == person.name or now >= review.claim.until
    return (
        review.state in (State.PENDING, State.CLAIMED)
        and now < review.expires_at
        and not house_or_heard(review, person)
        and not eligible(review).isdisjoint(ROLES[person.name])
        and is_free
    )


def is_allowed(review: Review, event: Event, now: datetime) -> bool:  # noqa: PLR0911  # a case each
    match event:
        case TimePassed():
            return True
        case Claimed():
            return may_act(review, event.by, now)
        case Voted():
            said = event.reason != " " and event.digest != OTHER
            return said and may_act(review, event.by, now)
        case Unclaimed():
            mine = review.claim is not None and review.claim.by == event.by.name
            return mine and now < review.expires_at
        case Escalated():
            heard = replace(review, votes=())  # who has voted may still ask for more eyes
            return event.reason != "" and review.ladder.level < 3 and may_act(heard, event.by, now)
        case Cancelled():
            alive = review.state not in ENDED and now < review.expires_at
            return event.by.name == "writer" and event.reason != "" and alive
        case Consumed() | Overruled():
            ends = State.CONSUMED if isinstance(event, Consumed) else State.REJECTED
            again = review.state is ends and review.released_by == event.released_by
            return review.state is State.APPROVED or again
        case _:
            assert_never(event)


STEPS: Final[Mapping[type[Event], Step]] = {
    Claimed: Step.CLAIM,
    Unclaimed: Step.UNCLAIM,
    Voted: Step.VOTE,
    Escalated: Step.ESCALATE,
    Cancelled: Step.CANCEL,
    Consumed: Step.CONSUME,
    Overruled: Step.OVERRULE,
}


def step_of(before: Review, event: Event, after: Review) -> Step:
    if not isinstance(event, TimePassed):
        return STEPS[type(event)]
    if after.state is State.EXPIRED:
        return Step.EXPIRE
    return Step.ESCALATE if after.ladder != before.ladder else Step.LAPSE


# One history, and what must be true after each of its steps


@dataclass
class Walks:
    """What all histories together have seen, so that nothing here is true of nothing."""

    histories: int = 0
    events: int = 0
    lines: Counter[tuple[State, Step, State]] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    def walk(self, seed: int) -> None:
        rng = Random(seed)
        review, now = rng.choice(REVIEWS), NOW
        for _ in range(rng.randrange(1, STEPS_MAX + 1)):
            now += rng.choice(PAUSES)
            event = rng.choice(EVENTS)
            try:
                review = self.step(review, event, now)
            except AssertionError as error:
                raise AssertionError(f"history {seed}, {event}: {error}") from error
        self.histories += 1

    def step(self, before: Review, event: Event, now: datetime) -> Review:
        self.events += 1
        after = tried(lambda: advance(before, event, now=now))
        code = after.code if isinstance(after, RefusalError) else None
        assert (code is None) == is_allowed(before, event, now), code
        if isinstance(after, RefusalError):
            assert CODES.get(after.code) == after.status, code
            self.codes[after.code] += 1
            return before
        if isinstance(event, TimePassed):
            assert after.due_at is None or after.due_at > now, "time is late"
        if after is not before:
            line = (before.state, step_of(before, event, after), after.state)
            assert line[2] in TRANSITIONS[line[0]].get(line[1], ()), line
            self.lines[line] += 1
            check(before, after, now)
        check_use(after, now)
        return after


def check(before: Review, after: Review, now: datetime) -> None:
    assert before.state not in ENDED, "what had ended moved"
    assert after.version == before.version + 1, "another number of versions"
    assert after.votes[: len(before.votes)] == before.votes, "a vote was changed"
    assert len(after.votes) - len(before.votes) in (0, 1), "several votes at once"
    assert before.ladder.level <= after.ladder.level <= 3, "the ladder fell"
    assert (after.state is State.CLAIMED) == (after.claim is not None), "a claim and no claim"
    assert (after.state in ENDED) == (after.closing is not None), "it ended, and nobody says how"
    assert (after.state in ENDED) == (after.due_at is None), "it ended, and time goes on"
    ends = [after.expires_at, *((after.claim.until,) if after.claim else ())]
    assert after.due_at is None or after.due_at <= min(ends), "time is not due when it should be"
    same = replace(
        after,
        state=before.state,
        claim=before.claim,
        votes=before.votes,
        closing=before.closing,
        ladder=before.ladder,
        released_by=before.released_by,
        version=before.version,
    )
    assert same == before, "what was asked for has changed"
    if len(after.votes) > len(before.votes):
        check_vote(before, after, now)
    else:
        assert after.state is not State.APPROVED, "approved, and nobody voted"
    if after.state is State.CONSUMED:
        assert before.state is State.APPROVED, "consumed, and not approved"


def check_vote(before: Review, after: Review, now: datetime) -> None:
    assert now < before.expires_at, "a vote that came late"
    assert after.claim is None, "a claim outlived the vote"
    assert after.state is outcome(after), "another outcome"
    seen: set[str] = set()
    for vote in after.votes:
        names = {vote.by, vote.answers}
        assert not names & HOUSE, "somebody decided on what their own house asked for"
        assert not names & seen, "somebody counted twice"
        seen |= names
    vote = after.votes[-1]
    assert set(vote.roles) == eligible(before) & set(ROLES[vote.by]), "other roles"
    assert vote.roles, "a vote in no role"
    assert vote.at == now, "another time"


def check_use(review: Review, now: datetime) -> None:
    usable = review.state is State.APPROVED and now < review.expires_at
    refused = tried(lambda: consumable(review, by=WRITER, digest=DIGEST, now=now))
    assert (refused is None) == usable, refused
    assert refused is None or CODES.get(refused.code) == refused.status, refused


T = TypeVar("T")


def tried(act: Callable[[], T]) -> T | RefusalError:
    try:
        return act()
    except RefusalError as refusal:
        return refusal


@pytest.mark.timeout(7200)
def test_random_histories_keep_the_law() -> None:
    walks, until = Walks(), time.monotonic() + BUDGET_S
    for seed in count():
        if walks.histories == HISTORIES if HISTORIES else time.monotonic() >= until:
            break
        walks.walk(seed)
    print(f"{walks.histories} histories, {walks.events} events")  # noqa: T201  # shown by -s
    lines = {
        (one, step, to) for one, row in TRANSITIONS.items() for step in row for to in row[step]
    }
    assert set(walks.lines) == lines, "a line of the table that no history took"
    assert set(walks.codes) == set(CODES), "a refusal that no history met"
    assert walks.histories >= 1000
