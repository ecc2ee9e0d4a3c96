"""Running jobs: the public `Worker` and its rooms."""

from .pool import Worker
from .serving import serve
from .threads import SyncJob

__all__ = ["SyncJob", "Worker", "serve"]
