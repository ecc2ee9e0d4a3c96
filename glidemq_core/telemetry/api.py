"""OpenTelemetry's API, loaded when it is asked for, and what spans and metrics say alike."""

from __future__ import annotations

from typing import Any

from ..errors import GlideMQError
from ..installed import extra, package_version

SYSTEM = "glidemq"
#: Characters of a text from outside in an attribute.
_TEXT_CAP = 256


def load() -> tuple[Any, Any, Any]:
    """Return the API's modules `trace`, `metrics` and `context`. Raises GlideMQError where it is not installed."""
    try:
        from opentelemetry import context, metrics, trace
    except ImportError as error:
        hint = f"pip install '{extra('otel')}'"
        raise GlideMQError("OpenTelemetry is not installed", hint=hint) from error
    return trace, metrics, context


def version() -> str:
    """Version of what makes the spans and metrics."""
    return package_version()


def shown(text: str) -> str:
    """Return a text from outside as an exporter can send it: of bounded length, and valid UTF-8."""
    return text[:_TEXT_CAP].encode("utf-8", "replace").decode("utf-8")


def error_type(error: BaseException) -> str:
    """Name the class of an error, as the attribute `error.type` wants it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
