"""What of a record is a user's own data: left out of a file unless it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: Keys of what users put into a job or got out of it.
_PAYLOADS: Final = frozenset(("data", "result", "draft", "tool_calls", "chunks", "returnvalue", "raw"))


def without_payloads(value: Any) -> Any:
    """Return a JSON value of a record without payloads, results, drafts and progress that is more than a number."""
    if isinstance(value, Mapping):
        return {
            key: without_payloads(item)
            for key, item in value.items()
            if key not in _PAYLOADS and not (key == "progress" and isinstance(item, str | dict | list))
        }
    if isinstance(value, list | tuple):
        return [without_payloads(item) for item in value]
    return value
