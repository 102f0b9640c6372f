"""The door through which people decide in Slack: what is clicked there becomes a vote at the desk.

Laws: nothing of a request is believed before its signature is; a request counts once, and within
five minutes; who a Slack user is says the channels file; and the vote is one like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import structlog

from cluster.breaker.circuit import Circuit
from cluster.channels.channel import GiveUpError, RetryLaterError
from cluster.channels.plans import SlackPlan
from cluster.channels.slack import SlackApi, is_signed_by
from cluster.channels.slack_blocks import REASON, escaped, told_view, vote_view
from cluster.clock import Clock
from cluster.controls_board import ControlsBoard
from cluster.errors import CircuitOpenError
from cluster.store import keys
from cluster.store.client import Store
from policies.errors import DependencyError, RefusalError
from policies.notification import is_over, plain, safe
from policies.panel import Choice
from policies.principal import Principal
from policies.review import Person, Review, State
from policies.roles import granted_scopes, require_scope
from serve_app.api.refusals import Refusals
from serve_app.desk import Desk
from serve_app.slack_payload import Pressed, SentOff, malformed, read_click

WINDOW_S: Final = 300
KEPT_S: Final = 2 * WINDOW_S + 60  # a request from a clock that is ahead is fresh for so long
_DECIDES: Final = "reviews:decide"
_SCOPES: Final = frozenset({"reviews:read", _DECIDES})
_UNKNOWN: Final = "slack-unknown"  # under which name is recorded whom Slack knows and we do not
_STRANGER: Final = "slack-callback"  # under which name is recorded what nobody known has sent

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A channel in which people may decide, and how Slack is called for it."""

    plan: SlackPlan
    api: SlackApi
    circuit: Circuit


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the door works with."""

    desk: Desk
    controls: ControlsBoard
    store: Store
    refusals: Refusals
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request as it came: its bytes, and what is to prove them."""

    raw: bytes
    signature: str
    timestamp: str

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over its bytes."""
        return f"sha256:{sha256(self.raw).hexdigest()}"


class SlackDoor:
    """Takes what Slack sends when people click. Belongs to one event loop."""

    def __init__(self, conversations: Sequence[Conversation], parts: Parts) -> None:
        self._conversations = tuple(conversations)
        self._parts = parts

    async def take(self, request: Signed) -> Mapping[str, object] | None:
        """Do what was clicked, and return what Slack is to show; None for nothing.

        Raises RefusalError for what Slack did not send (`callback.*`), and DependencyError when
        the store or the ledger cannot be had. That a vote is refused is shown, not raised.
        """
        if not self._conversations:
            detail = "no channel of this installation lets people decide in Slack"
            raise RefusalError("callback.not_configured", detail, 404)
        proven = await self._proven(request)
        clicked = read_click(request.raw)
        match clicked:
            case None:
                return None
            case Pressed():
                await self._pressed(clicked, _named(clicked.channel, proven), request)
                return None
            case SentOff():
                return await self._sent_off(clicked, _named(clicked.channel, proven), request)

    async def close(self) -> None:
        """Close the connections to Slack."""
        for conversation in self._conversations:
            await conversation.api.close()

    # -- who sent it ---------------------------------------------------------------------------

    async def _proven(self, request: Signed) -> tuple[Conversation, ...]:
        """Return the conversations whose Slack has sent this, now and for the first time."""
        proven = tuple(
            one
            for one in self._conversations
            if is_signed_by(
                one.plan.signing_secrets,
                request.signature,
                timestamp=request.timestamp,
                body=request.raw,
            )
        )
        if not proven:
            error = RefusalError(
                "callback.bad_signature", "the signature does not hold for this body", 403
            )
            await self._record(self._conversations, error, request)
            raise error
        age_s = self._parts.clock.now().timestamp() - _seconds(request.timestamp)
        if abs(age_s) > WINDOW_S:
            detail = f"it was sent more than {WINDOW_S} s ago, or is from the future"
            error = RefusalError("callback.stale", detail, 403)
            await self._record(proven, error, request)
            raise error
        # Over what was proved and not what was given: one signature, however it is written.
        mark = sha256(request.timestamp.encode() + b":" + request.raw).hexdigest()
        first = await self._parts.store.execute(
            "SET", keys.callback(mark), request.timestamp, "NX", "EX", KEPT_S
        )
        if first is None:
            error = RefusalError("callback.replayed", "this very request was taken already", 409)
            await self._record(proven, error, request)
            raise error
        return proven

    async def _record(
        self, conversations: Sequence[Conversation], error: RefusalError, request: Signed
    ) -> None:
        """Put the refusal on record with every tenant that it may have been meant for."""
        tenants = {one.plan.tenant for one in conversations if one.plan.tenant is not None}
        strangers = [
            _principal(Person(name=_STRANGER), tenant, proof=_STRANGER, ends_s=0.0)
            for tenant in sorted(tenants)
        ]
        record = self._parts.refusals.record
        await asyncio.gather(
            *(record(stranger, error, request_digest=request.digest) for stranger in strangers)
        )

    # -- what was clicked ----------------------------------------------------------------------

    async def _pressed(self, click: Pressed, conversation: Conversation, request: Signed) -> None:
        """Ask for a reason, or say why not."""
        try:
            principal = await self._who(conversation, click.user, request)
            review = await self._parts.desk.find(principal, click.review_id)
            _require_undecided(review)
        except RefusalError as error:
            where = {"channel": conversation.plan.conversation, "user": click.user}
            told = {**where, "text": escaped(f"Not done: {plain(str(error))}")}
            await self._ask(conversation, "chat.postEphemeral", told)
            return
        hidden = {
            "channel": click.channel,
            "review_id": click.review_id,
            "digest": click.digest,
            "version": review.version,
            "choice": click.choice.value,
        }
        view = vote_view(click.choice.value, _lines(review), hidden)
        await self._ask(conversation, "views.open", {"trigger_id": click.trigger, "view": view})

    async def _sent_off(
        self, click: SentOff, conversation: Conversation, request: Signed
    ) -> Mapping[str, object]:
        """Vote, and return what the modal shows then."""
        try:
            principal = await self._who(conversation, click.user, request)
            review = await self._vote(principal, click, request)
        except (RefusalError, DependencyError) as error:
            return {"response_action": "errors", "errors": {REASON: plain(str(error))}}
        return {"response_action": "update", "view": told_view(_outcome(review))}

    async def _vote(self, principal: Principal, click: SentOff, request: Signed) -> Review:
        try:
            return await self._parts.desk.vote(
                principal,
                click.review_id,
                choice=click.choice,
                reason=click.reason,
                digest=click.digest,
                versions=frozenset({click.version}),
            )
        except RefusalError as error:
            await self._parts.refusals.record(principal, error, request_digest=request.digest)
            raise

    # -- parts ---------------------------------------------------------------------------------

    async def _who(self, conversation: Conversation, user: str, request: Signed) -> Principal:
        """Return whom the file says this user is, neither revoked nor stopped.

        Raises RefusalError, which is on record then.
        """
        plan = conversation.plan
        person, tenant = plan.people.get(user), plan.tenant
        assert tenant is not None, "a conversation has people, and people have a tenant"
        ends_s = self._parts.clock.now().timestamp() + WINDOW_S
        if person is None:
            # Not the name of those who prove nothing: their noise must not hide this.
            known = Person(name=_UNKNOWN)
            principal = _principal(known, tenant, proof=f"slack:{user}", ends_s=ends_s)
            error: RefusalError | None = RefusalError(
                "callback.unknown_person",
                f"the channels file names no person for the Slack user {user}; ask who runs this",
                403,
            )
        else:
            principal = _principal(person, tenant, proof=f"slack:{user}", ends_s=ends_s)
            error = self._parts.controls.current().refusal(principal, None)
        try:
            if error is not None:
                raise error
            require_scope(principal, _DECIDES)
        except RefusalError as refusal:
            await self._parts.refusals.record(principal, refusal, request_digest=request.digest)
            raise
        return principal

    async def _ask(
        self, conversation: Conversation, method: str, arguments: Mapping[str, object]
    ) -> None:
        """Call Slack; what it refuses or cannot do now is not our caller's fault."""
        try:
            await conversation.circuit.run(lambda: conversation.api.call(method, arguments))
        except (GiveUpError, RetryLaterError, CircuitOpenError) as error:
            name = conversation.plan.name
            log.warning("slack.not_asked", channel=name, method=method, error=str(error))
            raise DependencyError(
                f"channel {name}", "Slack was not reached; click again"
            ) from error


