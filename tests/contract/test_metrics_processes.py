"""One scrape shows what every process of the node counted, also the ones that were killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

COUNT = """
    import sys
    from cluster import metrics

    def count(times):
        for _ in range(times):
            metrics.DECISIONS.labels("allow", "fast").inc()
            metrics.DECISION_LATENCY.observe(0.002)

    print("ready", flush=True)
    for line in sys.stdin:
        count(int(line))
        print("done", flush=True)
"""

RENDER = """
    import sys
    from cluster import metrics
    sys.stdout.buffer.write(metrics.render()[0])
"""


class Process:
    """A real process that runs a script and answers line by line."""

    def __init__(self, script: str, directory: Path | None, *args: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        if directory is not None:
            environment["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        self._process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *args],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> str:
        return self._pipe(self._process.stdout).readline().strip()

    def tell(self, line: object) -> None:
        pipe = self._pipe(self._process.stdin)
        pipe.write(f"{line}\n")
        pipe.flush()

    def ask(self, line: object) -> str:
        self.tell(line)
        return self.hear()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close()

    def kill_and_leave_unburied(self) -> None:
        self._process.kill()

    def finish(self) -> str:
        output, _ = self._process.communicate(timeout=30)
        assert self._process.returncode == 0
        return output

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "counts"


@pytest.fixture
def start(directory: Path) -> Iterator[type[Process]]:
    started: list[Process] = []

    class Started(Process):
        def __init__(self, script: str = COUNT, *args: str) -> None:
            super().__init__(script, directory, *args)
            started.append(self)

    yield Started
    for process in started:
        process.kill()


def scrape(directory: Path) -> Samples:
    body = Process(RENDER, directory).finish()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def of(samples: Samples, name: str, /, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def decided(samples: Samples) -> float | None:
    return of(samples, "acgs_decisions_total", effect="allow", lane="fast")


def test_the_sum_is_exact_and_monotonic_when_one_is_killed(
    start: type[Process], directory: Path
) -> None:
    workers = [start() for _ in range(4)]
    assert [worker.hear() for worker in workers] == ["ready"] * 4
    # Each acknowledges what it counted; only then is it known how much must be there.
    assert [worker.ask(1_000) for worker in workers] == ["done"] * 4
    assert decided(scrape(directory)) == 4_000

    for worker in workers[1:]:
        worker.tell(50_000)
    seen: list[float] = []
    histogram: list[float] = []
    for turn in range(6):
        samples = scrape(directory)
        seen.append(decided(samples) or 0.0)
        histogram.append(of(samples, "acgs_decision_latency_seconds_count") or 0.0)
        if turn == 1:
            workers[0].kill()
    assert seen == sorted(seen)
    assert histogram == sorted(histogram)
    assert seen[0] >= 4_000

    assert [worker.hear() for worker in workers[1:]] == ["done"] * 3
    samples = scrape(directory)
    expected = 4_000 + 3 * 50_000
    assert decided(samples) == expected
    assert of(samples, "acgs_decision_latency_seconds_count") == expected
    assert of(samples, "acgs_decision_latency_seconds_bucket", le="0.002") == expected
    total_s = of(samples, "acgs_decision_latency_seconds_sum")
    assert total_s == pytest.approx(0.002 * expected)


def test_what_was_counted_before_a_kill_in_mid_count_is_kept(
    start: type[Process], directory: Path
) -> None:
    worker = start()
    worker.hear()
    worker.ask(1_000)
    worker.tell(10_000_000)
    while (decided(scrape(directory)) or 0) < 2_000:
        pass
    before = decided(scrape(directory))
    worker.kill()
    after = decided(scrape(directory))
    assert before is not None
    assert after is not None
    assert after >= before
    # Whole counts, and the histogram lags by one event at most: the one that was cut short.
    assert after == int(after)
    timed = of(scrape(directory), "acgs_decision_latency_seconds_count")
    assert timed is not None
    assert after - timed in {0, 1}
    start().hear()
    assert decided(scrape(directory)) == after


LEVELS = """
    import sys
    from cluster import metrics

    level = int(sys.argv[1])
    metrics.show_circuit("store", ["closed", "half_open", "open"][level])
    metrics.LEDGER_TREE_SIZE.set(100 + level)
    metrics.LEDGER_LAG.set(level)
    metrics.track_request_metrics("gateway", "/")._begin()
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("buried", [True, False], ids=["buried", "zombie"])
def test_the_levels_of_a_killed_process_go_and_the_size_of_the_tree_stays(
    start: type[Process], directory: Path, *, buried: bool
) -> None:
    healthy, tripped = start(LEVELS, "0"), None
    healthy.hear()
    tripped = start(LEVELS, "2")
    tripped.hear()
    samples = scrape(directory)
    assert of(samples, "acgs_circuit_state", name="store") == 2
    assert of(samples, "acgs_requests_in_progress", service="gateway", endpoint="/") == 2
    assert of(samples, "acgs_ledger_lag_seconds") == 2

    if buried:
        tripped.kill()
    else:
        tripped.kill_and_leave_unburied()
        os.waitid(os.P_PID, tripped.pid, os.WEXITED | os.WNOWAIT)
    samples = scrape(directory)
    assert of(samples, "acgs_circuit_state", name="store") == 0
    assert of(samples, "acgs_requests_in_progress", service="gateway", endpoint="/") == 1
    assert of(samples, "acgs_ledger_lag_seconds") == 0
    assert of(samples, "acgs_ledger_tree_size") == 102


