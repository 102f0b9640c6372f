"""What the command's exit status says, for scripts. Stable: documented in docs/cli.md."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


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
    INTERRUPTED = 130


OF_EFFECT: Final = {"allow": Exit.OK, "deny": Exit.DENIED, "review": Exit.HELD}

MEANING: Final[Mapping[Exit, str]] = {
    Exit.OK: "allowed, or done",
    Exit.FAILED: "it failed; the sentence on stderr says why",
    Exit.USAGE: "used wrongly: an option, a file, JSON or a setting",
    Exit.DENIED: "the decision is deny",
    Exit.HELD: "the decision is review: held for people",
    Exit.UNAVAILABLE: "the bus does not answer, or cannot govern now",
    Exit.REFUSED: "the bus refused the request: a 4xx",
    Exit.TAMPERED: "the ledger or the proof does not verify",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}
