"""The herald's scripts, and what their replies mean. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from secrets import token_hex
from typing import Any, Final, NamedTuple, cast

from actors.herald.letter import DamagedNotificationError, DeadNotification, pack, unpack
from actors.herald.place import Place
from cluster.errors import StoreUnavailableError
from cluster.store import keys
from cluster.store.client import Call, Script, Store
from policies.notification import Happening, Notification
from policies.review import OPEN, State

QUEUE_MAX: Final = 10_000  # of one channel and tenant
LETTERS_MAX: Final = 10_000  # of one channel and tenant, as well
_STATES: Final = frozenset(state.value for state in State)
TRACE_KEPT_MS: Final = 40 * 86_400_000  # longer than any review is kept

_SCRIPTS: Final = files("actors.herald") / "scripts"


def _script(name: str) -> Script:
    return Script((_SCRIPTS / "parts.lua").read_text() + (_SCRIPTS / f"{name}.lua").read_text())


ENQUEUE: Final = _script("enqueue")
TAKE: Final = _script("take")
SETTLE: Final = _script("settle")
LETTERS: Final = _script("letters")
REDRIVE: Final = _script("redrive")
RETIRE: Final = _script("retire")


class Unread(NamedTuple):
    """What cannot be read, and why; when it happened, if a newer build may be able to read it."""

    review_id: str
    reason: str
    newer_at: datetime | None = None


class Stretch(NamedTuple):
    """Events behind a place; `gap` says that some may be missing before them."""

    gap: bool
    events: list[tuple[str, Happening | Unread]]


class Queued(NamedTuple):
    """What came of queueing; `cursor` is where it really stands when somebody else was there.

    `fallen` are the channels of those that had no room, and are dead letters now; for which
    `dropped` older ones had to go.
    """

    cursor: str | None
    queued: int = 0
    dropped: int = 0
    fallen: tuple[str, ...] = ()


class Job(NamedTuple):
    """A notification that was taken, for its `attempt`; `trace` is what the channel left."""

    tenant: str
    review_id: str
    id: str
    attempt: int
    queued_ms: int
    packed: bytes
    trace: str | None


class Taken(NamedTuple):
    """How many wait, the jobs that were leased, and what kept a tenant from giving any."""

    waiting: int
    jobs: list[Job]
    failed: dict[str, Exception]


class Outcome(NamedTuple):
    """What became of a job. `last` says that nothing follows on this review."""

    word: str  # done, retry, postpone or dead
    due_ms: int = 0
    code: str = ""
    reason: str = ""
    trace: str | None = None
    last: bool = False


class HeraldStore:
    """One script for each operation; each is atomic, and harmless when it is repeated."""

    def __init__(
        self, store: Store, *, queue_max: int = QUEUE_MAX, letters_max: int = LETTERS_MAX
    ) -> None:
        self._store = store
        self._queue_max = queue_max
        self._letters_max = letters_max

    # -- reading -------------------------------------------------------------------------------

    async def tenants(self) -> list[str]:
        """Return every tenant that may have reviews."""
        reply = cast("list[bytes]", await self._store.execute("SMEMBERS", keys.TENANTS))
        return sorted(tenant.decode() for tenant in reply)

    async def since(self, now_ms: int) -> int:
        """Return when there were channels for the first time: now, if nobody said so before."""
        await self._store.execute("SET", keys.HERALD_SINCE, now_ms, "NX")
        return int(cast("bytes", await self._store.execute("GET", keys.HERALD_SINCE)))

    async def forget(self, tenants: Sequence[str]) -> None:
        """Forget how far events were read: with no channels there is nobody to be told of them."""
        await self._store.execute("DEL", keys.HERALD_SINCE)
        for tenant in tenants:
            await self._store.execute("DEL", keys.herald(tenant, "cursor"))

    async def cursor(self, tenant: str) -> str:
        """Return how far the tenant's events were read; empty when they never were."""
        reply = await self._store.execute("GET", keys.herald(tenant, "cursor"))
        return reply.decode() if isinstance(reply, bytes) else ""

    async def last_before(self, tenant: str, at_ms: int) -> str:
        """Return the id of the last event before that time; "0-0" when there was none."""
        reply: Any = await self._store.execute(
            "XREVRANGE", _events(tenant), max(0, at_ms - 1), "-", "COUNT", 1
        )
        return reply[0][0].decode() if reply else "0-0"

    async def newest(self, tenant: str) -> str:
        """Return the id of the newest event; "0-0" when there is none."""
        reply: Any = await self._store.execute("XREVRANGE", _events(tenant), "+", "-", "COUNT", 1)
        return reply[0][0].decode() if reply else "0-0"

    async def events(self, tenant: str, after: str, at_most: int) -> Stretch:
        """Return the next events behind that one, and whether some were forgotten unread."""
        # From that event on: while it is there itself, nothing behind it is missing.
        reply: Any = await self._store.execute(
            "XRANGE", _events(tenant), after, "+", "COUNT", at_most + 1
        )
        found = [(event_id.decode(), _happening(flat)) for event_id, flat in reply]
        if found and found[0][0] == after:
            return Stretch(gap=False, events=found[1:])
        return Stretch(gap=bool(found) and await self._was_trimmed(tenant), events=found[:at_most])

    async def reviews(self, tenant: str, review_ids: Sequence[str]) -> list[bytes | None]:
        """Return the reviews as they are stored."""
        if not review_ids:
            return []
        names = [keys.review(tenant, review_id) for review_id in review_ids]
        return cast("list[bytes | None]", await self._store.execute("MGET", *names))

    async def open_reviews(self, tenant: str, after: str, at_most: int) -> list[str]:
        """Return names `<16 digits of time>:<id>` of reviews that wait for people, in order."""
        names: list[bytes] = []
        for state in sorted(OPEN):
            index = keys.reviews(tenant, f"in:{state.value}")
            names += await self._names(index, after, at_most)
        return sorted(name.decode() for name in names)[:at_most]

    async def told_reviews(self, tenant: str, after: str, at_most: int) -> list[str]:
        """Return ids of reviews of which something was told, and not their end, in order."""
        names = await self._names(keys.herald(tenant, "told"), after, at_most)
        return [name.decode() for name in names]

    # -- queues --------------------------------------------------------------------------------

    async def enqueue(
        self,
        tenant: str,
        places: tuple[Place | None, Place],
        notifications: Sequence[Notification],
        *,
        ended: Sequence[str],
        now_ms: int,
    ) -> Queued:
        """Queue them, and move the cursor from the first place to the second, both or neither."""
        before, behind = places
        args: list[str | bytes | int] = ["" if before is None else str(before), str(behind)]
        args += [self._queue_max, len(ended), *ended]
        for one in notifications:
            args += [one.channel, one.review_id, one.id, pack(one)]
        reply: Any = await self._store.run(self._call(ENQUEUE, tenant, args, now_ms=now_ms))
        if reply[0] == 0:
            return Queued(cursor=reply[1].decode())
        _, queued, dropped, *fallen = reply
        return Queued(None, queued, dropped, tuple(channel.decode() for channel in fallen))

    async def take(
        self, tenants: Sequence[str], channel: str, *, at_most: int, lease_ms: int, now_ms: int
    ) -> Taken:
        """Lease the next jobs of a channel, some of each tenant. In one round trip, if it can be.

        One tenant that fails keeps no other from it.
        """
        mark = token_hex(8)
        args = (channel, at_most, lease_ms, mark)
        calls = [self._call(TAKE, tenant, args, now_ms=now_ms) for tenant in tenants]
        taken = Taken(0, [], {})
        for tenant, reply in zip(tenants, await self._run_each(calls), strict=True):
            if isinstance(reply, Exception):
                taken.failed[tenant] = reply
                continue
            count, *found = cast("list[Any]", reply)
            taken.jobs.extend(_job(tenant, one) for one in found)
            taken = taken._replace(waiting=taken.waiting + count)
        return taken

    async def settle(self, job: Job, channel: str, outcome: Outcome, *, now_ms: int) -> int | None:
        """Say what became of a job; return how many dead letters had to go, None if it was lost."""
        kept_ms = 0 if outcome.last else TRACE_KEPT_MS
        args = (
            channel,
            job.review_id,
            job.id,
            job.attempt,
            outcome.word,
            outcome.due_ms,
            outcome.code,
            " ".join(outcome.reason.split())[:500],
            outcome.trace or "",
            kept_ms,
        )
        reply: Any = await self._store.run(self._call(SETTLE, job.tenant, args, now_ms=now_ms))
        return reply[1] if reply[0] == 1 else None

    async def untell(self, tenant: str) -> None:
        """Forget of which reviews something was told: nobody is to hear their end."""
        await self._store.execute("DEL", keys.herald(tenant, "told"))

    async def channels(self, tenant: str) -> list[str]:
        """Return the channels that have, or had, queues."""
        reply: Any = await self._store.execute("SMEMBERS", keys.herald(tenant, "channels"))
        return sorted(channel.decode() for channel in reply)

    async def retire(self, tenant: str, channel: str, now_ms: int) -> tuple[int, int]:
        """Make dead letters of all that waits for a channel that does not hear of them.

        Return how many, and how many older ones had to go for them.
        """
        moved, dropped, more = 0, 0, True
        while more:
            reply: Any = await self._store.run(self._call(RETIRE, tenant, [channel], now_ms=now_ms))
            more, moved, dropped = bool(reply[0]), moved + reply[1], dropped + reply[2]
        return moved, dropped

    # -- dead letters --------------------------------------------------------------------------

    async def letters(self, tenant: str, after: str, at_most: int) -> list[DeadNotification]:
        """Return the dead letters behind that cursor, oldest first."""
        reply: Any = await self._store.run(self._call(LETTERS, tenant, [after, at_most], now_ms=0))
        return [_letter(name.decode(), stored) for name, stored in reply]

    async def redrive(
        self, tenant: str, letter_id: str, channels: Collection[str], *, now_ms: int
    ) -> str:
        """Return redriven, again, unknown, or unheard when it is for none of these channels."""
        channel = letter_id.rpartition("_")[2]
        args = [letter_id, channel, *sorted(channels)]
        reply: Any = await self._store.run(self._call(REDRIVE, tenant, args, now_ms=now_ms))
        return str(reply.decode())

    # -- parts ---------------------------------------------------------------------------------

    async def _run_each(self, calls: Sequence[Call]) -> list[object]:
        """Run them; one that failed returns its exception, and when all did, each is asked alone.

        For one shard that says nothing lets a whole round trip time out.
        """
        try:
            return await self._store.run_many(calls)
        except StoreUnavailableError as error:
            if len(calls) == 1:
                return [error]
        return [(await self._run_each([call]))[0] for call in calls]

    async def _names(self, index: str, after: str, at_most: int) -> list[bytes]:
        reply = await self._store.execute(
            "ZRANGE", index, f"({after}" if after else "-", "+", "BYLEX", "LIMIT", 0, at_most
        )
        return cast("list[bytes]", reply)

    async def _was_trimmed(self, tenant: str) -> bool:
        flat: Any = await self._store.execute("XINFO", "STREAM", _events(tenant))
        facts = dict(zip(flat[::2], flat[1::2], strict=True))
        return bool(facts[b"entries-added"] != facts[b"length"])

    def _call(
        self, script: Script, tenant: str, args: Sequence[str | bytes | int], *, now_ms: int
    ) -> Call:
        return Call(script, [keys.herald(tenant, "")], [now_ms, self._letters_max, *args])