def test_prepare_clears_the_dead_and_leaves_the_living_alone(
    start: type[Process], directory: Path
) -> None:
    living, dead = start(), start()
    for worker in (living, dead):
        worker.hear()
        worker.ask(10)
    dead.kill()
    stranger = directory / f"counter_{os.getpid()}.db"  # it lives, and never wrote here
    stranger.write_bytes(b"")
    preparing = Process(
        "import sys, pathlib; from cluster import metrics;"
        "metrics.prepare(pathlib.Path(sys.argv[1]))",
        None,
        str(directory),
    )
    preparing.finish()
    assert not stranger.exists()
    assert not list(directory.glob(f"*_{dead.pid}.db"))
    assert decided(scrape(directory)) == 10
    living.ask(5)
    assert decided(scrape(directory)) == 15


def test_a_process_that_prepares_late_counts_where_the_others_do(directory: Path) -> None:
    script = """
        import os, pathlib, sys
        from cluster import metrics

        child = metrics.DECISIONS.labels("allow", "fast")
        child.inc()  # before: of this process alone, and forgotten
        assert b"acgs_decisions_total" in metrics.render()[0]
        metrics.prepare(pathlib.Path(sys.argv[1]))
        child.inc()
        metrics.DECISIONS.labels("allow", "fast").inc()
        metrics.DECISION_LATENCY.observe(0.1)
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == sys.argv[1]
        sys.stdout.buffer.write(metrics.render()[0])
    """
    body = Process(script, None, str(directory)).finish()
    assert 'acgs_decisions_total{effect="allow",lane="fast"} 2.0' in body
    assert decided(scrape(directory)) == 2
    assert directory.stat().st_mode & 0o077 == 0


def test_it_does_not_matter_who_imported_prometheus_first(directory: Path) -> None:
    script = """
        import os, sys
        import prometheus_client
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
        from cluster import metrics
        metrics.DECISIONS.labels("allow", "fast").inc()
    """
    Process(script, None, str(directory)).finish()
    assert decided(scrape(directory)) == 1


def test_another_librarys_metric_in_the_same_process_survives_ours(directory: Path) -> None:
    script = """
        import os, pathlib
        pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir()
        import prometheus_client
        theirs = prometheus_client.Counter("their_total", "Theirs", ["name"])
        theirs.labels("early").inc()
        from cluster import metrics
        metrics.DECISIONS.labels("allow", "fast").inc()
        pid = os.fork()  # the child opens files of its own
        metrics.DECISIONS.labels("allow", "fast").inc()
        theirs.labels("early").inc()
        theirs.labels("late").inc()
        if pid:
            os.waitpid(pid, 0)
    """
    Process(script, directory).finish()
    samples = scrape(directory)
    assert of(samples, "their_total", name="early") == decided(samples) == 3
    assert of(samples, "their_total", name="late") == 2


def test_preparing_again_begins_again_at_zero(directory: Path) -> None:
    script = """
        import pathlib, sys
        from cluster import metrics
        for _ in range(2):
            metrics.prepare(pathlib.Path(sys.argv[1]))
            metrics.DECISIONS.labels("allow", "fast").inc()
    """
    Process(script, directory, str(directory)).finish()
    assert decided(scrape(directory)) == 1


