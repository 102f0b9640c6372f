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


def test_words_can_be_read_in_their_order() -> None:
    assert Clause({"b": ["y", "x"]}, "a").ordered("b") == ("y", "x")
    assert Clause({"b": []}, "a").ordered("b") == ()


@pytest.mark.parametrize("value", ["xy", 3, None, ["X"], [""], [3], ["x", "y", "x"]], ids=repr)
def test_anything_else_has_no_order(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b must"):
        Clause({"b": value}, "a").ordered("b")


@pytest.mark.parametrize("value", [1, 2.0, 3])
def test_a_count_is_a_whole_number(value: float) -> None:
    assert Clause({"b": value}, "a").count("b", 1, 3) == value


@pytest.mark.parametrize("value", [1.5, 0, 4, True, "2", float("nan"), float("inf")], ids=repr)
def test_anything_else_is_no_count(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b must"):
        Clause({"b": value}, "a").count("b", 1, 3)


@pytest.mark.parametrize("value", [True, False])
def test_a_flag_is_true_or_false(*, value: bool) -> None:
    assert Clause({"b": value}, "a").flag("b") is value


@pytest.mark.parametrize("value", [0, 1, "true", None, []], ids=repr)
def test_anything_else_is_no_flag(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b must be true or false"):
        Clause({"b": value}, "a").flag("b")


def test_one_of_some_words() -> None:
    assert Clause({"b": "x"}, "a").one_of("b", {"x", "y"}) == "x"


@pytest.mark.parametrize("value", ["z", "X", "", 3, None, ["x"], {"x": 1}], ids=repr)
def test_anything_else_is_none_of_them(value: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b must be one of x, y, not"):
        Clause({"b": value}, "a").one_of("b", {"x", "y"})


def test_the_keys_that_nobody_has_read_can_be_asked_for() -> None:
    clause = Clause({"x": {}, "b": 1, "y": {}}, "a")
    clause.number("b", 0, 1)
    assert clause.names() == ("x", "y")
    assert clause.part("x").name == "a.x"


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