def _events(tenant: str) -> str:
    return keys.reviews(tenant, "events")


def _happening(flat: Sequence[bytes]) -> Happening | Unread:
    try:
        facts = dict(zip(flat[::2], (word.decode() for word in flat[1::2]), strict=True))
        review_id, state, at = facts[b"r"], facts[b"t"], datetime.fromisoformat(facts[b"a"])
        if at.tzinfo is None:
            raise ValueError(f"{facts[b'a']!r} has no time zone")  # noqa: TRY301
        if state not in _STATES:
            return Unread(review_id, f"no state of this build is {state!r}", at)
        return Happening(
            review_id=review_id,
            step=facts[b"s"],
            state=State(state),
            version=int(facts[b"v"]),
            at=at,
        )
    except (KeyError, ValueError) as error:
        return Unread("", f"its event is damaged: {error!r}")


def _job(tenant: str, reply: Any) -> Job:
    review_id, job_id, attempt, job, trace = reply
    queued, _, packed = job.partition(b"\n")
    return Job(
        tenant,
        review_id.decode(),
        job_id.decode(),
        int(attempt),
        int(queued),
        packed,
        trace.decode() or None,
    )


def _letter(name: str, stored: bytes) -> DeadNotification:
    died, attempts, channel, review, code, reason, packed = stored.split(b"\n", 6)
    try:
        found = unpack(packed)
        step, state = found.step, found.state
    except DamagedNotificationError:
        step, state = "", ""
    return DeadNotification(
        id=name[17:],
        channel=channel.decode(),
        review_id=review.decode(),
        step=step,
        state=state,
        code=code.decode(),
        reason=reason.decode(errors="replace"),
        attempts=int(attempts),
        died_at=datetime.fromtimestamp(int(died) / 1000, UTC),
        cursor=name,
    )
