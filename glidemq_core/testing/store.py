"""Jobs in memory: added, read, changed, and handed to workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Self, Unpack

from ..errors import ClosedError, InvalidOptionError, JobNotFoundError, JobStateError
from ..jobs.snapshot import DataT, ResultT
from ..options.fields import Duration, one_of, queue_name, to_ms
from ..options.job import JobKeywords, JobOptions, JobRef, NewJob, job_options
from ..options.types import JobIdLike, id_in
from ..records import JobCounts, JobLogs, Metrics, StreamChunk
from ..records.outcomes import FinalState
from ..wire.entry_ids import parse_id
from ..wire.payload import encode_data
from ..wire.serializer import JSON_SERIALIZER, Serializer
from .entries import STATES, Entry, State, now_ms
from .figures import EndsByMinute
from .jobs import RecordedJob, memory_context, new_fields


class JobStore(Generic[DataT, ResultT]):
    """What a queue in memory is without suspensions; `TestQueue` is the whole."""

    __test__ = False

    def __init__(self, name: str, *, serializer: Serializer = JSON_SERIALIZER) -> None:
        self.name = queue_name(name)
        self.serializer = serializer
        self.entries: dict[str, Entry] = {}
        #: Ids of jobs that wait, with a delay or without, first come first served.
        self.waiting: list[str] = []
        #: Told whenever there may be something to do, or to wait for.
        self.changed = asyncio.Condition()
        #: Where jobs were last added.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._ends = EndsByMinute()
        self._last_id = 0
        self._is_paused = False
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Take no more jobs; twice is fine."""
        self._is_closed = True

    # Adding --------------------------------------------------------------------------------------------------

    async def add(
        self,
        name: str,
        data: DataT | None = None,
        *,
        options: JobOptions | None = None,
        **keywords: Unpack[JobKeywords],
    ) -> RecordedJob | None:
        """Add a job; None when its id is taken, or a job of its deduplication id has not ended.

        Raises:
            InvalidOptionError, SerializationError, PayloadTooLargeError, ClosedError.
        """
        if self._is_closed:
            raise ClosedError(f"TestQueue '{self.name}' is closed", what=self.name)
        chosen = job_options(options, keywords)
        if not isinstance(name, str) or not name:
            raise InvalidOptionError("name must be text", option="name", value=name, allowed="text")
        encoded = encode_data(data, self.serializer)
        if chosen.job_id in self.entries or self._is_duplicate(chosen):
            return None
        self.loop = asyncio.get_running_loop()
        job_id = chosen.job_id or self._next_id()
        entry = Entry(new_fields(job_id, name, encoded, chosen, now_ms()), chosen)
        if chosen.ttl:
            entry.put(expireAt=now_ms() + chosen.ttl)
        self.entries[job_id] = entry
        await self.put_back(job_id, delayed=bool(chosen.delay))
        return self.job_of(job_id)

    async def add_bulk(self, jobs: Iterable[NewJob]) -> list[RecordedJob]:
        """Add several jobs; those that are skipped are left out."""
        added = [await self.add(job.name, job.data, options=job.options) for job in jobs]
        return [job for job in added if job is not None]

    def _next_id(self) -> str:
        while True:
            self._last_id += 1
            if str(self._last_id) not in self.entries:
                return str(self._last_id)

    def _is_duplicate(self, chosen: JobOptions) -> bool:
        asked = chosen.deduplication
        return asked is not None and any(
            entry.state not in ("completed", "failed")
            and entry.options.deduplication is not None
            and entry.options.deduplication.id == asked.id
            for entry in self.entries.values()
        )

    # Reading -------------------------------------------------------------------------------------------------

    async def get_job(self, job_id: JobIdLike, *, exclude_data: bool = False) -> RecordedJob | None:
        """Return a job as it is now, on request without payload and result; None if there is none."""
        found = id_in(self.name, job_id)
        return self.job_of(found, slim=exclude_data) if found in self.entries else None

    async def get_jobs(
        self, state: State, start: int = 0, end: int = -1, *, exclude_data: bool = False
    ) -> list[RecordedJob]:
        """Return jobs in a state, oldest first; `end` is inclusive, -1 the last."""
        one_of(*STATES)(state, "state")
        found = [job_id for job_id, entry in self.entries.items() if entry.state == state]
        return [
            self.job_of(job_id, slim=exclude_data) for job_id in found[start : None if end == -1 else end + 1]
        ]

    async def search_jobs(
        self,
        *,
        state: State | None = None,
        name: str | None = None,
        data: Mapping[str, Any] | None = None,
        limit: int = 100,
        exclude_data: bool = False,
    ) -> list[RecordedJob]:
        """Return jobs of this name whose payload has these values at its top level."""
        found = []
        for job_id, entry in self.entries.items():
            job = self.job_of(job_id)
            fits = (state is None or entry.state == state) and (name is None or name == job.name)
            if fits and all(
                isinstance(job.data, dict) and job.data.get(k) == v for k, v in (data or {}).items()
            ):
                found.append(self.job_of(job_id, slim=exclude_data))
        return found[:limit]

    async def get_job_counts(self) -> JobCounts:
        """Count the jobs by state."""
        states = [entry.state for entry in self.entries.values()]
        return JobCounts(**{state: states.count(state) for state in STATES})

    async def get_metrics(self, kind: FinalState, start: int = 0, end: int = -1) -> Metrics:
        """Return jobs that ended by minute, oldest first; slice inclusive, negative from the end."""
        one_of("completed", "failed")(kind, "kind")
        total = sum(entry.state == kind for entry in self.entries.values())
        return self._ends.metrics(kind, total, start, end)

    async def get_job_logs(self, job_id: JobIdLike, start: int = 0, end: int = -1) -> JobLogs:
        """Return the lines that a job has logged; none if there is no such job."""
        entry = self.entries.get(id_in(self.name, job_id))
        lines = entry.logged if entry is not None else []
        return JobLogs(logs=tuple(lines[start : None if end == -1 else end + 1]), count=len(lines))

    async def read_stream(
        self, job_id: JobIdLike, *, last_id: str | None = None, count: int = 100
    ) -> list[StreamChunk]:
        """Return chunks of a job's token stream after an entry; what is there, at once."""
        entry = self.entries.get(id_in(self.name, job_id))
        after = parse_id(last_id)[0] if last_id else 0
        chunks = entry.streamed if entry is not None else []
        return [StreamChunk(f"{at}-0", chunk) for at, chunk in enumerate(chunks, 1) if at > after][:count]

    # Control -------------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Let workers start no more jobs."""
        self._is_paused = True

    async def resume(self) -> None:
        """Let workers start jobs again."""
        self._is_paused = False
        await self.tell()

    async def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._is_paused

    async def drain(self, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, on request those with a delay too; returns how many."""
        kept = [] if delayed else [each for each in self.waiting if self.entries[each].state == "delayed"]
        gone = [each for each in self.waiting if each not in kept]
        self.waiting = kept
        self._forget(gone)
        return len(gone)

    def _forget(self, gone: Iterable[str]) -> None:
        for job_id in gone:
            self.entries.pop(job_id).is_gone = True

    async def clean(self, state: FinalState, *, grace: Duration, limit: int = 1_000) -> list[str]:
        """Remove jobs that ended longer ago than `grace` (ms or timedelta); returns their ids."""
        one_of("completed", "failed")(state, "state")
        before = now_ms() - to_ms(grace, "grace")
        gone = [
            job_id
            for job_id, entry in self.entries.items()
            if entry.state == state and int(entry.fields["finishedOn"]) <= before
        ][:limit]
        self._forget(gone)
        return gone

    async def remove_job(self, job_id: JobIdLike) -> bool:
        """Remove a job that does not run; False if there is none."""
        found = id_in(self.name, job_id)
        entry = self.entries.get(found)
        if entry is None:
            return False
        if entry.state == "active":
            raise self._wrong_state(found, "remove", "not active")
        if found in self.waiting:
            self.waiting.remove(found)
        self._forget([found])
        return True

    async def retry_job(self, job_id: JobIdLike) -> None:
        """Run a failed job again, as if for the first time.

        Raises:
            JobNotFoundError, JobStateError.
        """
        found = id_in(self.name, job_id)
        entry = self._existing(found)
        if entry.state != "failed":
            raise self._wrong_state(found, "retry", "failed")
        entry.put(attemptsMade=0)
        for name in ("failedReason", "finishedOn"):
            entry.fields.pop(name, None)
        await self.put_back(found)

    async def retry_jobs(self, count: int = 0) -> int:
        """Run failed jobs again, at most `count` (0: all); returns how many."""
        failed = [job_id for job_id, entry in self.entries.items() if entry.state == "failed"]
        for job_id in failed[: count or None]:
            await self.retry_job(job_id)
        return len(failed[: count or None])

    # For the worker ------------------------------------------------------------------------------------------

    @property
    def may_take(self) -> bool:
        """Whether a job waits that may start."""
        return bool(self.waiting) and not self._is_paused

    def take(self) -> str | None:
        """Return the id of the next job to run, which waits no more; None if there is none, or it is paused."""
        return self.waiting.pop(0) if self.may_take else None

    async def put_back(self, job_id: str, *, delayed: bool = False) -> None:
        """Let a job wait, behind all that do. One with a delay says so, and runs as soon as its turn comes."""
        self.entries[job_id].put(state="delayed" if delayed else "waiting")
        self.waiting.append(job_id)
        await self.tell()

    async def tell(self) -> None:
        """Wake whoever waits for a change."""
        async with self.changed:
            self.changed.notify_all()

    def end(self, job_id: str, state: FinalState, **words: object) -> None:
        """Write down that a job has ended."""
        entry, at_ms = self.entries[job_id], now_ms()
        entry.put(state=state, finishedOn=at_ms, **words)
        self._ends.add(state, at_ms, at_ms - int(entry.fields.get("processedOn", at_ms)))

    def job_of(self, job_id: str, *, running: bool = False, slim: bool = False) -> RecordedJob:
        """Make the job of an entry: as it is now, without its payload, or the one that a run works on."""
        entry = self.entries[job_id]
        fields = entry.fields if running else dict(entry.fields)
        job = RecordedJob(memory_context(self.name, self.serializer), job_id, fields)
        job.entry, job.streamed, job.logged = entry, entry.streamed, entry.logged
        if slim:
            job.fields = {
                name: value for name, value in fields.items() if name not in ("data", "returnvalue")
            }
            job._is_slim = True
        job.keep_steps_in(entry.steps)
        return job

    def _existing(self, job_id: str) -> Entry:
        entry = self.entries.get(job_id)
        if entry is None:
            ref = JobRef(self.name, job_id)
            raise JobNotFoundError(f"job '{ref}' not found", queue=self.name, job_id=job_id)
        return entry

    def _wrong_state(self, job_id: str, operation: str, needed: str) -> JobStateError:
        state = self.entries[job_id].state
        return JobStateError(
            f"cannot {operation} job '{self.name}:{job_id}': it is {state}",
            queue=self.name,
            job_id=job_id,
            operation=operation,
            state=state,
            needed=needed,
        )
