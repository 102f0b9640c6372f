"""Webhooks: a CloudEvents event, signed as Standard Webhooks says."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import orjson

from cluster.channels.channel import GiveUpError, RetryLaterError
from cluster.channels.exchange import Exchange
from cluster.channels.plans import WebhookPlan
from cluster.clock import Clock
from policies.notification import Notification

EVENT: Final = "acgs.review."  # then the step
PREFIX: Final = "whsec_"
_GONE: Final = 410
_TYPE: Final = "application/cloudevents+json; charset=utf-8"


class Webhook:
    """Posts each notification to one address. Any 2xx has it; 410 wants no more, ever."""

    def __init__(self, plan: WebhookPlan, *, source: str, clock: Clock) -> None:
        self._plan = plan
        self._source = source
        self._clock = clock
        self._keys = tuple(key_of(secret.get_secret_value()) for secret in plan.secrets)
        self._exchange = Exchange(plan.name, timeout_s=plan.timeout_s, ca_file=plan.ca_file)

    async def send(self, notification: Notification, trace: str | None) -> None:  # noqa: ARG002  # the protocol's
        """Return once it was taken; see Channel."""
        name, now = self._plan.name, self._clock.now()
        body = event_of(notification, source=self._source)
        headers = signed(self._keys, notification.id, body, now=now)
        answer = await self._exchange.post(self._plan.url, body, {**headers, "Content-Type": _TYPE})
        if answer.is_success:
            return
        if answer.status == _GONE:
            raise GiveUpError(name, "it answered 410: it wants no more", gone=True)
        raise RetryLaterError(name, f"it answered {answer.status}", answer.retry_after_s(now))

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()


def key_of(secret: str) -> bytes:
    """Return the key of a secret `whsec_<base64>`. Raises ValueError for anything else."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"it must begin with {PREFIX}")
    key = b64decode(secret.removeprefix(PREFIX), validate=True)
    if not 24 <= len(key) <= 64:
        raise ValueError(f"it must hold 24 to 64 bytes in base64, not {len(key)}")
    return key


def signed(
    keys: Sequence[bytes], webhook_id: str, body: bytes, *, now: datetime
) -> Mapping[str, str]:
    """Return the headers that prove the body: a signature by each key, the newest first."""
    stamp = str(int(now.timestamp()))
    content = b".".join((webhook_id.encode(), stamp.encode(), body))
    marks = [b64encode(hmac.digest(key, content, sha256)).decode() for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{mark}" for mark in marks),
    }


def event_of(notification: Notification, *, source: str) -> bytes:
    """Return the CloudEvents 1.0 event in its structured form; the same bytes every time."""
    data = {
        "tenant_id": notification.tenant,
        "review_id": notification.review_id,
        "step": notification.step,
        "state": notification.state,
        "version": notification.version,
        "waiting": notification.asks,
        "decided": notification.over,
        "agent": notification.agent,
        "action": notification.action,
        "action_digest": notification.action_digest,
        "tier": notification.tier,
        "impact": notification.impact,
        "reasons": [{"code": one.code, "message": one.message} for one in notification.grounds],
        "needed": notification.needed,
        "roles": list(notification.roles),
        "expires_at": _time(notification.expires_at),
        "code": notification.code,
        "link": notification.link,
    }
    event = {
        "specversion": "1.0",
        "id": notification.id,
        "source": source,
        "type": EVENT + notification.step,
        "subject": notification.review_id,
        "time": _time(notification.at),
        "datacontenttype": "application/json",
        "data": data,
    }
    return orjson.dumps(event)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
