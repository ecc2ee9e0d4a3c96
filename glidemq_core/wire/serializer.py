"""How job data and results become text; every side of a queue uses the same serializer."""

from __future__ import annotations

import json
from typing import Any, Protocol


class Serializer(Protocol):
    """Turns job data and results into text and back; every side of a queue must use the same one."""

    def serialize(self, value: Any) -> str: ...
    def deserialize(self, text: str) -> Any: ...


class _JsonSerializer:
    """Compact JSON; refuses NaN and infinities, which are not JSON."""

    _encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

    def serialize(self, value: Any) -> str:
        return self._encode(value)

    def deserialize(self, text: str) -> Any:
        return json.loads(text)


JSON_SERIALIZER: Serializer = _JsonSerializer()
