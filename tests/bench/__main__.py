"""`make bench`: every path of the design's table, the goals beside it, saved with its machine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.bus import bench_bus
from bench.doors import bench_http
from bench.rooms import bench_rooms
from bench.rows import Row, save, show
from cluster.opa.native import go_environment


def main() -> None:
    """Run the benchmarks that were asked for, print the table, and save it."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each HTTP path")
    parser.add_argument("--scale", type=float, default=1.0, help="of ledger, mailbox, policy")
    parser.add_argument("--messages", type=int, default=10_000, help="in process")
    parser.add_argument("--only", choices=("bus", "http", "rooms"))
    asked = parser.parse_args()
    rows: list[Row] = []
    if asked.only in (None, "bus"):
        rows += bench_bus(asked.messages)
    if asked.only in (None, "http"):
        rows += bench_http(asked.seconds, waiting=int(10_000 * asked.scale))
    if asked.only in (None, "rooms"):
        rows += bench_rooms(asked.scale)
    show(rows)
    if asked.only is None:
        print(f"saved {save(rows)}")


if __name__ == "__main__":
    if "GOGC" not in os.environ:  # Go reads it when the process starts, as the gateway's does
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **go_environment()})
    main()
