"""The constitution: what is read, and everything that is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from lawbook import rules

from cluster.constants import CONSTITUTIONAL_HASH
from cluster.law import CONSTITUTION_FILE
from policies.constitution import Constitution, ConstitutionError, rules_in
from policies.impact import ImpactTable
from policies.message import MessageType, Priority
from policies.review_law import ReviewLaw
from policies.settlement import SettlementLaw

DIGEST = "sha256:" + "a" * 64
RULES = frozenset(rule.id for rule in rules())
DOCUMENT: dict[str, Any] = yaml.safe_load(CONSTITUTION_FILE.read_text())


def read(document: object, *, rules: frozenset[str] | None = RULES) -> Constitution:
    return Constitution.from_mapping(
        document, digest=DIGEST, constitutional_hash=CONSTITUTIONAL_HASH, rules=rules
    )


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def test_the_constitution_of_this_build_is_read() -> None:
    constitution = read(DOCUMENT)
    assert constitution.constitutional_hash == CONSTITUTIONAL_HASH
    assert constitution.digest == DIGEST
    assert constitution.version == "1.0.0"
    assert constitution.principles[0].id == "P1-authenticity"
    assert constitution.principles[0].enforced_by == ("acgs.tenancy.sender",)
    assert "\n" not in constitution.principles[0].text


def test_every_rule_is_named_by_one_principle_and_every_name_is_a_rule() -> None:
    named = [rule for one in read(DOCUMENT).principles for rule in one.enforced_by]
    assert sorted(named) == sorted(RULES)


def test_a_rule_leads_to_the_principle_that_it_enforces() -> None:
    constitution = read(DOCUMENT)
    for principle in constitution.principles:
        for rule in principle.enforced_by:
            assert constitution.principle_of(rule) is principle
    assert constitution.principle_of("settlement.impact") is None


def test_its_sections_are_read_by_those_who_weigh_and_settle() -> None:
    constitution = read(DOCUMENT)
    impact = ImpactTable.from_mapping(constitution.impact)
    assert SettlementLaw.from_mapping(constitution.settlement).review_from == 0.8
    assert ReviewLaw.from_mapping(constitution.reviews).claim_s == 900
    assert set(impact.priorities) == {level.word for level in Priority}
    assert set(impact.types) <= {type_.value for type_ in MessageType}


def test_the_impact_is_weighed_as_the_reference_weighs_it() -> None:
    impact = ImpactTable.from_mapping(read(DOCUMENT).impact)
    assert impact.weights == {
        "semantic": 0.30,
        "permission": 0.20,
        "volume": 0.10,
        "context": 0.10,
        "drift": 0.15,
        "priority": 0.10,
        "type": 0.05,
    }
    assert sum(impact.weights.values()) == pytest.approx(1.0)
    assert impact.volume_steps == ((10, 0.1), (50, 0.4), (100, 0.7))
    assert (impact.volume_window_s, impact.volume_above) == (60, 1.0)
    assert (impact.night, impact.night_adds) == ((1, 5), 0.3)
    assert (impact.amount_over, impact.amount_adds) == (10_000, 0.4)
    assert (impact.drift_tolerance, impact.drift_slope) == (0.3, 0.5)
    assert (impact.unnamed_tool, impact.other_tool) == (0.1, 0.5)
    high = {"admin", "delete", "transfer", "execute", "blockchain", "payment"}
    assert impact.tool_words == {**dict.fromkeys(high, 0.9), "read": 0.2, "get": 0.2}
    assert impact.priorities == {"low": 0.1, "normal": 0.3, "high": 0.7, "critical": 1.0}
    assert impact.other_type == 0.2
    assert set(impact.types.values()) == {0.8}
    assert (impact.urgent_floor, impact.semantic_over, impact.semantic_floor) == (0.9, 0.8, 0.8)


def test_changing_what_was_read_changes_no_law() -> None:
    document = copy.deepcopy(DOCUMENT)
    constitution = read(document)
    document["settlement"]["review_from"] = 1.0
    document["reviews"]["tiers"]["standard"]["needed"] = 0
    assert constitution.settlement["review_from"] == 0.8
    assert ReviewLaw.from_mapping(constitution.reviews).tiers[-1].quorum.needed == 1


def test_it_survives_a_journey() -> None:
    constitution = read(DOCUMENT)
    assert pickle.loads(pickle.dumps(constitution)) == constitution


@pytest.mark.parametrize("document", [None, [], "law", 5])
def test_what_is_no_mapping_is_refused(document: object) -> None:
    with pytest.raises(ConstitutionError, match="the document must be a mapping"):
        read(document)


@pytest.mark.parametrize("key", sorted(DOCUMENT))
def test_a_missing_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(ConstitutionError, match=f"the document has no {key}"):
        read(changed(lambda document: document.pop(key)))


@pytest.mark.parametrize("key", ["id", "title", "text", "enforced_by"])
def test_a_missing_key_of_a_principle_is_refused_by_place(key: str) -> None:
    with pytest.raises(ConstitutionError, match=rf"principles\[2\] has no {key}"):
        read(changed(lambda document: document["principles"][2].pop(key)))


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ConstitutionError, match="does not know: amendments"):
        read(changed(lambda document: document.update(amendments=[])))
    with pytest.raises(ConstitutionError, match=r"principles\[0\] has keys .*: enforcedby"):
        read(changed(lambda document: document["principles"][0].update(enforcedby=[])))


@pytest.mark.parametrize("found", ["cdd01ef066bc6cf3", "", None, 5])
def test_another_hash_is_refused(found: object) -> None:
    with pytest.raises(ConstitutionError, match="this build enforces 'cdd01ef066bc6cf2'"):
        read(changed(lambda document: document.update(constitutional_hash=found)))


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0\n", 1, None])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(ConstitutionError, match=r"version must look like 1\.2\.3"):
        read(changed(lambda document: document.update(version=version)))


def test_a_digest_that_is_none_is_refused() -> None:
    with pytest.raises(ConstitutionError, match="digest must be sha256:<hex>"):
        Constitution.from_mapping(
            DOCUMENT, digest="md5:0", constitutional_hash=CONSTITUTIONAL_HASH, rules=None
        )


@pytest.mark.parametrize("id_", ["authenticity", "P1", "P1-Authenticity", "P1_authenticity", 1])
def test_an_id_that_is_none_is_refused(id_: object) -> None:
    with pytest.raises(ConstitutionError, match=r"principles\[0\]\.id must look like"):
        read(changed(lambda document: document["principles"][0].update(id=id_)))


def test_a_principle_that_is_gone_is_missed() -> None:
    with pytest.raises(ConstitutionError, match=r"principles\[0\]\.id must begin with P1-"):
        read(changed(lambda document: document["principles"].pop(0)))
    with pytest.raises(ConstitutionError, match=r"name none of these rules.*acgs\.schema\.input"):
        read(changed(lambda document: document["principles"].pop()))


@pytest.mark.parametrize("value", [None, [], "P1", {}])
def test_no_principles_are_refused(value: object) -> None:
    with pytest.raises(ConstitutionError, match="principles must be a list"):
        read(changed(lambda document: document.update(principles=value)))


@pytest.mark.parametrize("key", ["title", "text"])
@pytest.mark.parametrize("value", [None, "", "  ", 5])
def test_an_empty_text_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConstitutionError, match=rf"principles\[1\]\.{key} must be a text"):
        read(changed(lambda document: document["principles"][1].update({key: value})))


def test_a_principle_that_nothing_enforces_is_refused() -> None:
    with pytest.raises(ConstitutionError, match=r"principles\[0\]\.enforced_by must be a list"):
        read(changed(lambda document: document["principles"][0].update(enforced_by=[])))


def test_a_rule_that_does_not_exist_is_refused_by_its_principle() -> None:
    def misspell(document: dict[str, Any]) -> None:
        document["principles"][0]["enforced_by"].append("acgs.tenancy.sendr")

    with pytest.raises(ConstitutionError, match=r"P1-authenticity names .*'acgs.tenancy.sendr'"):
        read(changed(misspell))


def test_a_rule_that_nobody_named_is_refused() -> None:
    with pytest.raises(ConstitutionError, match=r"rules of the policy: acgs\.new\.rule"):
        read(DOCUMENT, rules=RULES | {"acgs.new.rule"})


def test_a_rule_that_was_named_twice_is_refused() -> None:
    def repeat(document: dict[str, Any]) -> None:
        document["principles"][1]["enforced_by"].append("acgs.tenancy.sender")

    with pytest.raises(ConstitutionError, match=r"more than once: acgs\.tenancy\.sender"):
        read(changed(repeat))


def test_without_a_policy_its_names_are_not_compared() -> None:
    assert read(DOCUMENT, rules=None) == read(DOCUMENT)


def test_a_section_that_its_reader_does_not_understand_is_refused() -> None:
    with pytest.raises(ConstitutionError, match=r"impact is not understood: impact\.weights"):
        read(changed(lambda document: document["impact"].pop("weights")))
    with pytest.raises(ConstitutionError, match=r"settlement is not understood.*mercy"):
        read(changed(lambda document: document["settlement"].update(mercy=1)))
    with pytest.raises(ConstitutionError, match="settlement must be a mapping"):
        read(changed(lambda document: document.update(settlement=0.8)))


@pytest.mark.parametrize("value", [None, [], "nobody", 3, True])
def test_reviews_that_are_no_mapping_are_refused(value: object) -> None:
    with pytest.raises(ConstitutionError, match="reviews must be a mapping"):
        read(changed(lambda document: document.update(reviews=value)))


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("needed", 0, r"reviews\.tiers\.standard\.needed must be from 1"),
        ("roles", [], r"reviews\.tiers\.standard\.roles must name who decides"),
        ("roles", ["agent"], r"names roles that cannot decide: \['agent'\]"),
        ("rule", "silence", r"reviews\.tiers\.standard\.rule must be one of"),
        ("from", 0.01, r"reviews\.tiers must have one that starts from 0"),
        ("needed", 9, r"the graver must not ask for less"),
        ("auto_approve", 0.3, r"does not know: auto_approve"),
    ],
)
def test_reviews_that_nobody_could_hold_are_refused(place: str, value: object, told: str) -> None:
    with pytest.raises(ConstitutionError, match=rf"reviews is not understood.*{told}"):
        read(
            changed(
                lambda document: document["reviews"]["tiers"]["standard"].update({place: value})
            )
        )


def test_rules_are_read_from_their_heads_only() -> None:
    source = """package acgs.sample
import rego.v1
# verdicts.commented := 1
verdicts.one := 1 if true
obligations.two := 1 if true
  verdicts.indented := 1
text := "verdicts.quoted := 1"
"""
    assert rules_in([source, "no package here\nverdicts.lost := 1"]) == {
        "acgs.sample.one",
        "acgs.sample.two",
    }


def test_a_refusal_says_where_and_what() -> None:
    error = ConstitutionError("version", "must look like 1.2.3")
    assert str(error) == "the constitution is refused: version must look like 1.2.3"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
