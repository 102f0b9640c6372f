"""PagerDuty, by its Events API v2: a review that waits is an incident, which ends with it."""

from __future__ import annotations

from typing import Any, Final

import orjson

from cluster.channels.channel import GiveUpError, RetryLaterError
from cluster.channels.exchange import Exchange
from cluster.channels.plans import PagerPlan
from cluster.clock import Clock
from policies.notification import TEST, Notification
from policies.notification_words import facts, grounds, headline
from policies.review import Step

_SUMMARY_MAX: Final = 1024
_TOO_MANY: Final = 429
_TIMEOUT: Final = 408


class PagerDuty:
    """Rings for what waits, and stops when nobody need decide; one incident for each review."""

    def __init__(self, plan: PagerPlan, *, source: str, clock: Clock) -> None:
        self._plan = plan
        self._source = source
        self._clock = clock
        self._exchange = Exchange(plan.name, timeout_s=plan.timeout_s, ca_file=plan.ca_file)

    async def send(self, notification: Notification, trace: str | None) -> None:  # noqa: ARG002  # the protocol's
        """Return once it was taken; see Channel. What PagerDuty has no word for is not sent."""
        for action in actions_of(notification):
            await self._ask(action, notification)

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()

    async def _ask(self, action: str, notification: Notification) -> None:
        name = self._plan.name
        event: dict[str, Any] = {
            "routing_key": self._plan.routing_key.get_secret_value(),
            "event_action": action,
            "dedup_key": notification.review_id,
        }
        if action == "trigger":
            event |= _incident(notification, self._plan.severity, self._source)
        headers = {"Content-Type": "application/json"}
        answer = await self._exchange.post(self._plan.url, orjson.dumps(event), headers)
        if answer.is_success:
            return
        if answer.status >= 500 or answer.status in (_TOO_MANY, _TIMEOUT):
            later = answer.retry_after_s(self._clock.now())
            raise RetryLaterError(name, f"it answered {answer.status}", later)
        raise GiveUpError(name, f"it answered {answer.status}: it does not take this")


def actions_of(notification: Notification) -> tuple[str, ...]:
    """Return what PagerDuty is asked to do: nothing, when it has no word for this step."""
    if notification.step == TEST:
        return ("trigger", "resolve")
    if notification.over:
        return ("resolve",)
    if notification.asks:
        return ("trigger",)
    return ("acknowledge",) if notification.step == Step.CLAIM.value else ()


def _incident(notification: Notification, severity: str, source: str) -> dict[str, object]:
    incident: dict[str, object] = {
        "payload": {
            "summary": headline(notification)[:_SUMMARY_MAX],
            "source": source,
            "severity": severity,
            "timestamp": notification.at.isoformat(),
            "group": notification.tenant,
            "class": notification.tier,
            "custom_details": {
                **dict(facts(notification)),
                "Why": list(grounds(notification)),
                "Review": notification.review_id,
            },
        },
        "client": "ACGS-2",
    }
    if notification.link is not None:
        incident["client_url"] = notification.link
        incident["links"] = [{"href": notification.link, "text": "Decide on it"}]
    return incident
