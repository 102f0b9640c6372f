"""A token bucket for each agent, in a bounded table."""

from __future__ import annotations

import pickle

import pytest

from policies.rate import RateLimitedError, RateTable


def test_an_agent_may_send_its_burst_at_once_and_no_more() -> None:
    rates = RateTable(rate_s=10.0, burst=3)
    for _ in range(3):
        rates.admit("acme", "writer", now_s=0.0)
    with pytest.raises(RateLimitedError) as refused:
        rates.admit("acme", "writer", now_s=0.0)
    assert refused.value.code == "message.rate_limited"
    assert refused.value.status == 429
    assert refused.value.retryable
    assert refused.value.retry_after_s == pytest.approx(0.1)
    assert "retry in 0.10 s" in str(refused.value)


def test_after_the_time_it_was_told_an_agent_may_send_again() -> None:
    rates = RateTable(rate_s=10.0, burst=1)
    rates.admit("acme", "writer", now_s=0.0)
    with pytest.raises(RateLimitedError) as refused:
        rates.admit("acme", "writer", now_s=0.01)
    rates.admit("acme", "writer", now_s=0.01 + refused.value.retry_after_s)


def test_one_agent_does_not_spend_what_another_has() -> None:
    rates = RateTable(rate_s=1.0, burst=1)
    rates.admit("acme", "writer", now_s=0.0)
    rates.admit("acme", "mailer", now_s=0.0)
    rates.admit("other", "writer", now_s=0.0)
    with pytest.raises(RateLimitedError):
        rates.admit("acme", "writer", now_s=0.0)


def test_a_clock_that_steps_back_pays_nothing_out_twice() -> None:
    rates = RateTable(rate_s=1.0, burst=1)
    rates.admit("acme", "writer", now_s=10.0)
    with pytest.raises(RateLimitedError):
        rates.admit("acme", "writer", now_s=5.0)
    with pytest.raises(RateLimitedError):
        rates.admit("acme", "writer", now_s=10.5)


def test_the_table_forgets_whoever_was_idle_longest_and_counts_it() -> None:
    rates = RateTable(rate_s=0.001, burst=1, agents_max=2)
    rates.admit("acme", "a", now_s=0.0)
    rates.admit("acme", "b", now_s=1.0)
    with pytest.raises(RateLimitedError):
        rates.admit("acme", "a", now_s=2.0)
    rates.admit("acme", "c", now_s=3.0)
    assert len(rates) == 2
    assert rates.forgotten == 1
    rates.admit("acme", "b", now_s=4.0)


def test_the_refusal_survives_a_journey() -> None:
    error = pickle.loads(pickle.dumps(RateLimitedError("writer", 1.5)))
    assert error.retry_after_s == 1.5
    assert error.status == 429
