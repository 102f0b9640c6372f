"""The impact is a number from 0 to 1 for whatever an agent sends, and only rises with its parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.impact import DRIFT_WINDOW, FACTORS, AgentHistory, deepen, score_of, weigh
from policies.message import Message, MessageType, Priority
from policies.wording import amount_of, words_of

from builders import a_message, an_impact_table

TABLE = an_impact_table()
texts = st.text(max_size=20) | st.sampled_from(
    ("db.delete", "file.read", "amount", "12,000", "1e9")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)

patient = settings(deadline=None)  # the machine may be busy with other things


def the_message(content: dict[str, Any], priority: Priority, kind: MessageType) -> Message:
    return a_message(
        content=content,
        content_digest="",
        args_digest="",
        content_size=0,
        priority=priority,
        type=kind,
    )


messages = st.builds(
    the_message,
    st.dictionaries(texts | st.sampled_from(("tool", "action", "args")), values, max_size=4),
    st.sampled_from(Priority),
    st.sampled_from(MessageType),
)
moments = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  # the zone is given apart
    max_value=datetime(2040, 1, 1),  # noqa: DTZ001  # likewise
    timezones=st.just(UTC),
)


@patient
@given(st.lists(st.tuples(messages, moments), max_size=30))
def test_whatever_an_agent_sends_weighs_from_0_to_1(sent: list[tuple[Message, datetime]]) -> None:
    history = AgentHistory()
    for message, now in sent:
        impact = weigh(message, history=history, table=TABLE, now=now)
        assert 0.0 <= impact.score <= 1.0
        assert set(impact.factors) == set(FACTORS) - {"semantic"}
        assert all(0.0 <= factor <= 1.0 for factor in impact.factors.values())


@patient
@given(st.fixed_dictionaries(dict.fromkeys(FACTORS, st.floats(0, 1))), st.sampled_from(FACTORS))
def test_a_factor_that_rises_never_lowers_the_score(factors: dict[str, float], name: str) -> None:
    higher = {**factors, name: 1.0}
    assert score_of(higher, TABLE) >= score_of(factors, TABLE)


@patient
@given(messages, moments, st.floats())
def test_a_model_only_raises(message: Message, now: datetime, semantic: float) -> None:
    impact = weigh(message, history=AgentHistory(), table=TABLE, now=now)
    assert impact.score <= deepen(impact, semantic, model="m", table=TABLE).score <= 1.0


@patient
@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0, 1))
def test_drift_is_the_distance_from_the_mean_of_the_last_twenty(
    before: list[float], score: float
) -> None:
    history = AgentHistory()
    for one in before:
        history.deviate(one)
    recent = before[-DRIFT_WINDOW:]
    expected = abs(score - sum(recent) / len(recent)) if recent else 0.0
    assert abs(history.deviate(score) - expected) < 1e-5


@patient
@given(st.lists(st.floats(0, 300), max_size=50))
def test_volume_lies_between_one_and_two_windows_of_messages(gaps: list[float]) -> None:
    history, now = AgentHistory(), datetime(2026, 1, 1, tzinfo=UTC)
    arrivals: list[float] = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        arrivals.append(now.timestamp())
        counted = history.arrive(arrivals[-1], 60.0)
        assert counted >= 1.0
        assert counted <= sum(arrivals[-1] - at <= 120.0 for at in arrivals) + 1e-6


@patient
@given(st.text() | st.integers() | st.floats() | st.none())
def test_every_amount_is_none_or_not_negative(value: object) -> None:
    amount = amount_of(value)
    assert amount is None or amount >= 0.0


@patient
@given(st.text())
def test_words_are_in_lower_case_and_hold_no_separator(name: str) -> None:
    assert all(word and word == word.lower() and word.isalnum() for word in words_of(name))
