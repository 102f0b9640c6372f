"""Group commit: calls that are under way at the same time share one round trip and one fsync."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from cluster.errors import StoreUnavailableError
from cluster.store.client import Call, Store
from policies.errors import GovernanceError

BATCH_MAX: Final = 256
BATCH_BYTES_MAX: Final = 8 << 20
WAITING_MAX: Final = 8192
WAITING_BYTES_MAX: Final = 64 << 20


class _Waiter(NamedTuple):
    calls: Sequence[Call]
    size: int
    answer: asyncio.Future[Sequence[object]]


class GroupCommit:
    """`Store.run` for many callers at once: what arrives during a flight leaves with the next.

    One flight is under way at a time, so calls take effect in the order in which they were made,
    and a lone caller pays one round trip and nothing more. Each call is still atomic by itself
    and fails by itself. Belongs to one event loop.
    """

    def __init__(
        self, store: Store, *, batch_max: int = BATCH_MAX, waiting_max: int = WAITING_MAX
    ) -> None:
        self._store = store
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._waiting: deque[_Waiter] = deque()
        self._waiting_bytes = 0
        self._flights: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self, call: Call) -> object:
        """Return the script's reply, as `Store.run` does, and raise what it raises.

        StoreUnavailableError also when too much is waiting already, or after `close`. A caller
        that is cancelled before take-off is not carried; one cancelled later may be.
        """
        (reply,) = await self.run_all([call])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run_all(self, calls: Sequence[Call]) -> Sequence[object]:
        """Run the calls in order, in the same flight; one that failed returns its exception.

        They run in this order unless the store has to learn a script first, so a call must do
        no harm before those in front of it. Raises StoreUnavailableError as `run` does.
        """
        size = sum(len(arg) for call in calls for arg in call.args if isinstance(arg, str | bytes))
        self._make_room(size)
        waiter = _Waiter(calls, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._waiting_bytes += size
        if self._flights is None:
            self._flights = asyncio.create_task(self._fly())
        return await waiter.answer

    async def close(self) -> None:
        """Refuse new calls and return when every accepted one is answered."""
        self._closed = True
        if self._flights is not None:
            await asyncio.shield(self._flights)

    def _make_room(self, size: int) -> None:
        if self._closed:
            raise StoreUnavailableError("this process is stopping; ask another replica")
        full = self._waiting_bytes + size > WAITING_BYTES_MAX and self._waiting
        if full or len(self._waiting) >= self._waiting_max:
            raise StoreUnavailableError(
                f"{len(self._waiting)} calls are waiting for it already; retry later"
            )

    async def _fly(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._board())
        finally:
            self._flights = None
            for waiter in self._waiting:  # only when this task itself was cancelled
                waiter.answer.cancel()
            self._waiting.clear()
            self._waiting_bytes = 0

    def _board(self) -> list[_Waiter]:
        batch: list[_Waiter] = []
        room = BATCH_BYTES_MAX
        while self._waiting and len(batch) < self._batch_max:
            if batch and self._waiting[0].size > room:
                break
            waiter = self._waiting.popleft()
            self._waiting_bytes -= waiter.size
            if not waiter.answer.done():
                room -= waiter.size
                batch.append(waiter)
        return batch

    async def _commit(self, batch: Sequence[_Waiter]) -> None:
        if not batch:
            return
        calls = [call for waiter in batch for call in waiter.calls]
        try:
            replies = await self._store.run_many(calls)
            if len(replies) != len(calls):
                raise StoreUnavailableError("it answered fewer calls than were made")  # noqa: TRY301
        except asyncio.CancelledError:
            for waiter in batch:
                waiter.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - every caller gets it, none is left waiting
            for waiter in batch:
                if not waiter.answer.done():
                    waiter.answer.set_exception(_own(error))
            return
        rest = iter(replies)
        for waiter in batch:
            answers = [next(rest) for _ in waiter.calls]
            if not waiter.answer.done():
                waiter.answer.set_result(answers)


def _own(error: Exception) -> Exception:
    """Each caller raises its own copy, or their tracebacks would grow into one another."""
    return copy.copy(error) if isinstance(error, GovernanceError) else error
