"""Outcomes of operations, the audit, findings of the doctor, and servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from .base import answer, python_only
from .outcomes import CheckStatus, ServerMode


@answer
class OperationResult:
    """How one operation on a queue or job went."""

    queue: str
    id: str | None = None
    action: str
    ok: bool
    outcome: str
    count: int | None = None
    ids: tuple[str, ...] | None = None
    message: str | None = None


@answer
class AuditEntry:
    """Who changed what, chained to the entry before it by hash.

    `by` is what the caller says; `user` is the server's user that its client named, None if that was forbidden to ask.
    """

    seq: int
    at: datetime
    by: str
    via: str
    host: str
    action: str
    queue: str
    job_ids: tuple[str, ...] = ()
    count: int | None = None
    outcome: str
    comment: str | None = None
    shown_hash: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    prev_hash: str
    hash: str
    user: str | None = None


@answer
class AuditCheck:
    """Whether the chain of audit entries holds; `broken_at` is the first `seq` that does not.

    `entries` were checked, from `first_seq` to `last_seq`; that and `last_hash` kept elsewhere prove later that nothing
    of it was cut off.
    """

    ok: bool
    entries: int
    broken_at: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    last_hash: str | None = None


@answer
class Check:
    """One finding of the doctor: ok, warn, fail or skip, and what mends it."""

    id: str
    status: CheckStatus
    summary: str
    detail: str | None = None
    fix: str | None = None


@answer
class Server:
    """State of our own server."""

    running: bool
    url: str | None = None
    pid: int | None = None
    port: int | None = None
    version: str | None = None
    data_dir: str


@answer
class ServerInfo:
    """The server behind a connection; `mode` is standalone or cluster."""

    version: str
    mode: ServerMode = "standalone"
    nodes: int = 1
    used_memory_bytes: int | None = None
    latency_ms: float | None = None
    at: datetime | None = python_only(None)


@answer
class Permissions:
    """What the user may do here, and why not more."""

    can_read: bool
    can_write: bool
    reason: str | None = None
    at: datetime | None = python_only(None)


@answer
class WatchStats:
    """What watching costs."""

    commands_per_s: float = 0
    rtt_ms: float | None = None
    at: datetime | None = python_only(None)
