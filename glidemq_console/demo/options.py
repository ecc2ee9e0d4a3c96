"""What `glidemq demo` was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

#: The demo's own server: emptied at the start, found by this name from other terminals.
OWN_URL = "embedded:demo"
#: On anyone else's server the demo keeps to keys of its own, so that it never takes a real queue's jobs.
GUEST_PREFIX = "glidemq-demo"


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Options of the demo. `speed` is a factor, `duration_ms` None runs until it is ended."""

    url: str = OWN_URL
    prefix: str | None = None
    headless: bool = False
    seed: int = 1
    speed: float = 1.0
    duration_ms: int | None = None
    #: Headless output is JSON anyway; accepted so that `--json` may be given.
    json: bool = False
    theme: str | None = None
    ascii_glyphs: bool = False
    user: str | None = None
    read_only: bool = False
    #: Further keywords of `glidemq_core.connect` for a server given by URL.
    connect_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_guest(self) -> bool:
        """Whether the workload runs on a server that is not the demo's own, and must leave it as it is."""
        return self.url != OWN_URL

    @property
    def key_prefix(self) -> str | None:
        """Prefix of every key; None is the connection's."""
        named = self.prefix or "prefix" in parse_qs(urlsplit(self.url).query)
        return self.prefix if named or not self.is_guest else GUEST_PREFIX

    def to_line(self) -> str:
        """Write all options as one line of JSON, for the process that runs the workload."""
        return json.dumps({**asdict(self), "connect_options": dict(self.connect_options)}, default=str)

    @property
    def worker_connect_options(self) -> dict[str, Any]:
        """Keywords of `connect` for the workload, which has to write whatever the console may do."""
        return {name: value for name, value in self.connect_options.items() if name != "read_only"}

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """Read what `to_line` wrote."""
        return cls(**json.loads(line))
