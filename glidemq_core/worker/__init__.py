"""Running jobs: the public `Worker` and its rooms."""

from .execution.threads import SyncJob
from .serving import ShutdownHandle, graceful_shutdown
from .worker import Worker, serve

__all__ = ["ShutdownHandle", "SyncJob", "Worker", "graceful_shutdown", "serve"]
