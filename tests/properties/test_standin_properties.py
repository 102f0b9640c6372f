"""Whatever people gave to one another, nobody holds more than somebody's own token carries."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from policies.errors import RefusalError
from policies.panel import Choice
from policies.principal import Principal
from policies.review import Person, Review, Voted
from policies.reviewing import advance
from policies.roles import ON_CALL
from policies.standin import Delegation, Gift, Shift, Standing, delegated, on_call, person_of

from builders import NOW, a_principal, a_quorum, a_review

# Few names, so that people meet themselves and one another's owners.
NAMES: Final = ("ann", "ben", "cat", "dan", "eve")
ROLES: Final = ("reviewer", "tenant_admin", "critic", "agent", "auditor", ON_CALL)
LASTS: Final = st.integers(min_value=-2, max_value=40).map(timedelta)

principals = st.builds(
    lambda name, owner, roles: a_principal(agent=name, owner=owner, roles=roles),
    st.sampled_from(NAMES),
    st.sampled_from((None, None, *NAMES)),
    st.frozensets(st.sampled_from(ROLES), max_size=3),
)
gifts = st.builds(
    Gift,
    to=st.sampled_from(NAMES),
    roles=st.none() | st.frozensets(st.sampled_from(ROLES), max_size=2),
    reason=st.just("away"),
    until=LASTS.map(lambda lasts: NOW + lasts),
)
given_by = st.lists(st.tuples(principals, gifts), max_size=12)
shifts = st.lists(
    st.builds(
        lambda person, begins: Shift(
            shift_id="night",
            person=person,
            starts_at=NOW + timedelta(hours=begins),
            ends_at=NOW + timedelta(hours=begins + 8),
        ),
        st.sampled_from(NAMES),
        st.integers(min_value=-12, max_value=12),
    ),
    max_size=4,
).map(tuple)
moments = st.integers(min_value=0, max_value=20).map(lambda days: NOW + timedelta(days=days))


def accepted(offers: list[tuple[Principal, Gift]]) -> list[tuple[Principal, Delegation]]:
    found = []
    for giver, gift in offers:
        with suppress(RefusalError):
            found.append((giver, delegated(giver, gift, now=NOW)))
    return found


@given(
    who=principals,
    offers=given_by,
    plans=shifts,
    now=moments,
    stopped=st.frozensets(st.sampled_from(NAMES), max_size=2),
)
def test_nobody_holds_more_than_was_theirs_to_give(
    *,
    who: Principal,
    offers: list[tuple[Principal, Gift]],
    plans: tuple[Shift, ...],
    now: datetime,
    stopped: frozenset[str],
) -> None:
    found = accepted(offers)
    standing = Standing(delegations=tuple(each for _, each in found), shifts=plans)
    person = person_of(who, standing, stopped=stopped.__contains__, now=now)
    assert person.roles - {ON_CALL} == who.roles - {ON_CALL}
    if ON_CALL in person.roles:
        assert who.agent in on_call(plans, now)
        assert person.roles & {"reviewer", "tenant_admin"}
    house = {who.agent, who.owner}
    for absent in person.stands_for:
        assert not absent.names & house
        assert not absent.names & stopped
        assert absent.roles <= {"reviewer", "tenant_admin"}
        assert any(
            giver.agent == absent.name and absent.roles <= giver.roles and now < each.until
            for giver, each in found
            if each.to == who.agent
        )


@given(given_by, st.permutations(NAMES))
def test_however_they_stand_in_for_one_another_a_name_has_one_voice(
    offers: list[tuple[Principal, Gift]], order: list[str]
) -> None:
    standing = Standing(delegations=tuple(each for _, each in accepted(offers)))
    review: Review = a_review(quorum=a_quorum(9, "reviewer", "tenant_admin"))
    for name, role in [*((name, "reviewer") for name in order), *((n, "critic") for n in order)]:
        who = a_principal(agent=name, roles=frozenset({role}))
        person: Person = person_of(who, standing, stopped=lambda _: False, now=NOW)
        for voter in (person, replace(person, roles=frozenset())):  # in their own name, or not
            with suppress(RefusalError):
                says = Voted(by=voter, choice=Choice.ABSTAIN, reason="seen")
                review = advance(review, says, now=NOW + timedelta(seconds=1))
    heard = [name for vote in review.votes for name in vote.names]
    assert len(heard) == len(set(heard))
