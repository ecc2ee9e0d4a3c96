"""The sample workload of `glidemq demo`: simulated models, real queues, no network."""

from __future__ import annotations

from .options import DemoOptions
from .runner import run_demo

__all__ = ["DemoOptions", "run_demo"]
