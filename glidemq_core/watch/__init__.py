"""Reading for consoles and dashboards, at a cost that the number of jobs does not drive."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .jobs.listing import STATES as STATES
    from .watch import Watch as Watch

__all__ = ["STATES", "Watch"]


def __getattr__(name: str) -> Any:
    # A queue takes from here how its limits are read, and must not load all that a console reads.
    if name == "Watch":
        from .watch import Watch

        return Watch
    if name == "STATES":
        from .jobs.listing import STATES

        return STATES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
