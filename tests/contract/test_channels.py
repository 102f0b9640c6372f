"""Channels against real servers: what arrives, what proves it, and what each answer means."""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from typing import Any, Final

import pytest
from pydantic import SecretStr
from receivers import FakeSlack, Heard, Receiver, Reply, a_receiver

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.channels.channel import Channel, GiveUpError, RetryLaterError
from cluster.channels.exchange import ANSWER_BYTES_MAX
from cluster.channels.opening import CIRCUIT, open_channel
from cluster.channels.plans import AnyPlan, Channels, PagerPlan, SlackPlan, WebhookPlan
from cluster.channels.slack import SlackRefusedError
from cluster.clock import Clock, SystemClock
from cluster.errors import CircuitOpenError
from policies.notification import (
    OPENED,
    TEST,
    Happening,
    Interest,
    Kind,
    Notification,
    notification_of,
)
from policies.review import Closing, Person, State

from builders import NOW, a_review
from fakes import FakeClock

NEW: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
CHANNELS: Final = Channels(public_url="https://bus.example.org")


def an_interest(kind: Kind) -> Interest:
    return Interest(channel="hook", kind=kind, tenants=frozenset({"acme"}), steps=frozenset())


def a_hook(receiver: Receiver, **changes: Any) -> WebhookPlan:
    plan = WebhookPlan(
        name="hook",
        interest=an_interest(Kind.WEBHOOK),
        timeout_s=5.0,
        url=f"{receiver.url}/acgs?x=1",
        secrets=(SecretStr(NEW),),
    )
    return replace(plan, **changes)


def a_slack(receiver: Receiver, *, people: bool = True) -> SlackPlan:
    return SlackPlan(
        name="hook",
        interest=an_interest(Kind.SLACK),
        timeout_s=5.0,
        url=f"{receiver.url}/api",
        token=SecretStr("xoxb-1"),
        conversation="C0123ABC",
        people={"U1": Person(name="rita", roles=frozenset({"reviewer"}))} if people else {},
    )


def a_pager(receiver: Receiver) -> PagerPlan:
    return PagerPlan(
        name="hook",
        interest=an_interest(Kind.PAGERDUTY),
        timeout_s=5.0,
        url=f"{receiver.url}/v2/enqueue",
        routing_key=SecretStr("R03E5TJLXQ8ZB1V2"),
        severity="critical",
    )


def a_notification(
    step: str = OPENED, state: State = State.PENDING, version: int = 1, /, **changes: Any
) -> Notification:
    at = NOW + timedelta(minutes=version)
    happening = Happening(review_id="decision-1", step=step, state=state, version=version, at=at)
    return notification_of(
        happening, a_review(**changes), channel="hook", public_url=CHANNELS.public_url
    )


def ended() -> Notification:
    closing = Closing(code="review.rejected", reason="no", by="rita", at=NOW)
    review: dict[str, Any] = {"state": State.REJECTED, "closing": closing, "version": 2}
    return a_notification("vote", State.REJECTED, 2, **review)


def send(
    plan: AnyPlan,
    *notifications: Notification,
    trace: str | None = None,
    clock: Clock | None = None,
) -> str | None:
    """Send them in this order through one channel; return what the last send left."""

    async def scenario() -> str | None:
        channel = open_channel(plan, CHANNELS, clock=clock or SystemClock())
        left = trace
        try:
            for notification in notifications:
                left = await channel.send(notification, left)
        finally:
            await channel.close()
            await asyncio.sleep(0.05)  # `asyncio.run` does not wait for connections to close
        return left

    return asyncio.run(scenario())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as found:
        yield found


def answering(receiver: Receiver, status: int, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    receiver.answering = lambda _: Reply(status, b"{}", named)


# -- webhooks -------------------------------------------------------------------------------------


def verify(heard: Heard, secret: str) -> dict[str, Any]:
    """Believe a webhook as docs/channels.md tells its receivers to, and return the event."""
    webhook_id, stamp = heard.headers["webhook-id"], heard.headers["webhook-timestamp"]
    assert abs(datetime.now(UTC).timestamp() - int(stamp)) <= 300
    key = b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{stamp}.".encode() + heard.body
    mark = b64encode(hmac.digest(key, signed, sha256)).decode()
    signatures = heard.headers["webhook-signature"].split(" ")
    assert any(hmac.compare_digest(f"v1,{mark}", one) for one in signatures), "forged"
    event: dict[str, Any] = json.loads(heard.body)
    return event


def test_a_webhook_is_a_signed_cloud_event(receiver: Receiver) -> None:
    notification = a_notification()
    send(a_hook(receiver), notification)
    (heard,) = receiver.heard
    assert heard.path == "/acgs?x=1"
    assert heard.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert heard.headers["webhook-id"] == notification.id
    event = verify(heard, NEW)
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": notification.id,
        "source": "https://bus.example.org",
        "type": "acgs.review.open",
        "subject": "decision-1",
        "time": "2026-11-23T12:01:00Z",
        "datacontenttype": "application/json",
    }
    assert data["state"] == "pending"
    assert data["waiting"] is True
    assert data["decided"] is False
    assert data["reasons"][0]["code"] == "policy.held"
    assert data["link"] == "https://bus.example.org/console/reviews/decision-1"


