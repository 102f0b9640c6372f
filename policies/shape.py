"""How large and how deep a JSON value is, told without recursion, so that depth cannot hurt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_STOP: Final = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`depth` counts containers on the deepest path, `nodes` every value and key.

    `longest` is the length of the longest string, keys included, of those that were looked at.
    """

    depth: int
    nodes: int
    longest: int


def measure(value: object, *, depth_max: int = _STOP, nodes_max: int = _STOP) -> Shape:
    """Return the value's shape, and stop looking as soon as it is over one of the bounds."""
    nodes, deepest, longest = 0, 0, 0
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if isinstance(node, Mapping | list | tuple):
            depth += 1
            deepest = max(deepest, depth)
            waiting.extend((child, depth) for child in _children(node))
        elif isinstance(node, str):
            longest = max(longest, len(node))
        if deepest > depth_max or nodes + len(waiting) > nodes_max:
            return Shape(depth=deepest, nodes=nodes + len(waiting), longest=longest)
    return Shape(depth=deepest, nodes=nodes, longest=longest)


def _children(node: Mapping[str, object] | list[object] | tuple[object, ...]) -> Iterator[object]:
    if isinstance(node, Mapping):
        yield from node.keys()
        yield from node.values()
    else:
        yield from node
