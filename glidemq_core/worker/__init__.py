"""Running jobs: the public `Worker` and its rooms."""

from .execution.threads import SyncJob
from .serving import serve
from .worker import Worker

__all__ = ["SyncJob", "Worker", "serve"]
