"""Likeness and shapes, for whatever reviews and arguments there are."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.precedent import Part, argument_shape, likeness, marks_of
from policies.review import Review

from builders import a_reason, a_review

RULES = st.lists(st.sampled_from(["a.one", "a.two", "a.three", "odd rule"]), max_size=4)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ARGS = st.dictionaries(st.text(), JSON, max_size=5)


@st.composite
def reviews(draw: st.DrawFn) -> Review:
    rules = draw(RULES)
    return a_review(
        tool=draw(st.sampled_from(["", "file.delete", "mail.send", "an odd tool"])),
        agent=draw(st.sampled_from(["planner", "writer"])),
        shape=draw(st.sampled_from(["", "s1", "s2"])),
        action_digest=draw(st.sampled_from(["sha256:1", "sha256:2"])),
        reasons=tuple(a_reason("policy.held", rule=rule) for rule in rules),
    )


def of_the_same_type(value: Any) -> Any:
    """Another value of the same names and types, with nothing of what was said."""
    match value:
        case dict():
            return {name: of_the_same_type(each) for name, each in reversed(value.items())}
        case list():
            return [of_the_same_type(each) for each in value] + [
                of_the_same_type(each) for each in value
            ]
        case bool():
            return not value
        case int() | float():
            return 4711
        case str():
            return "said something else"
        case _:
            return None


@given(one=reviews(), other=reviews())
@settings(max_examples=400)
def test_likeness_is_symmetric_bounded_and_the_same_again(one: Review, other: Review) -> None:
    mine, theirs = marks_of(one), marks_of(other)
    found = likeness(mine, theirs)
    assert found == likeness(theirs, mine) == likeness(marks_of(one), marks_of(other))
    assert 0.0 <= found.score <= 1.0
    assert not set(found.same) & set(found.partly)


@given(one=reviews(), other=reviews())
@settings(max_examples=400)
def test_only_what_is_the_same_in_every_part_is_wholly_alike(one: Review, other: Review) -> None:
    mine, theirs = marks_of(one), marks_of(other)
    assert (likeness(mine, theirs).score == 1.0) == (mine == theirs)


@given(one=reviews(), other=reviews())
@settings(max_examples=200)
def test_a_part_more_in_common_is_never_less_alike(one: Review, other: Review) -> None:
    mine, theirs = marks_of(one), marks_of(other)
    before = likeness(mine, theirs).score
    for part in Part:
        assert likeness(mine, {**theirs, part: mine[part]}).score >= before or not mine[part]


@given(args=ARGS)
@settings(max_examples=300)
def test_a_shape_tells_no_value_and_no_order(args: dict[str, Any]) -> None:
    assert argument_shape(of_the_same_type(args)) == argument_shape(args)
    assert argument_shape(json.loads(json.dumps(args))) == argument_shape(args)


@given(args=ARGS, name=st.text())
@settings(max_examples=200)
def test_a_name_more_is_another_shape(args: dict[str, Any], name: str) -> None:
    if name not in args:
        assert argument_shape({**args, name: 1}) != argument_shape(args)
