"""docs/reviews.md as it must be: its diagram, its tiers and its codes are drawn from the code.

`python tests/review_pages.py` draws the first two again; what a code means is for people to write.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cluster.law import load_constitution
from policies.review import ENDED, TRANSITIONS, Quorum, Rule, State, Step
from policies.review_law import ReviewLaw, Tier

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "reviews.md"
PACKAGES: Final = ("policies", "actors", "serve_app")


def diagram() -> str:
    """The state machine as a mermaid block: an arrow for each pair of states, with its steps."""
    arrows: dict[tuple[State, State], list[Step]] = defaultdict(list)
    for one, row in TRANSITIONS.items():
        for step, after in row.items():
            for other in after:
                arrows[one, other].append(step)
    order = list(State)
    lines = [f"    [*] --> {state.value}: open" for state in (State.DELIBERATING, State.PENDING)]
    for (one, other), steps in sorted(
        arrows.items(), key=lambda arrow: (order.index(arrow[0][0]), order.index(arrow[0][1]))
    ):
        words = ", ".join(step.value for step in sorted(steps, key=list(Step).index))
        lines.append(f"    {one.value} --> {other.value}: {words}")
    lines += [f"    {state.value} --> [*]" for state in order if state in ENDED]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def tiers() -> str:
    """The tiers of the constitution of this build as a table, the gravest first."""
    law = ReviewLaw.from_mapping(load_constitution().reviews)
    rows = ["| tier | from impact | who must approve | rejected by | waits for | widens after |"]
    rows.append("|---|---|---|---|---|---|")
    rows += [_row(tier) for tier in law.tiers]
    return "\n".join(rows)


def codes(*begins: str) -> Mapping[str, frozenset[int]]:
    """Every code that begins so, `review.` if not said, with which something is refused."""
    found: dict[str, set[int]] = defaultdict(set)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for code, status in _refusals(ast.parse(path.read_text())):
                if code.startswith(begins or ("review.",)):
                    found[code].add(status)
    return {code: frozenset(statuses) for code, statuses in found.items()}


def marked(mark: str, page: Path = PAGE) -> str:
    """What stands on the page between `<!-- mark -->` and `<!-- /mark -->`."""
    _, _, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    inside, end, _ = rest.partition(f"\n<!-- /{mark} -->")
    assert end, f"the page has no {mark}"
    return inside


def _row(tier: Tier) -> str:
    cells = (
        f"`{tier.name}`",
        f"{tier.from_impact:g}",
        _who(tier.quorum),
        "one" if tier.quorum.rule is Rule.VETO else str(tier.quorum.needed),
        _hours(tier.ttl_s),
        _hours(tier.escalate_s),
    )
    return f"| {' | '.join(cells)} |"


def _who(quorum: Quorum) -> str:
    roles = [f"`{role}`" for role in quorum.roles]
    if not quorum.each:
        return f"{quorum.needed} in the role {' or '.join(roles)}"
    return f"{quorum.needed}, among them {' and '.join(f'a {role}' for role in roles)}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g} h"


def _refusals(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RefusalError":
            code, *rest = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            status = [value for value in rest if isinstance(value, int)]
            if isinstance(code, str):
                yield code, status[0] if status else 400


def _write() -> None:
    page = PAGE.read_text()
    for mark, drawn in (("states", diagram()), ("tiers", tiers())):
        page = page.replace(marked(mark), drawn)
    PAGE.write_text(page)


if __name__ == "__main__":
    _write()
