"""What the command's exit status says, for scripts. Stable: documented in the README."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """0 is allow or success; each other outcome has its own number."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    HELD = 4
    UNAVAILABLE = 5
    REFUSED = 6
    TAMPERED = 7


OF_EFFECT = {"allow": Exit.OK, "deny": Exit.DENIED, "review": Exit.HELD}
