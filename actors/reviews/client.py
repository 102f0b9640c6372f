"""Reviews as the desk and the timers use them.

Laws: a step is in the ledger's stream, or it was not taken; of two steps from the same version one
is taken, and the other is made anew; what is held is dropped by the step that ends its review.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NamedTuple, Protocol, TypeAlias

import structlog

from actors.reviews import authority
from actors.reviews.cursor import cursor_of, spot_of
from actors.reviews.events import Events, Listener, ReviewEvent
from actors.reviews.precedents import Precedents
from actors.reviews.record import DamagedReviewError, pack, unpack
from actors.reviews.step import Taken, opening_facts
from actors.reviews.store import OPENED_NOW, ReviewStore, Stored, packed_of
from cluster import metrics
from cluster.clock import Clock
from cluster.store.client import Call, Store
from policies import reviewing
from policies.errors import DependencyError, RefusalError
from policies.message import Message
from policies.panel import Seat
from policies.parcel import open_parcel
from policies.review import ENDED, Convened, Event, Opined, Review, State, TimePassed
from policies.review_notice import notice_id, notice_of

ADOPT_AGE_S: Final = 2.0  # younger ones are still in the hands of who recorded them
ADOPT_SLICE: Final = 512
ADOPT_SLICES: Final = 64  # how much of what is held a pass looks at; the next one goes on
ATTEMPTS_MAX: Final = 8
KEPT_S: Final = 30 * 86_400.0
PAGE_MAX: Final = 200
WAIT_MAX_S: Final = 60.0
DAMAGED_AGAIN: Final = timedelta(hours=1)
REFUSED_AGAIN: Final = timedelta(seconds=10)

Versions: TypeAlias = frozenset[int] | None

log = structlog.get_logger(__name__)


class Note(NamedTuple):
    """A record of the ledger's write-ahead stream: its body, and its MAC."""

    body: bytes
    mac: bytes


class Notary(authority.Notary, Protocol):
    """Makes records for the ledger; LedgerNotary is one."""

    def review_note(self, tenant: str, facts: Mapping[str, object]) -> tuple[bytes, bytes]:
        """Return the body and the MAC of a record of one step of a review."""
        ...


class Moved(NamedTuple):
    """A review after a step, and what its agent is told, under which id it waits in the outbox."""

    review: Review
    notice: tuple[Message, str] | None


class Page(NamedTuple):
    """Some of a list, and the cursor of what is behind them, None for nothing."""

    reviews: tuple[Review, ...]
    next_cursor: str | None


