"""The adding half of a queue, for programs that only need ids back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Literal, TypeVar, Unpack, overload

from .jobs import add
from .jobs.add import OnDuplicate
from .jobs.adding.around import Snapshot
from .jobs.snapshot import JobSnapshot
from .options.job import JobKeywords, JobOptions, NewJob, PlainKeywords, job_options
from .options.worker import QueueKeywords, QueueOptions, override_options
from .server.connection import Connection
from .server.context import QueueBase
from .wire.serializer import JSON_SERIALIZER

AddedT = TypeVar("AddedT")


class AddingQueue(QueueBase):
    """What `Queue` and `Producer` share: settings with which jobs are added."""

    def __init__(
        self,
        name: str,
        connection: str | Connection | None = None,
        *,
        options: QueueOptions | None = None,
        **keywords: Unpack[QueueKeywords],
    ) -> None:
        self._options = override_options(QueueOptions, options, keywords)
        serializer = self._options.serializer or JSON_SERIALIZER
        super().__init__(name, connection, prefix=self._options.prefix, serializer=serializer)

    async def _add(
        self,
        name: str,
        data: Any,
        options: JobOptions,
        *,
        cross_slot: bool,
        on_duplicate: OnDuplicate,
    ) -> Snapshot | None:
        return await add.add_job(
            await self.context(),
            name,
            data,
            options,
            self._options,
            cross_slot=cross_slot,
            on_duplicate=on_duplicate,
        )

    async def _add_each(
        self,
        jobs: Iterable[NewJob],
        shown: Callable[[Snapshot], AddedT],
        make: add.MakeJob = JobSnapshot,
        *,
        cross_slot: bool,
        on_duplicate: OnDuplicate,
    ) -> list[AddedT | None]:
        results = await add.add_each(
            await self.context(),
            jobs,
            self._options,
            cross_slot=cross_slot,
            on_duplicate=on_duplicate,
            make=make,
        )
        outcomes = [shown(result) if isinstance(result, JobSnapshot) else result for result in results]
        add.raise_refused(outcomes)
        return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


class Producer(AddingQueue):
    """Add jobs to a queue and get their ids. Starts no background task; connects at first use.

    Args:
        name: name of the queue.
        connection: URL (opened and owned), a shared Connection, or None for `GLIDEMQ_URL`.
        prefix: key prefix; None takes the connection's.
        compression: `none` or `gzip`, for the payloads of jobs added here.
        serializer: turns payloads into text; JSON by default.
        events: False leaves out `added` events.
        middleware: code around every job that is added here, outermost first.
        options: the same set as one object; a keyword beside it wins.

    Every call may raise what speaks of the server, and ClosedError after `close()`.
    """

    _role = "producer"

    @property
    def is_closed(self) -> bool:
        """Whether `close()` was called."""
        return self._lazy.closed

    @overload
    async def add(
        self,
        name: str,
        data: Any = None,
        *,
        options: None = None,
        cross_slot: bool = False,
        on_duplicate: OnDuplicate = "skip",
        **keywords: Unpack[PlainKeywords],
    ) -> str: ...
    @overload
    async def add(
        self,
        name: str,
        data: Any = None,
        *,
        options: JobOptions | None = None,
        cross_slot: bool = False,
        on_duplicate: Literal["raise"],
        **keywords: Unpack[JobKeywords],
    ) -> str: ...
    @overload
    async def add(
        self,
        name: str,
        data: Any = None,
        *,
        options: JobOptions | None = None,
        cross_slot: bool = False,
        on_duplicate: OnDuplicate = "skip",
        **keywords: Unpack[JobKeywords],
    ) -> str | None: ...
    async def add(
        self,
        name: str,
        data: Any = None,
        *,
        options: JobOptions | None = None,
        cross_slot: bool = False,
        on_duplicate: OnDuplicate = "skip",
        **keywords: Unpack[JobKeywords],
    ) -> str | None:
        """Add a job as `Queue.add` does; returns its id, or None when it was deduplicated or its id is taken.

        Args:
            on_duplicate: `skip` returns None, `raise` raises DuplicateJobError.
        Raises: as `Queue.add`.
        """
        chosen = job_options(options, keywords)
        job = await self._add(name, data, chosen, cross_slot=cross_slot, on_duplicate=on_duplicate)
        return None if job is None else job.id

    async def add_bulk(
        self, jobs: Iterable[NewJob], *, cross_slot: bool = False, on_duplicate: OnDuplicate = "skip"
    ) -> list[str | None]:
        """Add many jobs with one timestamp, few round trips; one id a job, None for a skipped one, in order.

        `cross_slot` and `on_duplicate` as in `Queue.add_bulk`.

        Raises: BulkError when some were refused; its `results` hold an id, None or the error for each. Jobs that were
        not refused are stored all the same.
        """
        return await self._add_each(jobs, attrgetter("id"), cross_slot=cross_slot, on_duplicate=on_duplicate)
