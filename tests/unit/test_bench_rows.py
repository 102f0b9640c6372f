"""A benchmark's row: it says what ran, not only how fast."""

from __future__ import annotations

from bench.load import Seen
from bench.rows import row_of


def a_run(*, denied: int = 0, failed: int = 0) -> Seen:
    seen = Seen(latencies_ms=[float(n % 10) for n in range(1_000)], wall_s=2.0, messages=1_000)
    seen.statuses.update({200: 1_000 - failed, 500: failed} if failed else {200: 1_000})
    seen.effects.update({"allow": 1_000 - denied, "deny": denied})
    return seen


def test_defect_29_a_row_says_what_became_of_the_messages() -> None:
    row = row_of("a path", "fast", a_run(denied=999))
    assert row.effects == {"allow": 1, "deny": 999}
    assert row.ran == 1_000
    assert row.rate_s == 500.0


def test_defect_29_errors_are_not_counted_as_fast_answers() -> None:
    assert row_of("a path", "fast", a_run(failed=3)).errors == {"HTTP 500": 3}
    assert row_of("a path", "fast", a_run()).errors == {}


def test_a_goal_is_met_only_where_somebody_says_so() -> None:
    assert row_of("a path", "fast", a_run()).met is None
