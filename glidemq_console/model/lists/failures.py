"""What failed lately, as the list of failures and the list of dead letters show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ...text import format as fmt
from .looked import Looked

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import DeadLetter, FailureGroup

#: How far back failures are looked for, ms.
WINDOWS: Final = (900_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000)
#: Where a list begins.
AN_HOUR: Final = WINDOWS[1]


def next_window(since_ms: int, step: int) -> int:
    """Return the window before or after one; the first and the last stay."""
    at = WINDOWS.index(since_ms) + step
    return WINDOWS[max(0, min(len(WINDOWS) - 1, at))]


def window_words(since_ms: int) -> str:
    """`last 1h`."""
    return f"last {fmt.duration(since_ms).replace(' 00m', '')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FailuresView:
    """Failures by cause within a window."""

    since_ms: int
    groups: tuple[FailureGroup, ...]
    jobs_read: int
    complete: bool
    at_ms: int
    #: The filter that they are of, how far it has looked, and the jobs of each group that it takes.
    where: str = ""
    progress: Looked | None = None
    members: Mapping[str, tuple[JobRef, ...]] = field(default_factory=dict)

    @property
    def wasted(self) -> float | None:
        """What the last attempts of all of them reported to have cost; None if none did."""
        costs = [group.wasted_cost for group in self.groups if group.wasted_cost is not None]
        return sum(costs) if costs else None


@dataclass(frozen=True, kw_only=True, slots=True)
class LettersView:
    """Dead letters of all queues, the newest first."""

    letters: tuple[DeadLetter, ...]
    total: int
    complete: bool
    at_ms: int
    #: The filter that they are of, and how far it has looked.
    where: str = ""
    progress: Looked | None = None
