"""What an agent wrote, as people may see it: legible, and without what is private in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from serve_app.masking import mask

SHOWN_MAX: Final = 24_000  # characters on the page; the whole stands behind a link
_KEPT: Final = frozenset("\n\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """JSON for people. `masked` says what kinds were taken out; `size` is the whole length."""

    text: str
    masked: tuple[str, ...]
    size: int

    @property
    def is_cut(self) -> bool:
        """Whether some of it is not in `text`."""
        return len(self.text) < self.size


def shown(content: Mapping[str, object], *, reveal: bool, limit: int | None = SHOWN_MAX) -> Shown:
    """Return the content pretty-printed, private parts masked unless they are to be revealed.

    `masked` names the detectors in either case. May take a while for a megabyte.
    """
    clean, kinds = mask(content)
    seen = content if reveal else clean
    text = legible(json.dumps(seen, indent=2, ensure_ascii=False, default=str))
    cut = text if limit is None else text[:limit]
    return Shown(text=cut, masked=kinds, size=len(text))


def legible(text: str) -> str:
    r"""Return the text with what nobody sees made visible, as `\u202e`.

    Characters that hide, or turn the direction of reading, would let an agent show people
    something else than what runs.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _KEPT else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
