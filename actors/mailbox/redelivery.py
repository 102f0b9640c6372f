"""The repair loop: what was recorded is delivered, and what is due is done, whoever crashed."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Final

import structlog

from actors.mailbox.client import Mailboxes
from actors.mailbox.mailbox import MailboxFullError, millis
from actors.mailbox.store import Address, MailboxStore
from cluster.clock import Clock
from cluster.passes import Passes
from policies.errors import DependencyError
from policies.message import Message
from policies.parcel import DamagedParcelError, open_parcel

AGE_S: Final = 2.0  # younger entries of the outbox are still in the hands of who recorded them
PAUSE_S: Final = 0.5
OUTBOX_SLICE: Final = 32
OUTBOX_SLICES: Final = 32  # how much of one tenant's outbox a pass reads; the next one goes on
OUTBOX_BYTES: Final = 8 << 20  # likewise
SWEEPS: Final = 256  # how many mailboxes of one tenant a pass sweeps
SWEEP_RUNS: Final = 16  # how often it sweeps one that has more

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counts:
    """What the loop has done since it started."""

    passes: int = 0
    redelivered: int = 0
    postponed: int = 0
    undeliverable: int = 0
    swept: int = 0
    moved: int = 0


class Redelivery:
    """Finishes deliveries that were cut short and sweeps mailboxes that have something due.

    Two loops at the same time do no harm: every step is idempotent.
    """

    def __init__(self, mailboxes: Mailboxes, boxes: MailboxStore, clock: Clock) -> None:
        self._mailboxes = mailboxes
        self._boxes = boxes
        self._clock = clock
        self._cursors: dict[str, str] = {}
        self._damaged: set[str] = set()
        self._passes = Passes("redelivery", self.once)
        self._counts = Counts()

    def status(self) -> dict[str, int]:
        """Return the counts, and how many damaged parcels lie in the outboxes."""
        return {
            **asdict(self._counts),
            "failed_passes": self._passes.failed,
            "damaged": len(self._damaged),
        }

    def stop(self) -> None:
        """End `run` after the pass that is under way."""
        self._passes.stop()

    async def run(self) -> None:
        """Pass after pass until `stop`; one that fails is counted, logged and followed by more."""
        await self._passes.run(PAUSE_S)

    async def once(self) -> None:
        """Make one bounded pass over every tenant. Raises DependencyError."""
        for tenant in await self._boxes.tenants():
            await self._empty_outbox(tenant)
            await self._sweep(tenant)
        self._counts.passes += 1

    async def _empty_outbox(self, tenant: str) -> None:
        cursor, size = self._cursors.get(tenant, "0"), 0
        old: list[tuple[Message, str]] = []
        for _ in range(OUTBOX_SLICES):
            cursor, parcels = await self._boxes.outbox(tenant, cursor, OUTBOX_SLICE)
            for decision_id, packed in parcels:
                message = self._open(decision_id, packed)
                if message and self._is_old(message):
                    old.append((message, decision_id))
                    size += len(packed)
            if cursor == "0" or size > OUTBOX_BYTES:
                break
        self._cursors[tenant] = cursor
        old.sort(key=lambda found: found[0].sent_at)  # conversations keep their order
        full: set[str] = set()
        await asyncio.gather(*(self._redeliver(*found, full) for found in old))

    async def _redeliver(self, message: Message, decision_id: str, full: set[str]) -> None:
        recipient = message.recipient or ""
        if recipient in full:
            self._counts.postponed += 1
            return
        try:
            await self._mailboxes.deliver(message, decision_id)
        except MailboxFullError:
            self._counts.postponed += 1
            full.add(recipient)
        except DependencyError:
            raise
        except Exception:
            # One message that nobody can deliver must not keep the others from their recipients.
            self._counts.undeliverable += 1
            log.exception("redelivery.undeliverable", decision_id=decision_id)
        else:
            self._counts.redelivered += 1

    def _open(self, decision_id: str, packed: bytes) -> Message | None:
        try:
            return open_parcel(packed)
        except DamagedParcelError as error:
            if decision_id not in self._damaged:
                self._damaged.add(decision_id)
                log.error("outbox.damaged", decision_id=decision_id, error=str(error))  # noqa: TRY400
            return None

    def _is_old(self, message: Message) -> bool:
        # One from the future is from before a clock that jumped back: nobody has it in hand.
        return not 0 <= (self._clock.now() - message.sent_at).total_seconds() < AGE_S

    async def _sweep(self, tenant: str) -> None:
        now_ms = millis(self._clock.now())
        for agent in await self._boxes.due(tenant, now_ms, SWEEPS):
            self._counts.swept += 1
            for _ in range(SWEEP_RUNS):
                more, moved = await self._boxes.sweep(Address(tenant, agent), now_ms)
                self._counts.moved += moved
                if not more:
                    break
