"""The whole bus tells people outside: real servers hear it, and people decide in Slack."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from contract.test_channels import verify
from integration.doorstep import Tenant, bus_signer, claims, problem
from integration.test_kill import kill_when_seated
from receivers import (
    FakeSlack,
    PostOffice,
    Receiver,
    Reply,
    a_post_office,
    a_receiver,
)
from running import ROOT, RunningBus, a_body, started
from slack_clicks import Click, a_click, pressed, submitted

from cluster.constants import CONSTITUTIONAL_HASH
from cluster.session import free_port

pytestmark = pytest.mark.timeout(300)

PATIENCE_S: Final = 60.0
HOOK: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIGNING: Final = "8f742231b10e8888abcd99yyyzzz85a5"
DELETE: Final = {"tool": "file.delete", "args": {"path": "reports/secret-plan.md"}}
SECRETS: Final = {
    "HOOK_KEY": HOOK,
    "SLACK_TOKEN": "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oO",
    "SLACK_SIGNING": SIGNING,
    "PAGERDUTY_KEY": "R03E5TJLXQ8ZB1V2N7M4K6H9G0F2D3S1",
}


@dataclass
class Town:
    """A bus, everybody who listens to it, and the tenant of which they hear."""

    bus: RunningBus
    tenant: Tenant
    hook: Receiver
    pager: Receiver
    slack: FakeSlack
    office: PostOffice

    def hold(self, *, agent: str = "planner") -> str:
        """Send what is held; return the review's id."""
        answer = self.tenant.send(agent=agent, content=DELETE)
        assert answer.status_code == httpx.codes.OK, answer.text
        assert answer.json()["effect"] == "review", answer.text
        review_id: str = answer.json()["review"]["review_id"]
        return review_id

    def review(self, review_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (
            self.tenant.client("rita", "reviewer").get(f"/v1/reviews/{review_id}").json()
        )
        return found

    def decide(self, review_id: str, verb: str) -> None:
        path = f"/v1/reviews/{review_id}:{verb}"
        answer = self.tenant.client("rita", "reviewer").post(path, json={"reason": "because"})
        assert answer.status_code == httpx.codes.OK, answer.text

    def webhooks(self, review_id: str) -> list[tuple[str, int]]:
        """What the webhook's receiver believes of a review: every step once, by its id."""
        events = {}
        for heard in list(self.hook.heard):
            event = verify(heard, HOOK)
            if event["subject"] == review_id:
                events[event["id"]] = (event["data"]["step"], event["data"]["version"])
        return list(events.values())

    def incidents(self, review_id: str) -> list[str]:
        events = [heard.json() for heard in list(self.pager.heard)]
        return [each["event_action"] for each in events if each["dedup_key"] == review_id]

    def message(self, review_id: str) -> dict[str, Any] | None:
        """The Slack message about a review, as it stands now."""
        for message in list(self.slack.messages.values()):
            if review_id in json.dumps(message):
                return message
        return None

    def letters(self, review_id: str) -> list[str]:
        found = [each for each in list(self.office.letters) if review_id in each["Message-ID"]]
        return [each["Subject"] for each in found]

    def call_back(self, payload: dict[str, Any], **how: Any) -> httpx.Response:
        return self.post(a_click(payload, how.get("secret", SIGNING), how.get("at_s", time.time())))

    def post(self, click: Click) -> httpx.Response:
        return httpx.post(
            f"{self.bus.url}/v1/callbacks/slack",
            content=click.body,
            headers=click.headers,
            timeout=30,
        )

    def modal(self, review_id: str, user: str, action: str = "acgs.approve") -> dict[str, Any]:
        """Press a button of the message, once it is there; return the modal that opens."""
        until(lambda: self.message(review_id) is not None)
        message = self.message(review_id)
        assert message is not None
        answer = self.call_back(pressed(message, action, user))
        assert (answer.status_code, answer.content) == (200, b""), answer.text
        view: dict[str, Any] = self.slack.views[-1]["view"]
        assert review_id in view["private_metadata"]
        return view


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    slack = FakeSlack()
    folder = tmp_path_factory.mktemp("channels")
    with contextlib.ExitStack() as stack:
        hook = stack.enter_context(a_receiver())
        pager = stack.enter_context(a_receiver(lambda _: Reply(202)))
        chat = stack.enter_context(a_receiver(slack.answer))
        office = stack.enter_context(a_post_office())
        path = folder / "channels.yaml"
        path.write_text(json.dumps(a_file(hook, pager, chat=chat, office=office)))
        bus = stack.enter_context(
            started(
                folder / "data",
                ACGS_CHANNELS_FILE=str(path),
                ACGS_PUBLIC_URL="https://bus.example.org",
                ACGS_POLICY_TIMEOUT_MS="5000",
                **SECRETS,
            )
        )
        bus.register("planner", "tools", "marker")
        tenant = Tenant(bus, "acme", stack)
        yield Town(bus, tenant, hook, pager, slack, office)


def a_file(
    hook: Receiver, pager: Receiver, *, chat: Receiver, office: PostOffice
) -> dict[str, Any]:
    everyone = {"tenants": ["*"], "timeout_s": 5}
    return {
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "channels": {
            "hook": {
                **everyone,
                "kind": "webhook",
                "url": f"{hook.url}/acgs",
                "secrets": [{"secret_env": "HOOK_KEY"}],
            },
            "dead": {
                **everyone,
                "kind": "webhook",
                "url": f"http://127.0.0.1:{free_port()}/",
                "secrets": [{"secret_env": "HOOK_KEY"}],
            },
            "duty": {
                **everyone,
                "kind": "pagerduty",
                "url": f"{pager.url}/v2/enqueue",
                "routing_key": {"secret_env": "PAGERDUTY_KEY"},
            },
            "chat": {
                "kind": "slack",
                "tenants": ["acme"],
                "url": f"{chat.url}/api",
                "conversation": "C0123ABC",
                "token": {"secret_env": "SLACK_TOKEN"},
                "signing_secrets": [{"secret_env": "SLACK_SIGNING"}],
                "people": {
                    "U0RITA": {"sub": "rita", "roles": ["reviewer"]},
                    "U0OLGA": {"sub": "olga", "roles": ["reviewer"]},
                },
            },
            "post": {
                **everyone,
                "kind": "mail",
                "host": "127.0.0.1",
                "port": office.port,
                "security": "none",
                "from": "acgs@example.org",
                "to": ["reviewers@example.org"],
            },
        },
    }


def test_everybody_hears_that_something_waits_and_how_it_ended(town: Town) -> None:
    review_id = town.hold()
    until(lambda: town.webhooks(review_id) == [("open", 1)])
    until(lambda: town.message(review_id) is not None)
    until(lambda: town.incidents(review_id) == ["trigger"])
    until(lambda: len(town.letters(review_id)) == 1)
    assert town.letters(review_id) == ["[acme] Waits for approval - planner: file.delete"]
    town.decide(review_id, "approve")
    until(lambda: town.webhooks(review_id) == [("open", 1), ("vote", 2), ("consume", 3)])
    until(lambda: "resolve" in town.incidents(review_id))
    until(lambda: "Approved and done" in str(town.message(review_id)))
    assert "acgs.approve" not in str(town.message(review_id))
    until(lambda: "[acme] Approved and done - planner: file.delete" in town.letters(review_id))
    everything = b"".join(heard.body for heard in (*town.hook.heard, *town.pager.heard))
    everything += json.dumps(town.slack.messages).encode()
    everything += b"".join(bytes(letter) for letter in town.office.letters)
    assert b"secret-plan" not in everything


def test_an_approval_in_slack_lets_the_message_go(town: Town) -> None:
    review_id = town.hold()
    view = town.modal(review_id, "U0RITA")
    answer = town.call_back(submitted(view, "the plan is old", "U0RITA"))
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["view"]["blocks"][0]["text"]["text"] == "Approved, and it went."
    found = town.review(review_id)
    assert found["state"] == "consumed"
    assert [(vote["by"], vote["reason"]) for vote in found["votes"]] == [
        ("rita", "the plan is old")
    ]
    received = [each["message"]["message_id"] for each in town.tenant.receive()]
    assert found["message_id"] in received


def test_the_owner_of_who_asked_approves_nothing_in_slack(town: Town) -> None:
    said: Any = claims(town.bus, "acme", sub="planner", roles=["agent"], owner="olga")
    owned = town.tenant.with_token(bus_signer(town.bus).token(**said))
    answer = owned.post("/v1/messages", json=a_body(content=DELETE))
    review_id = answer.json()["review"]["review_id"]
    view = town.modal(review_id, "U0OLGA")
    answer = town.call_back(submitted(view, "it is mine", "U0OLGA"))
    assert answer.status_code == httpx.codes.OK
    assert answer.json()["response_action"] == "errors"
    assert town.review(review_id)["state"] == "pending"
    codes = [(one["agent"], one["code"]) for one in town.tenant.account().refused]
    assert ("olga", "review.self_approval") in codes


def test_a_stranger_in_slack_is_told_and_decides_nothing(town: Town) -> None:
    review_id = town.hold()
    until(lambda: town.message(review_id) is not None)
    message = town.message(review_id)
    assert message is not None
    assert town.call_back(pressed(message, "acgs.approve", "U0EVE")).status_code == 200
    assert "names no person for the Slack user U0EVE" in town.slack.ephemeral[-1]["text"]
    assert town.review(review_id)["version"] == 1


def test_forged_replayed_and_stale_callbacks_change_nothing_and_are_on_record(town: Town) -> None:
    review_id = town.hold()
    view = town.modal(review_id, "U0RITA")
    payload = submitted(view, "let it go", "U0RITA")
    problem(town.call_back(payload, secret="not the secret"), 403, "callback.bad_signature")
    problem(town.call_back(payload, at_s=time.time() - 400), 403, "callback.stale")
    unsigned = httpx.post(
        f"{town.bus.url}/v1/callbacks/slack",
        data={"payload": json.dumps(payload)},
        timeout=30,
    )
    problem(unsigned, 403, "callback.bad_signature")
    as_json = httpx.post(f"{town.bus.url}/v1/callbacks/slack", json=payload, timeout=30)
    problem(as_json, 415, "request.unsupported_media_type")
    assert town.review(review_id)["version"] == 1
    reject = a_click(
        submitted(town.modal(review_id, "U0RITA", "acgs.reject"), "no", "U0RITA"),
        SIGNING,
        time.time(),
    )
    assert town.post(reject).status_code == httpx.codes.OK
    assert town.review(review_id)["state"] == "rejected"
    problem(town.post(reject), 409, "callback.replayed")
    assert town.review(review_id)["version"] == 2
    codes = set(town.tenant.account().codes)
    assert {"callback.bad_signature", "callback.stale", "callback.replayed"} <= codes


def test_what_could_not_be_sent_arrives_once_its_receiver_is_back(town: Town) -> None:
    town.hook.stop()
    review_id = town.hold()
    until(lambda: town.message(review_id) is not None)  # the others wait for nobody
    assert town.webhooks(review_id) == []
    time.sleep(1.0)  # so that it was tried, and failed
    town.hook.start()
    until(lambda: town.webhooks(review_id) == [("open", 1)])


def test_a_herald_that_is_killed_loses_nothing(town: Town) -> None:
    review_ids = []
    for _ in range(4):
        review_ids += [town.hold() for _ in range(3)]
        kill_when_seated(town.bus, "herald")
        review_ids += [town.hold() for _ in range(3)]
    for review_id in review_ids:
        town.decide(review_id, "reject")
    kill_when_seated(town.bus, "herald")
    for review_id in review_ids:
        until(partial(was_told, town, review_id))


def was_told(town: Town, review_id: str) -> bool:
    heard = town.webhooks(review_id) == [("open", 1), ("vote", 2)]
    return heard and "Rejected" in str(town.message(review_id))


def test_a_channel_that_is_dead_is_left_alone_and_is_seen_to_be(town: Town) -> None:
    for _ in range(6):
        town.hold()

    def is_open() -> bool:
        text = httpx.get(f"{town.bus.url}/metrics", timeout=30).text
        return 'acgs_circuit_state{name="channel.dead"' in text and any(
            line.startswith("acgs_circuit_state{") and '"channel.dead"' in line
            for line in text.splitlines()
            if line.endswith(" 2.0")
        )

    until(is_open)
    review_id = town.hold()
    until(lambda: town.webhooks(review_id) == [("open", 1)])
    ready = httpx.get(f"{town.bus.url}/health/ready", timeout=30).json()
    assert ready["checks"]["herald"]["status"] == "pass"


def acgs(bus: RunningBus, *words: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ACGS_")}
    return subprocess.run(
        [sys.executable, "-m", "serve_app.cli.main", *words],
        cwd=ROOT,
        env={
            **inherited,
            "ACGS_DATA_DIR": str(bus.settings.data_dir),
            "ACGS_HTTP_PORT": str(bus.settings.http_port),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_an_operator_sees_what_was_not_sent_sends_it_again_and_tries_a_channel(
    town: Town,
) -> None:
    town.pager.answering = lambda _: Reply(400)
    review_id = town.hold()
    letter_id = f"{review_id}_1_duty"

    def listed() -> list[dict[str, Any]]:
        answer = acgs(town.bus, "notifications", "list", "-o", "json", "-n", "1000")
        assert answer.returncode == 0, answer.stderr
        found: list[dict[str, Any]] = json.loads(answer.stdout)
        return [each for each in found if each["id"] == letter_id]

    until(lambda: bool(listed()))
    (letter,) = listed()
    assert (letter["channel"], letter["code"], letter["step"]) == (
        "duty",
        "channel.refused",
        "open",
    )
    town.pager.answering = lambda _: Reply(202)
    heard = len(town.incidents(review_id))
    answer = acgs(town.bus, "notifications", "redrive", letter_id)
    assert answer.returncode == 0, answer.stderr
    until(lambda: len(town.incidents(review_id)) == heard + 1)
    until(lambda: listed() == [])
    gone = acgs(town.bus, "notifications", "redrive", letter_id)
    assert gone.returncode != 0
    tested = acgs(town.bus, "notifications", "test", "hook")
    assert tested.returncode == 0, tested.stderr
    assert verify(town.hook.heard[-1], HOOK)["type"] == "acgs.review.test"
    assert acgs(town.bus, "notifications", "test", "dead").returncode != 0
    assert "no channel has this name" in acgs(town.bus, "notifications", "test", "no").stderr


def test_dead_letters_are_for_operators(town: Town) -> None:
    for verb, path in (
        ("GET", "/v1/notifications/dead-letters"),
        ("POST", "/v1/notifications/x:redrive"),
        ("POST", "/v1/channels/hook:test"),
    ):
        answer = town.tenant.client("rita", "reviewer").request(verb, path)
        problem(answer, 403, "auth.scope_missing")


def test_a_file_with_faults_stops_the_start_with_a_line_for_each(tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "constitutional_hash": CONSTITUTIONAL_HASH,
                "channels": {"hook": {"kind": "webhook", "tenants": ["acme"], "url": "x"}},
            }
        )
    )
    answer = subprocess.run(
        [sys.executable, "-m", "serve_app.cli.main", "run"],
        cwd=ROOT,
        env={
            **os.environ,
            "ACGS_DATA_DIR": str(tmp_path / "data"),
            "ACGS_HTTP_PORT": str(free_port()),
            "ACGS_CHANNELS_FILE": str(path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    assert "hook.url must begin with https://" in answer.stderr
    assert "hook.secrets is missing" in answer.stderr
