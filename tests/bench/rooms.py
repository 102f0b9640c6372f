"""The rooms behind the road: ledger, mailbox and policy, each on the real thing."""

from __future__ import annotations

import statistics
from typing import Any

from bench import bench_identity, bench_ledger, bench_mailbox, bench_policy
from bench.rows import Row


def bench_rooms(scale: float) -> list[Row]:
    """Measure appends, growth, proofs, deliveries and evaluations; `scale` 1.0 is the full run."""
    return [*_ledger(scale), *_mailbox(scale), *_policy(scale)]


def _ledger(scale: float) -> list[Row]:
    many = bench_ledger.appends(int(100_000 * scale))
    one = bench_ledger.one_caller(int(2_000 * scale))
    sizes = (100_000, 1_000_000) if scale >= 1 else (100_000,)
    proved = bench_ledger.proofs(sizes)
    tree = [many[f"into_the_tree_per_s_{part}_slice"] for part in ("first", "last")]
    rows = [
        Row(
            path="ledger: appends, 256 callers",
            goal=">= 5000/s",
            met=many["appends_per_s"] >= 5000,
            ran=many["appended"],
            rate_s=many["appends_per_s"],
            note=f"first slice {many['appends_per_s_first_slice']}/s, "
            f"last {many['appends_per_s_last_slice']}/s; into the tree {tree[0]} to {tree[1]}",
            **_spread(many, "append_ms"),
        ),
        Row(
            path="ledger: append, one caller",
            goal="-",
            met=None,
            ran=one["appended"],
            rate_s=one["appends_per_s"],
            **_spread(one, "append_ms"),
        ),
    ]
    for size in sizes:
        spread = _spread(proved, f"proof_{size}_ms")
        rows.append(
            Row(
                path=f"ledger: proof in {size} entries",
                goal="p99 < 5 ms",
                met=spread["p99"] < 5,
                ran=2000,
                rate_s=0.0,
                note=f"whole log verified in {proved[f'verify_{size}_s']} s",
                **spread,
            )
        )
    return rows


def _mailbox(scale: float) -> list[Row]:
    sent = bench_mailbox.deliveries(int(20_000 * scale))
    taken = bench_mailbox.receipts(int(20_000 * scale))
    return [
        Row(
            path="mailbox: deliver, 256 callers",
            goal="-",
            met=None,
            ran=sent["delivered"],
            rate_s=sent["deliveries_per_s"],
            **_spread(sent, "deliver_ms"),
        ),
        Row(
            path="mailbox: receive and ack by 100",
            goal="-",
            met=None,
            ran=taken["received_and_acked"],
            rate_s=taken["per_s"],
            **_spread(taken, "receive_ms"),
        ),
    ]


def _policy(scale: float) -> list[Row]:
    measured = {f"policy: {k}": v for k, v in bench_policy.measure(int(3_000 * scale)).items()}
    measured |= {f"identity: {name}": taken for name, taken in bench_identity.measure().items()}
    rows = []
    for name, taken_us in measured.items():
        cuts = statistics.quantiles(taken_us, n=100, method="inclusive")
        rows.append(
            Row(
                path=name,
                goal="-",
                met=None,
                ran=len(taken_us),
                rate_s=round(1e6 / statistics.mean(taken_us), 1),
                p50=round(cuts[49] / 1000, 3),
                p95=round(cuts[94] / 1000, 3),
                p99=round(cuts[98] / 1000, 3),
            )
        )
    return rows


def _spread(found: dict[str, Any], name: str) -> dict[str, float]:
    return {"p50": found[f"{name}_p50"], "p99": found[f"{name}_p99"]}