def test_a_webhook_is_the_same_bytes_every_time_and_the_signature_is_of_now(
    receiver: Receiver,
) -> None:
    clock = FakeClock()
    notification = a_notification()
    send(a_hook(receiver), notification, clock=clock)
    clock.forward(3600)
    send(a_hook(receiver), notification, clock=clock)
    first, second = receiver.heard
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    stamps = [int(each.headers["webhook-timestamp"]) for each in (first, second)]
    assert stamps[1] - stamps[0] == 3600
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_while_secrets_change_a_receiver_may_have_either(receiver: Receiver) -> None:
    send(a_hook(receiver, secrets=(SecretStr(NEW), SecretStr(OLD))), a_notification())
    (heard,) = receiver.heard
    assert verify(heard, NEW) == verify(heard, OLD)
    changed = replace(heard, body=heard.body.replace(b"pending", b"approved"))
    with pytest.raises(AssertionError, match="forged"):
        verify(changed, NEW)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_has_it(receiver: Receiver, status: int) -> None:
    answering(receiver, status)
    send(a_hook(receiver), a_notification())


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 408, 422, 429, 500, 503])
def test_anything_else_comes_again_and_no_redirect_is_followed(
    receiver: Receiver, status: int
) -> None:
    with a_receiver() as elsewhere:
        answering(receiver, status, location=elsewhere.url)
        with pytest.raises(RetryLaterError, match=f"it answered {status}"):
            send(a_hook(receiver), a_notification())
        assert elsewhere.heard == []


def test_410_wants_nothing_any_more(receiver: Receiver) -> None:
    answering(receiver, 410)
    with pytest.raises(GiveUpError) as error:
        send(a_hook(receiver), a_notification())
    assert error.value.gone
    assert error.value.code == "channel.gone"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("120", 120.0),
        (format_datetime(NOW + timedelta(seconds=90)), 90.0),
        (format_datetime(NOW - timedelta(seconds=90)), 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_heard(receiver: Receiver, said: str, expected: float | None) -> None:
    answering(receiver, 503, retry_after=said)
    with pytest.raises(RetryLaterError) as error:
        send(a_hook(receiver), a_notification(), clock=FakeClock(NOW))
    assert error.value.retry_after_s == expected


def test_who_is_not_there_is_tried_again(receiver: Receiver) -> None:
    receiver.stop()
    with pytest.raises(RetryLaterError, match="it was not reached") as error:
        send(a_hook(receiver), a_notification())
    assert receiver.url not in str(error.value)


def test_who_takes_too_long_is_tried_again(receiver: Receiver) -> None:
    never = threading.Event()
    receiver.answering = lambda _: Reply(after=never)
    with pytest.raises(RetryLaterError, match=r"within 0\.3 s"):
        send(a_hook(receiver, timeout_s=0.3), a_notification())
    never.set()


def test_of_a_long_answer_only_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.answering = lambda _: Reply(200, b"x" * ANSWER_BYTES_MAX, endless=True)
    send(a_hook(receiver), a_notification())


def test_a_circuit_opens_for_silence_and_not_for_a_refusal(receiver: Receiver) -> None:
    async def scenario() -> None:
        channel: Channel = open_channel(a_hook(receiver), CHANNELS, clock=SystemClock())
        circuit = Circuit("channel.hook", CIRCUIT)
        assert isinstance(CIRCUIT, CircuitBreakerConfig)
        answering(receiver, 410)
        for _ in range(CIRCUIT.fail_max):
            with pytest.raises(GiveUpError):
                await circuit.run(lambda: channel.send(a_notification(), None))
        answering(receiver, 500)
        for _ in range(CIRCUIT.fail_max):
            with pytest.raises(RetryLaterError):
                await circuit.run(lambda: channel.send(a_notification(), None))
        heard = len(receiver.heard)
        with pytest.raises(CircuitOpenError):
            await circuit.run(lambda: channel.send(a_notification(), None))
        assert len(receiver.heard) == heard
        await channel.close()

    asyncio.run(scenario())


# -- Slack ----------------------------------------------------------------------------------------


@pytest.fixture
def slack(receiver: Receiver) -> FakeSlack:
    found = FakeSlack()
    receiver.answering = found.answer
    return found


def buttons(message: dict[str, Any]) -> dict[str, Any]:
    rows = [block for block in message["blocks"] if block["type"] == "actions"]
    return {button["action_id"]: button for row in rows for button in row["elements"]}


def test_a_message_changes_with_its_review_until_it_is_over(
    receiver: Receiver, slack: FakeSlack
) -> None:
    left = send(a_slack(receiver), a_notification(), a_notification("escalate", State.PENDING, 2))
    (message,) = slack.messages.values()
    assert message["blocks"][0]["text"]["text"].startswith("Still waits for approval")
    assert list(buttons(message)) == ["acgs.approve", "acgs.reject", "acgs.open"]
    value = json.loads(buttons(message)["acgs.approve"]["value"])
    assert value == {
        "channel": "hook",
        "review_id": "decision-1",
        "digest": a_review().action_digest,
    }
    send(a_slack(receiver), ended(), trace=left)
    (message,) = slack.messages.values()
    assert message["text"].startswith("Rejected")
    assert list(buttons(message)) == ["acgs.open"]
    assert receiver.heard[0].headers["authorization"] == "Bearer xoxb-1"
    assert [heard.path for heard in receiver.heard] == [
        "/api/chat.postMessage",
        "/api/chat.update",
        "/api/chat.update",
    ]


def test_a_message_that_is_lost_is_posted_anew(receiver: Receiver, slack: FakeSlack) -> None:
    left = send(a_slack(receiver), ended(), trace="C0123ABC 1.2")
    assert list(slack.messages) == ["1700000000.000000"]
    assert left == "C0123ABC 1700000000.000000"


def test_without_people_there_is_nothing_to_decide_with(
    receiver: Receiver, slack: FakeSlack
) -> None:
    send(a_slack(receiver, people=False), a_notification())
    (message,) = slack.messages.values()
    assert list(buttons(message)) == ["acgs.open"]


def test_what_an_agent_wrote_rings_nobody_in_slack(receiver: Receiver, slack: FakeSlack) -> None:
    send(a_slack(receiver), a_notification(tool="<!channel> & <https://evil.example|click>"))
    (message,) = slack.messages.values()
    assert "<" not in message["text"]
    assert "&lt;!channel&gt; &amp; " in message["text"]
    texts = json.dumps(message["blocks"])
    assert '"mrkdwn"' not in texts
    assert '"emoji": true' not in texts


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(429, headers={"retry-after": "30"}), RetryLaterError),
        (Reply(503), RetryLaterError),
        (Reply(200, b"<html>"), RetryLaterError),
        (Reply(200, b"[]"), RetryLaterError),
        (Reply(200, b'{"ok": false, "error": "internal_error"}'), RetryLaterError),
        (Reply(200, b'{"ok": false, "error": "ratelimited"}'), RetryLaterError),
        (Reply(200, b'{"ok": false, "error": "invalid_auth"}'), RetryLaterError),
        (Reply(200, b'{"ok": false, "error": "not_in_channel"}'), RetryLaterError),
        (Reply(200, b'{"ok": false, "error": "msg_too_long"}'), SlackRefusedError),
        (Reply(200, b'{"ok": "yes"}'), SlackRefusedError),
    ],
)
def test_what_slack_says_no_to(receiver: Receiver, reply: Reply, kind: type[Exception]) -> None:
    receiver.answering = lambda _: reply
    with pytest.raises(kind) as error:
        send(a_slack(receiver), a_notification())
    if reply.status == 429:
        assert isinstance(error.value, RetryLaterError)
        assert error.value.retry_after_s == 30.0


