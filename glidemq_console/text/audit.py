"""Describe what an audit entry changed; the text is untrusted, callers clean it before they show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .format import duration, plural, window


def starts_cap(most: int | None, window_ms: int | None) -> str:
    """Words for a cap on job starts in a window of `window_ms`; None: no cap."""
    return f"{most} starts in {window(window_ms)}" if most and window_ms else "no cap on starts"


def concurrency_cap(most: int | None) -> str:
    """Words for a cap on jobs that run at once; None and 0: no cap."""
    return f"{plural(most, 'job')} at once" if most else "no cap on jobs at once"


def detail_words(detail: Mapping[str, Any]) -> str:
    """Words for the `detail` of an audit entry; "" if it says nothing."""
    return ", ".join(filter(None, (_words(name, value) for name, value in detail.items())))


def _words(name: str, value: Any) -> str:
    if name == "rpm" and (value is None or isinstance(value, dict)):
        cap = value or {}
        most, window_ms = cap.get("max"), cap.get("window_ms")
        return starts_cap(*(n if isinstance(n, int) else None for n in (most, window_ms)))
    if name == "global_concurrency" and (value is None or isinstance(value, int)):
        return concurrency_cap(value)
    if value is None or value is False or value == "":
        return ""
    label = name.removesuffix("_ms").replace("_", " ")
    if value is True:
        return label
    if name.endswith("_ms") and isinstance(value, (int, float)):
        return f"{label} {duration(value)}"
    return f"{label} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
