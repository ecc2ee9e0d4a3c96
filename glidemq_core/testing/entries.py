"""What is kept of the jobs of a queue in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from ..options.job import JobOptions

#: States in which a job of memory can be.
STATES = ("waiting", "delayed", "active", "suspended", "completed", "failed")
State = Literal["waiting", "delayed", "active", "suspended", "completed", "failed"]


@dataclass(eq=False, slots=True)
class Entry:
    """All that is kept of one job; every run of it, and everybody who asks, gets a `RecordedJob` made of this."""

    fields: dict[str, bytes]
    options: JobOptions
    #: Whether it was removed since.
    is_gone: bool = False
    streamed: list[dict[str, str]] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    steps: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        return self.fields["state"].decode()

    def put(self, **words: object) -> None:
        """Write fields of the job's hash."""
        self.fields.update({name: str(value).encode() for name, value in words.items()})


def now_ms() -> int:
    """Epoch ms."""
    return int(time.time() * 1_000)
