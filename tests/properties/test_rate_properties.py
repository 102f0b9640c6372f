"""However an agent asks, it gets no more than its burst and its rate."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.rate import RateLimitedError, RateTable

patient = settings(deadline=None)  # the machine may be busy with other things


@patient
@given(st.floats(0.5, 100), st.integers(1, 20), st.lists(st.floats(0, 2), min_size=1, max_size=100))
def test_nobody_gets_more_than_burst_and_rate(rate_s: float, burst: int, gaps: list[float]) -> None:
    rates, now_s, let_in = RateTable(rate_s=rate_s, burst=burst), 0.0, 0
    for gap in gaps:
        now_s += gap
        with suppress(RateLimitedError):
            rates.admit("acme", "writer", now_s=now_s)
            let_in += 1
    assert let_in <= burst + rate_s * now_s + 1e-6


@patient
@given(st.floats(0.5, 100), st.integers(1, 5), st.integers(0, 3))
def test_whoever_waits_as_told_is_let_in(rate_s: float, burst: int, more: int) -> None:
    rates, now_s = RateTable(rate_s=rate_s, burst=burst), 0.0
    for _ in range(burst):
        rates.admit("acme", "writer", now_s=now_s)
    for _ in range(more + 1):
        with pytest.raises(RateLimitedError) as refused:
            rates.admit("acme", "writer", now_s=now_s)
        assert 0.0 < refused.value.retry_after_s <= 1.0 / rate_s + 1e-6
        now_s += refused.value.retry_after_s
        rates.admit("acme", "writer", now_s=now_s)
