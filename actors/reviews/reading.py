"""A review as whoever only has its key reads it."""

from __future__ import annotations

from actors.reviews.record import unpack
from actors.reviews.store import packed_of
from policies.review import Review


def review_in(stored: bytes) -> Review:
    """Return the review that a key holds. Raises DamagedReviewError for anything else."""
    return unpack(packed_of(stored))
