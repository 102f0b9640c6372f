"""The keys of subjects: made once, kept wrapped in the store, gone when the subject is erased."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors.ledger import evidence, wal
from actors.ledger.keys import WriterKeys
from cluster.clock import Clock
from cluster.store import keys
from cluster.store.client import Store

CACHE_MAX: Final = 4096
CACHE_S: Final = 60.0  # an erased key leaves our memory within this time


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A subject's key, and as it lies in the store."""

    key: bytes
    wrapped: bytes
    until_s: float


class SubjectKeys:
    """The keys of the subjects that are writing now."""

    def __init__(
        self, store: Store, secrets: WriterKeys, *, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._random = random
        self._cache: OrderedDict[tuple[str, str], SubjectKey] = OrderedDict()

    async def get(self, tenant: str, subject: str) -> SubjectKey:
        """Return the subject's key, making it if there is none. Raises StoreUnavailableError."""
        known = self._cache.get((tenant, subject))
        if known is not None and self._clock.monotonic_s() < known.until_s:
            return known
        fresh = await self._fetch(tenant, subject)
        self._cache[tenant, subject] = fresh
        self._cache.move_to_end((tenant, subject))
        while len(self._cache) > CACHE_MAX:
            self._cache.popitem(last=False)
        return fresh

    def forget(self, tenant: str, subject: str) -> None:
        """Drop the key from memory."""
        self._cache.pop((tenant, subject), None)

    async def existing(self, tenant: str, subject: str) -> bytes:
        """Return the key as it lies in the store now. Raises EvidenceError when it was erased."""
        wrapped = await self._store.execute("HGET", keys.subject_keys(tenant), subject)
        if not isinstance(wrapped, bytes):
            raise evidence.EvidenceError("the subject was erased")
        return self._unwrap(wrapped, tenant, subject)

    async def _fetch(self, tenant: str, subject: str) -> SubjectKey:
        offered = evidence.wrap(
            self._random(evidence.KEY_SIZE),
            evidence_key=self._secrets.evidence_key,
            tenant=tenant,
            subject=subject,
            nonce=self._random(evidence.NONCE_SIZE),
        )
        reply = await self._store.run(wal.subject_key_call(tenant, subject, offered=offered))
        assert isinstance(reply, bytes), "the script answers the key that it stored"
        until_s = self._clock.monotonic_s() + CACHE_S
        return SubjectKey(self._unwrap(reply, tenant, subject), reply, until_s)

    def _unwrap(self, wrapped: bytes, tenant: str, subject: str) -> bytes:
        return evidence.unwrap(
            wrapped, evidence_key=self._secrets.evidence_key, tenant=tenant, subject=subject
        )
