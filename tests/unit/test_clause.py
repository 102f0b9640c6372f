"""The law is read to the last word, or refused with the name of the clause."""

from __future__ import annotations

import pytest

from policies.clause import Clause


def test_a_section_must_be_a_mapping() -> None:
    with pytest.raises(ValueError, match="impact must be a mapping, not 3"):
        Clause(3, "impact")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"impact\.drift is missing"):
        Clause({}, "impact").part("drift")


@pytest.mark.parametrize("value", ["1", None, True, [1]])
def test_a_number_is_a_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b must be a number"):
        Clause({"b": value}, "a").number("b", 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), 10**400])
def test_a_number_keeps_its_bounds(value: float) -> None:
    with pytest.raises(ValueError, match=r"a\.b must be from 0 to 1"):
        Clause({"b": value}, "a").number("b", 0, 1)


def test_the_rest_of_a_section_is_read_by_its_keys() -> None:
    clause = Clause({"other": 0.5, "x": 1, "y": 0}, "a")
    assert clause.number("other", 0, 1) == 0.5
    assert clause.numbers(0, 1) == {"x": 1.0, "y": 0.0}
    clause.close()


def test_words_are_listed_in_lower_case() -> None:
    assert Clause({"b": ["x", "y"]}, "a").words("b") == {"x", "y"}


@pytest.mark.parametrize("value", ["xy", 3, ["X"], [""], [3]])
def test_anything_else_is_not_words(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b must"):
        Clause({"b": value}, "a").words("b")


def test_steps_are_pairs_that_rise() -> None:
    assert Clause({"b": [[10, 0.1], [50, 0.1]]}, "a").steps("b") == ((10, 0.1), (50, 0.1))


@pytest.mark.parametrize(
    "value",
    [[], [[10, 0.1], [10, 0.2]], [[10, 0.2], [20, 0.1]], [[10]], [10], [[10, 2]], [[-1, 0.1]], "x"],
)
def test_anything_else_is_not_steps(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b must"):
        Clause({"b": value}, "a").steps("b")


def test_a_clause_that_nobody_reads_is_refused() -> None:
    clause = Clause({"b": 1, "reviewfrom": 0.8}, "settlement")
    clause.number("b", 0, 1)
    with pytest.raises(ValueError, match="does not know: reviewfrom"):
        clause.close()
