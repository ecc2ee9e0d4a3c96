"""A feed of fixed snapshots: what tests photograph and screenshots show, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..model.snapshot import Interests, JobsQuery, Snapshot

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor
    from glidemq_core.records import Approval, AuditEntry, JobDetail, JobRef, JobRow, StreamChunk, Why

    from .protocol import Publish, ServerFeed

T = TypeVar("T")


@dataclass(eq=False)
class ScriptedFeed:
    """Publishes the snapshot that `script` makes of what the screen wants; records changes instead of making them."""

    #: What is known, given what the active screen needs.
    script: Callable[[Interests], Snapshot]
    _: KW_ONLY
    #: Token streams by job.
    chunks: Mapping[JobRef, Sequence[StreamChunk]] = field(default_factory=dict)
    #: What an approver sees, by job, and what is read of it with a limit, where that is less.
    reviews: Mapping[JobRef, Approval] = field(default_factory=dict)
    cuts: Mapping[JobRef, Approval] = field(default_factory=dict)
    #: What a mutation returns, by the name of the Queue method; None without an entry.
    answers: Mapping[str, Any] = field(default_factory=dict)
    #: What people did, by job.
    audits: Mapping[JobRef, Sequence[AuditEntry]] = field(default_factory=dict)
    #: Why a job or a queue does not go on, by its name.
    whys: Mapping[str, Why] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._publish: Publish = lambda _snapshot: None
        self._interests = Interests()
        self.latest = self.script(self._interests)
        #: Every mutation as (queue, method, arguments).
        self.changes: list[tuple[str, str, tuple[Any, ...]]] = []
        self.refreshed = 0
        self.refresh_ms: int | None = None

    async def run(self, publish: Publish) -> None:
        self._publish = publish
        self._emit()
        await asyncio.Event().wait()

    def _emit(self) -> None:
        self.latest = self.script(self._interests)
        self._publish(self.latest)

    def set_refresh(self, refresh_ms: int) -> None:
        self.refresh_ms = refresh_ms

    def set_interests(self, interests: Interests) -> None:
        if interests != self._interests:
            self._interests = interests
            self._emit()

    def refresh_now(self) -> None:
        self.refreshed += 1
        self._emit()

    def of(self, ref: JobRef) -> ServerFeed:
        return self

    async def change(self, queue: str, call: Callable[[Queue[Any, Any], Actor], Awaitable[T]]) -> T:
        from glidemq_core.options.job import Actor

        recorder: Any = _Recorder(queue, self.changes, self.answers)
        return await call(recorder, Actor(by="tester", via="console"))

    async def tokens(self, ref: JobRef, *, start: str = "0") -> AsyncIterator[Sequence[StreamChunk]]:
        """Yield everything at once; a stream whose job still runs stays open."""
        if chunks := self.chunks.get(ref, ()):
            yield chunks
        row = self.latest.streams.get(ref)
        if row is not None and row.state not in ("completed", "failed"):
            await asyncio.Event().wait()

    async def review(self, ref: JobRef, *, payload_limit: int | None = None) -> Approval:
        return self.cuts.get(ref, self.reviews[ref]) if payload_limit is not None else self.reviews[ref]

    async def why(self, queue: str, job_id: str | None = None) -> Why:
        return self.whys[queue if job_id is None else f"{queue}:{job_id}"]

    async def failed_jobs(self, queue: str, group: str) -> Sequence[str]:
        found = self.latest.failures.groups if self.latest.failures is not None else ()
        return [ref.id for one in found if one.key == group for ref in one.sample]

    async def matching_jobs(self, query: JobsQuery) -> AsyncIterator[Sequence[JobRow]]:
        known = self.latest.jobs
        yield known.rows if known is not None and known.query == query else ()

    async def audit(self, queue: str, job_id: str | None = None) -> Sequence[AuditEntry]:
        return [
            entry
            for ref, entries in self.audits.items()
            if ref.queue == queue and job_id in (None, ref.id)
            for entry in entries
        ]

    async def job(self, ref: JobRef, *, payload_limit: int) -> JobDetail | None:
        view = self.latest.job
        return view.detail if view is not None and view.ref == ref else None


class _Recorder:
    """Stands in for a Queue: every method is recorded and answers what the script says."""

    def __init__(
        self, queue: str, changes: list[tuple[str, str, tuple[Any, ...]]], answers: Mapping[str, Any]
    ) -> None:
        self._queue = queue
        self._changes = changes
        self._answers = answers

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **_options: Any) -> Any:
            self._changes.append((self._queue, method, args))
            return self._answers.get(method)

        return call
