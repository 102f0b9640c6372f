"""Slack: a message for each review, which changes with it, and what its callbacks prove."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import orjson
from pydantic import SecretStr

from cluster.channels.channel import GiveUpError, RetryLaterError
from cluster.channels.exchange import Exchange
from cluster.channels.plans import SlackPlan
from cluster.channels.slack_blocks import blocks_of, escaped
from cluster.clock import Clock
from policies.notification import TEST, Notification
from policies.notification_words import headline

SIGNATURE: Final = "v0"
# Slack's own troubles, and what is about the bot and not about this message: somebody mends it, and
# then all that waits goes. Whatever else it refuses, it refuses again.
_PASSING: Final = frozenset(
    {
        "access_denied",
        "account_inactive",
        "channel_not_found",
        "ekm_access_denied",
        "invalid_auth",
        "missing_scope",
        "no_permission",
        "not_authed",
        "not_in_channel",
        "org_login_required",
        "token_expired",
        "token_revoked",
        "fatal_error",
        "internal_error",
        "ratelimited",
        "rate_limited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
_LOST: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class SlackRefusedError(GiveUpError):
    """Slack answered `ok: false`; `error` is its word for why."""

    def __init__(self, channel: str, error: str) -> None:
        super().__init__(channel, f"Slack refuses it: {error}")
        self.args = (channel, error)
        self.error = error


class SlackApi:
    """Calls methods of Slack's Web API as the bot of one channel."""

    def __init__(self, plan: SlackPlan, *, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._exchange = Exchange(plan.name, timeout_s=plan.timeout_s, ca_file=plan.ca_file)

    async def call(self, method: str, arguments: Mapping[str, object]) -> Mapping[str, Any]:
        """Return what the method answers. Raises RetryLaterError and SlackRefusedError."""
        name = self._plan.name
        headers = {
            "Authorization": f"Bearer {self._plan.token.get_secret_value()}",
            "Content-Type": "application/json; charset=utf-8",
        }
        url = f"{self._plan.url}/{method}"
        answer = await self._exchange.post(url, orjson.dumps(arguments), headers)
        if not answer.is_success:
            later = answer.retry_after_s(self._clock.now())
            raise RetryLaterError(name, f"it answered {answer.status}", later)
        said = _object(answer.body)
        if said is None:
            raise RetryLaterError(name, "it answered what is no JSON object")
        if said.get("ok") is not True:
            error = str(said.get("error", "unknown"))[:80]
            if error in _PASSING:
                raise RetryLaterError(name, f"Slack cannot now: {error}")
            raise SlackRefusedError(name, error)
        return said

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()


class Slack:
    """Posts what waits, and changes the message as the review goes on, until it is over."""

    def __init__(self, plan: SlackPlan, *, clock: Clock) -> None:
        self._plan = plan
        self._api = SlackApi(plan, clock=clock)

    async def send(self, notification: Notification, trace: str | None) -> str | None:
        """Return where the message is once it was taken: `<conversation> <ts>`; see Channel."""
        decides = bool(self._plan.people) and notification.step != TEST
        said: dict[str, object] = {
            "text": escaped(headline(notification)),
            "blocks": blocks_of(notification, decides=decides),
        }
        if trace is not None:
            place, _, stamp = trace.partition(" ")
            try:
                await self._api.call("chat.update", {"channel": place, "ts": stamp, **said})
            except SlackRefusedError as error:
                if error.error not in _LOST:
                    raise
            else:
                return trace
        where = {"channel": self._plan.conversation, "unfurl_links": False}
        answer = await self._api.call("chat.postMessage", {**where, **said})
        return f"{answer.get('channel', self._plan.conversation)} {answer.get('ts', '')}"

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def signature_of(secret: SecretStr, timestamp: str, body: bytes) -> str:
    """Return what Slack signs a request with: `v0=<hex>` over its time and its very bytes."""
    content = b":".join((SIGNATURE.encode(), timestamp.encode(), body))
    mark = hmac.new(secret.get_secret_value().encode(), content, sha256).hexdigest()
    return f"{SIGNATURE}={mark}"


def is_signed_by(
    secrets: Sequence[SecretStr], signature: str, *, timestamp: str, body: bytes
) -> bool:
    """Say whether one of the secrets made this signature."""
    given = signature.encode()
    made = (signature_of(secret, timestamp, body).encode() for secret in secrets)
    return any(hmac.compare_digest(given, one) for one in made)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
