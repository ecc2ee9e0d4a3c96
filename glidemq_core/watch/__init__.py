"""Reading for consoles and dashboards, at a cost that the number of jobs does not drive."""

from .jobs.listing import STATES
from .watch import Watch

__all__ = ["STATES", "Watch"]
