"""Verdicts remembered, so that the same question under the same law is not asked twice."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from policies.decision import Judgement

SIZE_MAX: Final = 16_384  # measured: 14 MiB of judgements with two verdicts each


def cache_key(revision: str, document: bytes) -> bytes:
    """Return the digest of a revision and an input document: everything that a verdict rests on."""
    # The length keeps a revision that ends as a document begins from ever being another's key.
    digest = blake2b(b"%d:%s" % (len(revision), revision.encode()), digest_size=32)
    digest.update(document)
    return digest.digest()


class VerdictCache:
    """At most `size_max` judgements; the one that was used longest ago goes first."""

    def __init__(self, size_max: int = SIZE_MAX) -> None:
        assert size_max > 0
        self._size_max = size_max
        self._entries: OrderedDict[bytes, Judgement] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self.evictions = 0

    @property
    def size(self) -> int:
        """How many judgements it holds. Not `len()`: an empty cache would then be false."""
        return len(self._entries)

    def find(self, key: bytes) -> Judgement | None:
        """Return the judgement, marked as cached, or None."""
        judgement = self._entries.get(key)
        if judgement is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return judgement

    def keep(self, key: bytes, judgement: Judgement) -> None:
        """Remember a judgement."""
        self._entries[key] = replace(judgement, cached=True)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size_max:
            self._entries.popitem(last=False)
            self.evictions += 1
