"""How far a tenant's events were read: behind an event, or in a list that stands for lost ones."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Shelf(StrEnum):
    """Which list is gone through after a gap."""

    OPEN = "open"  # reviews that wait for people
    TOLD = "told"  # reviews of which something was told, and not their end


@dataclass(frozen=True, slots=True)
class Place:
    """Behind the event `event`; with a `shelf`, only once that was read from behind `after` on."""

    event: str
    shelf: Shelf | None = None
    after: str = ""

    def __str__(self) -> str:
        return self.event if self.shelf is None else f"{self.event} {self.shelf} {self.after}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place that `str` wrote; raises ValueError for anything else."""
        event, _, rest = text.partition(" ")
        if not rest:
            return cls(event)
        shelf, _, after = rest.partition(" ")
        return cls(event, Shelf(shelf), after)
