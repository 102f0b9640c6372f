"""What every channel is, and the two ways in which sending fails."""

from __future__ import annotations

from typing import Protocol

from policies.errors import DependencyError, GovernanceError
from policies.notification import Notification


class RetryLaterError(DependencyError):
    """It did not arrive, or nobody knows; again it may, in `retry_after_s` if that was said."""

    code = "channel.unavailable"

    def __init__(self, channel: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"channel {channel}", detail)
        self.args = (channel, detail, retry_after_s)
        self.channel = channel
        self.retry_after_s = retry_after_s


class GiveUpError(GovernanceError):
    """The other side does not want this, however often it comes; if `gone`, nothing ever again."""

    code = "channel.refused"
    status = 409

    def __init__(self, channel: str, detail: str, gone: bool = False) -> None:  # noqa: FBT001, FBT002  # travels by position
        super().__init__(channel, detail, gone)
        self.channel = channel
        self.detail = detail
        self.gone = gone
        if gone:
            self.code = "channel.gone"

    def __str__(self) -> str:
        return f"channel {self.channel}: {self.detail}"


class Channel(Protocol):
    """Carries notifications to one place outside. Belongs to one event loop."""

    async def send(self, notification: Notification, trace: str | None) -> str | None:
        """Return once the other side has taken it, with what it must be found by again, if that.

        `trace` is what the last send for the same review returned. Sending again what arrived does
        no harm where the other side knows ids. Raises RetryLaterError and GiveUpError.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
