"""What the processes of this node counted: the one door to Prometheus.

Every process keeps its counts in files of its own under PROMETHEUS_MULTIPROC_DIR, and any of them
can show the sum of all (`render`). The application calls `prepare` once, before it starts others;
these find the variable in their environment. Without it a process counts, and shows, itself.

A metric is pickled as its name, so a class that uses one may be pickled by value, as Ray does.
Labels are few and known beforehand: never an agent, a tenant, a message, or what a caller sends.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, ParamSpec, Self, TypeVar, cast

import prometheus_client
import prometheus_client.metrics

from cluster import metric_files
from policies.decision import Decision
from policies.errors import GovernanceError

P = ParamSpec("P")
T = TypeVar("T")

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STATE_LEVELS: Final = {"closed": 0, "half_open": 1, "open": 2}
# From half a millisecond to five seconds; 5 ms is the promise (P99_LATENCY_TARGET_MS).
LATENCY_BUCKETS_S: Final = (
    *(0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
# What happens inside the promise: from 50 microseconds up.
FINE_BUCKETS_S: Final = (0.00005, 0.0001, 0.00025, *LATENCY_BUCKETS_S)


class _Named(prometheus_client.metrics.MetricWrapperBase):
    """A metric that travels as its name and lives where `metric_files` says."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, tuple[str, ...]]]:
        return _find, (self._original_name, tuple(self._labelvalues))

    def rebind(self) -> None:
        """Begin again at zero, in the place where values live now; children stay the same."""
        if not self._labelnames or self._labelvalues:
            self._metric_init()  # type: ignore[no-untyped-call]  # theirs
        for child in getattr(self, "_metrics", {}).values():
            child.rebind()


class Counter(_Named, prometheus_client.Counter):
    """Counts up; also what dead processes counted stays in the sum."""


class Histogram(_Named, prometheus_client.Histogram):
    """Counts by size; also what dead processes counted stays in the sum."""


class Gauge(_Named, prometheus_client.Gauge):
    """A level; `multiprocess_mode` says what many processes make of it."""


metric_files.move_in()

DECISIONS: Final = Counter("acgs_decisions_total", "Decisions recorded", ["effect", "lane"])
REFUSALS: Final = Counter("acgs_refusals_total", "Requests refused, by problem code", ["code"])
REFUSALS_UNRECORDED: Final = Counter(
    "acgs_refusals_unrecorded_total", "Refusals that the ledger lacks: by rate or ledger", ["why"]
)
DECISION_LATENCY: Final = Histogram(
    "acgs_decision_latency_seconds", "From admission to decision", buckets=LATENCY_BUCKETS_S
)

HTTP_REQUESTS: Final = Counter(
    "acgs_http_requests_total", "HTTP requests answered", ["method", "route", "status"]
)
HTTP_DURATION: Final = Histogram(
    "acgs_http_request_duration_seconds",
    "From request to the end of its answer",
    ["method", "route"],
    buckets=LATENCY_BUCKETS_S,
)

CIRCUIT_STATE: Final = Gauge(
    "acgs_circuit_state",
    "The worst state among the living processes: 0 closed, 1 half-open, 2 open",
    ["name"],
    multiprocess_mode="livemax",
)
CIRCUIT_EVENTS: Final = Counter(
    "acgs_circuit_events_total", "Successes, failures and state changes", ["name", "event"]
)

# The tree stays as large as it is when its sequencer dies; the lag is then unknown, not frozen.
LEDGER_TREE_SIZE: Final = Gauge(
    "acgs_ledger_tree_size",
    "Leaves in the signed trees of all tenants",
    multiprocess_mode="mostrecent",
)
LEDGER_LAG: Final = Gauge(
    "acgs_ledger_lag_seconds",
    "Age of the oldest entry that is recorded and not yet in the signed tree",
    multiprocess_mode="livemostrecent",
)

MAILBOX_DELIVERED: Final = Counter("acgs_mailbox_delivered_total", "Messages put into mailboxes")
MAILBOX_ACKED: Final = Counter("acgs_mailbox_acked_total", "Messages that recipients finished")
MAILBOX_NACKED: Final = Counter("acgs_mailbox_nacked_total", "Messages that recipients gave back")
MAILBOX_REDELIVERED: Final = Counter("acgs_mailbox_redelivered_total", "Messages handed out again")

REVIEWS_OPENED: Final = Counter("acgs_reviews_opened_total", "Reviews that were opened")
REVIEW_STEPS: Final = Counter(
    "acgs_review_steps_total", "Steps of reviews, and where they led", ["step", "state"]
)
REVIEW_DURATION: Final = Histogram(
    "acgs_review_duration_seconds",
    "From the opening of a review to its end",
    ["state"],
    buckets=(1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 72 * 3600),
)
REVIEWS_OPEN: Final = Gauge(
    "acgs_reviews_open",
    "Reviews of all tenants that wait for people",
    multiprocess_mode="livemostrecent",
)

