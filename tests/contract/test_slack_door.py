"""People decide in Slack by the same rules as anywhere, and nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from contract.mailbox_office import refusal
from contract.test_desk_crashes import HOLD, House, a_house
from contract.test_ledger_road import SECRETS
from pydantic import SecretStr
from receivers import FakeSlack, Receiver, Reply, a_receiver
from slack_clicks import Click, a_click, pressed, submitted

from actors.ledger import wal
from cluster.breaker.circuit import Circuit
from cluster.channels.opening import CIRCUIT
from cluster.channels.plans import SlackPlan
from cluster.channels.slack import SlackApi
from cluster.channels.slack_blocks import APPROVE, OPEN, REJECT, blocks_of
from cluster.clock import SystemClock
from cluster.controls_board import ControlsBoard
from cluster.store import keys
from policies.errors import DependencyError
from policies.notification import Interest, Kind, first_known, notification_of
from policies.panel import Choice
from policies.rate import RateTable
from policies.review import Person, Review, State
from serve_app.api.refusals import Refusals
from serve_app.slack import WINDOW_S, Conversation, Parts, SlackDoor

from builders import a_principal
from fakes import PERMIT

if TYPE_CHECKING:
    from contract.conftest import Valkey

SECRET: Final = "8f742231b10e8888abcd99yyyzzz85a5"
PEOPLE: Final = {
    "U0RITA": Person(name="rita", roles=frozenset({"reviewer"})),
    "U0OLGA": Person(name="olga", roles=frozenset({"reviewer"})),
    "U0ADMIN": Person(name="adam", roles=frozenset({"tenant_admin"})),
    "U0UMA": Person(name="uma", roles=frozenset({"reviewer"})),
    "U0BOT": Person(name="olgas-bot", roles=frozenset({"reviewer"}), owner="olga"),
    "U0AUDIT": Person(name="ada", roles=frozenset({"auditor"})),  # a file would be refused
}


@dataclass
class Lodge:
    """A house with a door to Slack."""

    house: House
    door: SlackDoor
    slack: FakeSlack
    receiver: Receiver
    controls: ControlsBoard

    @property
    def now_s(self) -> float:
        return float(self.house.office.clock.now().timestamp())

    def message(self, review: Review) -> dict[str, Any]:
        """What the channel posted about it."""
        told = notification_of(first_known(review), review, channel="chat", public_url=None)
        told = replace(told, link="https://bus.example.org/console/reviews/1")
        return {"blocks": blocks_of(told, decides=True)}

    def click(self, payload: dict[str, Any], *, at_s: float | None = None) -> Click:
        return a_click(payload, SECRET, self.now_s if at_s is None else at_s)

    async def press(self, review: Review, user: str, action: str = APPROVE) -> None:
        shown = await self.door.take(
            self.click(pressed(self.message(review), action, user)).signed()
        )
        assert shown is None
        self.house.office.clock.forward(1)  # the same click a second later is another request

    async def decide(
        self, review: Review, user: str, *, action: str = APPROVE, reason: str = "we want it"
    ) -> Any:
        """Press the button, and send off the modal that opens; return what it shows then."""
        await self.press(review, user, action)
        view = self.slack.views[-1]["view"]
        shown = await self.door.take(self.click(submitted(view, reason, user)).signed())
        self.house.office.clock.forward(1)
        return shown

    async def refusals(self) -> list[tuple[str, str]]:
        """The refusals that are on record: who, and which code."""
        tenant = self.house.office.tenant
        reply: Any = await self.house.office.store.execute("XRANGE", keys.wal(tenant), "-", "+")
        records = [wal.checked(each, tenant=tenant, wal_key=SECRETS.wal_key) for each in reply]
        bodies = [orjson.loads(one.body) for one in records if one.about.kind == "refusal"]
        return [(body["refusal"]["agent"], body["refusal"]["code"]) for body in bodies]


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    return own_valkey


@asynccontextmanager
async def a_lodge(valkey: Valkey) -> AsyncIterator[Lodge]:
    slack = FakeSlack()
    with a_receiver(slack.answer) as receiver:
        async with a_house(valkey, PERMIT, HOLD) as house:
            store, clock = house.office.store, house.office.clock
            async with ControlsBoard(store, clock=clock) as controls:
                plan = SlackPlan(
                    name="chat",
                    interest=Interest(
                        channel="chat",
                        kind=Kind.SLACK,
                        tenants=frozenset({house.office.tenant}),
                        steps=frozenset(),
                    ),
                    timeout_s=5.0,
                    url=receiver.url,
                    token=SecretStr("xoxb-1"),
                    conversation="C0123ABC",
                    signing_secrets=(SecretStr(SECRET),),
                    people=PEOPLE,
                )
                refusals = Refusals(
                    house.recorder,
                    clock=clock,
                    rates=RateTable(rate_s=100, burst=100),
                    on_lost=pytest.fail,
                )
                conversation = Conversation(
                    plan, SlackApi(plan, clock=SystemClock()), Circuit("channel.chat", CIRCUIT)
                )
                parts = Parts(
                    desk=house.desk, controls=controls, store=store, refusals=refusals, clock=clock
                )
                door = SlackDoor([conversation], parts)
                yield Lodge(house, door, slack, receiver, controls)
                await door.close()
                await asyncio.sleep(0.05)  # `asyncio.run` does not wait for connections to close


def said(shown: Any) -> str:
    """What the modal says after it was sent off."""
    if shown["response_action"] == "errors":
        return str(shown["errors"]["reason"])
    return str(shown["view"]["blocks"][0]["text"]["text"])


# -- who may --------------------------------------------------------------------------------------


def test_an_approval_in_slack_lets_the_message_go(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            shown = await lodge.decide(review, "U0RITA")
            assert said(shown) == "Approved, and it went."
            found = await lodge.house.found(review)
            assert found.state is State.CONSUMED
            (vote,) = found.votes
            assert (vote.by, vote.choice, vote.reason) == ("rita", Choice.APPROVE, "we want it")
            assert await lodge.house.arrived() == 1
            assert await lodge.refusals() == []

    asyncio.run(scenario())


def test_a_rejection_in_slack_ends_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            shown = await lodge.decide(review, "U0RITA", action=REJECT, reason="not today")
            assert said(shown) == "It is rejected: review.rejected"
            assert (await lodge.house.found(review)).state is State.REJECTED
            assert await lodge.house.arrived() == 0

    asyncio.run(scenario())


def test_the_modal_shows_what_is_decided_on_and_asks_why(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0RITA")
            (opened,) = lodge.slack.views
            assert opened["trigger_id"] == "17653.1987.abcdef"
            text = opened["view"]["blocks"][0]["text"]["text"]
            assert review.action_digest in text
            assert "0 of 1 approved so far" in text
            assert opened["view"]["blocks"][1]["block_id"] == "reason"
            assert (await lodge.house.found(review)).votes == ()  # a click alone decides nothing

    asyncio.run(scenario())


def test_who_asked_for_it_does_not_approve_it_in_slack_either(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            lodge.house.asker = lambda: a_principal(  # type: ignore[method-assign]
                tenant=lodge.house.office.tenant, agent="writer", owner="olga"
            )
            review = await lodge.house.hold()
            for user in ("U0OLGA", "U0BOT"):  # nor who answers to the same person
                shown = await lodge.decide(review, user)
                assert shown["response_action"] == "errors"
            assert (await lodge.house.found(review)).state is State.PENDING
            assert await lodge.refusals() == [
                ("olga", "review.self_approval"),
                ("olgas-bot", "review.self_approval"),
            ]
            assert await lodge.house.arrived() == 0

    asyncio.run(scenario())


def test_a_reason_is_required_in_slack_too(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            shown = await lodge.decide(review, "U0RITA", reason=" ")
            assert shown["response_action"] == "errors"
            assert (await lodge.house.found(review)).votes == ()

    asyncio.run(scenario())


def test_a_user_whom_the_file_does_not_name_is_told_so_and_decides_nothing(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            payload = pressed(lodge.message(review), APPROVE, "U0EVE")
            payload["user"]["name"] = payload["user"]["username"] = "rita"
            assert await lodge.door.take(lodge.click(payload).signed()) is None
            assert lodge.slack.views == []
            (told,) = lodge.slack.ephemeral
            assert (told["user"], told["channel"]) == ("U0EVE", "C0123ABC")
            assert "names no person for the Slack user U0EVE" in told["text"]
            assert await lodge.refusals() == [("slack-unknown", "callback.unknown_person")]
            # Nor with the modal that somebody else opened.
            await lodge.press(review, "U0RITA")
            view = lodge.slack.views[-1]["view"]
            shown = await lodge.door.take(lodge.click(submitted(view, "x", "U0EVE")).signed())
            assert shown is not None
            assert "names no person" in said(shown)
            assert (await lodge.house.found(review)).votes == ()

    asyncio.run(scenario())


def test_a_person_who_is_revoked_or_stopped_decides_nothing_in_slack(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0RITA")
            view = lodge.slack.views[-1]["view"]
            await lodge.controls.revoke_agent(lodge.house.office.tenant, "rita")
            shown = await lodge.door.take(lodge.click(submitted(view, "x", "U0RITA")).signed())
            assert shown is not None
            assert "was revoked" in said(shown)
            await lodge.press(review, "U0RITA")
            assert "was revoked" in lodge.slack.ephemeral[-1]["text"]
            assert (await lodge.house.found(review)).votes == ()
            assert await lodge.refusals() == [("rita", "auth.revoked")] * 2

    asyncio.run(scenario())


def test_who_comes_second_is_told(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0UMA")
            slow = lodge.slack.views[-1]["view"]
            await lodge.decide(review, "U0RITA")
            shown = await lodge.door.take(lodge.click(submitted(slow, "x", "U0UMA")).signed())
            assert shown is not None
            assert shown["response_action"] == "errors"
            lodge.house.office.clock.forward(1)
            await lodge.press(review, "U0UMA", REJECT)
            assert "consumed already" in lodge.slack.ephemeral[-1]["text"]
            assert len((await lodge.house.found(review)).votes) == 1

    asyncio.run(scenario())


def test_a_vote_is_on_what_was_shown_or_on_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            other = replace(review, action_digest="sha256:" + "0" * 64)
            shown = await lodge.decide(other, "U0RITA")
            assert shown["response_action"] == "errors"
            assert await lodge.refusals() == [("rita", "review.digest_mismatch")]
            assert (await lodge.house.found(review)).votes == ()

    asyncio.run(scenario())


def test_a_vote_is_on_the_review_as_the_modal_showed_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0RITA")
            view = lodge.slack.views[-1]["view"]
            uma = lodge.house.reviewer("uma")
            await lodge.house.desk.claim(uma, review.review_id)
            await lodge.house.desk.unclaim(uma, review.review_id)
            shown = await lodge.door.take(lodge.click(submitted(view, "x", "U0RITA")).signed())
            assert shown is not None
            assert "is at version 3 by now" in said(shown)
            assert (await lodge.house.found(review)).votes == ()
            assert said(await lodge.decide(review, "U0RITA")) == "Approved, and it went."

    asyncio.run(scenario())


def test_a_person_without_a_role_that_decides_is_told_so(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0AUDIT")
            assert lodge.slack.views == []
            assert "reviews:decide" in lodge.slack.ephemeral[-1]["text"]
            assert await lodge.refusals() == [("ada", "auth.scope_missing")]

    asyncio.run(scenario())


def test_a_click_on_the_link_needs_no_answer(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0EVE", OPEN)
            assert (lodge.slack.views, lodge.slack.ephemeral) == ([], [])
            ping = lodge.click({"type": "something_new", "user": {"id": "U0RITA"}})
            assert await lodge.door.take(ping.signed()) is None

    asyncio.run(scenario())


def test_a_slack_that_is_away_is_no_fault_of_who_clicks(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            lodge.receiver.answering = lambda _: Reply(503)
            with pytest.raises(DependencyError):
                await lodge.press(review, "U0RITA")

    asyncio.run(scenario())


# -- what Slack did not send ----------------------------------------------------------------------


def test_a_forged_callback_changes_nothing_and_is_on_record(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0RITA")
            view = lodge.slack.views[-1]["view"]
            sound = lodge.click(submitted(view, "x", "U0RITA"))
            body = sound.body.replace(b"U0RITA", b"U0UMA0")
            forged = [
                a_click(submitted(view, "x", "U0RITA"), "another secret", lodge.now_s),
                replace(sound, body=body),
                replace(sound, signature=""),
                replace(sound, signature=sound.signature.replace("v0=", "v1=")),
                replace(sound, signature=sound.signature.upper()),
                replace(sound, signature=sound.signature + "é"),
                replace(sound, timestamp=str(int(sound.timestamp) + 1)),
                replace(sound, timestamp=sound.timestamp + " "),
                replace(sound, timestamp=""),
            ]
            for click in forged:
                taken = lodge.door.take(click.signed())
                assert await refusal(taken) == ("callback.bad_signature", 403)
            assert await lodge.refusals() == [("slack-callback", "callback.bad_signature")] * 9
            assert (await lodge.house.found(review)).votes == ()
            assert await lodge.door.take(sound.signed()) is not None

    asyncio.run(scenario())


def test_a_replayed_callback_counts_once_and_is_on_record(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0RITA")
            view = lodge.slack.views[-1]["view"]
            click = lodge.click(submitted(view, "x", "U0RITA"))
            outcomes = await asyncio.gather(
                *(lodge.door.take(click.signed()) for _ in range(5)), return_exceptions=True
            )
            marks: Any = await lodge.house.office.store.execute("KEYS", keys.callback("*"))
            ends_s = [await lodge.house.office.store.execute("TTL", mark) for mark in marks]
            assert len(marks) == 2  # the click, and what was sent off
            # From a clock that is five minutes ahead it is fresh for ten.
            assert all(isinstance(left, int) and left > 2 * WINDOW_S for left in ends_s)
            codes = sorted(getattr(outcome, "code", "taken") for outcome in outcomes)
            assert codes == ["callback.replayed"] * 4 + ["taken"]
            lodge.house.office.clock.forward(WINDOW_S)
            late = lodge.door.take(click.signed())
            assert await refusal(late) == ("callback.replayed", 409)
            assert await lodge.refusals() == [("slack-callback", "callback.replayed")] * 5
            assert len((await lodge.house.found(review)).votes) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("age_s", [WINDOW_S + 1, -(WINDOW_S + 1), 1e9])
def test_a_stale_callback_changes_nothing_and_is_on_record(valkey: Valkey, age_s: float) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            review = await lodge.house.hold()
            await lodge.press(review, "U0RITA")
            view = lodge.slack.views[-1]["view"]
            payload = submitted(view, "x", "U0RITA")
            click = lodge.click(payload, at_s=lodge.now_s - age_s)
            assert await refusal(lodge.door.take(click.signed())) == ("callback.stale", 403)
            assert await lodge.refusals() == [("slack-callback", "callback.stale")]
            assert (await lodge.house.found(review)).votes == ()
            fresh = lodge.click(payload, at_s=lodge.now_s - WINDOW_S + 1)
            assert await lodge.door.take(fresh.signed()) is not None

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "block_actions"},
        {"type": "block_actions", "actions": [{"action_id": APPROVE}]},
        {"type": "block_actions", "actions": [{"action_id": APPROVE, "value": "{}"}]},
        {"type": "block_actions", "actions": [{"action_id": APPROVE, "value": '{"channel": "x"}'}]},
        {"type": "view_submission"},
        {"type": "view_submission", "view": {"callback_id": "acgs.vote"}},
        {"type": "view_submission", "view": {"callback_id": "acgs.vote", "private_metadata": "["}},
        {
            "type": "view_submission",
            "user": {"id": "U0RITA"},
            "view": {
                "callback_id": "acgs.vote",
                "private_metadata": '{"channel": "chat", "version": true, "choice": "approve"}',
            },
        },
    ],
)
def test_what_slack_would_never_send_is_refused_without_a_defect(
    valkey: Valkey, payload: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            taken = lodge.door.take(lodge.click(payload).signed())
            if payload == {"type": "block_actions"}:
                assert await taken is None
            else:
                assert await refusal(taken) == ("callback.malformed", 400)

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", b"payload", b"payload=x", b"payload=[]", b"\xff", b"a=b"])
def test_a_body_that_is_none_is_refused(valkey: Valkey, body: bytes) -> None:
    from cluster.channels.slack import signature_of

    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            timestamp = str(int(lodge.now_s))
            signature = signature_of(SecretStr(SECRET), timestamp, body)
            taken = lodge.door.take(Click(body, timestamp, signature).signed())
            assert await refusal(taken) == ("callback.malformed", 400)

    asyncio.run(scenario())


def test_without_people_in_slack_there_is_no_door(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_lodge(valkey) as lodge:
            shut = SlackDoor([], lodge.door._parts)
            click = lodge.click({"type": "block_actions"})
            assert await refusal(shut.take(click.signed())) == ("callback.not_configured", 404)

    asyncio.run(scenario())
