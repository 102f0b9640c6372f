"""How much could go wrong, factor by factor."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from policies.decision import Impact
from policies.impact import (
    DRIFT_WINDOW,
    AgentHistories,
    AgentHistory,
    ImpactTable,
    deepen,
    score_of,
    weigh,
)
from policies.message import Message, MessageType, Priority

from builders import IMPACT, NOW, MessageChanges, a_message, an_impact_table

TABLE = an_impact_table()
FACTORS = {"permission", "volume", "context", "drift", "priority", "type"}


def weighed(message: Message, *, now: datetime = NOW) -> Impact:
    return weigh(message, history=AgentHistory(), table=TABLE, now=now)


def tool(name: str, **content: object) -> Message:
    return a_message(content={"tool": name, **content})


def test_every_factor_is_told_and_the_score_is_their_weighted_mean() -> None:
    impact = weighed(a_message())
    assert set(impact.factors) == FACTORS
    assert impact.model is None
    weights = {name: TABLE.weights[name] for name in FACTORS}
    mean = sum(weights[name] * impact.factors[name] for name in FACTORS) / sum(weights.values())
    assert impact.score == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("db.delete", 0.9),
        ("deleteUser", 0.9),
        ("payments", 0.5),
        ("payment.get", 0.9),
        ("read_file", 0.2),
        ("undeletable", 0.5),
        ("getaway", 0.5),
        ("email.send", 0.5),
        ("d\u0435lete", 0.9),
        ("x" * 300, 0.9),
    ],
)
def test_permission_matches_whole_words_of_the_tool(name: str, factor: float) -> None:
    assert weighed(tool(name)).factors["permission"] == factor


def test_a_message_that_names_no_tool_asks_for_little() -> None:
    assert weighed(a_message(content={"text": "delete"})).factors["permission"] == 0.1


def test_a_harmless_tool_does_not_hide_a_dangerous_action() -> None:
    assert weighed(tool("notes.read", action="admin.grant")).factors["permission"] == 0.9


def test_volume_rises_with_the_messages_of_the_last_minute() -> None:
    history = AgentHistory()
    factors = [
        weigh(a_message(), history=history, table=TABLE, now=NOW).factors["volume"]
        for _ in range(100)
    ]
    assert factors[8] == 0.1
    assert factors[9] == 0.4
    assert factors[49] == 0.7
    assert factors[99] == 1.0


def test_volume_forgets_what_is_older_than_the_window() -> None:
    history = AgentHistory()
    for _ in range(100):
        history.arrive(1000.0, 60.0)
    assert history.arrive(1040.0, 60.0) == pytest.approx(1 + 100 * 2 / 3)  # a third of it passed
    assert history.arrive(2000.0, 60.0) == 1.0


def test_a_clock_that_steps_back_stays_in_its_bucket() -> None:
    history = AgentHistory()
    history.arrive(1000.0, 60.0)
    assert history.arrive(100.0, 60.0) == 2.0


@pytest.mark.parametrize(
    ("hour", "factor"), [(0, 0.2), (1, 0.5), (3, 0.5), (5, 0.5), (6, 0.2), (12, 0.2)]
)
def test_night_is_told_in_utc(hour: int, factor: float) -> None:
    now = NOW.replace(hour=hour)
    assert weighed(a_message(), now=now).factors["context"] == factor
    elsewhere = now.astimezone(timezone(timedelta(hours=9)))
    assert weighed(a_message(), now=elsewhere).factors["context"] == factor


def test_a_night_may_pass_midnight() -> None:
    law: Any = deepcopy(dict(IMPACT))
    law["context"]["night"] |= {"from_hour": 22, "to_hour": 4}
    table = ImpactTable.from_mapping(law)
    for hour, factor in ((23, 0.5), (3, 0.5), (12, 0.2)):
        impact = weigh(a_message(), history=AgentHistory(), table=table, now=NOW.replace(hour=hour))
        assert impact.factors["context"] == factor


@pytest.mark.parametrize(
    "content",
    [
        {"amount": 10_001},
        {"args": {"amount": 10_001}},
        {"args": {"orders": [{"totalPrice": "EUR 12,500.00"}]}},
        {"args": {"amount": {"value": 10_001, "currency": "EUR"}}},
        {"args": {"amounts": 1, "amount": ["1", "20k"]}},
        {"args": {"amount": float("inf")}},
    ],
)
def test_a_large_amount_is_found_at_any_depth(content: dict[str, object]) -> None:
    message = a_message(content=content, content_digest="", args_digest="", content_size=1)
    assert weighed(message).factors["context"] == 0.6


@pytest.mark.parametrize(
    "content",
    [
        {"args": {"amount": 10_000}},
        {"args": {"id": 10_001}},
        {"args": {"amounted": 10_001}},
        {"args": {"amount": None}},
        {"args": {"amount": True}},
        {"args": {"amount": "a lot"}},
    ],
)
def test_what_is_no_large_amount_adds_nothing(content: dict[str, object]) -> None:
    assert weighed(a_message(content=content)).factors["context"] == 0.2


def test_an_agent_that_is_new_does_not_drift() -> None:
    assert weighed(tool("db.delete")).factors["drift"] == 0.0


def test_an_agent_that_does_what_it_never_did_drifts() -> None:
    history = AgentHistory()
    for _ in range(DRIFT_WINDOW):
        weigh(tool("file.read", n=1), history=history, table=TABLE, now=NOW)
    strange = tool("db.delete", args={"amount": 50_000})
    urgent = a_message(content=strange.content, priority=Priority.CRITICAL)
    assert weigh(urgent, history=history, table=TABLE, now=NOW).factors["drift"] > 0.5


def test_drift_compares_with_the_last_twenty_only() -> None:
    history = AgentHistory()
    for _ in range(1000):
        history.deviate(0.9)
    for _ in range(DRIFT_WINDOW):
        history.deviate(0.1)
    assert history.deviate(0.1) == 0.0
    assert history.deviate(0.6) == pytest.approx(0.5)


def test_a_history_takes_the_same_memory_after_a_million_messages() -> None:
    history = AgentHistory()
    for number in range(10_000):
        history.arrive(float(number), 60.0)
        history.deviate(0.1)
    assert len(history._recent) == DRIFT_WINDOW


def test_defect_22_a_critical_message_is_the_most_urgent_one() -> None:
    factors = [weighed(a_message(priority=level)).factors["priority"] for level in Priority]
    assert factors == [0.1, 0.3, 0.7, 1.0]
    assert weighed(a_message(priority=Priority.CRITICAL)).score == 0.9


def test_the_most_urgent_message_never_weighs_less_than_its_floor() -> None:
    worst = tool("db.delete", amount=10**6)
    message = a_message(content=worst.content, priority=Priority.CRITICAL)
    assert weighed(message).score >= 0.9


@pytest.mark.parametrize(
    ("type_", "factor"),
    [
        (MessageType.GOVERNANCE_REQUEST, 0.8),
        (MessageType.TASK_REQUEST, 0.8),
        (MessageType.EVENT, 0.2),
    ],
)
def test_some_types_weigh_more(type_: MessageType, factor: float) -> None:
    assert weighed(a_message(type=type_)).factors["type"] == factor


def test_defect_26_point_three_and_point_four_and_point_one_are_point_eight() -> None:
    law: Any = deepcopy(dict(IMPACT))
    law["weights"] = dict.fromkeys(law["weights"], 0.0) | {
        "permission": 0.3,
        "volume": 0.4,
        "context": 0.1,
        "drift": 0.2,
    }
    table = ImpactTable.from_mapping(law)
    factors = {"permission": 1.0, "volume": 1.0, "context": 1.0, "drift": 0.0}
    assert 0.3 + 0.4 + 0.1 < 0.8
    assert score_of(factors, table) >= 0.8


def test_what_a_model_reads_can_only_raise_the_score() -> None:
    impact = weighed(a_message())
    harmless = deepen(impact, 0.0, model="sha256:m", table=TABLE)
    assert harmless.score == impact.score
    assert harmless.factors["semantic"] == 0.0
    assert harmless.model == "sha256:m"
    grave = deepen(impact, 0.81, model="sha256:m", table=TABLE)
    assert grave.score >= 0.8


@pytest.mark.parametrize("semantic", [float("nan"), float("inf"), -1.0, 2.0])
def test_a_model_that_talks_nonsense_is_believed_to_be_alarmed(semantic: float) -> None:
    impact = deepen(weighed(a_message()), semantic, model="m", table=TABLE)
    assert impact.factors["semantic"] == 1.0
    assert impact.score >= 0.8


def test_histories_are_kept_for_the_agents_seen_last() -> None:
    histories = AgentHistories(2)
    first = histories.of("acme", "a")
    histories.of("acme", "b")
    assert histories.of("acme", "a") is first
    histories.of("other", "a")
    assert len(histories) == 2
    assert histories.forgotten == 1
    assert histories.of("acme", "a") is first


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("weights", "drift"), None),
        (("weights", "drift"), 2),
        (("weights", "luck"), 0.1),
        (("permission", "words"), ["delete"]),
        (("volume", "steps"), []),
        (("volume", "window_s"), 0),
        (("context", "night", "from_hour"), 24),
        (("context", "amount", "words"), ["Amount"]),
        (("drift", "tolerance"), 0),
        (("priority", "urgent"), 1.0),
        (("boost", "urgent_floor"), "high"),
    ],
)
def test_a_table_that_is_not_understood_is_refused(path: tuple[str, ...], value: object) -> None:
    law: Any = deepcopy(dict(IMPACT))
    section = law
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(ValueError, match=r"impact\."):
        ImpactTable.from_mapping(law)


def test_a_table_that_weighs_nothing_without_a_model_is_refused() -> None:
    law: Any = deepcopy(dict(IMPACT))
    law["weights"] = dict.fromkeys(law["weights"], 0) | {"semantic": 1}
    with pytest.raises(ValueError, match="other than semantic"):
        ImpactTable.from_mapping(law)


def test_args_that_change_nothing_change_nothing() -> None:
    changes = MessageChanges(content={"tool": "file.read", "args": {"a": [1, {"b": None}]}})
    assert weighed(a_message(**changes)) == weighed(a_message(**changes))
