"""The desk where people decide on what is held, and where what they let go leaves.

Laws: every step is in the ledger before anybody sees its effect; what is approved is judged again
before it goes; it goes once, whoever crashes when.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final, Protocol

import structlog

from actors.ledger.entry import answers
from actors.reviews.client import Moved, Page, ReviewEvent, Reviews, Versions, require_version
from cluster.clock import Clock
from cluster.passes import Passes
from policies.decision import Decision, Effect, Recorded
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.message import Message
from policies.principal import Principal
from policies.review import (
    Cancelled,
    Choice,
    Claimed,
    Consumed,
    Escalated,
    Event,
    Overruled,
    Person,
    Review,
    State,
    Unclaimed,
    Voted,
)
from policies.reviewing import consumable

AGE_S: Final = 2.0  # younger approvals are still in the hands of who approved last
PAUSE_S: Final = 1.0
NAMED_MAX: Final = 1024
RELEASES: Final = 64  # how many approvals of a tenant one pass lets go
WAIT_S: Final = 10.0

log = structlog.get_logger(__name__)


class Releaser(Protocol):
    """Lets go what people approved; the bus does."""

    async def release(self, review: Review, message: Message) -> Recorded:
        """Judge again, record, act; see `Bus.release`."""
        ...


class Register(Protocol):
    """Knows what was recorded; the ledger's recorder does."""

    async def find(self, tenant: str, message_id: str) -> Decision | None:
        """Return the decision that answers this message or review."""
        ...

    async def decision(self, tenant: str, decision_id: str) -> Recorded | None:
        """Return a decision and its receipt."""
        ...


class Courier(Protocol):
    """Brings a notice at once; what it does not bring, the outbox does."""

    async def deliver(self, message: Message, decision_id: str) -> None:
        """Deliver what the outbox holds under this id."""
        ...


