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
from fractions import Fraction
from itertools import combinations, count, cycle, product
from random import Random
from typing import Final, TypeVar, assert_never

import pytest

from policies.errors import RefusalError
from policies.panel import Choice, Outcome, Panel, PanelRule, Seat
from policies.review import (
    ENDED,
    TRANSITIONS,
    Absent,
    Cancelled,
    Claimed,
    Consumed,
    Convened,
    Escalated,
    Event,
    Glass,
    GlassBroken,
    Ladder,
    Opined,
    Overruled,
    Person,
    Quorum,
    Review,
    Rule,
    State,
    Step,
    TimePassed,
    Unclaimed,
    Vote,
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
    "paul": ("operator",),
    "petra": ("operator",),
    "cora": ("critic",),
}
OWNERS: Final = (
    *((name, None) for name in ROLES),
    ("rita", "boss"),  # the same token subject, and once it says who answers for it
    ("ritabot", "rita"),
    ("helper", "olga"),  # of the house of the agent that asked
    ("cora", "carl"),  # critics of one house
    ("cleo", "boss"),
    ("carl", "boss"),
    ("minion", "writer"),
    ("writer", "carol"),
    ("olga", "carol"),
    ("carl", "carol"),
    ("cleo", "carol"),
)
PERSONS: Final = tuple(a_person(name, *ROLES[name], owner=owner) for name, owner in OWNERS)


def _absent(name: str, owner: str | None = None) -> Absent:
    return Absent(name=name, owner=owner, roles=frozenset(ROLES[name]))


# Who decides in the stead of others: of colleagues, of the house that asked, of an agent's person.
STAND_INS: Final = (
    replace(a_person("paul", "operator"), stands_for=(_absent("rita"),)),
    replace(a_person("paul", "operator"), stands_for=(_absent("olga"), _absent("tina"))),
    replace(a_person("petra", "operator"), stands_for=(_absent("ritabot", "rita"),)),
    replace(a_person("petra", "operator"), stands_for=(_absent("helper", "olga"),)),
    replace(a_person("ralf", "reviewer"), stands_for=(_absent("tina"), _absent("tom"))),
)
CAST: Final = (*PERSONS, *STAND_INS)
HOUSE: Final = {"writer", "olga"}
WRITER: Final = a_person("writer", "agent")


def _quorums() -> Iterator[Quorum]:
    roles = ("critic", "reviewer", "tenant_admin")
    some = [named for size in (1, 2, 3) for named in combinations(roles, size)]
    for needed, named, each, rule in product((1, 2, 3), some, (False, True), Rule):
        if not each or needed >= len(named):
            yield a_quorum(needed, *named, each=each, rule=rule)


SEATS: Final = (
    Seat(agent="carl", weight=2),
    Seat(agent="cleo", weight=1),
    Seat(agent="cora", weight=1),
    Seat(agent="minion", weight=1),  # of an agent of the agent, which its seat does not tell
)


def _panels() -> Iterator[Panel]:
    for rule, needed, lasts_s in product(PanelRule, (1, 2, 3), (120, 900, 3600)):
        closes_at = NOW + timedelta(seconds=lasts_s)
        yield Panel(rule=rule, needed=needed, closes_at=closes_at)


def _reviews() -> Iterator[Review]:
    glasses = cycle((None, *(Glass(needed=n, roles=("tenant_admin",)) for n in (2, 2, 3))))
    panels = cycle(_panels())
    for quorum, adds in product(_quorums(), ((), ("tenant_admin",), ("tenant_admin", "critic"))):
        ladder = Ladder(level=1, step_s=600, next_at=NOW + timedelta(seconds=600), adds=adds)
        plain = a_review(quorum=quorum, ladder=ladder, glass=next(glasses))
        yield plain
        yield replace(plain, state=State.DELIBERATING, panel=next(panels), glass=next(glasses))
        yield replace(plain, follows="decision-0", barred=frozenset({"tom", "rita"}), glass=None)


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
        is_admin = "tenant_admin" in person.roles
        yield GlassBroken(by=person, reason="it burns", digest=None), 12 if is_admin else 1
        if "critic" in person.roles or person.name == "rita":
            for choice in Choice:
                yield Opined(by=person, choice=choice, reason="so it is", digest=DIGEST), 12
            yield Opined(by=person, choice=Choice.APPROVE, reason=" ", digest=DIGEST), 1
            yield Opined(by=person, choice=Choice.APPROVE, reason="yes", digest=OTHER), 1
    yield GlassBroken(by=CAST[0], reason="", digest=None), 1
    yield GlassBroken(by=a_person("tina", "tenant_admin"), reason="x", digest=OTHER), 1
    yield Convened(critics=SEATS), 200
    yield Convened(critics=SEATS[:2]), 40
    yield Convened(critics=()), 10
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
    "review.barred": 403,
    "review.glass_refused": 403,
    "review.not_called": 403,
    "review.panel_closed": 409,
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


