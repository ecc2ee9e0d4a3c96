"""Running jobs: the public `Worker` and its rooms."""

from .pool import Worker
from .threads import SyncJob

__all__ = ["SyncJob", "Worker"]
