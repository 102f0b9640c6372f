"""How long ago, and how much longer, in words that fit a column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400


def duration_text(span: timedelta) -> str:
    """Return the span in its two largest units: `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _DAY_S:
        return _two(seconds // _HOUR_S, "h", seconds % _HOUR_S // _MINUTE_S, "min")
    return _two(seconds // _DAY_S, "d", seconds % _DAY_S // _HOUR_S, "h")


def left_text(until: datetime, now: datetime) -> str:
    """Return how much time is left, or that there is none."""
    return "over" if until <= now else f"{duration_text(until - now)} left"


def clock_text(moment: datetime) -> str:
    """Return the moment to the second, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _two(large: int, unit: str, small: int, lesser: str) -> str:  # noqa: PLR0917  # two pairs
    return f"{large} {unit}" if small == 0 else f"{large} {unit} {small} {lesser}"