def house_or_heard(review: Review, person: Person | Absent) -> bool:
    names = {person.name, person.owner} - {None}
    heard = {name for vote in review.votes for name in (vote.by, vote.answers, *vote.in_stead_of)}
    return bool(names & (HOUSE | heard | review.barred))


def roles_of(vote: Vote) -> set[str]:
    """The roles of who voted, or of those in whose stead."""
    return {role for name in vote.in_stead_of or (vote.by,) for role in ROLES[name]}


def panel_says(panel: Panel) -> Outcome:
    """What all ways in which the silent may still speak have in common."""
    seats = panel.seats or ()
    said = {opinion.by: opinion.choice for opinion in panel.opinions}
    ways = product(*([said[seat.agent]] if seat.agent in said else Choice for seat in seats))
    ends = {_ended(panel, dict(zip(seats, way, strict=True))) for way in ways}
    if len(ends) == 1:
        return ends.pop()
    return Outcome.OPEN


def _ended(panel: Panel, words: Mapping[Seat, Choice]) -> Outcome:
    sides = {seat: word for seat, word in words.items() if word is not Choice.ABSTAIN}
    total = sum(seat.weight for seat in sides)
    for choice, ends in ((Choice.APPROVE, Outcome.APPROVED), (Choice.REJECT, Outcome.REJECTED)):
        share = Fraction(sum(s.weight for s, word in sides.items() if word is choice), total or 1)
        enough = {
            PanelRule.MAJORITY: share > Fraction(1, 2),
            PanelRule.SUPER_MAJORITY: share >= Fraction(2, 3),
            PanelRule.UNANIMOUS: share == 1,
        }[panel.rule]
        if enough and len(sides) >= panel.needed:
            return ends
    return Outcome.SPLIT


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
        held = [roles_of(vote) for vote in review.votes if vote.choice is Choice.APPROVE]
        for size in range(1, len(quorum.roles) + 1):
            for some in combinations(quorum.roles, size):
                if sum(not roles.isdisjoint(some) for roles in held) < size:
                    return State.PENDING
    return State.APPROVED


def may_act(review: Review, person: Person, now: datetime) -> bool:
    """Whether this person may claim, or vote if they have something to say."""
    absent = [one for one in person.stands_for if not house_or_heard(review, one)]
    is_free = review.claim is None or review.claim.by == person.name or now >= review.claim.until
    return (
        is_open(review, now)
        and not house_or_heard(review, person)
        and (has_role(review, person) or any(has_role(review, one) for one in absent))
        and is_free
    )


def has_role(review: Review, person: Person | Absent) -> bool:
    return not eligible(review).isdisjoint(ROLES[person.name])


def is_open(review: Review, now: datetime) -> bool:
    states = (State.DELIBERATING, State.PENDING, State.CLAIMED)
    return review.state in states and now < review.expires_at


def may_opine(review: Review, event: Opined, now: datetime) -> bool:
    panel, critic = review.panel, event.by
    if panel is None or review.state is not State.DELIBERATING or not is_open(review, now):
        return False
    return (
        now < panel.closes_at
        and event.reason != " "
        and event.digest != OTHER
        and {critic.name, critic.owner}.isdisjoint(HOUSE)
        and "critic" in critic.roles
        and critic.name in {seat.agent for seat in panel.seats or ()}
        and {critic.name, critic.owner}.isdisjoint(
            name for one in panel.opinions for name in (one.by, one.answers)
        )
    )


def may_break(review: Review, event: GlassBroken, now: datetime) -> bool:
    glass, person = review.glass, event.by
    if glass is None or not is_open(review, now):
        return False
    names = {person.name, person.owner} - {None}
    broke = {name for vote in glass.broken for name in (vote.by, vote.answers)}
    return (
        event.reason != ""
        and event.digest != OTHER
        and names.isdisjoint(HOUSE | broke)
        and not person.roles.isdisjoint(glass.roles)
    )


