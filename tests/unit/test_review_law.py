"""What a held action needs, what a policy can add to that, and what an approval is bound to."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from itertools import permutations
from typing import Any, Final

import pytest
import yaml

from cluster.law import CONSTITUTION_FILE
from policies.decision import Decision, Effect, Lane, Obligation
from policies.review import Ladder, Quorum, Rule, State
from policies.review_law import TTL_MAX_S, ReviewLaw, Terms, action_digest, review_of, terms_of

from builders import (
    NOW,
    REVIEWS,
    a_decision,
    a_finding,
    a_quorum,
    a_reason,
    a_review_law,
    an_impact,
    an_obligation,
)

LAW = a_review_law()
GRAVE, LIGHT = LAW.tiers
FAR = NOW + timedelta(days=60)


def asks(**properties: object) -> Obligation:
    return an_obligation("o", "require_review", properties=properties)


def terms(*obligations: Obligation, score: float = 0.2, law: ReviewLaw = LAW) -> Terms:
    decision = a_decision(
        effect=Effect.REVIEW,
        lane=Lane.HUMAN,
        impact=an_impact(score),
        obligations=obligations,
        expires_at=FAR,
    )
    return terms_of(decision, law)


def lasts(found: Terms) -> float:
    return (found.expires_at - NOW).total_seconds()


# The law of this build


def test_the_tiers_of_this_build_are_those_of_the_reference() -> None:
    law = ReviewLaw.from_mapping(yaml.safe_load(CONSTITUTION_FILE.read_text())["reviews"])
    hour = 3600
    assert [
        (tier.name, tier.from_impact, tier.quorum.needed, tier.ttl_s / hour, tier.escalate_s / hour)
        for tier in law.tiers
    ] == [
        ("critical", 0.9, 3, 4, 1),
        ("high", 0.7, 2, 24, 4),
        ("policy_change", 0.5, 2, 48, 8),
        ("standard", 0.0, 1, 72, 24),
    ]
    assert [tier.quorum.each for tier in law.tiers] == [True, False, False, False]
    assert {tier.quorum.rule for tier in law.tiers} == {Rule.VETO}
    # Last, so that nobody who could decide before has to wait longer.
    assert law.adds == ("tenant_admin", "on_call")


def test_who_is_on_call_can_be_named_wherever_who_decides_is() -> None:
    section = changed(lambda section: section.update(escalation_adds=["on_call"]))
    section["tiers"]["light"].update(roles=["on_call", "reviewer"])
    law = ReviewLaw.from_mapping(section)
    assert (law.adds, law.tiers[1].quorum.roles) == (("on_call",), ("on_call", "reviewer"))
    named = terms(asks(roles=["on_call"]), law=law)
    assert (named.tier, named.quorum.roles) == ("light", ("on_call",))


def test_who_is_on_call_joins_no_review_for_which_a_policy_named_other_roles() -> None:
    section = changed(lambda section: section.update(escalation_adds=["tenant_admin", "on_call"]))
    law = ReviewLaw.from_mapping(section)
    assert terms(law=law).ladder.adds == ("tenant_admin", "on_call")
    assert terms(asks(quorum=2), law=law).ladder.adds == ("tenant_admin", "on_call")
    for roles in (["tenant_admin"], ["reviewer"], ["on_call"]):
        assert terms(asks(roles=roles), law=law).ladder.adds == ("tenant_admin",)


def test_a_law_is_read_with_the_gravest_first() -> None:
    assert [tier.name for tier in LAW.tiers] == ["grave", "light"]
    assert GRAVE.quorum == a_quorum(3, "reviewer", "tenant_admin", each=True)
    assert (LAW.claim_s, LAW.open_max) == (900, 100)


def test_those_who_join_later_join_in_the_order_that_was_written() -> None:
    for order in (["tenant_admin", "critic"], ["critic", "tenant_admin"]):
        law = ReviewLaw.from_mapping({**REVIEWS, "escalation_adds": order})
        assert law.adds == tuple(order)


def test_nobody_need_join_later() -> None:
    assert ReviewLaw.from_mapping({**REVIEWS, "escalation_adds": []}).adds == ()


@pytest.mark.parametrize(
    ("score", "name"),
    [
        (0.0, "light"),
        (0.8999, "light"),
        (0.9, "grave"),
        (1.0, "grave"),
        (2.0, "grave"),
        (math.inf, "grave"),
        (math.nan, "grave"),
        (-0.1, "grave"),
        (-math.inf, "grave"),
    ],
)
def test_a_tier_is_found_by_impact_and_what_is_no_impact_is_the_gravest(
    score: float, name: str
) -> None:
    assert LAW.tier(score).name == name


# What is no law


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    section = copy.deepcopy(dict(REVIEWS))
    change(section)
    return section


def light(**values: object) -> dict[str, Any]:
    return changed(lambda section: section["tiers"]["light"].update(values))


def grave(**values: object) -> dict[str, Any]:
    return changed(lambda section: section["tiers"]["grave"].update(values))


@pytest.mark.parametrize("section", [None, [], "reviews", 5])
def test_what_is_no_mapping_is_no_law(section: object) -> None:
    with pytest.raises(ValueError, match="reviews must be a mapping"):
        ReviewLaw.from_mapping(section)


@pytest.mark.parametrize("key", sorted(REVIEWS))
def test_a_missing_clause_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=rf"reviews\.{key} is missing"):
        ReviewLaw.from_mapping(changed(lambda section: section.pop(key)))


@pytest.mark.parametrize("key", ["from", "needed", "roles", "each", "rule", "ttl_s", "escalate_s"])
def test_a_missing_clause_of_a_tier_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=rf"reviews\.tiers\.light\.{key} is missing"):
        ReviewLaw.from_mapping(changed(lambda section: section["tiers"]["light"].pop(key)))


BAD: Final = (
    (changed(lambda section: section.update(auto_approve=0.3)), "not know: auto_approve"),
    (light(auto=True), r"tiers\.light has clauses .*: auto"),
    (light(needed=0), r"light\.needed must be from 1 to 32"),
    (light(needed=33), r"light\.needed must be from 1 to 32"),
    (light(needed=1.5), r"light\.needed must be a whole number"),
    (light(needed=True), r"light\.needed must be a number"),
    (light(needed="1"), r"light\.needed must be a number"),
    (light(needed=float("nan")), r"light\.needed must be from"),
    (light(roles=[]), r"light\.roles must name who decides"),
    (light(roles="reviewer"), r"light\.roles must be a list"),
    (light(roles=["agent"]), r"light\.roles names roles that cannot decide: \['agent'\]"),
    (light(roles=["auditor", "reviewer"]), r"cannot decide: \['auditor'\]"),
    (light(roles=["nobody"]), r"cannot decide: \['nobody'\]"),
    (light(roles=["reviewer", "reviewer"]), r"light\.roles must list each word once"),
    (light(roles=["Reviewer"]), r"light\.roles must list lower-case words"),
    (light(each="yes"), r"light\.each must be true or false"),
    (light(each=1), r"light\.each must be true or false"),
    (light(rule="unanimous"), r"light\.rule must be one of majority, veto"),
    (light(rule=["veto"]), r"light\.rule must be one of"),
    (light(ttl_s=0), r"light\.ttl_s must be from 1"),
    (light(ttl_s=TTL_MAX_S + 1), r"light\.ttl_s must be from 1"),
    (light(escalate_s=0), r"light\.escalate_s must be from 1"),
    (light(**{"from": 1.5}), r"light\.from must be from 0 to 1"),
    (light(**{"from": 0.1}), r"tiers must have one that starts from 0"),
    (grave(**{"from": 0.0}), r"must not start from the same impact"),
    (grave(needed=1), r"grave\.needed is below the number of roles"),
    (light(needed=4), "the graver must not ask for less"),
    (grave(each=False, needed=2, rule="majority"), "the graver must not ask for less"),
    (grave(ttl_s=7201), "the graver must not ask for less"),
    (
        changed(
            lambda section: (
                section["tiers"]["light"].update(each=True),
                section["tiers"]["grave"].update(each=False),
            )
        ),
        "the graver must not ask for less",
    ),
    (changed(lambda section: section.update(tiers={})), "must have one that starts from 0"),
    (changed(lambda section: section.update(tiers=[])), r"reviews\.tiers must be a mapping"),
    (changed(lambda section: section["tiers"].update(new=3)), r"tiers\.new must be a mapping"),
    (changed(lambda section: section.update(claim_s=0)), r"claim_s must be from 1"),
    (changed(lambda section: section.update(claim_s=86_401)), r"claim_s must be from 1"),
    (changed(lambda section: section.update(open_max=0)), r"open_max must be from 1"),
    (changed(lambda section: section.update(open_max=2.5)), r"open_max must be a whole"),
    (
        changed(lambda section: section.update(escalation_adds=["operator"])),
        r"escalation_adds names roles that cannot decide: \['operator'\]",
    ),
    (
        changed(
            lambda section: section.update(escalation_adds=["critic", "reviewer", "tenant_admin"])
        ),
        "escalation_adds must have at most 2 roles",
    ),
)


@pytest.mark.parametrize(("section", "told"), BAD, ids=range(len(BAD)))
def test_a_law_that_cannot_be_kept_is_refused_by_name(section: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ReviewLaw.from_mapping(section)


def test_each_of_one_role_is_that_role() -> None:
    assert ReviewLaw.from_mapping(light(each=True)).tiers[1].quorum == a_quorum(each=True)


# The terms of one decision


def test_without_an_obligation_the_impact_says_it_all() -> None:
    found = terms()
    assert (found.tier, found.quorum, lasts(found)) == ("light", LIGHT.quorum, 7200)
    assert found.ladder == Ladder(
        level=1,
        step_s=600,
        next_at=NOW + timedelta(seconds=600),
        adds=("tenant_admin",),
    )
    grave = terms(score=0.95)
    assert (grave.tier, grave.quorum, lasts(grave)) == ("grave", GRAVE.quorum, 1800)
    assert grave.ladder.step_s == 300


def test_an_impact_that_is_no_number_is_the_gravest() -> None:
    assert terms(score=math.nan).tier == "grave"


def test_a_review_never_outlives_its_message() -> None:
    message_ends = NOW + timedelta(minutes=5)
    held = a_decision(effect=Effect.REVIEW, expires_at=message_ends)
    assert terms_of(held, LAW).expires_at == message_ends
    asked = replace(held, obligations=(asks(ttl=60),))
    assert terms_of(asked, LAW).expires_at == NOW + timedelta(seconds=60)
    asked = replace(held, obligations=(asks(ttl=10**9),))
    assert terms_of(asked, LAW).expires_at == message_ends


def test_other_obligations_change_nothing() -> None:
    redact = an_obligation("r", "redact", properties={"quorum": 5, "roles": ["critic"]})
    assert terms(redact) == terms()


@pytest.mark.parametrize(
    ("asked", "quorum", "ttl_s"),
    [
        ({}, a_quorum(1), 7200),
        ({"quorum": 2}, a_quorum(2), 7200),
        ({"quorum": 1}, a_quorum(1), 7200),
        ({"quorum": 32}, a_quorum(32), 7200),
        ({"quorum": 10**400}, a_quorum(32), 7200),  # nobody lets that go
        ({"roles": ["reviewer"]}, a_quorum(1), 7200),
        ({"roles": ["tenant_admin"]}, a_quorum(1, "tenant_admin"), 7200),
        ({"roles": ("tenant_admin",)}, a_quorum(1, "tenant_admin"), 7200),
        ({"roles": ["reviewer", "tenant_admin"]}, a_quorum(1), 7200),  # would be more people
        ({"ttl": 60}, a_quorum(1), 60),
        ({"ttl": 0.5}, a_quorum(1), 0.5),
        ({"ttl": 7201}, a_quorum(1), 7200),
        ({"ttl": 10**400}, a_quorum(1), 7200),
        ({"ttl": math.inf}, a_quorum(1), 7200),
        ({"quorum": 3, "roles": ["tenant_admin"], "ttl": 5}, a_quorum(3, "tenant_admin"), 5),
    ],
    ids=range(15),
)
def test_a_policy_can_ask_for_more(asked: dict[str, object], quorum: Quorum, ttl_s: float) -> None:
    found = terms(asks(**asked))
    assert (found.tier, found.quorum, lasts(found)) == ("light", quorum, ttl_s)
    assert found.ladder == terms().ladder


@pytest.mark.parametrize(
    "asked",
    [
        {"quorum": 0},
        {"quorum": -1},
        {"quorum": 1.0},
        {"quorum": "2"},
        {"quorum": True},
        {"quorum": None},
        {"quorum": [2]},
        {"roles": None},
        {"roles": []},
        {"roles": "reviewer"},
        {"roles": {"reviewer": 1}},
        {"roles": ["agent"]},
        {"roles": ["reviewer", "operator"]},
        {"roles": ["reviewer", "reviewer"]},
        {"roles": ["Reviewer"]},
        {"roles": [1]},
        {"roles": [["reviewer"]]},
        {"roles": ["critic"]},  # can decide, but neither the tier nor the ladder trusts it
        {"ttl": 0},
        {"ttl": -5},
        {"ttl": "1h"},
        {"ttl": True},
        {"ttl": None},
        {"ttl": math.nan},
        {"qourum": 2},
        {"quorum": 2, "rule": "majority"},
    ],
    ids=repr,
)
def test_what_cannot_be_understood_counts_as_the_gravest_tier(asked: dict[str, object]) -> None:
    assert terms(asks(**asked)) == terms(score=1.0)


def test_what_can_be_understood_beside_it_still_counts() -> None:
    garbled = asks(quorum="many")
    assert terms(garbled, asks(quorum=5)).quorum == replace(GRAVE.quorum, needed=5)
    assert lasts(terms(garbled, asks(ttl=60))) == 60
    assert terms(garbled, asks(roles=["tenant_admin"])).quorum == GRAVE.quorum
    assert terms(garbled, asks(roles=["critic"])).quorum == GRAVE.quorum


def test_where_each_role_must_approve_a_named_role_must_too() -> None:
    section = changed(lambda section: section.update(escalation_adds=["tenant_admin", "critic"]))
    law = ReviewLaw.from_mapping(section)
    found = terms(asks(roles=["critic"]), score=1.0, law=law)
    assert found.quorum == a_quorum(3, "critic", "reviewer", "tenant_admin", each=True)
    section["tiers"]["grave"].update(needed=2)
    law = ReviewLaw.from_mapping(section)
    found = terms(asks(roles=["critic", "reviewer"]), score=1.0, law=law)
    assert found.quorum == a_quorum(3, "critic", "reviewer", "tenant_admin", each=True)


def test_no_role_that_each_must_hold_is_ever_dropped() -> None:
    for roles in (["reviewer"], ["tenant_admin"], ["reviewer", "tenant_admin"], ["critic"]):
        assert terms(asks(roles=roles), score=1.0).quorum == GRAVE.quorum


def test_what_policies_ask_for_adds_up() -> None:
    two, three, quick = asks(quorum=2), asks(quorum=3, ttl=600), asks(ttl=60)
    found = terms(two, three, quick)
    assert (found.quorum.needed, lasts(found)) == (3, 60)


def test_policies_that_leave_nobody_to_decide_count_as_the_gravest_tier() -> None:
    both = (asks(roles=["reviewer"]), asks(roles=["tenant_admin"]))
    assert terms(*both) == terms(score=1.0)


ASKED: Final = (
    asks(quorum=5),
    asks(quorum="many"),
    asks(roles=["tenant_admin"]),
    asks(roles=["reviewer", "tenant_admin"], ttl=60),
    asks(ttl=600),
)


@pytest.mark.parametrize("score", [0.2, 0.95])
def test_the_order_in_which_policies_ask_changes_nothing(score: float) -> None:
    for number in range(1, 4):
        for some in permutations(ASKED, number):
            ordered = sorted(some, key=ASKED.index)
            assert terms(*some, score=score) == terms(*ordered, score=score)


@pytest.mark.parametrize("score", [0.2, 0.95])
def test_one_more_demand_never_makes_it_milder(score: float) -> None:
    for number in range(3):
        for some in permutations(ASKED, number):
            before = terms(*some, score=score)
            for more in ASKED:
                after = terms(*some, more, score=score)
                assert after.quorum.needed >= before.quorum.needed
                assert after.quorum.each >= before.quorum.each
                assert after.expires_at <= before.expires_at


# The review that a decision opens


def test_a_review_takes_over_what_the_decision_says() -> None:
    held = a_decision(
        effect=Effect.REVIEW,
        lane=Lane.HUMAN,
        owner="olga",
        delivers=False,
        reasons=(a_reason("policy.held"),),
        impact=an_impact(0.95),
        expires_at=FAR,
    )
    review = review_of(held, LAW)
    assert review.review_id == review.decision_id == held.decision_id
    same = {field.name for field in fields(review)} & {field.name for field in fields(held)}
    same -= {"review_id", "expires_at"}
    assert {name: getattr(review, name) for name in same} == {
        name: getattr(held, name) for name in same
    }
    assert review.agent_roles == held.roles
    assert (review.state, review.version, review.votes) == (State.PENDING, 1, ())
    assert (review.claim, review.closing, review.released_by) == (None, None, None)
    assert review.action_digest == action_digest(held)
    found = terms_of(held, LAW)
    assert (review.tier, review.quorum, review.ladder) == (found.tier, found.quorum, found.ladder)
    assert (review.opened_at, review.expires_at) == (NOW, found.expires_at)
    assert review.due_at == NOW + timedelta(seconds=300)


# What an approval is bound to

BOUND: Final[Mapping[str, Any]] = {
    "tenant": "other",
    "agent": "other",
    "recipient": None,
    "message_type": "query",
    "action": "email.read",
    "tool": "other",
    "resource": "inbox/43",
    "content_digest": "sha256:" + "8" * 64,
    "args_digest": "sha256:" + "8" * 64,
    "policy_revision": "sha256:" + "8" * 64,
    "constitution_digest": "sha256:" + "8" * 64,
    "delivers": False,
}
FREE: Final[Mapping[str, Any]] = {
    "decision_id": "decision-2",
    "message_id": "message-2",
    "conversation_id": "conversation-2",
    "session_id": "session-2",
    "roles": ("executive",),
    "priority": "critical",
    "effect": Effect.DENY,
    "lane": Lane.HUMAN,
    "reasons": (a_reason("policy.other"),),
    "obligations": (asks(quorum=2),),
    "findings": (a_finding(),),
    "impact": an_impact(0.9),
    "constitutional_hash": "0000000000000000",
    "engine": "opa-server",
    "decided_at": NOW + timedelta(seconds=1),
    "expires_at": NOW + timedelta(days=1),
    "owner": "olga",
    "review_id": "review-1",
    "approvers": ("rita",),
}


def test_no_field_of_a_decision_is_forgotten_here() -> None:
    assert {field.name for field in fields(Decision)} == BOUND.keys() | FREE.keys()
    assert not BOUND.keys() & FREE.keys()


@pytest.mark.parametrize("name", sorted(BOUND))
def test_an_approval_is_bound_to_everything_that_makes_the_action(name: str) -> None:
    changed = replace(a_decision(), **{name: BOUND[name]})
    assert action_digest(changed) != action_digest(a_decision())


@pytest.mark.parametrize("name", sorted(FREE))
def test_and_to_nothing_else_so_that_equal_actions_are_seen_as_equal(name: str) -> None:
    changed = replace(a_decision(), **{name: FREE[name]})
    assert changed != a_decision()
    assert action_digest(changed) == action_digest(a_decision())


def digest_with(changes: Mapping[str, Any]) -> str:
    return action_digest(replace(a_decision(), **changes))


def test_no_two_fields_can_be_shifted_into_one_another() -> None:
    texts = [name for name in BOUND if isinstance(getattr(a_decision(), name), str)]
    for one, other in permutations(texts, 2):
        left: dict[str, Any] = {one: 'a","b', other: "c"}
        right: dict[str, Any] = {one: "a", other: 'b","c'}
        assert digest_with(left) != digest_with(right)


def test_a_digest_is_made_of_any_text() -> None:
    assert action_digest(a_decision(resource="\ud800")).startswith("sha256:")
    assert action_digest(a_decision(recipient=None)) != action_digest(a_decision(recipient="None"))
