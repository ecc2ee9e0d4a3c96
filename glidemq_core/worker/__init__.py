"""Running jobs: the public `Worker` and its rooms."""

from .execution.threads import SyncJob
from .worker import Worker, serve

__all__ = ["SyncJob", "Worker", "serve"]
