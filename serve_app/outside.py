"""What a gateway has to do with the channels: trying them, what they did not take, and Slack."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from actors.herald.client import Notifications
from cluster import metrics
from cluster.channels.opening import circuit_of, open_channel
from cluster.channels.plans import Channels
from cluster.channels.reading import load_channels
from cluster.channels.slack import SlackApi
from cluster.clock import Clock, new_id
from cluster.controls_board import ControlsBoard
from cluster.settings import Settings
from cluster.store.client import Store
from policies.errors import RefusalError
from policies.notification import TEST, Notification, notification_id
from policies.rate import RateTable
from policies.review import State
from serve_app.api.refusals import Refusals, Register
from serve_app.desk import Desk
from serve_app.slack import Conversation, Parts, SlackDoor

# Anybody can send a forged callback: a tenant's log takes one a second of them, and no more.
STRANGERS_S: Final = 1.0
STRANGERS_BURST: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The channels of this installation, as one replica has them."""

    channels: Channels
    notifications: Notifications
    slack: SlackDoor
    clock: Clock

    async def test(self, name: str, *, tenant: str) -> Notification:
        """Send a notification that says that it is a test, now, and return it.

        Raises RefusalError `channel.unknown` (404), and what the channel raises.
        """
        plan = self.channels.plans.get(name)
        if plan is None:
            known = ", ".join(self.channels.plans) or "none"
            raise RefusalError(
                "channel.unknown", f"no channel has this name; there are: {known}", 404
            )
        notification = self._test(name, tenant)
        channel = open_channel(plan, self.channels, clock=self.clock)
        try:
            await circuit_of(name).run(lambda: channel.send(notification, None))
        finally:
            await channel.close()
        return notification

    def _test(self, name: str, tenant: str) -> Notification:
        now = self.clock.now()
        test_id = f"test-{new_id(now)}"
        return Notification(
            id=notification_id(test_id, 1, channel=name),
            channel=name,
            tenant=tenant,
            review_id=test_id,
            step=TEST,
            state=State.PENDING.value,
            version=1,
            asks=False,
            over=False,
            at=now,
            agent="nobody",
            action="nothing",
            tier="test",
            impact=0.0,
            grounds=(),
            needed=0,
            roles=(),
            action_digest="",
            expires_at=now,
            link=self.channels.public_url,
        )


@asynccontextmanager
async def open_outside(
    settings: Settings,
    store: Store,
    *,
    desk: Desk,
    controls: ControlsBoard,
    register: Register,
    clock: Clock,
) -> AsyncIterator[Outside]:
    """Open it, and close it after. Raises ConfigurationError for a channels file that is wrong."""
    channels = load_channels(settings, env=os.environ)
    refusals = Refusals(
        register,
        clock=clock,
        rates=RateTable(rate_s=STRANGERS_S, burst=STRANGERS_BURST),
        on_lost=lambda why: metrics.REFUSALS_UNRECORDED.labels(why).inc(),
    )
    conversations = [
        Conversation(plan, SlackApi(plan, clock=clock), circuit_of(plan.name))
        for plan in channels.slack()
    ]
    parts = Parts(desk=desk, controls=controls, store=store, refusals=refusals, clock=clock)
    door = SlackDoor(conversations, parts)
    try:
        yield Outside(
            channels=channels,
            notifications=Notifications(store, interests=channels.interests(), clock=clock),
            slack=door,
            clock=clock,
        )
    finally:
        await door.close()