def _principal(person: Person, tenant: str, *, proof: str, ends_s: float) -> Principal:
    return Principal(
        tenant=tenant,
        agent=person.name,
        roles=person.roles,
        scopes=granted_scopes(person.roles, _SCOPES),
        token_id=proof,
        expires_at_s=ends_s,
        owner=person.owner,
    )


def _named(channel: str, proven: Sequence[Conversation]) -> Conversation:
    """Return the conversation of that name, one of those that are proven."""
    for conversation in proven:
        if conversation.plan.name == channel:
            return conversation
    raise malformed()


def _require_undecided(review: Review) -> None:
    if is_over(review.state):
        raise RefusalError("review.closed", f"this review is {review.state.value} already", 409)


def _seconds(timestamp: str) -> float:
    # What was signed was written by Slack; a timestamp of another form is as old as can be.
    return float(timestamp) if timestamp.isascii() and timestamp.isdigit() else 0.0


def _lines(review: Review) -> tuple[str, ...]:
    approvals = sum(vote.choice is Choice.APPROVE for vote in review.votes)
    return (
        f"{review.agent} wants {safe(review.tool or review.action)}",
        f"{approvals} of {review.quorum.needed} approved so far, {review.state.value}",
        *(f"{plain(reason.code)}: {safe(reason.message)}" for reason in review.reasons[:8]),
        f"Exactly {review.action_digest}",
    )


def _outcome(review: Review) -> str:
    if review.state is State.CONSUMED:
        return "Approved, and it went."
    if review.closing is not None:
        return f"It is {review.state.value}: {plain(review.closing.code)}"
    approvals = sum(vote.choice is Choice.APPROVE for vote in review.votes)
    return f"Your vote counts: {approvals} of {review.quorum.needed} approved."