class Desk:
    """Reviews as the API and the console use them.

    Every method raises RefusalError for what may not be (`policies.reviewing` has the codes, and
    `review.not_found` is 404 for another tenant's review too), and DependencyError when the store
    or the ledger cannot be had; then nothing has changed. `versions` are those of the review that
    a step may be taken from: from any when None, else `review.version_mismatch` (412).
    """

    def __init__(
        self,
        reviews: Reviews,
        *,
        releaser: Releaser,
        register: Register,
        courier: Courier,
        clock: Clock,
        claim_s: float,
    ) -> None:
        self._reviews = reviews
        self._releaser = releaser
        self._register = register
        self._courier = courier
        self._clock = clock
        self._claim_s = claim_s

    # -- reading -------------------------------------------------------------------------------

    async def find(self, principal: Principal, review_id: str) -> Review:
        """Return one review of the principal's tenant."""
        return await self._reviews.find(principal.tenant, review_id)

    async def listed(
        self,
        principal: Principal,
        *,
        states: frozenset[State] | None = None,
        assignee: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of the tenant's reviews: open ones oldest first, others newest first."""
        return await self._reviews.listed(
            principal.tenant, states=states, assignee=assignee, limit=limit, cursor=cursor
        )

    async def message(self, principal: Principal, review_id: str) -> Message | None:
        """Return what would leave, as long as it is held."""
        await self.find(principal, review_id)
        return await self._reviews.held(principal.tenant, review_id)

    async def position(self, principal: Principal) -> str:
        """Return the id of the newest event: who follows the events after it misses none."""
        return await self._reviews.newest_event(principal.tenant)

    async def events(
        self, principal: Principal, *, after: str | None = None
    ) -> AsyncGenerator[list[ReviewEvent], None]:
        """Yield what happens to the tenant's reviews; an empty list when nothing did for a while.

        `after` is the id of the last event seen; None begins now.
        """
        cursor = after or await self._reviews.newest_event(principal.tenant)
        while True:
            found = await self._reviews.events(principal.tenant, after=cursor, wait_s=WAIT_S)
            if found:
                cursor = found[-1].id
            yield found

    # -- deciding ------------------------------------------------------------------------------

    async def claim(
        self, principal: Principal, review_id: str, *, versions: Versions = None
    ) -> Review:
        """Say that this person looks at it, so that nobody else need."""
        event = Claimed(by=_person(principal), seconds=self._claim_s)
        return (await self._advance(principal, review_id, event, versions=versions)).review

    async def unclaim(
        self, principal: Principal, review_id: str, *, versions: Versions = None
    ) -> Review:
        """Let go of a claim."""
        event = Unclaimed(by=_person(principal))
        return (await self._advance(principal, review_id, event, versions=versions)).review

    async def vote(
        self,
        principal: Principal,
        review_id: str,
        *,
        choice: Choice,
        reason: str,
        digest: str | None = None,
        versions: Versions = None,
    ) -> Review:
        """Vote; the last vote that is needed lets the message go, if the law still does."""
        event = Voted(by=_person(principal), choice=choice, reason=reason, digest=digest)
        review = (await self._advance(principal, review_id, event, versions=versions)).review
        if review.state is not State.APPROVED or not review.delivers:
            return review
        try:
            return await self.release(review)
        except GovernanceError as error:
            # The approval stands; the releases loop tries again until it goes or expires.
            log.warning("release.postponed", review_id=review_id, error=str(error))
            return review

    async def escalate(
        self, principal: Principal, review_id: str, *, reason: str, versions: Versions = None
    ) -> Review:
        """Let others look too, now."""
        event = Escalated(by=_person(principal), reason=reason)
        return (await self._advance(principal, review_id, event, versions=versions)).review

    async def cancel(
        self, principal: Principal, review_id: str, *, reason: str, versions: Versions = None
    ) -> Review:
        """Take back what the principal itself asked for."""
        event = Cancelled(by=_person(principal), reason=reason)
        return (await self._advance(principal, review_id, event, versions=versions)).review

    # -- letting go ----------------------------------------------------------------------------

    async def consume(
        self, principal: Principal, review_id: str, *, digest: str, versions: Versions = None
    ) -> Recorded:
        """Use an approval once, for exactly what was approved; return the released decision.

        It may be a denial: then a rule that changed meanwhile has won.
        """
        review = await self.find(principal, review_id)
        require_version(review, versions)
        if review.delivers:
            raise RefusalError(
                "review.delivered_by_bus", "the bus delivers this message when it is approved", 409
            )
        consumable(review, by=_person(principal), digest=digest, now=self._clock.now())
        review = await self.release(review)
        recorded = None
        if review.released_by is not None:
            recorded = await self._register.decision(principal.tenant, review.released_by)
        if recorded is None:
            raise DependencyError("ledger", "the released decision cannot be read now; ask again")
        return recorded

    async def release(self, review: Review) -> Review:
        """Let go what is approved, or say that the law of today does not; return what became of it.

        Repeating it is harmless: the record of the release is made once.
        """
        decision = await self._released(review)
        if decision.effect is Effect.ALLOW:
            event: Event = Consumed(released_by=decision.decision_id)
        else:
            first = decision.reasons[0]
            event = Overruled(
                code=first.code, reason=first.message, released_by=decision.decision_id
            )
        moved = await self._reviews.advance(review.tenant, review.review_id, event, by=None)
        await self._tell(moved)
        return moved.review

    async def _released(self, review: Review) -> Decision:
        message = await self._reviews.held(review.tenant, review.review_id)
        if message is not None:
            try:
                return (await self._releaser.release(review, message)).decision
            except RefusalError as error:
                if error.code != "review.not_held":
                    raise  # else somebody else let it go a moment ago, and that is on record
        name = answers(review.message_id, review.review_id)
        found = await self._register.find(review.tenant, name)
        if found is None:
            raise RefusalError("review.not_held", "nothing is held for it any more", 409)
        return found

    async def _advance(
        self, principal: Principal, review_id: str, event: Event, *, versions: Versions
    ) -> Moved:
        moved = await self._reviews.advance(
            principal.tenant, review_id, event, by=principal.agent, versions=versions
        )
        await self._tell(moved)
        return moved

    async def _tell(self, moved: Moved) -> None:
        if moved.notice is None:
            return
        message, notice_id = moved.notice
        try:
            await self._courier.deliver(message, notice_id)
        except DependencyError as error:
            log.warning("notice.postponed", notice_id=notice_id, error=str(error))


class Releases:
    """The repair loop of a gateway: what was approved goes, whoever crashed before it did."""

    def __init__(self, desk: Desk, reviews: Reviews) -> None:
        self._desk = desk
        self._reviews = reviews
        self._named: set[tuple[str, str]] = set()
        self._passes = Passes("releases", self.once)

    async def run(self) -> None:
        """Pass after pass until `stop`; one that fails is counted, logged and followed by more."""
        await self._passes.run(PAUSE_S)

    def stop(self) -> None:
        """End `run` after the pass that is under way."""
        self._passes.stop()

    async def once(self) -> int:
        """Make one bounded pass over every tenant and return how many went. DependencyError."""
        went = 0
        for tenant in await self._reviews.tenants():
            for review in await self._reviews.approved(tenant, older_than_s=AGE_S, limit=RELEASES):
                went += await self._release(review)
        return went

    async def _release(self, review: Review) -> bool:
        """Let it go; one that cannot go keeps no other waiting, and is named once."""
        try:
            await self._desk.release(review)
        except DependencyError:
            raise
        except GovernanceError as error:
            named = review.review_id, error.code
            if named not in self._named:
                if len(self._named) >= NAMED_MAX:
                    self._named.clear()
                self._named.add(named)
                log.warning("release.refused", review_id=review.review_id, error=str(error))
            return False
        return True


def _person(principal: Principal) -> Person:
    return Person(name=principal.agent, owner=principal.owner, roles=principal.roles)
