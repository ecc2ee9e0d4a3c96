"""What screens and actions may ask of the world: the one door to the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..model.snapshot import Interests, JobsQuery, Snapshot

if TYPE_CHECKING:
    from glidemq_core import Actor, Approval, AuditEntry, JobDetail, JobRef, Queue, StreamChunk
    from glidemq_core.records import JobRow, Why

T = TypeVar("T")
Publish = Callable[[Snapshot], None]


class ServerFeed(Protocol):
    """What may be asked of the jobs of one server."""

    async def change(self, queue: str, call: Callable[[Queue[Any, Any], Actor], Awaitable[T]]) -> T:
        """Run one mutation on a queue as this console's user there; raises `GlideMQError`."""

    async def review(self, ref: JobRef, *, payload_limit: int | None = None) -> Approval:
        """Read what an approver must see, up to so many bytes of each part; without a limit, all of it."""

    async def job(self, ref: JobRef, *, payload_limit: int) -> JobDetail | None:
        """Read one job with up to `payload_limit` bytes of payload."""


class Feed(ServerFeed, Protocol):
    """What screens and actions may ask of the world: all of the server that is shown, little of the others."""

    def of(self, ref: JobRef) -> ServerFeed:
        """Return what asks the server that a job is on; raises `GlideMQError` when it is not read."""

    @property
    def latest(self) -> Snapshot:
        """The newest snapshot."""

    async def run(self, publish: Publish) -> None:
        """Read until cancelled; hand every new snapshot to `publish`."""

    def set_interests(self, interests: Interests) -> None:
        """Say what the active screen needs from now on."""

    def set_refresh(self, refresh_ms: int) -> None:
        """Read every so many milliseconds from now on."""

    def refresh_now(self) -> None:
        """Read (or reconnect) at once instead of at the next due time."""

    def tokens(self, ref: JobRef, *, start: str = "0") -> AsyncIterator[Sequence[StreamChunk]]:
        """Follow a job's token stream, all that has come at a time; no gap or repeat at a lost connection."""

    async def why(self, queue: str, job_id: str | None = None) -> Why:
        """Read why a job is not running, or without one what holds the queue back."""

    async def failed_jobs(self, queue: str, group: str) -> Sequence[str]:
        """Read the ids of the failed jobs that belong to a group of failures now, newest first."""

    def matching_jobs(self, query: JobsQuery) -> AsyncIterator[Sequence[JobRow]]:
        """Read all jobs that a list shows with its filter, a page at a time, in the order of the list."""

    async def audit(self, queue: str, job_id: str | None = None) -> Sequence[AuditEntry]:
        """Read who did what to a queue and its jobs, or to one job, newest first."""
