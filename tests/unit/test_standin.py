"""Who may decide in whose stead, who is on call, and which critics are called."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policies.controls import Controls, Kill, KillScope
from policies.errors import RefusalError
from policies.panel import SEATS_MAX, WEIGHT_MAX, Choice, Seat
from policies.principal import Principal
from policies.review import Absent, Person, Review, State, Voted
from policies.reviewing import advance
from policies.roles import ON_CALL, ROLE_SCOPES, decides, granted_scopes, known_roles
from policies.standin import (
    AHEAD_MAX,
    DELEGATION_MAX,
    REASON_MAX,
    SHIFT_MAX,
    Critic,
    Delegation,
    Gift,
    Shift,
    Standing,
    delegated,
    on_call,
    person_of,
    planned,
    seats,
)

from builders import NOW, a_principal, a_quorum, a_review

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SOON = NOW + timedelta(minutes=1)


def a_caller(name: str = "rita", *roles: str, owner: str | None = None) -> Principal:
    return a_principal(agent=name, roles=frozenset(roles or ("reviewer",)), owner=owner)


def a_gift(
    to: str = "dana",
    roles: frozenset[str] | None = None,
    *,
    reason: str = "I am away",
    until: datetime = NOW + DAY,
) -> Gift:
    return Gift(to=to, roles=roles, reason=reason, until=until)


def given(
    giver: Principal | None = None,
    to: str = "dana",
    *roles: str,
    until: datetime = NOW + DAY,
) -> Delegation:
    gift = a_gift(to, frozenset(roles) or None, until=until)
    return delegated(giver or a_caller(), gift, now=NOW)


def a_shift(
    person: str = "dana",
    starts_at: datetime = NOW,
    ends_at: datetime = NOW + HOUR,
    *,
    shift_id: str = "night",
) -> Shift:
    return Shift(shift_id=shift_id, person=person, starts_at=starts_at, ends_at=ends_at)


def person(
    principal: Principal,
    *delegations: Delegation,
    shifts: tuple[Shift, ...] = (),
    now: datetime = SOON,
    controls: Controls | None = None,
) -> Person:
    board = controls or Controls()
    return person_of(
        principal,
        Standing(delegations=delegations, shifts=shifts),
        stopped=lambda name: board.is_stopped(principal.tenant, name),
        now=now,
    )


def refused(caller: Principal, gift: Gift) -> tuple[str, int]:
    with pytest.raises(RefusalError) as caught:
        delegated(caller, gift, now=NOW)
    assert str(caught.value)
    return caught.value.code, caught.value.status


def approve(review: Review, by: Person) -> Review:
    return advance(review, Voted(by=by, choice=Choice.APPROVE, reason="I looked"), now=SOON)


def code(review: Review, by: Person) -> str:
    with pytest.raises(RefusalError) as caught:
        approve(review, by)
    return caught.value.code


# Giving


def test_what_is_given_says_who_for_what_until_when_and_why() -> None:
    caller = a_caller("rita", "reviewer", "auditor", "tenant_admin", owner="rose")
    assert delegated(caller, a_gift(reason="  I am away "), now=NOW) == Delegation(
        giver="rita",
        giver_owner="rose",
        to="dana",
        roles=frozenset({"reviewer", "tenant_admin"}),
        reason="I am away",
        made_at=NOW,
        until=NOW + DAY,
    )
    narrow = delegated(caller, a_gift(roles=frozenset({"reviewer"})), now=NOW)
    assert narrow.roles == {"reviewer"}


@pytest.mark.parametrize("roles", [{"tenant_admin"}, {"reviewer", "tenant_admin"}, {"nobody"}, {}])
def test_nobody_gives_what_their_own_token_does_not_carry(roles: set[str]) -> None:
    gift = a_gift(roles=frozenset(roles))
    assert refused(a_caller(), gift) == ("standin.role_missing", 403)


@pytest.mark.parametrize("role", ["agent", "auditor", "operator", "policy_author", "critic"])
def test_what_does_not_decide_for_people_is_not_given(role: str) -> None:
    for roles in (None, frozenset({role})):
        assert refused(a_caller("rita", role), a_gift(roles=roles))[0] == "standin.role_missing"


@pytest.mark.parametrize("roles", [set(), {"agent"}, {"reviewer", "critic"}, {ON_CALL}])
def test_there_is_no_delegation_that_nobody_could_give(roles: set[str]) -> None:
    with pytest.raises(RefusalError) as caught:
        replace(given(), roles=frozenset(roles))
    assert (caught.value.code, caught.value.status) == ("standin.role_missing", 403)


def test_what_was_given_goes_no_further() -> None:
    admin = given(a_caller("adam", "tenant_admin"), "rita")
    rita = person(a_caller("rita"), admin)
    assert rita.stands_for[0].roles == {"tenant_admin"}
    # What she gives comes from her own token, and that carries no more than before.
    gift = a_gift(roles=frozenset({"tenant_admin"}))
    assert refused(a_caller("rita"), gift)[0] == "standin.role_missing"


@pytest.mark.parametrize("to", ["rita", "rose"])
def test_nobody_gives_to_their_own_house(to: str) -> None:
    assert refused(a_caller("rita", owner="rose"), a_gift(to)) == ("standin.own_house", 403)


@pytest.mark.parametrize("to", ["", "R", "dana:rita", "dana rita", "*", "d" * 65])
def test_only_an_id_can_be_given_to(to: str) -> None:
    assert refused(a_caller(), a_gift(to)) == ("standin.invalid", 422)


@pytest.mark.parametrize("reason", ["", "  ", "\u200b", "x" * (REASON_MAX + 1)])
def test_a_reason_is_required(reason: str) -> None:
    assert refused(a_caller(), a_gift(reason=reason)) == ("standin.reason_required", 422)


def test_it_ends_and_not_too_late() -> None:
    assert given(until=NOW + DELEGATION_MAX).until == NOW + timedelta(days=14)
    for until in (NOW, NOW - HOUR, NOW + DELEGATION_MAX + timedelta(microseconds=1)):
        assert refused(a_caller(), a_gift(until=until)) == ("standin.period", 422)
    naive = (NOW + DAY).replace(tzinfo=None)
    assert refused(a_caller(), a_gift(until=naive)) == ("standin.period", 422)


# Standing in


def test_who_was_asked_to_stands_for_the_giver_until_it_is_over() -> None:
    rose = a_caller("rita", "reviewer", owner="rose")
    delegation = given(rose)
    absent = Absent(name="rita", owner="rose", roles=frozenset({"reviewer"}))
    dana = a_caller("dana", "tenant_admin")
    assert person(dana, delegation).stands_for == (absent,)
    assert person(dana, delegation, now=NOW + DAY).stands_for == ()
    assert person(a_caller("ralf"), delegation).stands_for == ()


def test_nobody_stands_for_their_own_house() -> None:
    to_bot = given(a_caller("rita"), "bot")
    assert person(a_caller("bot", "reviewer", owner="rita"), to_bot).stands_for == ()
    of_rose = given(a_caller("rita", owner="rose"), "bot")
    assert person(a_caller("bot", "reviewer", owner="rose"), of_rose).stands_for == ()
    assert len(person(a_caller("bot", "reviewer", owner="dana"), of_rose).stands_for) == 1


@pytest.mark.parametrize("roles", [("critic",), ("agent",), ("auditor", "critic")])
def test_who_does_not_decide_for_people_neither_stands_in_nor_is_on_call(
    roles: tuple[str, ...],
) -> None:
    found = person(a_caller("dana", *roles), given(), shifts=(a_shift(),))
    assert found == Person(name="dana", roles=frozenset(roles))


def test_several_are_stood_for_in_a_steady_order() -> None:
    gifts = [given(a_caller(name)) for name in ("zoe", "adam", "mia")]
    found = person(a_caller("dana"), *gifts)
    assert [absent.name for absent in found.stands_for] == ["adam", "mia", "zoe"]


def test_nobody_stands_for_who_is_revoked_or_stopped_nor_for_who_answers_for_them() -> None:
    delegation, dana = given(a_caller("rita", owner="rose")), a_caller("dana")
    for name in ("rita", "rose"):
        revoked = Controls().with_revoked_agent("acme", name)
        assert person(dana, delegation, controls=revoked).stands_for == ()
    for scope in (KillScope(agent="rita"), KillScope(tenant="acme"), KillScope()):
        kill = Kill(scope=scope, reason="it is under attack", by="oscar", at=NOW)
        stopped = Controls().with_kill(kill)
        assert person(dana, delegation, controls=stopped).stands_for == ()
    of_others = (
        Controls().with_revoked_agent("globex", "rita"),
        Controls().with_kill(
            Kill(scope=KillScope(agent="rita", tool="file.delete"), reason="x", by="o", at=NOW)
        ),
    )
    for controls in of_others:
        assert len(person(dana, delegation, controls=controls).stands_for) == 1


def test_a_delegate_votes_once_for_the_giver_who_cannot_vote_afterwards() -> None:
    review = a_review(quorum=a_quorum(2, "reviewer"))
    dana = person(a_caller("dana", "tenant_admin"), given())
    review = approve(review, dana)
    [vote] = review.votes
    assert (vote.by, vote.roles, vote.in_stead_of) == ("dana", ("reviewer",), ("rita",))
    assert code(review, dana) == "review.already_voted"
    assert code(review, person(a_caller("rita"))) == "review.already_voted"
    assert code(review, person(a_caller("bot", "reviewer", owner="rita"))) == "review.already_voted"
    assert approve(review, person(a_caller("ralf"))).state is State.APPROVED


def test_who_voted_for_themselves_does_not_vote_for_another_too() -> None:
    review = approve(a_review(quorum=a_quorum(2, "reviewer")), person(a_caller("dana"), given()))
    assert review.votes[0].in_stead_of == ()
    assert code(review, person(a_caller("dana"), given())) == "review.already_voted"
    # The giver was not spoken for, so their own word still counts.
    assert approve(review, person(a_caller("rita"))).state is State.APPROVED


def test_two_who_stand_for_one_are_one_voice() -> None:
    review = a_review(quorum=a_quorum(2, "reviewer"))
    dana = person(a_caller("dana", "tenant_admin"), given(to="dana"))
    carl = person(a_caller("carl", "tenant_admin"), given(to="carl"))
    review = approve(review, dana)
    assert code(review, carl) == "review.already_voted"


@pytest.mark.parametrize(
    "giver",
    [a_caller("olga"), a_caller("writer"), a_caller("bot", "reviewer", owner="olga")],
)
def test_nobody_decides_for_the_house_that_asked(giver: Principal) -> None:
    dana = person(a_caller("dana", "tenant_admin"), given(giver))
    assert code(a_review(), dana) == "review.self_approval"  # `writer` of `olga` asked


def test_a_delegate_of_the_house_that_asked_does_not_decide_for_others_either() -> None:
    bot = person(a_caller("bot", "tenant_admin", owner="olga"), given(to="bot"))
    assert code(a_review(), bot) == "review.self_approval"


def test_narrower_roles_stay_narrow() -> None:
    adam = a_caller("adam", "reviewer", "tenant_admin")
    dana = person(a_caller("dana"), given(adam, "dana", "reviewer"))
    review = a_review(quorum=a_quorum(1, "tenant_admin"))
    assert code(review, dana) == "review.role_missing"
    whole = person(a_caller("dana"), given(adam, "dana"))
    assert approve(review, whole).state is State.APPROVED


# On call


def test_who_is_on_call_now_holds_that_role_for_reviews() -> None:
    shifts = (a_shift(), a_shift("rita", NOW + HOUR, NOW + 2 * HOUR, shift_id="day"))
    assert on_call(shifts, NOW) == ("dana",)
    assert on_call(shifts, NOW + HOUR) == ("rita",)
    assert on_call(shifts, NOW + 2 * HOUR) == ()
    assert on_call(shifts, NOW - HOUR) == ()
    assert on_call((a_shift(), a_shift(shift_id="second")), NOW) == ("dana",)
    assert person(a_caller("dana"), shifts=shifts, now=NOW).roles == {"reviewer", ON_CALL}
    assert person(a_caller("dana"), shifts=shifts, now=NOW + HOUR).roles == {"reviewer"}
    assert person(a_caller("rita"), shifts=shifts, now=NOW).roles == {"reviewer"}


def test_a_token_that_claims_to_be_on_call_gains_nothing() -> None:
    assert ON_CALL not in ROLE_SCOPES
    assert not decides(ON_CALL)
    assert known_roles([ON_CALL, "reviewer"]) == {"reviewer"}
    assert granted_scopes([ON_CALL], None) == frozenset()
    claims = a_caller("dana", "reviewer", ON_CALL)
    assert person(claims).roles == {"reviewer"}
    gift = a_gift("rita", frozenset({ON_CALL}))
    assert refused(claims, gift)[0] == "standin.role_missing"


def test_who_stands_in_for_somebody_on_call_is_not_on_call() -> None:
    dana = person(a_caller("dana"), given(), shifts=(a_shift("rita"),))
    assert dana.roles == {"reviewer"}
    assert dana.stands_for[0].roles == {"reviewer"}


def test_who_is_on_call_decides_where_that_is_asked_for() -> None:
    review = a_review(quorum=a_quorum(1, ON_CALL))
    assert code(review, person(a_caller("dana"))) == "review.role_missing"
    review = approve(review, person(a_caller("dana"), shifts=(a_shift(),)))
    assert (review.state, review.votes[0].roles) == (State.APPROVED, (ON_CALL,))


def test_a_shift_has_an_end_and_a_bound() -> None:
    a_shift(ends_at=NOW + SHIFT_MAX)
    for ends_at in (NOW, NOW - HOUR, NOW + SHIFT_MAX + timedelta(seconds=1)):
        with pytest.raises(RefusalError, match="ends after it begins"):
            a_shift(ends_at=ends_at)
    for changes in ({"person": "*"}, {"shift_id": "a:b"}):
        with pytest.raises(RefusalError, match="no id"):
            a_shift(**changes)  # type: ignore[arg-type]  # both are names


def test_only_what_is_to_come_is_planned() -> None:
    assert planned(a_shift(), now=NOW) == a_shift()
    far = a_shift(starts_at=NOW + AHEAD_MAX, ends_at=NOW + AHEAD_MAX + HOUR)
    assert planned(far, now=NOW) == far
    for shift, now in ((a_shift(), NOW + HOUR), (far, NOW - HOUR)):
        with pytest.raises(RefusalError) as caught:
            planned(shift, now=now)
        assert (caught.value.code, caught.value.status) == ("standin.period", 422)


# Critics


def test_the_weightiest_critics_are_called_first_and_no_more_than_there_are_seats() -> None:
    bench = [Critic(agent=f"critic-{number:02}", weight=1) for number in range(SEATS_MAX)]
    bench = [Critic(agent="zoe", weight=WEIGHT_MAX), *reversed(bench), Critic(agent="a1", weight=2)]
    called = seats(bench)
    assert len(called) == SEATS_MAX
    assert called[:3] == (
        Seat(agent="zoe", weight=WEIGHT_MAX),
        Seat(agent="a1", weight=2),
        Seat(agent="critic-00", weight=1),
    )
    assert seats([]) == ()


@pytest.mark.parametrize("weight", [0, -1, WEIGHT_MAX + 1, 1.0, True, "1"])
def test_a_critic_has_a_weight_within_bounds(weight: object) -> None:
    with pytest.raises(RefusalError) as caught:
        replace(Critic(agent="carl", weight=1), weight=weight)  # type: ignore[arg-type]  # on purpose
    assert (caught.value.code, caught.value.status) == ("critic.weight", 422)
    with pytest.raises(RefusalError, match="no id"):
        Critic(agent="", weight=1)
