"""The one door to Prometheus: names, labels, tracking and travel."""

from __future__ import annotations

import asyncio
import pickle
import uuid
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster import metrics
from cluster.breaker.registry import get_circuit_breaker
from cluster.errors import StoreUnavailableError
from policies.decision import Effect, Lane

from builders import a_decision


def sample(name: str, /, **labels: str) -> float:
    body, _ = metrics.render()
    for family in text_string_to_metric_families(body.decode()):
        for each in family.samples:
            if each.name == name and each.labels == labels:
                return each.value
    return 0.0


@pytest.fixture
def service() -> str:
    return f"service-{uuid.uuid4().hex[:8]}"


def test_every_metric_of_the_product_is_there() -> None:
    body, media_type = metrics.render()
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert media_type.startswith("text/plain; version=")
    assert names >= {
        "acgs_decisions",
        "acgs_refusals",
        "acgs_decision_latency_seconds",
        "acgs_http_requests",
        "acgs_http_request_duration_seconds",
        "acgs_circuit_state",
        "acgs_ledger_tree_size",
        "acgs_ledger_lag_seconds",
        "acgs_mailbox_delivered",
        "acgs_mailbox_acked",
        "acgs_mailbox_nacked",
        "acgs_mailbox_redelivered",
        "acgs_reviews_opened",
        "acgs_review_steps",
        "acgs_review_duration_seconds",
        "acgs_reviews_open",
        "acgs_policy_cache_hits",
        "acgs_policy_cache_misses",
        "acgs_policy_evaluation_seconds",
        "acgs_store_roundtrip_seconds",
    }


def test_the_buckets_hold_the_promise_between_half_a_millisecond_and_five_seconds() -> None:
    buckets = metrics.LATENCY_BUCKETS_S
    assert (buckets[0], buckets[-1]) == (0.0005, 5.0)
    assert 0.005 in buckets
    assert list(buckets) == sorted(buckets)


def test_no_label_is_without_bound() -> None:
    allowed = {
        *("effect", "lane", "code", "method", "route", "status", "name", "event"),
        *("service", "endpoint", "outcome", "error", "message_type", "priority"),
        *("step", "state"),  # of a review
        "channel",  # of the channels file, which may hold 32
        "why",  # a refusal that was not recorded: one of few words of ours
    }
    for family in metrics._FAMILIES.values():
        assert set(family._labelnames) <= allowed, family


def test_the_meter_counts_decisions_and_refusals() -> None:
    meter = metrics.PrometheusMeter()
    labels = {"effect": "review", "lane": "human"}
    before = sample("acgs_decisions_total", **labels)
    timed = sample("acgs_decision_latency_seconds_bucket", le="0.005")
    meter.decided(a_decision(effect=Effect.REVIEW, lane=Lane.HUMAN), 0.004)
    meter.refused("message.expired")
    assert sample("acgs_decisions_total", **labels) == before + 1
    assert sample("acgs_decision_latency_seconds_bucket", le="0.005") == timed + 1
    assert sample("acgs_refusals_total", code="message.expired") == 1


def test_a_request_with_an_invented_method_makes_no_new_series() -> None:
    for method in ("GET", "X-1", "X-2", "get"):
        metrics.count_request(method, "/v1/messages", 200, 0.001)
    labels = {"route": "/v1/messages", "status": "200"}
    assert sample("acgs_http_requests_total", method="GET", **labels) == 1
    assert sample("acgs_http_requests_total", method="other", **labels) == 3


def test_tracked_functions_of_both_kinds_are_counted_and_timed(service: str) -> None:
    @metrics.track_request_metrics(service, "/sync")
    def sync(value: int) -> int:
        assert sample("acgs_requests_in_progress", service=service, endpoint="/sync") == 1
        return value

    @metrics.track_request_metrics(service, "/async")
    async def later(value: int) -> int:
        await asyncio.sleep(0.01)
        return value

    async def many() -> list[int]:
        return await asyncio.gather(*(later(i) for i in range(10)))

    assert sync(3) == 3
    assert asyncio.run(many()) == list(range(10))
    done = {"service": service, "outcome": "success", "error": ""}
    assert sample("acgs_requests_total", endpoint="/sync", **done) == 1
    assert sample("acgs_requests_total", endpoint="/async", **done) == 10
    where = {"service": service, "endpoint": "/async"}
    assert sample("acgs_request_duration_seconds_count", **where) == 10
    assert sample("acgs_request_duration_seconds_sum", **where) >= 0.1
    assert sample("acgs_requests_in_progress", **where) == 0


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (ValueError("x"), ("error", "ValueError")),
        (StoreUnavailableError("down"), ("error", "store.unavailable")),
        (asyncio.CancelledError(), ("cancelled", "CancelledError")),
    ],
)
def test_a_tracked_failure_is_named_and_raised(
    service: str, error: BaseException, counted: tuple[str, str]
) -> None:
    outcome, named = counted

    @metrics.track_request_metrics(service, "/")
    async def later() -> None:
        raise error

    @metrics.track_request_metrics(service, "/")
    def sync() -> None:
        raise error

    async def scenario() -> None:
        with pytest.raises(type(error)):
            await later()

    asyncio.run(scenario())
    with pytest.raises(type(error)):
        sync()
    with pytest.raises(type(error)), metrics.track_request_metrics(service, "/"):
        raise error
    labels = {"service": service, "endpoint": "/", "outcome": outcome, "error": named}
    assert sample("acgs_requests_total", **labels) == 3
    assert sample("acgs_requests_in_progress", service=service, endpoint="/") == 0


def test_a_validation_that_answers_false_is_invalid(service: str) -> None:
    @metrics.track_constitutional_validation(service)
    def validate(value: str) -> bool:
        return value == "sound"

    assert validate("sound")
    assert not validate("unsound")
    name = "acgs_constitutional_validations_total"
    assert sample(name, service=service, outcome="success", error="") == 1
    assert sample(name, service=service, outcome="invalid", error="") == 1


def test_messages_are_tracked_by_type_and_priority() -> None:
    with metrics.track_message_processing("command", "high"):
        pass
    with metrics.track_message_processing("command"):
        pass
    for priority in ("high", "normal"):
        labels = {"message_type": "command", "priority": priority}
        assert sample("acgs_message_processing_duration_seconds_count", **labels) == 1


def test_generators_are_refused_when_written(service: str) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        metrics.track_request_metrics(service, "/")(numbers)


def test_a_metric_travels_as_its_name() -> None:
    for metric in (
        metrics.DECISION_LATENCY,
        metrics.DECISIONS,
        metrics.DECISIONS.labels("allow", "fast"),
        metrics.LEDGER_TREE_SIZE,
    ):
        assert pickle.loads(pickle.dumps(metric)) is metric


def test_a_tracked_function_keeps_counting_after_a_journey(service: str) -> None:
    track = pickle.loads(pickle.dumps(metrics.track_request_metrics(service, "/")))
    track(lambda: None)()
    labels = {"service": service, "endpoint": "/", "outcome": "success", "error": ""}
    assert sample("acgs_requests_total", **labels) == 1


def test_the_state_of_a_circuit_is_shown() -> None:
    circuit = get_circuit_breaker("metrics-test")
    circuit.open()
    assert sample("acgs_circuit_state", name="metrics-test") == 2
    circuit.reset()
    assert sample("acgs_circuit_state", name="metrics-test") == 0
