"""The ten constants of the specification. Facts with a unit, not switches."""

from __future__ import annotations

from typing import Final

CONSTITUTIONAL_HASH: Final = "cdd01ef066bc6cf2"  # names the constitution; not a digest of it
DEFAULT_REDIS_URL: Final = "redis://localhost:6379"
DEFAULT_REDIS_DB: Final = 0
P99_LATENCY_TARGET_MS: Final = 5.0
MIN_THROUGHPUT_RPS: Final = 100
MIN_CACHE_HIT_RATE: Final = 0.85
DEFAULT_MESSAGE_TTL_SECONDS: Final = 3600
DEFAULT_MAX_RETRIES: Final = 3
DEFAULT_TIMEOUT_MS: Final = 5000
COMPLIANCE_TARGET: Final = 1.0
