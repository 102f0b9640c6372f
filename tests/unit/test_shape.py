"""Measuring JSON without recursion."""

from __future__ import annotations

import pytest

from policies.shape import Shape, measure


def nested(depth: int) -> dict[str, object]:
    root: dict[str, object] = {}
    inner = root
    for _ in range(depth - 1):
        step: dict[str, object] = {}
        inner["a"] = step
        inner = step
    return root


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, Shape(depth=0, nodes=1, longest=0)),
        ("four", Shape(depth=0, nodes=1, longest=4)),
        ({}, Shape(depth=1, nodes=1, longest=0)),
        ({"key": None}, Shape(depth=1, nodes=3, longest=3)),
        ({"a": ["bc", [], {"longer": 1}]}, Shape(depth=3, nodes=8, longest=6)),
    ],
)
def test_a_shape_counts_containers_values_and_keys(value: object, shape: Shape) -> None:
    assert measure(value) == shape


def test_depth_cannot_crash_it() -> None:
    assert measure(nested(100_000)).depth == 100_000


def test_it_stops_as_soon_as_it_is_too_deep() -> None:
    shape = measure(nested(100_000), depth_max=10)
    assert shape.depth == 11
    assert shape.nodes < 50


def test_it_stops_as_soon_as_there_are_too_many() -> None:
    assert measure({"a": [1] * 1000, "b": [1] * 1000}, nodes_max=100).nodes <= 1010
