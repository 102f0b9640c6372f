"""What the sequencer says about itself in the store, for gateways to know whether it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Self

import orjson

from actors.ledger.keys import ROOT
from cluster import metrics

REPORT_S: Final = 1.0  # how often it says so
REPORT_KEPT_S: Final = 10  # how long its word counts


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencerReport:
    """That a sequencer ran at this time, and why which tenants' logs have stopped."""

    at_s: float
    stopped: Mapping[str, str]

    def to_json(self) -> bytes:
        """Return the report as it lies in the store."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the report that lay in the store."""
        return cls(**orjson.loads(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatus:
    """How one log stands. `stopped` says why nothing more goes into it; `lag_s` how far behind."""

    origin: str
    size: int
    root: str
    last_id: str
    lag_s: float
    stopped: str | None = None
    stopped_code: str | None = None


def show_logs(logs: Mapping[str, LogStatus]) -> None:
    """Show Prometheus how large the tenants' trees are together, and how far the last is behind."""
    tenants = [log for name, log in logs.items() if name != ROOT]
    metrics.LEDGER_TREE_SIZE.set(sum(log.size for log in tenants))
    metrics.LEDGER_LAG.set(max((log.lag_s for log in tenants), default=0.0))
