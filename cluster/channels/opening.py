"""From what the file says to channels that speak."""

from __future__ import annotations

from typing import Final, assert_never

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.breaker.registry import get_circuit_breaker
from cluster.channels.channel import Channel, GiveUpError
from cluster.channels.mail import Mail
from cluster.channels.pagerduty import PagerDuty
from cluster.channels.plans import AnyPlan, Channels, MailPlan, PagerPlan, SlackPlan, WebhookPlan
from cluster.channels.slack import Slack
from cluster.channels.webhook import Webhook
from cluster.clock import Clock

# Who refuses a notification is there: only silence and trouble open the circuit.
CIRCUIT: Final = CircuitBreakerConfig(
    fail_max=5, reset_timeout=30, exclude_exceptions=(GiveUpError,)
)
_NOWHERE: Final = "urn:acgs"


def open_channel(plan: AnyPlan, channels: Channels, *, clock: Clock) -> Channel:
    """Return the channel of this plan; it connects when it is first used."""
    source = channels.public_url or _NOWHERE
    match plan:
        case WebhookPlan():
            return Webhook(plan, source=source, clock=clock)
        case SlackPlan():
            return Slack(plan, clock=clock)
        case PagerPlan():
            return PagerDuty(plan, source=source, clock=clock)
        case MailPlan():
            return Mail(plan)
        case _:
            assert_never(plan)


def circuit_of(name: str) -> Circuit:
    """Return this process's circuit of the channel of that name."""
    return get_circuit_breaker(f"channel.{name}", CIRCUIT)