# A channel is named in the channels file, so there are few.
NOTIFICATIONS: Final = Counter(
    "acgs_notifications_total",
    "What became of sends: sent, retried, postponed, dead or moot",
    ["channel", "outcome"],
)
NOTIFICATIONS_DROPPED: Final = Counter(
    "acgs_notifications_dropped_total", "Dead letters that had to go for newer ones"
)
NOTIFICATIONS_WAITING: Final = Gauge(
    "acgs_notifications_waiting",
    "Notifications of all tenants in the queue of a channel",
    ["channel"],
    multiprocess_mode="livemostrecent",
)
NOTIFICATION_DELAY: Final = Histogram(
    "acgs_notification_delay_seconds",
    "From the step of a review until the channel had taken it",
    ["channel"],
    buckets=(0.25, 0.5, 1, 2, 5, 15, 60, 300, 1800, 3600, 4 * 3600, 24 * 3600),
)
HERALD_GAPS: Final = Counter(
    "acgs_herald_gaps_total", "Times that events were gone before they were read"
)
HERALD_UNREADABLE: Final = Counter(
    "acgs_herald_unreadable_total", "Steps of which nobody is told: their review cannot be read"
)

POLICY_CACHE_HITS: Final = Counter("acgs_policy_cache_hits_total", "Verdicts found in the cache")
POLICY_CACHE_MISSES: Final = Counter("acgs_policy_cache_misses_total", "Verdicts not in the cache")
POLICY_EVALUATION: Final = Histogram(
    "acgs_policy_evaluation_seconds", "One evaluation by the policy engine", buckets=FINE_BUCKETS_S
)
STORE_ROUNDTRIP: Final = Histogram(
    "acgs_store_roundtrip_seconds", "One round trip to the store", buckets=FINE_BUCKETS_S
)

_OUTCOME: Final = ("outcome", "error")
REQUESTS: Final = Counter(
    "acgs_requests_total", "Calls of a service's endpoints", ["service", "endpoint", *_OUTCOME]
)
REQUEST_DURATION: Final = Histogram(
    "acgs_request_duration_seconds",
    "One call of an endpoint",
    ["service", "endpoint"],
    buckets=LATENCY_BUCKETS_S,
)
REQUESTS_IN_PROGRESS: Final = Gauge(
    "acgs_requests_in_progress",
    "Calls under way",
    ["service", "endpoint"],
    multiprocess_mode="livesum",
)
VALIDATIONS: Final = Counter(
    "acgs_constitutional_validations_total", "Constitutional validations", ["service", *_OUTCOME]
)
VALIDATION_DURATION: Final = Histogram(
    "acgs_constitutional_validation_duration_seconds",
    "One constitutional validation",
    ["service"],
    buckets=FINE_BUCKETS_S,
)
VALIDATIONS_IN_PROGRESS: Final = Gauge(
    "acgs_constitutional_validations_in_progress",
    "Constitutional validations under way",
    ["service"],
    multiprocess_mode="livesum",
)
MESSAGES: Final = Counter(
    "acgs_messages_processed_total", "Messages", ["message_type", "priority", *_OUTCOME]
)
MESSAGE_DURATION: Final = Histogram(
    "acgs_message_processing_duration_seconds",
    "The processing of one message",
    ["message_type", "priority"],
    buckets=LATENCY_BUCKETS_S,
)
MESSAGES_IN_PROGRESS: Final = Gauge(
    "acgs_messages_in_progress",
    "Messages being processed",
    ["message_type", "priority"],
    multiprocess_mode="livesum",
)

_FAMILIES: Final[dict[str, _Named]] = {
    each._original_name: each  # noqa: SLF001  # ours: see _Named
    for each in list(globals().values())
    if isinstance(each, _Named)
}


def _find(name: str, labels: tuple[str, ...]) -> object:
    family = _FAMILIES[name]
    return family.labels(*labels) if labels else family


def prepare(directory: Path) -> None:
    """Clear what dead processes left in `directory`, and count there from now on.

    For the process that starts the application, before it starts others; it begins again at zero.
    Files that a living process writes are left alone. Give the others `PROMETHEUS_MULTIPROC_DIR`.
    """
    metric_files.prepare(directory)
    for family in _FAMILIES.values():
        family.rebind()


def render() -> tuple[bytes, str]:
    """Return the counts of every process of this node, and their media type.

    Reads two to ten files a process: call it in a thread.
    """
    directory = metric_files.directory()
    if directory is None:
        return prometheus_client.generate_latest(), prometheus_client.CONTENT_TYPE_LATEST
    return metric_files.read_all(directory), prometheus_client.CONTENT_TYPE_LATEST


