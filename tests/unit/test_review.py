"""What may happen to a review, who may make it happen, and with which code the rest is refused."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from datetime import datetime, timedelta
from functools import reduce

import pytest

from policies.errors import RefusalError
from policies.panel import Choice, Panel, PanelRule, Seat
from policies.review import (
    ENDED,
    LEVEL_MAX,
    OPEN,
    REASON_MAX,
    TRANSITIONS,
    VOTES_MAX,
    Cancelled,
    Claimed,
    Consumed,
    Convened,
    Escalated,
    Event,
    GlassBroken,
    Ladder,
    Opined,
    Overruled,
    Person,
    Review,
    Rule,
    State,
    Step,
    TimePassed,
    Unclaimed,
    Voted,
)
from policies.reviewing import advance, consumable, outcome

from builders import NOW, a_person, a_quorum, a_review

RITA = a_person("rita")
RALF = a_person("ralf")
TINA = a_person("tina", "tenant_admin")
WRITER = a_person("writer", "agent")  # the agent that asked
SOON = NOW + timedelta(seconds=60)
LATE = NOW + timedelta(hours=1)  # when a_review() is over
DIGEST = a_review().action_digest
CONSUMED = Consumed(released_by="decision-2")
OVERRULED = Overruled(code="policy.forbidden", reason="the rule changed", released_by="decision-2")
TIME = TimePassed()


def says(person: Person, choice: Choice = Choice.APPROVE, digest: str | None = None) -> Voted:
    return Voted(by=person, choice=choice, reason="I looked", digest=digest)


def approves(person: Person) -> Voted:
    return says(person)


def rejects(person: Person) -> Voted:
    return says(person, Choice.REJECT)


def abstains(person: Person) -> Voted:
    return says(person, Choice.ABSTAIN)


def claims(person: Person, seconds: float = 300) -> Claimed:
    return Claimed(by=person, seconds=seconds)


def after(review: Review, *events: Event, now: datetime = SOON) -> Review:
    return reduce(lambda one, event: advance(one, event, now=now), events, review)


def refusal(review: Review, event: Event, now: datetime = SOON) -> tuple[str, int]:
    with pytest.raises(RefusalError) as caught:
        advance(review, event, now=now)
    assert str(caught.value)
    return caught.value.code, caught.value.status


def people(number: int, *roles: str) -> list[Person]:
    return [a_person(f"person-{each}", *roles) for each in range(number)]


# The table


PENDING = a_review()
CARL, CLEO, CORA = (a_person(name, "critic") for name in ("carl", "cleo", "cora"))
CRITICS = (Seat(agent="carl", weight=2), Seat(agent="cleo", weight=1), Seat(agent="cora", weight=1))
CALLED = Convened(critics=CRITICS)
UNCALLED = a_review(
    state=State.DELIBERATING,
    panel=Panel(rule=PanelRule.SUPER_MAJORITY, needed=2, closes_at=NOW + timedelta(seconds=300)),
)


def opines(person: Person, choice: Choice = Choice.APPROVE) -> Opined:
    return Opined(by=person, choice=choice, reason="I compared it")


def breaks(person: Person) -> GlassBroken:
    return GlassBroken(by=person, reason="the site is down")


TOM = a_person("tom", "tenant_admin")
BY_STATE = {
    State.DELIBERATING: advance(UNCALLED, CALLED, now=SOON),
    State.PENDING: PENDING,
    State.CLAIMED: after(PENDING, claims(RITA)),
    State.APPROVED: after(PENDING, approves(RITA)),
    State.REJECTED: after(PENDING, rejects(RITA)),
    State.EXPIRED: after(PENDING, TIME, now=LATE),
    State.CANCELLED: after(PENDING, Cancelled(by=WRITER, reason="changed my mind")),
    State.CONSUMED: after(PENDING, approves(RITA), CONSUMED),
}
# Each step as events that take it from a state where it may be taken.
EVENTS: dict[Step, list[tuple[Event, datetime]]] = {
    Step.CONVENE: [(CALLED, SOON), (Convened(critics=CRITICS[:1]), SOON)],
    Step.OPINE: [
        (opines(CARL), SOON),
        (opines(CORA), SOON),
        (opines(CORA, Choice.REJECT), SOON),
        (opines(CORA, Choice.ABSTAIN), SOON),
    ],
    Step.HAND_OVER: [(TIME, NOW + timedelta(seconds=300))],
    Step.BREAK_GLASS: [(breaks(TINA), SOON), (breaks(TOM), SOON)],
    Step.CLAIM: [(claims(RITA), SOON)],
    Step.UNCLAIM: [(Unclaimed(by=RITA), SOON)],
    Step.VOTE: [(abstains(RITA), SOON), (approves(RITA), SOON), (rejects(RITA), SOON)],
    Step.ESCALATE: [
        (Escalated(by=RITA, reason="too large for me"), SOON),
        (TIME, NOW + timedelta(seconds=600)),
    ],
    Step.LAPSE: [(TIME, SOON + timedelta(seconds=300))],
    Step.EXPIRE: [(TIME, LATE)],
    Step.CANCEL: [(Cancelled(by=WRITER, reason="changed my mind"), SOON)],
    Step.CONSUME: [(CONSUMED, SOON)],
    Step.OVERRULE: [(OVERRULED, SOON)],
}
# Where a state alone does not say what a step comes to: what each of its events meets.
HEARD = {
    (State.DELIBERATING, Step.CONVENE): [UNCALLED, UNCALLED],
    (State.DELIBERATING, Step.OPINE): [
        BY_STATE[State.DELIBERATING],
        after(BY_STATE[State.DELIBERATING], opines(CARL)),
        after(BY_STATE[State.DELIBERATING], opines(CARL, Choice.REJECT)),
        after(BY_STATE[State.DELIBERATING], opines(CARL, Choice.ABSTAIN)),
    ],
    (State.DELIBERATING, Step.BREAK_GLASS): [BY_STATE[State.DELIBERATING]] * 2,
    (State.PENDING, Step.BREAK_GLASS): [PENDING, after(PENDING, breaks(TINA))],
    (State.CLAIMED, Step.BREAK_GLASS): [
        BY_STATE[State.CLAIMED],
        after(PENDING, breaks(TINA), claims(RITA)),
    ],
}
TABLE = [(state, step, to) for state, row in TRANSITIONS.items() for step, to in row.items()]


def test_the_table_speaks_of_every_state_and_every_step() -> None:
    assert set(TRANSITIONS) == set(State) == set(BY_STATE)
    assert {step for row in TRANSITIONS.values() for step in row} == set(Step) == set(EVENTS)
    assert all(BY_STATE[state].state is state for state in State)


def test_a_review_is_open_or_approved_or_ended() -> None:
    assert {State.APPROVED} | OPEN | ENDED == set(State)
    assert not OPEN & ENDED
    assert State.APPROVED not in OPEN | ENDED


@pytest.mark.parametrize(("state", "step", "to"), TABLE)
def test_every_line_of_the_table_can_happen_and_is_one_version_each(
    state: State, step: Step, to: frozenset[State]
) -> None:
    earlier = HEARD.get((state, step), [BY_STATE[state]] * len(EVENTS[step]))
    for_each = list(zip(earlier, EVENTS[step], strict=True))
    moved = [advance(before, event, now=now) for before, (event, now) in for_each]
    assert {review.state for review in moved} == to
    assert [one.version + 1 for one in earlier] == [review.version for review in moved]


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_never_moves_again(state: State) -> None:
    ended = BY_STATE[state]
    for event, now in [each for events in EVENTS.values() for each in events]:
        if isinstance(event, TimePassed) or (state is State.CONSUMED and event is CONSUMED):
            assert advance(ended, event, now=now) is ended
        else:
            assert refusal(ended, event, now)[1] == 409


@pytest.mark.parametrize("state", sorted(ENDED - {State.CONSUMED}))
def test_a_step_on_what_has_ended_says_how_it_ended(state: State) -> None:
    with pytest.raises(RefusalError, match=f"is {state.value}: ") as caught:
        advance(BY_STATE[state], approves(RALF), now=SOON)
    assert caught.value.code == "review.closed"


@pytest.mark.parametrize("state", sorted(OPEN | {State.APPROVED}))
@pytest.mark.parametrize(
    "event",
    [
        claims(RALF),
        approves(RALF),
        rejects(RALF),
        Escalated(by=RALF, reason="why"),
        Cancelled(by=WRITER, reason="why"),
    ],
    ids=["claim", "approve", "reject", "escalate", "cancel"],
)
def test_what_is_late_is_refused_though_no_timer_said_so(state: State, event: Event) -> None:
    assert refusal(BY_STATE[state], event, LATE) == ("review.expired", 409)


def test_the_last_moment_before_the_end_still_counts() -> None:
    last = LATE - timedelta(microseconds=1)
    assert advance(PENDING, approves(RITA), now=last).state is State.APPROVED


def test_a_review_is_a_value_that_survives_a_journey() -> None:
    review = BY_STATE[State.CONSUMED]
    assert pickle.loads(pickle.dumps(review)) == review
    with pytest.raises(FrozenInstanceError):
        review.state = State.APPROVED  # type: ignore[misc]  # that it is refused is the point


# Votes


def test_one_reviewer_lets_it_go_and_is_named_with_the_reason() -> None:
    review = advance(PENDING, says(RITA, digest=DIGEST), now=SOON)
    assert review.state is State.APPROVED
    (vote,) = review.votes
    assert (vote.by, vote.answers, vote.roles) == ("rita", "rita", ("reviewer",))
    assert (vote.choice, vote.reason, vote.at) == (Choice.APPROVE, "I looked", SOON)
    assert review.closing is None


def test_a_vote_names_the_roles_that_count_and_no_others() -> None:
    many = a_person("rita", "reviewer", "tenant_admin", "auditor")
    assert advance(PENDING, approves(many), now=SOON).votes[0].roles == ("reviewer",)


@pytest.mark.parametrize("needed", [1, 2, 3, 5])
def test_it_is_approved_by_the_last_of_those_that_are_needed(needed: int) -> None:
    review = a_review(quorum=a_quorum(needed))
    voters = people(needed)
    for voter in voters[:-1]:
        review = advance(review, approves(voter), now=SOON)
        assert review.state is State.PENDING
    assert advance(review, approves(voters[-1]), now=SOON).state is State.APPROVED


def test_one_rejection_ends_it_and_says_who_and_why() -> None:
    review = after(a_review(quorum=a_quorum(2)), approves(RITA), rejects(RALF))
    assert review.state is State.REJECTED
    assert review.closing is not None
    assert (review.closing.code, review.closing.by) == ("review.rejected", "ralf")
    assert (review.closing.reason, review.closing.at) == ("I looked", SOON)


def test_by_majority_as_many_must_reject_as_would_approve() -> None:
    review = a_review(quorum=a_quorum(2, rule=Rule.MAJORITY))
    split = after(review, rejects(RITA), approves(RALF))
    assert split.state is State.PENDING
    third = a_person("rosa")
    assert advance(split, approves(third), now=SOON).state is State.APPROVED
    ended = advance(split, rejects(third), now=SOON)
    assert ended.state is State.REJECTED
    assert ended.closing is not None
    assert ended.closing.by == "rosa"


@pytest.mark.parametrize("rule", list(Rule))
def test_an_abstention_counts_for_neither_side_and_is_kept(rule: Rule) -> None:
    review = a_review(quorum=a_quorum(2, rule=rule))
    heard = after(review, *map(abstains, people(5)))
    assert heard.state is State.PENDING
    assert [vote.choice for vote in heard.votes] == [Choice.ABSTAIN] * 5
    assert after(heard, approves(RITA), approves(RALF)).state is State.APPROVED


def test_who_abstained_has_voted() -> None:
    heard = advance(PENDING, abstains(RITA), now=SOON)
    assert refusal(heard, approves(RITA)) == ("review.already_voted", 409)


@pytest.mark.parametrize(
    ("voters", "state"),
    [
        ([["reviewer"], ["reviewer"], ["reviewer"]], State.PENDING),
        ([["tenant_admin"], ["tenant_admin"], ["tenant_admin"]], State.PENDING),
        ([["reviewer"], ["reviewer"], ["tenant_admin"]], State.APPROVED),
        ([["reviewer", "tenant_admin"], ["reviewer"], ["reviewer"]], State.APPROVED),
        ([["reviewer", "tenant_admin"], ["tenant_admin"], ["tenant_admin"]], State.APPROVED),
        ([["reviewer", "tenant_admin"], ["reviewer"]], State.PENDING),  # two of three
    ],
)
def test_each_role_must_be_among_those_who_approve(voters: list[list[str]], state: State) -> None:
    review = a_review(quorum=a_quorum(3, "reviewer", "tenant_admin", each=True))
    voting = [approves(a_person(f"p{n}", *roles)) for n, roles in enumerate(voters)]
    assert after(review, *voting).state is state


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nobody_stands_for_two_roles_at_once(order: Sequence[int]) -> None:
    review = a_review(quorum=a_quorum(3, "critic", "reviewer", "tenant_admin", each=True))
    both = a_person("both", "reviewer", "tenant_admin")
    critic = a_person("carl", "critic")
    heard = after(review, *[[approves(both), approves(critic)][place] for place in order])
    # A third person with none of the missing roles does not help, and one with either does.
    more = a_person("cleo", "critic")
    assert advance(heard, approves(more), now=SOON).state is State.PENDING
    for role in ("reviewer", "tenant_admin"):
        one = a_person("tess", role)
        assert advance(heard, approves(one), now=SOON).state is State.APPROVED


def test_who_could_stand_for_either_role_stands_for_the_one_that_is_missing() -> None:
    review = a_review(quorum=a_quorum(2, "reviewer", "tenant_admin", each=True))
    both, only = a_person("both", "reviewer", "tenant_admin"), a_person("rita")
    assert after(review, approves(both), approves(only)).state is State.APPROVED
    assert after(review, approves(only), approves(both)).state is State.APPROVED


def test_an_approval_in_a_role_that_the_law_of_another_day_does_not_ask_counts_for_nothing() -> (
    None
):
    votes = advance(PENDING, approves(RITA), now=SOON).votes
    assert outcome(votes, a_quorum(), frozenset({"reviewer"})) is State.APPROVED
    admins = a_quorum(1, "tenant_admin")
    assert outcome(votes, admins, frozenset({"tenant_admin"})) is State.PENDING


def test_votes_are_bounded() -> None:
    review = after(a_review(quorum=a_quorum(1)), *map(abstains, people(VOTES_MAX)))
    assert refusal(review, approves(RITA)) == ("review.too_many_votes", 409)


@pytest.mark.parametrize("choice", list(Choice))
def test_a_vote_on_another_action_than_was_shown_is_refused(choice: Choice) -> None:
    other = says(RITA, choice, digest="sha256:" + "9" * 64)
    assert refusal(PENDING, other) == ("review.digest_mismatch", 409)


@pytest.mark.parametrize(
    "reason",
    ["", " ", "\n\t", "\u200b", "\u200b \ufeff", "\x00", "\u00a0", "x" * (REASON_MAX + 1)],
    ids=repr,
)
@pytest.mark.parametrize(
    "event",
    [approves(RITA), Escalated(by=RITA, reason=""), Cancelled(by=WRITER, reason="")],
    ids=lambda event: type(event).__name__,
)
def test_what_is_not_explained_is_refused(
    event: Voted | Escalated | Cancelled, reason: str
) -> None:
    assert refusal(PENDING, replace(event, reason=reason)) == ("review.reason_required", 422)


@pytest.mark.parametrize("reason", ["👍", "x" * REASON_MAX, "  да \n", "\u200bno"])
def test_a_reason_is_whatever_somebody_can_read(reason: str) -> None:
    vote = replace(approves(RITA), reason=reason)
    assert advance(PENDING, vote, now=SOON).votes[0].reason == reason.strip()


# Who may decide


@pytest.mark.parametrize(
    "person",
    [
        a_person("writer", "reviewer"),  # who asked
        a_person("writer", "reviewer", owner="somebody"),  # with a token that names another owner
        a_person("olga", "reviewer"),  # who answers for it
        a_person("olga", "reviewer", owner="somebody"),
        a_person("helper", "reviewer", owner="olga"),  # another agent of the same owner
        a_person("helper", "reviewer", owner="writer"),  # an agent of the agent
    ],
    ids=lambda person: f"{person.name}-{person.owner}",
)
def test_nobody_decides_on_what_their_own_house_asked_for(person: Person) -> None:
    expected = ("review.self_approval", 403)
    for choice in Choice:
        assert refusal(PENDING, says(person, choice)) == expected
    assert refusal(PENDING, claims(person)) == expected
    assert refusal(PENDING, Escalated(by=person, reason="why")) == expected


def test_an_agent_without_owner_has_a_house_too() -> None:
    review = a_review(owner=None)
    assert refusal(review, approves(a_person("writer")))[0] == "review.self_approval"
    assert refusal(review, approves(a_person("bot", owner="writer")))[0] == "review.self_approval"
    assert advance(review, approves(RITA), now=SOON).state is State.APPROVED


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (a_person("rita"), a_person("rita")),  # two tokens
        (a_person("rita"), a_person("rita", owner="boss")),  # one of them says more
        (a_person("rita", owner="boss"), a_person("rita")),
        (a_person("rita", owner="boss"), a_person("rita", owner="other")),
        (a_person("rita"), a_person("bot", owner="rita")),  # in person, and by an agent
        (a_person("bot", owner="rita"), a_person("rita")),
        (a_person("bot-1", owner="rita"), a_person("bot-2", owner="rita")),  # two agents
        (a_person("rita", owner="boss"), a_person("boss")),
        (a_person("boss"), a_person("rita", owner="boss")),
    ],
)
def test_a_person_counts_once_under_however_many_names(first: Person, second: Person) -> None:
    review = advance(a_review(quorum=a_quorum(2)), approves(first), now=SOON)
    for choice in Choice:
        assert refusal(review, says(second, choice)) == ("review.already_voted", 409)
    assert refusal(review, claims(second)) == ("review.already_voted", 409)


@pytest.mark.parametrize(
    "person", [a_person("olaf", "operator"), a_person("anna", "agent", "auditor"), TINA]
)
def test_who_has_none_of_the_roles_is_told_which(person: Person) -> None:
    assert refusal(PENDING, approves(person)) == ("review.role_missing", 403)
    assert refusal(PENDING, claims(person)) == ("review.role_missing", 403)
    assert refusal(PENDING, Escalated(by=person, reason="y")) == ("review.role_missing", 403)
    with pytest.raises(RefusalError, match=r"for the roles reviewer$"):
        advance(PENDING, approves(person), now=SOON)


# Claims


def test_a_claim_keeps_others_from_voting_while_it_lasts() -> None:
    review = advance(PENDING, claims(RITA, 300), now=SOON)
    assert (review.state, review.due_at) == (State.CLAIMED, SOON + timedelta(seconds=300))
    before = SOON + timedelta(seconds=299)
    for event in (approves(RALF), rejects(RALF), claims(RALF), Escalated(by=RALF, reason="why")):
        assert refusal(review, event, before) == ("review.claimed", 409)
    assert advance(review, approves(RITA), now=before).state is State.APPROVED


def test_a_claim_ends_by_itself_though_no_timer_said_so() -> None:
    review = advance(PENDING, claims(RITA, 300), now=SOON)
    over = SOON + timedelta(seconds=300)
    assert advance(review, approves(RALF), now=over).state is State.APPROVED
    taken = advance(review, claims(RALF), now=over)
    assert taken.claim is not None
    assert (taken.state, taken.claim.by) == (State.CLAIMED, "ralf")


def test_a_claim_lapses_with_time_and_nothing_else_changes() -> None:
    review = advance(PENDING, claims(RITA, 300), now=SOON)
    lapsed = advance(review, TIME, now=SOON + timedelta(seconds=300))
    assert lapsed == replace(PENDING, version=3)
    early = SOON + timedelta(seconds=299)
    assert advance(review, TIME, now=early) is review


def test_a_vote_ends_the_claim() -> None:
    review = a_review(quorum=a_quorum(2))
    voted = after(review, claims(RITA), approves(RITA))
    assert (voted.state, voted.claim) == (State.PENDING, None)
    assert advance(voted, approves(RALF), now=SOON).state is State.APPROVED


def test_who_claimed_it_may_claim_it_for_longer() -> None:
    review = advance(PENDING, claims(RITA, 300), now=SOON)
    longer = advance(review, claims(RITA, 900), now=SOON + timedelta(seconds=60))
    assert longer.claim is not None
    assert longer.claim.until == SOON + timedelta(seconds=960)


def test_only_who_claimed_it_lets_it_go() -> None:
    review = advance(PENDING, claims(RITA), now=SOON)
    assert refusal(review, Unclaimed(by=RALF)) == ("review.not_claimed", 409)
    assert refusal(PENDING, Unclaimed(by=RITA)) == ("review.not_claimed", 409)
    free = advance(review, Unclaimed(by=RITA), now=SOON)
    assert (free.state, free.claim) == (State.PENDING, None)


def test_a_claim_is_not_let_go_when_all_is_over() -> None:
    review = advance(PENDING, claims(RITA, 7200), now=SOON)
    assert refusal(review, Unclaimed(by=RITA), LATE) == ("review.expired", 409)


# The ladder

STEP = timedelta(seconds=600)


def test_time_takes_it_up_one_level_after_another() -> None:
    second = advance(PENDING, TIME, now=NOW + STEP)
    assert (second.ladder.level, second.ladder.next_at) == (2, NOW + 2 * STEP)
    third = advance(second, TIME, now=NOW + 2 * STEP)
    assert (third.ladder.level, third.ladder.next_at) == (3, None)
    assert third.due_at == third.expires_at
    assert advance(third, TIME, now=LATE - STEP / 2) is third


def test_before_its_time_nothing_happens() -> None:
    assert advance(PENDING, TIME, now=NOW + STEP - timedelta(microseconds=1)) is PENDING


def test_a_timer_that_comes_very_late_goes_all_the_way_in_one_step() -> None:
    review = advance(PENDING, claims(RITA), now=SOON)
    third = advance(review, TIME, now=NOW + 3 * STEP)
    assert (third.state, third.claim, third.ladder.level) == (State.PENDING, None, 3)
    assert third.version == review.version + 1
    assert third.due_at == third.expires_at


def test_when_the_ladder_rises_the_claim_is_over() -> None:
    review = advance(PENDING, claims(RITA, 1200), now=SOON)
    risen = advance(review, TIME, now=NOW + STEP)
    assert (risen.state, risen.claim, risen.ladder.level) == (State.PENDING, None, 2)


def test_somebody_may_ask_for_more_eyes_and_the_clock_starts_again() -> None:
    event = Escalated(by=RITA, reason="too large for me")
    second = advance(PENDING, event, now=SOON)
    assert (second.state, second.ladder.level) == (State.PENDING, 2)
    assert second.ladder.next_at == SOON + STEP
    third = advance(second, event, now=SOON)
    assert (third.ladder.level, third.ladder.next_at) == (LEVEL_MAX, None)
    assert refusal(third, event) == ("review.top_level", 409)


def test_who_claimed_it_may_ask_for_more_eyes_and_lets_it_go_with_that() -> None:
    review = after(PENDING, claims(RITA), Escalated(by=RITA, reason="too large"))
    assert (review.state, review.claim) == (State.PENDING, None)


def test_each_level_lets_more_people_vote() -> None:
    ladder = Ladder(level=1, step_s=600, next_at=NOW + STEP, adds=("tenant_admin", "critic"))
    first = a_review(ladder=ladder)
    second = advance(first, TIME, now=NOW + STEP)
    third = advance(second, TIME, now=NOW + 2 * STEP)
    assert [review.eligible for review in (first, second, third)] == [
        {"reviewer"},
        {"reviewer", "tenant_admin"},
        {"reviewer", "tenant_admin", "critic"},
    ]
    critic, when = a_person("carl", "critic"), NOW + 2 * STEP
    assert refusal(first, approves(TINA), SOON) == ("review.role_missing", 403)
    assert advance(second, approves(TINA), now=when).state is State.APPROVED
    assert refusal(second, approves(critic), when) == ("review.role_missing", 403)
    assert advance(third, approves(critic), now=when).state is State.APPROVED


def test_who_joined_later_counts_for_the_number_and_not_for_a_role_that_each_must_hold() -> None:
    quorum = a_quorum(2, "critic", "reviewer", each=True)
    risen = advance(a_review(quorum=quorum), TIME, now=NOW + STEP)
    now = NOW + STEP
    heard = after(risen, approves(TINA), approves(RITA), now=now)
    assert heard.state is State.PENDING
    assert advance(heard, approves(a_person("c", "critic")), now=now).state is State.APPROVED


# The end


def test_time_ends_it_at_the_moment_that_the_law_says() -> None:
    review = advance(advance(PENDING, claims(RITA), now=SOON), TIME, now=LATE + STEP)
    assert (review.state, review.claim, review.due_at) == (State.EXPIRED, None, None)
    assert review.closing is not None
    assert (review.closing.code, review.closing.by) == ("review.expired", None)
    assert (review.closing.at, review.closing.reason) == (LATE, "nobody decided in time")


def test_an_approval_that_nobody_used_ends_too_and_says_so() -> None:
    review = advance(BY_STATE[State.APPROVED], TIME, now=LATE)
    assert review.state is State.EXPIRED
    assert review.closing is not None
    assert review.closing.reason == "it was not used in time"
    assert review.votes == BY_STATE[State.APPROVED].votes


def test_an_approval_does_not_rise() -> None:
    approved = BY_STATE[State.APPROVED]
    assert approved.due_at == LATE
    assert advance(approved, TIME, now=LATE - STEP) is approved


@pytest.mark.parametrize("state", [State.PENDING, State.CLAIMED, State.APPROVED])
def test_who_asked_may_take_it_back_until_it_went(state: State) -> None:
    review = advance(BY_STATE[state], Cancelled(by=WRITER, reason=" no need "), now=SOON)
    assert (review.state, review.claim) == (State.CANCELLED, None)
    assert review.closing is not None
    assert (review.closing.code, review.closing.by) == ("review.cancelled", "writer")
    assert review.closing.reason == "no need"


@pytest.mark.parametrize(
    "person", [RITA, TINA, a_person("olga"), a_person("helper", "agent", owner="olga")]
)
def test_nobody_else_takes_it_back(person: Person) -> None:
    for state in (State.PENDING, State.APPROVED):
        event = Cancelled(by=person, reason="why")
        assert refusal(BY_STATE[state], event) == ("review.not_requester", 403)


# Use


def usable(review: Review, *, digest: str = DIGEST, by: Person = WRITER) -> tuple[str, int] | None:
    try:
        consumable(review, by=by, digest=digest, now=SOON)
    except RefusalError as error:
        return error.code, error.status
    return None


def test_what_was_approved_may_be_used_by_who_asked_for_it() -> None:
    assert usable(BY_STATE[State.APPROVED]) is None


@pytest.mark.parametrize("person", [RITA, a_person("olga"), a_person("bot", owner="writer")])
def test_nobody_else_uses_it(person: Person) -> None:
    assert usable(BY_STATE[State.APPROVED], by=person) == ("review.not_requester", 403)


def test_it_is_used_for_exactly_what_was_approved() -> None:
    other = usable(BY_STATE[State.APPROVED], digest="sha256:" + "9" * 64)
    assert other == ("review.digest_mismatch", 409)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.PENDING, "review.not_approved"),
        (State.CLAIMED, "review.not_approved"),
        (State.REJECTED, "review.closed"),
        (State.EXPIRED, "review.closed"),
        (State.CANCELLED, "review.closed"),
        (State.CONSUMED, "review.consumed"),
    ],
)
def test_what_is_not_approved_cannot_be_used(state: State, code: str) -> None:
    assert usable(BY_STATE[state]) == (code, 409)


@pytest.mark.parametrize("state", sorted(OPEN | {State.APPROVED}))
def test_what_is_late_cannot_be_used(state: State) -> None:
    with pytest.raises(RefusalError) as caught:
        consumable(BY_STATE[state], by=WRITER, digest=DIGEST, now=LATE)
    assert (caught.value.code, caught.value.status) == ("review.expired", 409)


def test_it_goes_once_and_the_decision_that_let_it_go_is_named() -> None:
    gone = BY_STATE[State.CONSUMED]
    assert gone.released_by == "decision-2"
    assert gone.closing is not None
    assert gone.closing.code == "review.consumed"
    assert advance(gone, CONSUMED, now=LATE) is gone
    again = Consumed(released_by="decision-3")
    assert refusal(gone, again) == ("review.consumed", 409)


@pytest.mark.parametrize("event", [CONSUMED, OVERRULED], ids=["consumed", "overruled"])
def test_what_is_on_record_about_its_release_is_said_however_late(event: Event) -> None:
    assert advance(BY_STATE[State.APPROVED], event, now=LATE + STEP).state in ENDED


@pytest.mark.parametrize("event", [CONSUMED, OVERRULED], ids=["consumed", "overruled"])
@pytest.mark.parametrize("state", sorted(OPEN))
def test_what_people_did_not_approve_never_goes(state: State, event: Event) -> None:
    assert refusal(BY_STATE[state], event) == ("review.not_approved", 409)


@pytest.mark.parametrize("state", sorted(ENDED - {State.CONSUMED}))
def test_what_ended_otherwise_never_goes(state: State) -> None:
    assert refusal(BY_STATE[state], CONSUMED) == ("review.closed", 409)


def test_a_law_that_changed_meanwhile_wins_and_says_which() -> None:
    review = advance(BY_STATE[State.APPROVED], OVERRULED, now=SOON)
    assert (review.state, review.released_by) == (State.REJECTED, "decision-2")
    assert review.closing is not None
    assert (review.closing.code, review.closing.reason) == ("policy.forbidden", "the rule changed")
    assert review.closing.by is None
    assert advance(review, OVERRULED, now=SOON) is review
    assert refusal(review, CONSUMED) == ("review.closed", 409)
