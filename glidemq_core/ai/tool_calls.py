"""Tool calls in a token stream, as an approver is shown them: every field of the chunk is included."""

from __future__ import annotations

import json
from typing import Final

from ..records import StreamChunk, ToolCall

#: Fields that hold the arguments if they stand alone; of any other chunk all fields are shown.
_ARGUMENTS: Final = ("args", "arguments", "input", "content", "t", "token", "text", "delta")
#: Characters of a name that are shown.
_NAME_LIMIT: Final = 256


def tool_call_of(chunk: StreamChunk, limit: int | None = None) -> ToolCall:
    """Read a chunk of type `tool_call`.

    Args:
        limit: characters of the arguments that are kept; None keeps all.
    """
    name = chunk.get("name", "")
    rest = [(field, value) for field, value in chunk.pairs if field not in ("type", "name")]
    if len(rest) == 1 and rest[0][0] in _ARGUMENTS:
        args = rest[0][1]
    elif len(dict(rest)) == len(rest):
        args = _compact(dict(rest)) if rest else ""
    else:
        args = _compact(rest)
    kept = args if limit is None else args[:limit]
    return ToolCall(
        name=name[:_NAME_LIMIT] if limit is not None else name,
        args=kept,
        bytes=sum(len(field.encode()) + len(value.encode()) for field, value in chunk.pairs),
        cut=len(kept) < len(args) or (limit is not None and len(name) > _NAME_LIMIT),
    )


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