class Reviews:
    """What waits for people, and every step that it takes; `authority` says who may take them.

    `precedents` knows what is like a review.
    Every method raises DependencyError when the store cannot be reached. Belongs to one event
    loop; any number of these may work on the same reviews.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        notary: Notary,
        bell: Listener,
        kept_s: float = KEPT_S,
    ) -> None:
        self._shelf = ReviewStore(store, kept_s=kept_s)
        self.authority = authority.Authority(store, clock=clock, notary=notary)
        self.precedents = Precedents(store, self._shelf, self._read)
        self._clock = clock
        self._notary = notary
        self._events = Events(self._shelf, bell=bell, clock=clock)
        self._cursors: dict[str, str] = {}  # where `adopt` goes on
        self._passed: dict[str, int] = {}  # how many `approved` has shown in this round
        self._damaged: set[str] = set()

    @property
    def damaged(self) -> int:
        """How many damaged reviews, and grants of who may decide, were seen."""
        return len(self._damaged) + self.authority.damaged

    async def close(self) -> None:
        """Return when every call that was accepted is answered."""
        await self._shelf.close()

    # -- opening -------------------------------------------------------------------------------

    def packed(self, review: Review) -> bytes:
        """Return what the record leaves beside the held message, under `<id>:review`."""
        return pack(review)

    def opening(self, review: Review) -> Call:
        """Return the call that opens the review.

        It may leave right behind the record, unseen: it opens only what lies beside a held message.
        """
        return self._shelf.opening(review)

    def opened(self, reply: object) -> bool:
        """Say whether the review is open, now or since before, by the reply to that call."""
        if reply == OPENED_NOW:
            metrics.REVIEWS_OPENED.inc()
        return isinstance(reply, int) and reply > 0

    async def adopt(self, tenant: str) -> int:
        """Open what was recorded and not opened, and return how many there were.

        One call looks at a bounded part of what is held; the next one goes on there.
        """
        adopted, cursor = 0, self._cursors.get(tenant, "0")
        for _ in range(ADOPT_SLICES):
            cursor, found = await self._shelf.unopened(tenant, cursor, ADOPT_SLICE)
            left = [self._read(Stored(field, packed)) for field, packed in found.items()]
            old = [review for review in left if review and self._is_old(review)]
            adopted += sum(await asyncio.gather(*(self._shelf.open(review) for review in old)))
            if cursor == "0":
                break
        self._cursors[tenant] = cursor
        metrics.REVIEWS_OPENED.inc(adopted)
        return adopted

    # -- reading -------------------------------------------------------------------------------

    async def find(self, tenant: str, review_id: str) -> Review:
        """Return the review as it was left by its last step.

        Raises RefusalError `review.not_found` (404), also for another tenant's review, and
        DamagedReviewError.
        """
        packed = await self._shelf.find(tenant, review_id)
        if packed is None:
            raise _not_found(review_id)
        return unpack(packed)

    async def listed(
        self,
        tenant: str,
        *,
        states: frozenset[State] | None = None,
        assignee: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page: those that have not ended, oldest first, then the others, newest first.

        `assignee` is who has claimed them. Fewer than `limit` when they are large. Raises
        RefusalError `review.bad_cursor` (422) for a cursor that is none.
        """
        _check("limit", limit, low=1, high=PAGE_MAX)
        found = await self._shelf.listed(
            tenant,
            states=frozenset(State) if states is None else states,
            assignee=assignee,
            limit=limit,
            after=None if cursor is None else spot_of(cursor),
        )
        reviews = [review for stored in found.found if (review := self._read(stored))]
        return Page(tuple(reviews), cursor_of(found.ends) if found.more else None)

    async def held(self, tenant: str, review_id: str) -> Message | None:
        """Return the message that is held for it, None when there is none any more.

        Raises DamagedParcelError when it cannot be read.
        """
        packed = await self._shelf.held(tenant, review_id)
        return None if packed is None else open_parcel(packed)

    async def critics(self, tenant: str) -> tuple[Seat, ...]:
        """Return the critics that a panel is called from, the weightiest first."""
        return await self.authority.critics(tenant)

    async def open_count(self, tenant: str) -> int:
        """Return how many reviews wait for people."""
        return await self._shelf.open_count(tenant)

    async def approved(self, tenant: str, *, older_than_s: float, limit: int) -> list[Review]:
        """Return approved reviews that wait to be let go, the longest waiting first.

        They are those that the bus delivers, and those whose message went without a word of it
        here. The next call goes on behind them, so that those that cannot go hide no others.
        """
        upto = self._clock.now() - timedelta(seconds=older_than_s)
        passed = self._passed.get(tenant, 0)
        names = await self._shelf.approved(tenant, upto, limit, skip=passed)
        self._passed[tenant] = passed + limit if len(names) == limit else 0
        found = await self._shelf.find_all(tenant, names)
        reviews = [review for stored in found if (review := self._read(stored))]
        return [review for review in reviews if review.state is State.APPROVED]

    async def tenants(self) -> list[str]:
        """Return every tenant that may have reviews."""
        return await self._shelf.tenants()

    # -- steps ---------------------------------------------------------------------------------

    async def advance(
        self,
        tenant: str,
        review_id: str,
        event: Event,
        *,
        by: str | None,
        versions: Versions = None,
    ) -> Moved:
        """Take a step and return the review after it, once the step survives a power cut.

        With `versions`, only from one of these: else RefusalError `review.version_mismatch` (412).
        Raises RefusalError as `policies.reviewing.advance` does; `review.not_found` (404);
        `review.released` (409) for the end of an approval whose message went already;
        `review.conflict` (409) when others were faster again and again. Raises DependencyError
        when the tenant's log takes no records: then no step is taken.
        """
        review = await self.find(tenant, review_id)
        if isinstance(event, Opined) and _is_uncalled(review):
            require_version(review, versions)
            # The critic saw a panel that was not called yet; that it is now changes nothing for it.
            review, versions = await self._convene(review), None
        return await self._advance(review, event, by=by, versions=versions)

    async def follow(self, review: Review) -> Review:
        """Open a review that follows another, once, and return it as it is.

        Raises DependencyError when the tenant's log takes no records: then it is not open.
        """
        note = self._notary.review_note(review.tenant, opening_facts(review))
        match await self._shelf.follow(review, note):
            case [0, bytes() as reason]:
                raise DependencyError("ledger", reason.decode())
            case [2]:
                metrics.REVIEWS_OPENED.inc()
            case _:
                pass
        return await self.find(review.tenant, review.review_id)

    async def tick(self, tenant: str, limit: int) -> int:
        """Take the steps that time asks for, of so many reviews; return how many moved.

        Ended reviews that were kept long enough are forgotten.
        """
        due = await self._shelf.due(tenant, self._clock.now(), limit)
        outcomes = await asyncio.gather(
            *(self._tick(tenant, stored) for stored in due), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return sum(outcome is True for outcome in outcomes)

    async def _tick(self, tenant: str, stored: Stored) -> bool:
        review = self._read(stored)
        if review is None:
            later = self._clock.now() + DAMAGED_AGAIN
            await self._shelf.look_again(tenant, stored.review_id, later)
            return False
        try:
            if _is_uncalled(review) and self._clock.now() < review.expires_at:
                return await self._convene(review) is not review
            moved = await self._advance(review, TimePassed(), by=None)
        except RefusalError as error:
            log.info("review.not_ticked", review_id=review.review_id, code=error.code)
            # What cannot be moved now must not stand before all others in every pass.
            later = self._clock.now() + REFUSED_AGAIN
            await self._shelf.look_again(tenant, stored.review_id, later)
            return False
        return moved.review is not review

    async def _convene(self, review: Review) -> Review:
        """Call the critics that the tenant has now; return the review as it is then."""
        called = Convened(critics=await self.critics(review.tenant))
        try:
            return (await self._advance(review, called, by=None)).review
        except RefusalError:
            return await self.find(review.tenant, review.review_id)

    async def _advance(
        self, review: Review, event: Event, *, by: str | None, versions: Versions = None
    ) -> Moved:
        for _ in range(ATTEMPTS_MAX):
            require_version(review, versions)
            now = self._clock.now()
            after = reviewing.advance(review, event, now=now)
            if after is review:
                return Moved(review, None)
            taken = Taken(before=review, after=after, event=event, by=by, at=now)
            note = self._notary.review_note(after.tenant, taken.facts())
            notice = notice_of(after, now=now)
            match await self._shelf.move(self._shelf.move_call(taken, note, notice)):
                case [1, int() as told]:
                    _count(taken)
                    return Moved(after, (notice, notice_id(after)) if notice and told else None)
                case [0, bytes() as stored]:
                    review = unpack(packed_of(stored))
                case [3, bytes() as reason]:
                    raise DependencyError("ledger", reason.decode())
                case [4]:
                    raise RefusalError("review.released", "what was approved went already", 409)
                case [5]:
                    detail = "who may decide on it has just changed; look at it again"
                    raise RefusalError("review.conflict", detail, 409)
                case _:
                    raise _not_found(review.review_id)
        raise RefusalError(
            "review.conflict", "others decide on this review right now; look at it again", 409
        )

    # -- events --------------------------------------------------------------------------------

    async def newest_event(self, tenant: str) -> str:
        """Return the id of the newest event; who begins behind it misses none that follows."""
        return await self._shelf.newest_event(tenant)

    async def events(
        self, tenant: str, *, after: str, wait_s: float = 0.0, limit: int = 100
    ) -> list[ReviewEvent]:
        """Return what happened behind the event `after`, waiting up to `wait_s` for the first.

        "$" stands for the newest one there is now. The last 10 000 or so are kept: who comes from
        further back must look at the list. Raises RefusalError `review.bad_cursor` (422).
        """
        _check("limit", limit, low=1, high=1000)
        _check("wait_s", wait_s, low=0, high=WAIT_MAX_S)
        return await self._events.after(tenant, after, wait_s=wait_s, limit=limit)

    # -- parts ---------------------------------------------------------------------------------

    def _read(self, stored: Stored) -> Review | None:
        """Return the review; one that is damaged is named once, and left for people to look at."""
        try:
            return unpack(stored.packed)
        except DamagedReviewError as error:
            if stored.review_id not in self._damaged:
                self._damaged.add(stored.review_id)
                log.error("review.damaged", review_id=stored.review_id, error=str(error))  # noqa: TRY400
            return None

    def _is_old(self, review: Review) -> bool:
        # One from the future is from before a clock that jumped back: nobody has it in hand.
        return not 0 <= (self._clock.now() - review.opened_at).total_seconds() < ADOPT_AGE_S


def require_version(review: Review, versions: Versions) -> None:
    """Raise RefusalError `review.version_mismatch` (412) unless it is one of these, if any."""
    if versions is not None and review.version not in versions:
        detail = f"this review is at version {review.version} by now; read it again"
        raise RefusalError("review.version_mismatch", detail, 412)


def _is_uncalled(review: Review) -> bool:
    return (
        review.state is State.DELIBERATING
        and review.panel is not None
        and review.panel.seats is None
    )


def _count(taken: Taken) -> None:
    after = taken.after
    metrics.REVIEW_STEPS.labels(taken.step.value, after.state.value).inc()
    if after.state in ENDED:
        waited_s = (taken.at - after.opened_at).total_seconds()
        metrics.REVIEW_DURATION.labels(after.state.value).observe(max(0.0, waited_s))


def _not_found(review_id: str) -> RefusalError:
    return RefusalError("review.not_found", f"there is no review {review_id[:80]!r} here", 404)


def _check(name: str, value: float, *, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RefusalError("review.out_of_range", f"{name} is from {low:g} to {high:g}", 422)
