"""docs/stand-ins.md says what the code does."""

from __future__ import annotations

import re
from typing import Final

from review_pages import ROOT, codes, marked

from cluster.law import load_constitution
from policies.panel import SEATS_MAX, WEIGHT_MAX
from policies.review_law import ReviewLaw
from policies.roles import ON_CALL
from policies.standin import AHEAD_MAX, DELEGATION_MAX, EACH_MAX, GIVEN_MAX, REASON_MAX, SHIFT_MAX
from serve_app.api.authority import router

PAGE: Final = ROOT / "docs" / "stand-ins.md"


def test_every_code_stands_there_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (\d+) \| .+ \|$", marked("codes", PAGE), re.MULTILINE)
    listed = {code: frozenset({int(status)}) for code, status in rows}
    assert listed == codes("standin.", "critic.")
    assert [code for code, _ in rows] == sorted(listed)


def test_every_request_stands_there() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (/v1/\S+)` \|", PAGE.read_text(), re.MULTILINE)
    served = {(method, route.path) for route in router.routes for method in route.methods}  # type: ignore[attr-defined]  # every route of ours is an APIRoute
    assert set(rows) == served


def test_its_bounds_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text().split())
    for said in (
        f"{DELEGATION_MAX.days} days at most, with a reason",
        f"Shifts last {SHIFT_MAX.days} days at most",
        f"planned at most {AHEAD_MAX.days} days ahead",
        f"at most {EACH_MAX} of each",
        f"nobody gives to more than {GIVEN_MAX}",
        f"in 1 to {REASON_MAX} characters",
        f"from 1 to {WEIGHT_MAX}",
        f"then by name, {SEATS_MAX} at most",
    ):
        assert said in page, said


def test_who_is_on_call_joins_when_it_says() -> None:
    law = ReviewLaw.from_mapping(load_constitution().reviews)
    assert law.adds.index(ON_CALL) + 2 == 3
    assert "it joins at level 3, after tenant admins" in " ".join(PAGE.read_text().split())
