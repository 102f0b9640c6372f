"""The desk where people decide on what is held, and where what they let go leaves.

Laws: every step is in the ledger before anybody sees its effect; what is approved is judged again
before it goes; it goes once, whoever crashes when.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol

import structlog

from actors.ledger.entry import answers
from actors.reviews.client import Moved, Page, Reviews, Versions, require_version
from actors.reviews.events import ReviewEvent
from actors.reviews.precedents import Same
from cluster.clock import Clock
from policies.afterwards import afterwards
from policies.controls import Controls
from policies.decision import Decision, Effect, Recorded
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.message import Message
from policies.panel import Choice
from policies.precedent import Precedent
from policies.principal import Principal
from policies.review import (
    Cancelled,
    Claimed,
    Consumed,
    Escalated,
    Event,
    GlassBroken,
    Opined,
    Overruled,
    Person,
    Review,
    State,
    Unclaimed,
    Voted,
)
from policies.review_law import ReviewLaw
from policies.reviewing import consumable
from policies.standin import person_of

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
        law: ReviewLaw,
        controls: Callable[[], Controls],
    ) -> None:
        self._reviews = reviews
        self._releaser = releaser
        self._register = register
        self._courier = courier
        self._clock = clock
        self._law = law
        self._controls = controls

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

    async def precedents(
        self, principal: Principal, review_id: str, *, limit: int = 5
    ) -> list[Precedent]:
        """Return the ended reviews of the tenant that are most like this one."""
        review = await self.find(principal, review_id)
        return await self._reviews.precedents.of(review, limit)

    async def same(
        self, principal: Principal, digest: str, *, limit: int, cursor: str | None = None
    ) -> Same:
        """Return what is open in the tenant about exactly this action, oldest first."""
        finder = self._reviews.precedents
        return await finder.same(principal.tenant, digest, limit=limit, cursor=cursor)

    async def same_count(self, principal: Principal, digest: str) -> int:
        """Return how many reviews are open in the tenant about exactly this action."""
        return await self._reviews.precedents.same_count(principal.tenant, digest)

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

    async def person(self, principal: Principal) -> Person:
        """Return who decides, with the roles and in the steads that are theirs now."""
        tenant, controls = principal.tenant, self._controls()
        standing = await self._reviews.authority.standing(tenant, principal.agent)
        return person_of(
            principal,
            standing,
            stopped=lambda name: controls.is_stopped(tenant, name),
            now=self._clock.now(),
        )

    # -- deciding ------------------------------------------------------------------------------

    async def claim(
        self, principal: Principal, review_id: str, *, versions: Versions = None
    ) -> Review:
        """Say that this person looks at it, so that nobody else need."""
        event = Claimed(by=await self.person(principal), seconds=self._law.claim_s)
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
        voter = await self.person(principal)
        event = Voted(by=voter, choice=choice, reason=reason, digest=digest)
        review = (await self._advance(principal, review_id, event, versions=versions)).review
        return await self._let_go(review)

    async def opine(
        self,
        principal: Principal,
        review_id: str,
        *,
        choice: Choice,
        reason: str,
        digest: str | None = None,
        versions: Versions = None,
    ) -> Review:
        """Say what a critic thinks; the panel's last word that is needed decides as people's."""
        event = Opined(by=_person(principal), choice=choice, reason=reason, digest=digest)
        review = (await self._advance(principal, review_id, event, versions=versions)).review
        return await self._let_go(review)

    async def break_glass(
        self,
        principal: Principal,
        review_id: str,
        *,
        reason: str,
        digest: str | None = None,
        versions: Versions = None,
    ) -> Review:
        """Let it go at once, when enough who may say so; others look at it afterwards."""
        event = GlassBroken(by=_person(principal), reason=reason, digest=digest)
        review = (await self._advance(principal, review_id, event, versions=versions)).review
        return await self._let_go(review)

    async def _follow(self, review: Review) -> None:
        """Open the review in which others look at a broken glass, if it is broken."""
        if review.glass is not None and review.glass.is_broken:
            now = self._clock.now()
            await self._reviews.follow(afterwards(review, self._law, now=now))

    async def _let_go(self, review: Review) -> Review:
        """Let go what is approved, now; what cannot go now goes later, or expires."""
        goes = review.delivers or review.follows is not None
        if review.state is not State.APPROVED:
            return review
        try:
            if goes:
                return await self.release(review)
            await self._follow(review)
        except GovernanceError as error:
            # The approval stands: the releases loop tries again until it goes or expires.
            log.warning("release.postponed", review_id=review.review_id, error=str(error))
        return review

    async def escalate(
        self, principal: Principal, review_id: str, *, reason: str, versions: Versions = None
    ) -> Review:
        """Let others look too, now."""
        event = Escalated(by=await self.person(principal), reason=reason)
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

        Repeating it is harmless: the record of the release is made once. Before anything goes
        through broken glass, the review is open in which others look at it afterwards.
        """
        if review.follows is not None:
            upheld = Consumed(released_by=await self._went_by(review))
            moved = await self._reviews.advance(review.tenant, review.review_id, upheld, by=None)
            return moved.review
        await self._follow(review)
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

    async def resume(self, review: Review) -> bool:
        """Do what is left to do for an approval, whoever crashed, and say whether it has gone.

        What the agent itself uses is its own to use: of that only the glass is followed.
        """
        await self._follow(review)
        uses_itself = not review.delivers and review.follows is None
        if uses_itself and await self._reviews.held(review.tenant, review.review_id) is not None:
            return False
        await self.release(review)
        return True

    async def _went_by(self, review: Review) -> str:
        """Return the decision that let go, or refused, what this review looks at afterwards."""
        try:
            first = await self._reviews.find(review.tenant, review.follows or "")
        except RefusalError:
            return review.decision_id  # it was kept long enough
        return first.released_by or review.decision_id

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


def _person(principal: Principal) -> Person:
    return Person(name=principal.agent, owner=principal.owner, roles=principal.roles)
