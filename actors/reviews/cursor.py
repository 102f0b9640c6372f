"""Where a page of reviews ends, as the word that asks for the next one."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from actors.reviews.store import CLOSED, LIVE, Spot
from policies.errors import RefusalError

_SPOT: Final = re.compile(rf"\A({LIVE}|{CLOSED}) ([0-9]{{16}}:.{{1,128}})\Z")


def cursor_of(spot: Spot) -> str:
    """Return the cursor that goes on behind it; nobody need read it."""
    return urlsafe_b64encode(" ".join(spot).encode()).decode().rstrip("=")


def spot_of(cursor: str) -> Spot:
    """Return the spot of a cursor. Raises RefusalError `review.bad_cursor` (422)."""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        raise bad_cursor() from None
    found = _SPOT.match(text)
    if found is None:
        raise bad_cursor()
    return Spot(found[1], found[2])


def bad_cursor() -> RefusalError:
    """Return what to say about a cursor that is none."""
    return RefusalError("review.bad_cursor", "this is no cursor of this list", 422)
