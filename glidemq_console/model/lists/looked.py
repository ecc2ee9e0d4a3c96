"""How far a filter has looked that acts on more than what is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """How many a filter takes of how many that were looked at."""

    matches: int
    looked: int
    #: How many there are; None where that is not known.
    total: int | None
    has_more: bool
    #: It goes on by itself; else it waits to be asked.
    is_searching: bool

    @property
    def finds(self) -> bool:
        """Whether it is still looking for the first one."""
        return self.is_searching and not self.matches

    @property
    def words(self) -> str:
        """`12 match · looked at 20,000 of 1,000,000`."""
        is_part = self.total is not None and self.total > self.looked
        of = f" of {self.total:,}" if is_part else ""
        going = " · looking" if self.is_searching else ""
        return f"{self.matches:,} match · looked at {self.looked:,}{of}{going}"
