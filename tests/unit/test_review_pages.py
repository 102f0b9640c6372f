"""docs/reviews.md says what the code does: its drawings are drawn again and compared."""

from __future__ import annotations

import re

from review_pages import PAGE, codes, diagram, marked, tiers

from cluster.law import load_constitution
from policies.review import REASON_MAX, TRANSITIONS, VOTES_MAX
from policies.review_law import ReviewLaw


def test_the_diagram_is_drawn_from_the_table() -> None:
    assert marked("states") == diagram()


def test_the_diagram_has_an_arrow_for_every_line_of_the_table_and_no_other() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", diagram(), re.MULTILINE)
    drawn = {(one, step, other) for one, other, steps in arrows for step in steps.split(", ")}
    assert drawn == {
        (one.value, step.value, other.value)
        for one, row in TRANSITIONS.items()
        for step, after in row.items()
        for other in after
    }


def test_the_tiers_are_those_of_the_constitution() -> None:
    assert marked("tiers") == tiers()


def test_every_code_stands_there_with_its_status() -> None:
    rows = re.findall(r"^\| `(review\.\w+)` \| ([\d, ]+) \| .+ \|$", marked("codes"), re.MULTILINE)
    listed = {code: {int(each) for each in statuses.split(",")} for code, statuses in rows}
    assert listed == codes()
    assert [code for code, _ in rows] == sorted(listed)


def test_its_bounds_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text().split())
    law = ReviewLaw.from_mapping(load_constitution().reviews)
    assert f"A claim lasts {law.claim_s / 60:g} minutes" in page
    assert law.adds == ("tenant_admin", "on_call")
    assert "tenant admins join those who may vote (level 2)" in page
    assert f"1 to {REASON_MAX} characters" in page
    assert f"{VOTES_MAX} people have voted" in page
