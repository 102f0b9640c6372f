"""What past reviews have in common with one, and that no argument's value is told by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policies.panel import Choice, Opinion, Panel, PanelRule
from policies.precedent import (
    DEPTH_MAX,
    NODES_MAX,
    RULES_MAX,
    WEIGHTS,
    Likeness,
    Part,
    argument_shape,
    likeness,
    marks_of,
    precedence,
    sides,
)
from policies.review import Glass, Review, Vote

from builders import NOW, a_reason, a_review

SHAPE = argument_shape({"to": "inga", "count": 2})


def past(**changes: Any) -> Review:
    return a_review(**{"shape": SHAPE, **changes})


def alike(**changes: Any) -> Likeness:
    """How like `past()` the same review with these changes is."""
    return likeness(marks_of(past()), marks_of(past(**changes)))


def held_by(*rules: str) -> Any:
    return tuple(a_reason("policy.held", rule=rule) for rule in rules)


def a_vote(by: str, choice: Choice = Choice.APPROVE) -> Vote:
    return Vote(by=by, answers=by, roles=("reviewer",), choice=choice, reason="seen", at=NOW)


# -- likeness -------------------------------------------------------------------------------------


def test_the_weights_are_hundredths() -> None:
    assert sum(WEIGHTS.values()) == 100
    assert set(WEIGHTS) == set(Part)


def test_the_very_same_action_is_wholly_alike() -> None:
    assert alike() == Likeness(score=1.0, same=tuple(Part), partly=())


@pytest.mark.parametrize(
    ("changes", "score", "other"),
    [
        ({"tool": "file.delete"}, 0.65, Part.TOOL),
        ({"reasons": held_by("another.rule")}, 0.75, Part.RULES),
        ({"shape": argument_shape({"path": "x"})}, 0.8, Part.SHAPE),
        ({"action_digest": "sha256:" + "4" * 64}, 0.9, Part.ACTION),
        ({"agent": "planner"}, 0.9, Part.AGENT),
    ],
)
def test_each_part_that_differs_takes_its_weight(
    changes: Mapping[str, Any], score: float, other: Part
) -> None:
    found = alike(**changes)
    assert found.score == score
    assert set(Part) - set(found.same) == {other}
    assert found.partly == ()


def test_rules_count_by_the_share_that_both_were_held_by() -> None:
    one, other = past(reasons=held_by("a", "b")), past(reasons=held_by("b", "c"))
    found = likeness(marks_of(one), marks_of(other))
    assert found.score == pytest.approx(0.75 + 0.25 / 3, abs=1e-4)
    assert found.partly == (Part.RULES,)
    assert Part.RULES not in found.same


def test_what_concerns_neither_of_them_has_no_say() -> None:
    one = marks_of(a_review(shape="", tool=""))
    assert likeness(one, one) == Likeness(
        score=1.0, same=(Part.RULES, Part.ACTION, Part.AGENT), partly=()
    )
    assert likeness({}, {}).score == 0.0


def test_arguments_on_one_side_only_are_a_difference() -> None:
    assert alike(shape="").score == 0.8


def test_reviews_with_nothing_in_common_are_not_alike() -> None:
    other = a_review(
        tool="x", agent="y", shape="z", action_digest="sha256:0", reasons=held_by("other")
    )
    assert likeness(marks_of(past()), marks_of(other)) == Likeness(score=0.0, same=(), partly=())


def test_who_asked_whom_and_when_make_no_difference() -> None:
    later = NOW + timedelta(days=1)
    assert alike(recipient="archive", review_id="r9", opened_at=later).score == 1.0


def test_the_most_alike_come_first_then_the_newest_then_by_id() -> None:
    full, half = alike(), alike(tool="file.delete")
    later = NOW + timedelta(seconds=1)
    keys = [
        precedence(half, later, "r0"),
        precedence(full, NOW, "r3"),
        precedence(full, NOW, "r2"),
        precedence(full, later, "r1"),
    ]
    assert sorted(keys) == list(reversed(keys))


# -- marks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd", ["a b", "a:b", "x" * 65, "żółć", "line\nbreak", "*", "\ud800", "~a"]
)
def test_what_is_long_or_odd_is_marked_by_its_digest(odd: str) -> None:
    (mark,) = marks_of(past(tool=odd))[Part.TOOL]
    assert mark.startswith("~")
    assert len(mark) == 33
    assert mark.isascii()
    assert marks_of(past(tool=odd))[Part.TOOL] == {mark}


def test_no_plain_name_can_pose_as_a_digest() -> None:
    (mark,) = marks_of(past(tool="a b"))[Part.TOOL]
    assert marks_of(past(tool=mark))[Part.TOOL] != {mark}


def test_a_review_has_a_bounded_number_of_marks_the_same_in_any_order() -> None:
    rules = [f"rule.{number:02}" for number in range(40)]
    marks = marks_of(past(reasons=held_by(*rules)))
    assert len(marks[Part.RULES]) == RULES_MAX
    assert marks == marks_of(past(reasons=held_by(*reversed(rules))))


# -- shapes ---------------------------------------------------------------------------------------


def test_a_shape_knows_names_and_types_and_no_values() -> None:
    assert argument_shape({"to": "anna@example.com", "count": 7}) == SHAPE
    assert argument_shape({"count": 0.5, "to": ""}) == SHAPE


@pytest.mark.parametrize(
    "args",
    [
        {"to": "inga"},
        {"to": "inga", "count": "2"},
        {"to": "inga", "count": True},
        {"to": "inga", "count": None},
        {"to": "inga", "Count": 2},
        {"to": ["inga"], "count": 2},
        {"to": {"inga": 1}, "count": 2},
        {"to": "inga", "count": 2, "more": {}},
    ],
)
def test_another_name_or_type_is_another_shape(args: Mapping[str, object]) -> None:
    assert argument_shape(args) != SHAPE


def test_what_is_no_json_has_a_type_of_its_own() -> None:
    assert argument_shape({"at": NOW}) == argument_shape({"at": object()})
    assert argument_shape({"at": NOW}) != argument_shape({"at": "now"})


def test_nothing_has_no_shape() -> None:
    assert argument_shape({}) == ""


def test_how_many_stand_in_a_list_makes_no_difference_but_what_does() -> None:
    two = argument_shape({"rows": [{"id": 1}, {"id": 2}]})
    assert argument_shape({"rows": [{"id": 3}] * 9}) == two
    assert argument_shape({"rows": [{"id": 3}, {"no": 3}]}) != two
    assert argument_shape({"rows": []}) != two


def test_no_name_can_pose_as_a_path() -> None:
    shapes = [
        argument_shape({"a": {"b": 1}}),
        argument_shape({"a.b": 1, "a": {}}),
        argument_shape({"a": [1]}),
        argument_shape({"a": {"[": 1}}),
        argument_shape({"a": {"0": 1}}),
        argument_shape({"a": {"": 1}}),
    ]
    assert len(set(shapes)) == len(shapes)


def test_half_a_surrogate_in_a_name_has_a_shape_too() -> None:
    assert argument_shape({"\ud800": 1}) != argument_shape({"\ud801": 1})


def nested(depth: int, leaf: object) -> dict[str, object]:
    node: object = leaf
    for _ in range(depth):
        node = {"a": node}
    assert isinstance(node, dict)
    return node


def test_of_what_is_too_deep_it_only_says_that_there_is_more() -> None:
    assert argument_shape(nested(DEPTH_MAX, 1)) != argument_shape(nested(DEPTH_MAX, "x"))
    deep = argument_shape(nested(DEPTH_MAX + 1, 1))
    assert deep == argument_shape(nested(100_000, "x"))
    assert deep != argument_shape(nested(DEPTH_MAX, {}))


def test_of_what_is_behind_too_much_it_only_says_that_there_is_more() -> None:
    full = {f"n{number:06}": number for number in range(NODES_MAX - 1)}
    more = argument_shape({**full, "z1": 1})
    assert argument_shape(full) != more
    assert argument_shape({**full, "z2": "x", "z3": []}) == more
    assert argument_shape({"z4": [], **dict(reversed(full.items()))}) == more
    assert argument_shape({"rows": list(range(100_000))}) == argument_shape(
        {"rows": list(range(NODES_MAX))}
    )


# -- who decided ----------------------------------------------------------------------------------


def test_people_critics_and_who_broke_the_glass_are_named_once_on_their_side() -> None:
    opinions = tuple(
        Opinion(by=by, answers="olaf", weight=1, choice=choice, reason="seen", at=NOW)
        for by, choice in (("critic-1", Choice.REJECT), ("critic-2", Choice.ABSTAIN))
    )
    panel = Panel(rule=PanelRule.MAJORITY, needed=1, closes_at=NOW, opinions=opinions)
    glass = Glass(needed=2, roles=("tenant_admin",), broken=(a_vote("tina"), a_vote("rita")))
    votes = (a_vote("rita"), a_vote("sam", Choice.REJECT), a_vote("tom", Choice.ABSTAIN))
    found = sides(replace(past(), votes=votes, panel=panel, glass=glass))
    assert found.approved_by == ("rita", "tina")
    assert found.rejected_by == ("sam", "critic-1")


def test_where_nobody_spoke_there_are_no_sides() -> None:
    assert sides(replace(past(), glass=None)).approved_by == ()