def show_circuit(name: str, state: str) -> None:
    """Show the state of a circuit in this process: `closed`, `half_open` or `open`."""
    CIRCUIT_STATE.labels(name).set(_STATE_LEVELS[state])


def count_request(  # noqa: PLR0917  # the order of an access log
    method: str, route: str, status: int, elapsed_s: float
) -> None:
    """Count one HTTP request. `route` is the pattern that matched, never the path."""
    method = method if method in _METHODS else "other"
    HTTP_REQUESTS.labels(method, route, status).inc()
    HTTP_DURATION.labels(method, route).observe(elapsed_s)


class PrometheusMeter:
    """The bus's `Meter`."""

    def decided(self, decision: Decision, latency_s: float) -> None:
        """Count one decision and how long it took."""
        DECISIONS.labels(decision.effect, decision.lane).inc()
        DECISION_LATENCY.observe(latency_s)

    def refused(self, code: str) -> None:
        """Count one refusal by its problem code."""
        REFUSALS.labels(code).inc()


def track_request_metrics(service: str, endpoint: str) -> Track:
    """Count, time and watch calls of an endpoint: a decorator, or a block's `with`."""
    return Track(REQUESTS, REQUEST_DURATION, REQUESTS_IN_PROGRESS, labels=(service, endpoint))


def track_constitutional_validation(service: str) -> Track:
    """Count, time and watch constitutional validations; an answer of False is `invalid`."""
    return Track(
        VALIDATIONS,
        VALIDATION_DURATION,
        VALIDATIONS_IN_PROGRESS,
        labels=(service,),
        false_is="invalid",
    )


def track_message_processing(message_type: str, priority: str = "normal") -> Track:
    """Count, time and watch the processing of messages: a decorator, or a block's `with`."""
    return Track(MESSAGES, MESSAGE_DURATION, MESSAGES_IN_PROGRESS, labels=(message_type, priority))


class Track:
    """Counts each call by its outcome, how long it took, and how many are under way.

    Outcomes are `success`, `error` and `cancelled`; `error` names the code of a GovernanceError
    or the type of another exception. A decorator may run many calls at once; a `with` is one block.
    """

    def __init__(
        self,
        total: Counter,
        duration: Histogram,
        in_progress: Gauge,
        *,
        labels: tuple[str, ...],
        false_is: str = "success",
    ) -> None:
        self._total = total
        self._duration = duration.labels(*labels)
        self._in_progress = in_progress.labels(*labels)
        self._labels = labels
        self._succeeded = total.labels(*labels, "success", "")
        self._false_is = false_is
        self._block_began_s: float | None = None

    def __call__(self, func: Callable[P, T]) -> Callable[P, T]:
        """Track every call of a `def` or `async def`."""
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise TypeError(f"{func!r} is a generator: its calls end before its work begins")
        if inspect.iscoroutinefunction(func):
            return cast("Callable[P, T]", self._async(func))

        @functools.wraps(func)
        def tracked(*args: P.args, **kwargs: P.kwargs) -> T:
            began_s = self._begin()
            try:
                result = func(*args, **kwargs)
            except BaseException as error:
                self._end(began_s, error)
                raise
            self._end(began_s, None, answer=result)
            return result

        return tracked

    def _async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        async def tracked(*args: Any, **kwargs: Any) -> Any:
            began_s = self._begin()
            try:
                result = await func(*args, **kwargs)
            except BaseException as error:
                self._end(began_s, error)
                raise
            self._end(began_s, None, answer=result)
            return result

        return tracked

    def __enter__(self) -> Self:
        """Begin a block."""
        assert self._block_began_s is None, "one `with` at a time: ask for another Track"
        self._block_began_s = self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> Literal[False]:
        """End the block; what it raised is raised."""
        assert self._block_began_s is not None
        began_s, self._block_began_s = self._block_began_s, None
        self._end(began_s, error)
        return False

    def _begin(self) -> float:
        self._in_progress.inc()
        return time.perf_counter()

    def _end(self, began_s: float, error: BaseException | None, *, answer: object = None) -> None:
        self._duration.observe(time.perf_counter() - began_s)
        self._in_progress.dec()
        if error is None and answer is not False:
            self._succeeded.inc()
        else:
            self._total.labels(*self._labels, *_outcome(error, self._false_is)).inc()


def _outcome(error: BaseException | None, otherwise: str) -> tuple[str, str]:
    match error:
        case None:
            return otherwise, ""
        case GovernanceError():
            return "error", error.code
        case Exception():
            return "error", type(error).__name__
        case _:
            return "cancelled", type(error).__name__
