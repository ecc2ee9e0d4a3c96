"""OpenTelemetry: spans of jobs that are added and run, metrics of what their models use.

Loads OpenTelemetry only when a tracer is set or one of its middleware is made.
"""

from .metrics import MetricsMiddleware
from .tracing import TelemetryMiddleware, is_tracing_enabled, set_tracer

__all__ = ["MetricsMiddleware", "TelemetryMiddleware", "is_tracing_enabled", "set_tracer"]
