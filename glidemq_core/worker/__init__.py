"""Running jobs: the public `Worker` and its rooms."""

from .pool import Worker

__all__ = ["Worker"]