def test_a_forked_child_counts_for_itself(directory: Path) -> None:
    script = """
        import os
        from cluster import metrics
        child = metrics.DECISIONS.labels("allow", "fast")
        child.inc()
        pid = os.fork()
        child.inc()
        if pid:
            os.waitpid(pid, 0)
    """
    Process(script, directory).finish()
    assert decided(scrape(directory)) == 3


def test_a_process_does_not_inherit_the_levels_of_a_dead_one_with_its_id(directory: Path) -> None:
    script = """
        import os, pathlib, sys
        from prometheus_client.mmap_dict import MmapedDict, mmap_key
        place = pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        place.mkdir()
        name = "acgs_circuit_state"
        help_text = "The worst state among the living processes: 0 closed, 1 half-open, 2 open"
        left = MmapedDict(str(place / f"gauge_livemax_{os.getpid()}.db"))
        left.write_value(mmap_key(name, name, ["name"], ["store"], help_text), 2.0, 0.0)
        left.close()
        from cluster import metrics
        assert b'acgs_circuit_state{name="store"}' not in metrics.render()[0]
    """
    Process(script, directory).finish()


def test_a_file_that_a_process_died_making_does_not_stop_the_scrape(
    start: type[Process], directory: Path
) -> None:
    worker = start()
    worker.hear()
    worker.ask(7)
    (directory / f"counter_{2**22 + 7}.db").write_bytes(b"")
    assert decided(scrape(directory)) == 7


def test_scrapes_during_many_starts_all_succeed(start: type[Process], directory: Path) -> None:
    workers = [start() for _ in range(8)]
    watching = """
        import sys, time
        from cluster import metrics
        until = time.monotonic() + 3
        while time.monotonic() < until:
            metrics.render()
    """
    Process(watching, directory).finish()
    for worker in workers:
        worker.hear()
        worker.ask(3)
    assert decided(scrape(directory)) == 24


BY_VALUE = """
    import sys
    from ray import cloudpickle
    from cluster import metrics
    from cluster.metrics import DECISIONS, DECISION_LATENCY, track_request_metrics

    FAST = DECISIONS.labels("allow", "fast")

    class Ingress:  # of __main__, so it is pickled by value, as Serve does
        @track_request_metrics("gateway", "/")
        async def answer(self):
            FAST.inc()
            DECISIONS.labels("allow", "fast").inc()
            metrics.DECISIONS.labels("allow", "fast").inc()
            DECISION_LATENCY.observe(0.001)

    with open(sys.argv[1], "wb") as file:
        cloudpickle.dump(Ingress, file)
"""

ELSEWHERE = """
    import asyncio, pickle, sys
    with open(sys.argv[1], "rb") as file:
        Ingress = pickle.load(file)
    asyncio.run(Ingress().answer())
"""


def test_a_class_that_was_pickled_by_value_counts_where_it_arrives(
    directory: Path, tmp_path: Path
) -> None:
    pickled = str(tmp_path / "ingress.pickle")
    Process(BY_VALUE, None, pickled).finish()
    Process(ELSEWHERE, directory, pickled).finish()
    samples = scrape(directory)
    assert decided(samples) == 3
    assert of(samples, "acgs_decision_latency_seconds_count") == 1
    labels = {"service": "gateway", "endpoint": "/", "outcome": "success", "error": ""}
    assert of(samples, "acgs_requests_total", **labels) == 1


def test_a_guarded_class_that_was_pickled_by_value_uses_the_circuits_of_where_it_arrives(
    directory: Path, tmp_path: Path
) -> None:
    sending = """
        import sys
        from ray import cloudpickle
        from cluster.breaker.circuit import CircuitBreakerConfig
        from cluster.breaker.guard import with_circuit_breaker

        class Client:
            @with_circuit_breaker("far", CircuitBreakerConfig(fail_max=1))
            async def fetch(self):
                raise ConnectionError

        with open(sys.argv[1], "wb") as file:
            cloudpickle.dump(Client, file)
    """
    arriving = """
        import asyncio, pickle, sys
        with open(sys.argv[1], "rb") as file:
            Client = pickle.load(file)
        try:
            asyncio.run(Client().fetch())
        except ConnectionError:
            from cluster.breaker.registry import get_circuit_breaker
            assert get_circuit_breaker("far").state == "open"
    """
    pickled = str(tmp_path / "client.pickle")
    Process(sending, None, pickled).finish()
    Process(arriving, directory, pickled).finish()
    assert of(scrape(directory), "acgs_circuit_events_total", name="far", event="failure") == 1
