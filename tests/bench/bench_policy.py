"""What one evaluation of the shipped policy costs.

`PYTHONPATH=.:tests python -m bench.bench_policy` measures it.

The embedded engine on one thread, bytes in, values out, as the judge calls it. Beside each input
stands a policy that says yes to everything: what the engine itself takes on this machine now.
The inputs take turns, so that a machine that slows down slows them all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from lawbook import bundle
from policy_inputs import asked, calls, finding, says

from cluster.opa.engine import ENTRYPOINT, Bundle
from cluster.opa.native import NativeEngine
from policies.message import MessageType

YES = (
    "package acgs.governance\nimport rego.v1\n"
    'decision := {"allow": true, "verdicts": [], "obligations": []}\n'
)


def documents() -> dict[str, Any]:
    """What is asked, by what it stands for."""
    return {
        "a mail (allow)": asked(),
        "an event (allow)": says(MessageType.EVENT),
        "a mail of two roles (allow)": asked({"principal.roles": ["agent", "auditor"]}),
        "a mail with a finding (allow)": asked(
            {"findings": [finding("pii", "email", "/args/body")]}
        ),
        "an unknown tool (review)": calls("calculate_area", {"base": 10, "height": 5}),
        "a bad argument (deny)": calls("search", {"query": "x", "limit": 0}),
        "a malformed input (deny)": asked({"message.tool": 5}),
    }


def measure(evaluations: int) -> dict[str, list[float]]:
    """Microseconds of each evaluation, by what was asked."""
    floor = NativeEngine(Bundle.of({"floor.rego": YES}), ENTRYPOINT)
    policy = NativeEngine(bundle(), ENTRYPOINT)
    asking = {
        name: (policy, json.dumps(document).encode()) for name, document in documents().items()
    }
    asking["floor: yes to everything"] = (floor, json.dumps(asked()).encode())
    taken: dict[str, list[float]] = {name: [] for name in asking}
    for number in range(evaluations + 200):
        for name, (engine, document) in asking.items():
            began_ns = time.perf_counter_ns()
            engine.evaluate(document)
            if number >= 200:  # warm by now
                taken[name].append((time.perf_counter_ns() - began_ns) / 1000)
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--evaluations", type=int, default=5000, help="of each input")
    for name, taken in measure(parser.parse_args().evaluations).items():
        cuts = statistics.quantiles(taken, n=100, method="inclusive")
        print(
            f"{name:<32} n={len(taken)}  min {min(taken):6.0f}  p50 {cuts[49]:6.0f}  "
            f"p95 {cuts[94]:6.0f}  p99 {cuts[98]:6.0f} us"
        )


if __name__ == "__main__":
    main()