def is_allowed(review: Review, event: Event, now: datetime) -> bool:  # noqa: C901, PLR0911  # a case each
    match event:
        case TimePassed():
            return True
        case Convened():
            return review.state is State.DELIBERATING and now < review.expires_at
        case Opined():
            return may_opine(review, event, now)
        case GlassBroken():
            return may_break(review, event, now)
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
            is_theirs = event.by.name == "writer" and review.follows is None
            return is_theirs and event.reason != "" and alive
        case Consumed() | Overruled():
            ends = State.CONSUMED if isinstance(event, Consumed) else State.REJECTED
            again = review.state is ends and review.released_by == event.released_by
            return review.state is State.APPROVED or again
        case _:
            assert_never(event)


STEPS: Final[Mapping[type[Event], Step]] = {
    Convened: Step.CONVENE,
    Opined: Step.OPINE,
    GlassBroken: Step.BREAK_GLASS,
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
    if before.state is State.DELIBERATING:
        return Step.HAND_OVER
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
            uncalled = after.panel is not None and after.panel.seats is None
            waits = uncalled and after.state is State.DELIBERATING
            assert waits or after.due_at is None or after.due_at > now, "time is late"
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
        panel=before.panel,
        glass=before.glass,
    )
    assert same == before, "what was asked for has changed"
    if len(after.votes) > len(before.votes):
        check_vote(before, after, now)
    elif after.panel != before.panel:
        check_panel(before, after)
    elif after.glass != before.glass:
        check_glass(before, after)
    else:
        assert after.state is not State.APPROVED, "approved, and nobody said so"
    if after.state is State.CONSUMED:
        assert before.state is State.APPROVED, "consumed, and not approved"


def check_panel(before: Review, after: Review) -> None:
    assert before.panel is not None
    assert after.panel is not None
    said, by_now = before.panel.opinions, after.panel.opinions
    assert by_now[: len(said)] == said, "an opinion was changed"
    if before.panel.seats is None:
        called = {seat.agent for seat in after.panel.seats or ()}
        assert called.isdisjoint(HOUSE), "the house that asked was called"
        too_few = len(called) < after.panel.needed
        assert after.state is (State.PENDING if too_few else State.DELIBERATING)
        return
    assert after.panel.seats == before.panel.seats, "others were called"
    houses = [name for one in by_now for name in {one.by, one.answers}]
    assert len(set(houses)) == len(houses), "a house of critics counted twice"
    weights = {seat.agent: seat.weight for seat in after.panel.seats or ()}
    assert all(weights[opinion.by] == opinion.weight for opinion in by_now), "another weight"
    ends = {
        Outcome.OPEN: State.DELIBERATING,
        Outcome.SPLIT: State.PENDING,
        Outcome.APPROVED: State.APPROVED,
        Outcome.REJECTED: State.REJECTED,
    }
    assert after.state is ends[panel_says(after.panel)], "another finding"


def check_glass(before: Review, after: Review) -> None:
    assert before.glass is not None
    assert after.glass is not None
    broken = after.glass.broken
    assert broken[:-1] == before.glass.broken, "another broke it before"
    names = [name for vote in broken for name in {vote.by, vote.answers}]
    assert len(set(names)) == len(names), "somebody broke it twice"
    assert HOUSE.isdisjoint(names), "the house that asked broke it"
    is_enough = len(broken) >= after.glass.needed
    assert after.state is (State.APPROVED if is_enough else State.PENDING)


def check_vote(before: Review, after: Review, now: datetime) -> None:
    assert now < before.expires_at, "a vote that came late"
    assert after.claim is None, "a claim outlived the vote"
    assert after.state is outcome(after), "another outcome"
    seen: set[str] = set()
    for vote in after.votes:
        names = {vote.by, vote.answers, *vote.in_stead_of}
        assert not names & before.barred, "somebody judged what they broke themselves"
        assert not names & HOUSE, "somebody decided on what their own house asked for"
        assert not names & seen, "somebody counted twice"
        seen |= names
    vote = after.votes[-1]
    assert set(vote.roles) == eligible(before) & roles_of(vote), "other roles"
    assert vote.roles, "a vote in no role"
    assert vote.at == now, "another time"


def check_use(review: Review, now: datetime) -> None:
    is_theirs = review.follows is None
    usable = is_theirs and review.state is State.APPROVED and now < review.expires_at
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
