"""How often one agent may ask: a token bucket each, in a bounded table."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from policies.errors import RefusalError

AGENTS_MAX: Final = 65_536
_ROUNDING: Final = 1e-9  # so that whoever waits as long as it was told is let in


class RateLimitedError(RefusalError):
    """The agent asks too often. `retry_after_s` says when it may again."""

    code = "message.rate_limited"
    status = 429
    retryable = True

    def __init__(self, agent: str, retry_after_s: float) -> None:
        detail = f"agent {agent} sends too fast; retry in {retry_after_s:.2f} s"
        super().__init__("message.rate_limited", detail, 429)
        self.args = (agent, retry_after_s)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Bucket:
    """What is left of an agent's allowance, as of a moment on the monotonic clock."""

    left: float
    at_s: float


class RateTable:
    """One bucket for each (tenant, agent): `rate_s` messages a second, `burst` at once.

    The table is bounded: beyond `agents_max`, the one unused for the longest time is forgotten,
    and starts again with a full bucket. `forgotten` counts them.
    """

    def __init__(self, *, rate_s: float, burst: int, agents_max: int = AGENTS_MAX) -> None:
        self._rate_s = rate_s
        self._burst = float(burst)
        self._agents_max = agents_max
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, tenant: str, agent: str, *, now_s: float) -> None:
        """Take one from the agent's bucket; raises RateLimitedError when it is empty."""
        bucket = self._bucket((tenant, agent), now_s)
        elapsed_s = max(0.0, now_s - bucket.at_s)
        bucket.left = min(self._burst, bucket.left + elapsed_s * self._rate_s)
        bucket.at_s = max(bucket.at_s, now_s)  # a moment is never paid out twice
        if bucket.left < 1.0 - _ROUNDING:
            raise RateLimitedError(agent, (1.0 - bucket.left) / self._rate_s)
        bucket.left = max(0.0, bucket.left - 1.0)

    def _bucket(self, who: tuple[str, str], now_s: float) -> Bucket:
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = Bucket(self._burst, now_s)
            if len(self._buckets) > self._agents_max:
                self._buckets.popitem(last=False)
                self.forgotten += 1
        else:
            self._buckets.move_to_end(who)
        return bucket