# -- PagerDuty ------------------------------------------------------------------------------------


def test_an_incident_is_rung_acknowledged_and_resolved_with_its_review(receiver: Receiver) -> None:
    answering(receiver, 202)
    send(
        a_pager(receiver),
        a_notification(),
        a_notification("claim", State.CLAIMED, 2),
        a_notification("lapse", State.PENDING, 3),
        a_notification("escalate", State.PENDING, 4),
        ended(),
    )
    events = [heard.json() for heard in receiver.heard]
    assert [event["event_action"] for event in events] == [
        "trigger",
        "acknowledge",
        "trigger",
        "resolve",
    ]
    assert {event["dedup_key"] for event in events} == {"decision-1"}
    assert {event["routing_key"] for event in events} == {"R03E5TJLXQ8ZB1V2"}
    payload = events[0]["payload"]
    assert payload["summary"] == "Waits for approval - writer: email.send"
    assert payload["severity"] == "critical"
    assert payload["source"] == "https://bus.example.org"
    assert events[0]["client_url"].endswith("/console/reviews/decision-1")


def test_a_test_rings_and_stops(receiver: Receiver) -> None:
    answering(receiver, 202)
    send(a_pager(receiver), a_notification(TEST))
    assert [heard.json()["event_action"] for heard in receiver.heard] == ["trigger", "resolve"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, GiveUpError) for status in (302, 400, 403)),
        *((status, RetryLaterError) for status in (408, 429, 500, 503)),
    ],
)
def test_what_pagerduty_says_no_to(receiver: Receiver, status: int, kind: type[Exception]) -> None:
    answering(receiver, status)
    with pytest.raises(kind):
        send(a_pager(receiver), a_notification())


def test_the_errors_of_channels_survive_a_journey() -> None:
    import pickle

    for error in (
        RetryLaterError("hook", "away", 3.0),
        GiveUpError("hook", "no", gone=True),
        SlackRefusedError("hook", "is_archived"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
