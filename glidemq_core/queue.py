"""The queue as callers see it: everything but running jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Generic, Literal, Unpack, overload

from . import deadletters
from .ai import approvals, reviews, suspension
from .ai.streams import chunks
from .ai.usage import ledger, summary
from .flows import budgets, repair
from .flows.usage import get_flow_usage
from .job import Job
from .jobs import admin, audit, control, counts, read, wait
from .jobs.add import OnDuplicate
from .jobs.adding.links import OLD_ENOUGH_MS
from .jobs.snapshot import DataT, JobSnapshot, ResultT
from .options.fields import UNSET, Duration, Instant, Unset, instance_of
from .options.job import (
    Actor,
    Budget,
    JobKeywords,
    JobOptions,
    JobRef,
    JobTemplate,
    NewJob,
    PlainKeywords,
    RateLimit,
    job_options,
)
from .options.types import JobIdLike, id_in
from .producer import AddingQueue
from .reading.workers import get_workers
from .records import (
    Approval,
    Attempt,
    AuditCheck,
    AuditEntry,
    Decision,
    FlowBudget,
    FlowUsage,
    JobCounts,
    JobLogs,
    Limits,
    Metrics,
    SignalResult,
    StreamChunk,
    SuspendInfo,
    TopUp,
    UsageSummary,
    VectorHit,
    WorkerInfo,
)
from .records.outcomes import FinalState
from .schedules import calls as schedules
from .schedules.definition import define
from .schedules.entry import SchedulerEntry
from .search import index
from .search.schema import Field, VectorField
from .server.connection import Connection
from .server.context import QueueContext
from .watch.limits import queue_limits


class Queue(AddingQueue, Generic[DataT, ResultT]):
    """Producer and control side of a queue. Starts no background task; connects at first use.

    Args:
        name: 1 to 256 characters, none of `{`, `}`, `:`.
        connection: URL (opened and owned), a shared Connection, or None for `GLIDEMQ_URL`.
        prefix: key prefix; None takes the connection's.
        dead_letter_queue: queue to which workers send exhausted jobs; named where consoles look for it.
        compression: `none` or `gzip`, for the data of jobs added here.
        events: False leaves out `added` events.
        middleware: code around every job that is added here, outermost first.
        options: the same set as one object; a keyword beside it wins.

    Every call may raise what speaks of the server (ServerUnavailableError, CallTimeoutError, AuthenticationError,
    PermissionDeniedError, ServerError), ClosedError after `close()`, and InvalidOptionError for a wrong `actor`.
    """

    async def _prepare(self, connection: Connection) -> None:
        """Note the dead letter queue, so that consoles and workers can tell where exhausted jobs go."""
        target = self._options.dead_letter_queue
        if target and not connection.read_only:
            await connection.command("HSET", self._keys(connection).meta, "deadLetterQueueName", target)

    # Adding jobs -------------------------------------------------------------------------------------------

    @overload
    async def add(
        self,
        name: str,
        data: DataT | None = None,
        *,
        options: None = None,
        cross_slot: bool = False,
        on_duplicate: OnDuplicate = "skip",
        **keywords: Unpack[PlainKeywords],
    ) -> Job[DataT, ResultT]: ...
    @overload
    async def add(
        self,
        name: str,
        data: DataT | None = None,
        *,
        options: JobOptions | None = None,
        cross_slot: bool = False,
        on_duplicate: Literal["raise"],
        **keywords: Unpack[JobKeywords],
    ) -> Job[DataT, ResultT]: ...
    @overload
    async def add(
        self,
        name: str,
        data: DataT | None = None,
        *,
        options: JobOptions | None = None,
        cross_slot: bool = False,
        on_duplicate: OnDuplicate = "skip",
        **keywords: Unpack[JobKeywords],
    ) -> Job[DataT, ResultT] | None: ...
    async def add(
        self,
        name: str,
        data: DataT | None = None,
        *,
        options: JobOptions | None = None,
        cross_slot: bool = False,
        on_duplicate: OnDuplicate = "skip",
        **keywords: Unpack[JobKeywords],
    ) -> Job[DataT, ResultT] | None:
        """Add a job; None when it was deduplicated or its custom id is taken.

        Args:
            name: kind of job; any text.
            data: payload for the serializer, at most 1 MiB as text; JSON takes dataclasses and pydantic models too.
            options: options as one object; a keyword beside it wins. Durations are ms, timedelta or text.
            cross_slot: a `parent` may lie in another slot of a cluster: only Python workers serve both queues.
            on_duplicate: `skip` returns None, `raise` raises DuplicateJobError.
        Raises: InvalidOptionError, PayloadTooLargeError, SerializationError, CostExceedsCapacityError.
            Warns of a parent in a queue that does not exist.
        """
        chosen = job_options(options, keywords)
        added = await self._add(name, data, chosen, cross_slot=cross_slot, on_duplicate=on_duplicate)
        return None if added is None else Job.of(added)

    async def add_and_wait(
        self,
        name: str,
        data: DataT | None = None,
        *,
        wait_timeout: Duration = 30_000,
        options: JobOptions | None = None,
        cross_slot: bool = False,
        **keywords: Unpack[JobKeywords],
    ) -> ResultT:
        """Add a job, wait for its end and return its result.

        Args:
            wait_timeout: ms, timedelta or text; the job goes on afterwards.
        Raises: JobFailedError, WaitTimeoutError, DuplicateJobError when it was deduplicated or its id is taken,
            JobNotFoundError when it was removed meanwhile; InvalidOptionError also for a job that would not stay
            (`remove_on_complete`, `remove_on_fail`); else as `add`.
        """
        chosen = job_options(options, keywords)
        result: ResultT = await wait.add_and_wait(
            await self.context(),
            name,
            data,
            chosen,
            self._options,
            wait_timeout=wait_timeout,
            cross_slot=cross_slot,
        )
        return result

    async def add_bulk(
        self, jobs: Iterable[NewJob], *, cross_slot: bool = False, on_duplicate: OnDuplicate = "skip"
    ) -> list[Job[DataT, ResultT]]:
        """Add many jobs with one timestamp, few round trips; skipped ones (deduplicated, id taken) are left out.

        Args:
            cross_slot: as in `add`.
            on_duplicate: `skip` leaves them out, `raise` raises BulkError with a DuplicateJobError for each.
        Raises: BulkError when some were refused; its `results` hold a Job, None or the error for each, in order.
            Jobs that were not refused are stored all the same. InvalidOptionError for another `on_duplicate`.
        """
        added: list[Job[DataT, ResultT] | None] = await self._add_each(
            jobs, Job.of, Job, cross_slot=cross_slot, on_duplicate=on_duplicate
        )
        return [job for job in added if job is not None]

    # Reading jobs ------------------------------------------------------------------------------------------

    async def get_job(self, job_id: JobIdLike, *, exclude_data: bool = False) -> Job[DataT, ResultT] | None:
        """Read one job; None when there is none. `exclude_data` leaves payload and result unread: both are None."""
        found = await read.get_job(await self.context(), self._own(job_id), exclude_data=exclude_data)
        return None if found is None else Job.of(found)

    async def get_jobs(
        self, state: str, start: int = 0, end: int = -1, *, exclude_data: bool = False
    ) -> list[Job[DataT, ResultT]]:
        """Read jobs of a state, places `start`..`end` inclusive (negative end: all), oldest or soonest first.

        States: waiting, active, delayed, completed, failed, suspended, prioritized, group-waiting.
        Raises InvalidOptionError.
        """
        found = await read.get_jobs(await self.context(), state, start, end, exclude_data=exclude_data)
        return list(map(Job.of, found))

    async def search_jobs(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        data: Mapping[str, Any] | None = None,
        limit: int = 100,
        exclude_data: bool = False,
    ) -> list[Job[DataT, ResultT]]:
        """Find jobs by name and by top-level values of their data; bounded, warns of more.

        Raises InvalidOptionError.
        """
        found = await read.search_jobs(
            await self.context(), state=state, name=name, data=data, limit=limit, exclude_data=exclude_data
        )
        return list(map(Job.of, found))

    # The state of the queue --------------------------------------------------------------------------------

    async def get_job_counts(self) -> JobCounts:
        """Count jobs by state at a cost that does not grow with them; None where that cannot be."""
        return await counts.get_job_counts(await self.context())

    async def count(self) -> int:
        """Return the length of the stream: FIFO jobs that wait or run."""
        return await counts.count(await self.context())

    async def exists(self) -> bool:
        """Whether anything that makes up a queue is there."""
        return await counts.exists(await self.context())

    async def get_metrics(self, kind: FinalState, start: int = 0, end: int = -1) -> Metrics:
        """Return jobs per minute, oldest first; slice inclusive, negative from the end.

        Raises InvalidOptionError.
        """
        return await counts.get_metrics(await self.context(), kind, start, end)

    async def get_workers(self) -> list[WorkerInfo]:
        """Return all live workers, oldest first; walks over all keys of the server, a page a call.

        Raises: PermissionDeniedError for users who may not look.
        """
        return await get_workers(await self.context())

    # Acting on a job ---------------------------------------------------------------------------------------

    async def remove_job(self, job_id: JobIdLike, *, force: bool = False, actor: Actor | None = None) -> bool:
        """Delete a job and all that describes it; False when there is none.

        Raises JobStateError for an active job unless `force`.
        """
        return await control.remove_job(await self.context(), self._own(job_id), force=force, actor=actor)

    async def retry_job(
        self,
        job_id: JobIdLike,
        *,
        reset_fallback: bool = False,
        clear_signals: bool = False,
        actor: Actor | None = None,
    ) -> None:
        """Run a failed job again with all its attempts. Raises JobStateError, JobNotFoundError.

        Args:
            reset_fallback: start at the primary model again, not at the last fallback.
            clear_signals: forget earlier approvals and other signals.
        """
        await control.retry_job(
            await self.context(),
            self._own(job_id),
            reset_fallback=reset_fallback,
            clear_signals=clear_signals,
            actor=actor,
        )

    async def promote_job(self, job_id: JobIdLike, *, actor: Actor | None = None) -> None:
        """Make a delayed job ready now. Raises JobStateError, JobNotFoundError."""
        await control.promote_job(await self.context(), self._own(job_id), actor=actor)

    async def change_job_priority(
        self, job_id: JobIdLike, priority: int, *, actor: Actor | None = None
    ) -> None:
        """Give a job that has not started another priority, 0..2048.

        Raises InvalidOptionError, JobStateError, JobNotFoundError.
        """
        await control.change_job_priority(await self.context(), self._own(job_id), priority, actor=actor)

    async def change_job_delay(
        self, job_id: JobIdLike, delay: Duration, *, actor: Actor | None = None
    ) -> None:
        """Let a job that has not started wait `delay` (ms, timedelta or text) from now.

        Raises InvalidOptionError, JobStateError, JobNotFoundError.
        """
        await control.change_job_delay(await self.context(), self._own(job_id), delay, actor=actor)

    async def revoke(
        self, job_id: JobIdLike, *, actor: Actor | None = None
    ) -> Literal["revoked", "flagged", "not_found"]:
        """Fail a job that has not started; flag one that has, which Python workers then cancel."""
        return await control.revoke(await self.context(), self._own(job_id), actor=actor)

    async def get_job_logs(self, job_id: JobIdLike, start: int = 0, end: int = -1) -> JobLogs:
        """Return log lines `start`..`end` inclusive, oldest first, and how many there are."""
        return await control.get_job_logs(await self.context(), self._own(job_id), start, end)

    # Acting on the whole queue -----------------------------------------------------------------------------

    async def pause(self, *, actor: Actor | None = None) -> None:
        """Stop Python workers from starting jobs; running ones go on. Node workers do not obey."""
        await admin.pause(await self.context(), actor=actor)

    async def resume(self, *, actor: Actor | None = None) -> None:
        """Let workers start jobs again."""
        await admin.resume(await self.context(), actor=actor)

    async def is_paused(self) -> bool:
        """Whether the queue is paused."""
        return await admin.is_paused(await self.context())

    async def drain(self, *, delayed: bool = False, actor: Actor | None = None) -> int:
        """Delete the jobs that wait; with `delayed` the scheduled ones too. Returns how many went."""
        return await admin.drain(await self.context(), delayed=delayed, actor=actor)

    async def clean(
        self,
        state: FinalState,
        *,
        grace: Duration,
        limit: int = 1000,
        actor: Actor | None = None,
    ) -> list[str]:
        """Delete at most `limit` results older than `grace` (ms, timedelta or text), oldest first.

        Returns their ids. Raises InvalidOptionError.
        """
        return await admin.clean(await self.context(), state, grace=grace, limit=limit, actor=actor)

    async def retry_jobs(self, count: int = 0, *, actor: Actor | None = None) -> int:
        """Retry the oldest failed jobs, all with 0; returns how many. Raises InvalidOptionError."""
        return await admin.retry_jobs(await self.context(), count, actor=actor)

    async def obliterate(self, *, force: bool = False, actor: Actor | None = None) -> None:
        """Delete the queue and everything in it. Raises QueueBusyError while jobs are active, unless `force`.

        The audit trail goes too, unless an actor is named: it then ends with this entry.
        """
        await admin.obliterate(await self.context(), force=force, actor=actor)

    async def set_global_concurrency(self, limit: int, *, actor: Actor | None = None) -> None:
        """Cap the active jobs of all workers together; 0 = off. Raises InvalidOptionError."""
        await admin.set_global_concurrency(await self.context(), limit, actor=actor)

    async def get_global_concurrency(self) -> int | None:
        """Return the cap on active jobs; None when there is none."""
        return await admin.get_global_concurrency(await self.context())

    async def set_global_rate_limit(self, limit: RateLimit, *, actor: Actor | None = None) -> None:
        """Cap job starts of all workers together. Raises InvalidOptionError."""
        instance_of(RateLimit)(limit, "limit")
        await admin.set_global_rate_limit(await self.context(), limit, actor=actor)

    async def remove_global_rate_limit(self, *, actor: Actor | None = None) -> None:
        """Lift the cap on job starts."""
        await admin.set_global_rate_limit(await self.context(), None, actor=actor)

    async def get_global_rate_limit(self) -> RateLimit | None:
        """Return the cap on job starts; None when there is none."""
        return await admin.get_global_rate_limit(await self.context())

    async def rate_limit_group(
        self,
        key: str,
        duration: Duration,
        *,
        extend: Literal["max", "replace"] = "max",
        actor: Actor | None = None,
    ) -> datetime:
        """Hold back the parked jobs of an ordering group for `duration` (ms, timedelta or text); tells until when.

        Args:
            extend: `max` never shortens an earlier hold, `replace` sets it as given.
        Raises: InvalidOptionError.
        """
        return await admin.rate_limit_group(await self.context(), key, duration, extend=extend, actor=actor)

    # Suspended jobs and decisions --------------------------------------------------------------------------

    async def signal(
        self,
        job_id: JobIdLike,
        name: str,
        data: Any | Unset = UNSET,
        *,
        early: bool = False,
        expected_suspended_at: Instant | None = None,
        actor: Actor | None = None,
    ) -> SignalResult:
        """Give a suspended job a signal, which resumes it. The answer is true only if it was resumed.

        Args:
            data: anything JSON; left out it reads as `""` in the processor, None as null.
            early: keep the signal (7 days) for an unfinished job that is not suspended yet.
            expected_suspended_at: resume only this suspension, else answer `changed`.
        Raises:
            InvalidOptionError: a control character in the name.
            SerializationError: the data is not JSON.
            PayloadTooLargeError: over 1 MiB.
        """
        return await suspension.send_signal(
            await self.context(),
            self._own(job_id),
            name,
            data,
            early=early,
            expected_suspended_at=expected_suspended_at,
            actor=actor,
        )

    async def get_suspend_info(self, job_id: JobIdLike) -> SuspendInfo | None:
        """Read why and until when a job is suspended; None: it is not."""
        return await suspension.get_suspend_info(await self.context(), self._own(job_id))

    async def get_suspended_jobs(
        self, start: int = 0, end: int = -1, *, exclude_data: bool = False
    ) -> list[Job[DataT, ResultT]]:
        """List suspended jobs at places `start`..`end`, soonest deadline first, then those without one."""
        return await self.get_jobs("suspended", start, end, exclude_data=exclude_data)

    async def review(self, job_id: JobIdLike, *, payload_limit: int | None = None) -> Approval:
        """Read what an approver must see of a suspended job, with the hash that binds a decision to it.

        The hash is None where not everything is shown: `hidden` is not empty, the payload is cut or cannot be read.

        Args:
            payload_limit: bytes of stored data above which `data` is left out (`truncated`); of the draft as many
                are shown, and a few tool calls. None reads the whole.
        Raises:
            JobNotFoundError, JobStateError: gone, or not suspended.
        """
        return await reviews.review(await self.context(), self._own(job_id), payload_limit=payload_limit)

    async def approve(
        self,
        job_id: JobIdLike,
        *,
        actor: Actor,
        data: Any | Unset = UNSET,
        comment: str | None = None,
        expect: str | None = None,
        signal: str = "approve",
        expected_suspended_at: Instant | None = None,
        unseen: bool = False,
    ) -> Decision:
        """Approve a suspended job: audit entry and signal in one call. A lost race is an answer, no error.

        Args:
            data: the edited payload for the processor; the job's own data stays.
            expect: review hash of what was shown; the decision counts only if it still fits. None binds to nothing.
            expected_suspended_at: decide only on this suspension, else answer `changed`.
            unseen: note in the audit that it was approved without having been shown whole.
        Raises:
            InvalidOptionError, SerializationError, PayloadTooLargeError.
            AuditError: the audit cannot take the entry; nothing was decided.
        """
        return await approvals.approve(
            await self.context(),
            self._own(job_id),
            actor=actor,
            data=data,
            comment=comment,
            expect=expect,
            signal=signal,
            expected_suspended_at=expected_suspended_at,
            unseen=unseen,
        )

    async def reject(
        self,
        job_id: JobIdLike,
        *,
        actor: Actor,
        reason: str,
        data: Any | Unset = UNSET,
        expect: str | None = None,
        signal: str = "reject",
        expected_suspended_at: Instant | None = None,
    ) -> Decision:
        """Reject a suspended job with a reason; otherwise as `approve`."""
        return await approvals.reject(
            await self.context(),
            self._own(job_id),
            actor=actor,
            reason=reason,
            data=data,
            expect=expect,
            signal=signal,
            expected_suspended_at=expected_suspended_at,
        )

    # Token streams -----------------------------------------------------------------------------------------

    async def read_stream(
        self,
        job_id: JobIdLike,
        *,
        last_id: str | None = None,
        count: int = 100,
        block: Duration | None = None,
    ) -> list[StreamChunk]:
        """Read up to `count` chunks after entry `last_id` (all from the start without one), oldest first.

        Args:
            last_id: entry id, exclusive; a bare ms stands for `<ms>-0`; `$` (only new) when blocking.
            count: with `block`, 0 means no limit; without, 0 reads nothing.
            block: ms, timedelta or text to wait for the first chunk, on a connection of its own.
        Raises:
            InvalidOptionError: a malformed id. An unknown job gives an empty list.
        """
        return await chunks.read_stream(
            await self.context(), self._own(job_id), last_id=last_id, count=count, block=block
        )

    async def stream(
        self,
        job_id: JobIdLike,
        *,
        start: str = "0",
        follow: bool = True,
        until_done: bool = False,
        block: Duration = 5_000,
    ) -> AsyncGenerator[StreamChunk, None]:
        """Yield the chunks of a job live and end with the job, after its last chunk.

        Survives reconnects without gap or repeat. A suspended, delayed or waiting job is waited for.

        Args:
            start: entry id (exclusive), `"0"` everything, `"$"` only new chunks.
            follow: False ends at the end of what is stored now.
            until_done: end at the first chunk of type `done`.
            block: ms, timedelta or text after which the job's state is asked for when nothing happens.
        Raises:
            InvalidOptionError: a malformed id.
            JobNotFoundError: neither the job nor a stream of it exists.
        """
        context = await self.context()
        async with aclosing(
            chunks.stream(
                context,
                self._own(job_id),
                start=start,
                follow=follow,
                until_done=until_done,
                block=block,
            )
        ) as stream:
            async for chunk in stream:
                yield chunk

    # Usage -------------------------------------------------------------------------------------------------

    async def get_flow_usage(
        self, job_id: JobIdLike, *, deep: bool = False, ledger: bool = False
    ) -> FlowUsage:
        """Sum the usage of a job and its direct children, wherever they live; all zero if there is none.

        Args:
            deep: the whole flow below the job.
            ledger: failed attempts too, as far as Python workers kept them, and what they `wasted`.
        """
        return await get_flow_usage(await self.context(), self._own(job_id), deep=deep, ledger=ledger)

    async def get_usage_summary(
        self,
        *,
        window: Duration = 3_600_000,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        queues: Iterable[str] | None = None,
    ) -> UsageSummary:
        """Sum the usage reported in a span of time, of all queues of the prefix or of those named.

        Args:
            window: length of the span up to its end (ms, timedelta or text) unless `start_time` is given.
            start_time, end_time: instants; the end is now by default, the span 30 days at most.
        Raises:
            InvalidOptionError: a span that ends before it starts, or more than 100,000 buckets to read.
        """
        context = await self.context()
        return await summary.get_usage_summary(
            context.connection,
            window=window,
            start_time=start_time,
            end_time=end_time,
            queues=queues,
            prefix=context.keys.prefix,
        )

    async def get_ledger(self, job_id: JobIdLike) -> list[Attempt] | None:
        """Read what each attempt by a Python worker spent and how it ended; None: nothing was kept."""
        return await ledger.get_ledger(await self.context(), self._own(job_id))

    # Search ------------------------------------------------------------------------------------------------

    async def create_job_index(
        self,
        name: str | None = None,
        *,
        vector_field: VectorField | None = None,
        fields: Sequence[Field] = (),
        create_options: Mapping[str, Any] | None = None,
        engine: index.Engine = "auto",
    ) -> None:
        """Create an index over the queue's jobs: `name`, `state`, `timestamp`, `priority`, `fields` and a vector.

        Args:
            name: `<queue>-idx` without one. The names of a search module are global to the server.
            fields: further TagField, NumericField and TextField to filter by.
            create_options: of the module: score, language, skip_initial_scan, min_stem_size, with_offsets,
                no_offsets, no_stop_words, stop_words, punctuation. Exact search heeds skip_initial_scan.
            engine: `module` (a search module of the server), `exact` (works on any server), or `auto`: the
                module if there is one.
        Raises:
            InvalidOptionError: also when an index of that name exists.
            UnsupportedServerError: engine `module` on a server without one.
        """
        await index.create_job_index(
            await self.context(),
            name,
            vector_field=vector_field,
            fields=fields,
            create_options=create_options,
            engine=engine,
        )

    async def drop_job_index(self, name: str | None = None) -> None:
        """Drop an index; jobs and their vectors stay. Raises IndexNotFoundError."""
        await index.drop_job_index(await self.context(), name)

    async def vector_search(
        self,
        embedding: Any,
        *,
        k: int = 10,
        filter: str = "*",
        index_name: str | None = None,
        return_fields: Sequence[str] | None = None,
        score_field: str = "__score",
        search_options: Mapping[str, Any] | None = None,
        rescan: bool = False,
    ) -> list[VectorHit]:
        """Find the `k` jobs whose vectors are nearest to `embedding`, nearest first, ties by id.

        Scores are distances, smaller is nearer: COSINE 1 - cos, L2 squared Euclidean, IP 1 - dot product.

        Args:
            embedding: as many numbers as the index has dimensions; sequence, or buffer of float32.
            k: 1 to 10000.
            filter: `*`, `@tag:{a|b}`, `@number:[a b]`, combined by juxtaposition, `|`, `-` and parentheses.
            return_fields: read only these fields of the jobs' records; all without.
            score_field: name of the score within the module's answer.
            search_options: `limit` {offset, count} takes a part of the hits; `timeout` (ms) of the module.
            rescan: look for vectors that glide-mq peers stored since an exact index was created.
        Raises:
            InvalidOptionError: also for a wrong length, and a filter that cannot be read.
            IndexNotFoundError: no such index over this queue.
            UnsupportedServerError: the filter needs a search module, or exact search lacks numpy.
        """
        hits = await index.vector_search(
            await self.context(),
            embedding,
            k=k,
            filter=filter,
            index_name=index_name,
            return_fields=return_fields,
            score_field=score_field,
            search_options=search_options,
            rescan=rescan,
        )
        return [VectorHit(job=Job.of(hit.job), score=hit.score) for hit in hits]

    async def get_limits(self) -> Limits:
        """Read used and allowed starts and tokens, jobs at once, and ordering groups.

        Python workers publish their caps; a cap that nobody published is None.
        """
        return await queue_limits(await self.context())

    # Schedulers --------------------------------------------------------------------------------------------

    async def upsert_job_scheduler(
        self,
        name: str,
        *,
        pattern: str | None = None,
        every: Duration | None = None,
        repeat_after_complete: Duration | None = None,
        tz: str | None = None,
        start_date: Instant | None = None,
        end_date: Instant | None = None,
        limit: int | None = None,
        template: JobTemplate | None = None,
        actor: Actor | None = None,
    ) -> SchedulerEntry:
        """Create a scheduler, or change the one of this name; workers then make its jobs.

        With the same timing it keeps its count and its next run, so that a program may call this at every start.

        Args:
            pattern: cron expression of five fields (minute hour day month weekday, 0 is Sunday); day of month and
                weekday must both match.
            every: interval between runs.
            repeat_after_complete: pause between the end of a job and the next one.
            tz: IANA time zone of `pattern`; None is UTC.
            start_date, end_date: no run before and after.
            limit: jobs to make in all.
            template: the job to make; its data is stored as JSON. Of its options priority, attempts, ttl, lifo and
                what workers read take effect; delay, ordering, cost, deduplication and parent do not.
        Raises: InvalidOptionError (not exactly one of the three kinds, an unknown zone, no run within the dates);
            SerializationError, PayloadTooLargeError; LockBusyError when a peer holds the schedulers for 5 s.
        """
        context = await self.context()
        definition = define(
            pattern=pattern,
            every=every,
            repeat_after_complete=repeat_after_complete,
            tz=tz,
            start_date=start_date,
            end_date=end_date,
            limit=limit,
            template=template,
            serializer=context.serializer,
        )
        return await schedules.upsert_scheduler(context, name, definition, actor=actor)

    async def remove_job_scheduler(self, name: str, *, actor: Actor | None = None) -> bool:
        """Remove a scheduler, not its jobs; False when there is none.

        Raises LockBusyError when a peer holds the schedulers for 5 s.
        """
        return await schedules.remove_scheduler(await self.context(), name, actor=actor)

    async def get_job_scheduler(self, name: str) -> SchedulerEntry | None:
        """Read a scheduler; None when there is none."""
        return await schedules.get_scheduler(await self.context(), name)

    async def get_job_schedulers(self) -> dict[str, SchedulerEntry]:
        """Read all schedulers by name."""
        return await schedules.get_schedulers(await self.context())

    async def run_job_scheduler(self, name: str, *, actor: Actor | None = None) -> Job[DataT, ResultT]:
        """Add a scheduler's job now, besides its runs: its next run, its count and its limit stay as they are.

        Raises: SchedulerNotFoundError; SerializationError, PayloadTooLargeError for what its template holds.
        """
        return Job.of(await schedules.run_scheduler(await self.context(), name, actor=actor))

    # Audit -------------------------------------------------------------------------------------------------

    async def get_audit(
        self, *, limit: int = 100, before: int | None = None, job_id: JobIdLike | None = None
    ) -> list[AuditEntry]:
        """Return entries, newest first; `before` is a sequence number, exclusive.

        Raises InvalidOptionError.
        """
        return await audit.get_audit(
            await self.context(),
            limit=limit,
            before=before,
            job_id=None if job_id is None else self._own(job_id),
        )

    async def verify_audit(self, *, expect_last: tuple[int, str] | None = None) -> AuditCheck:
        """Recompute every hash; tell whether the chain is whole and, if not, where it breaks.

        Args:
            expect_last: number and hash of what was the last entry at an earlier time: it must still be there, which
                an audit that was cut or written anew since cannot fake.
        """
        return await audit.verify_audit(await self.context(), expect_last=expect_last)

    async def export_audit(self) -> AsyncIterator[str]:
        """Iterate over the entries as they are stored, oldest first: JSON whose hashes can be recomputed."""
        async for text in audit.export_audit(await self.context()):
            yield text

    # Budgets of flows --------------------------------------------------------------------------------------

    async def get_flow_budget(self, flow_id: JobIdLike) -> FlowBudget | None:
        """Read caps, use and parked jobs of a flow's budget by the root's id; None without a budget."""
        return await budgets.get_flow_budget(await self.context(), self._own(flow_id))

    async def get_parked_jobs(self, flow_id: JobIdLike) -> list[JobRef]:
        """Find the jobs of a flow that wait because its budget is used up, in any queue."""
        return await budgets.get_parked_jobs(await self.context(), self._own(flow_id))

    async def top_up_budget(
        self,
        flow_id: JobIdLike,
        *,
        add_tokens: float = 0,
        add_cost: float = 0,
        add_tokens_by: Mapping[str, float] | None = None,
        add_costs_by: Mapping[str, float] | None = None,
        release: bool = True,
        retry_failed: bool = False,
        expect: FlowBudget | Budget | None = None,
        preview: bool = False,
        actor: Actor | None = None,
    ) -> TopUp:
        """Raise caps that exist and release the jobs that the budget stopped, unless a cap is still exceeded.

        A cap that does not exist stays so. Two top-ups at once both count; each job is released once.

        Args:
            add_tokens, add_cost: added to the totals; `add_tokens_by`, `add_costs_by` to categories.
            release: make parked jobs ready.
            retry_failed: also retry jobs that failed with `Budget exceeded`.
            expect: the budget as it was shown; with other caps by now nothing is done.
            preview: change nothing, tell what would happen.
        Raises: BudgetNotFoundError; InvalidOptionError for negative amounts, or when caps are not as expected.
        """
        return await budgets.top_up_budget(
            await self.context(),
            self._own(flow_id),
            add_tokens=add_tokens,
            add_cost=add_cost,
            add_tokens_by=add_tokens_by,
            add_costs_by=add_costs_by,
            release=release,
            retry_failed=retry_failed,
            expect=expect,
            preview=preview,
            actor=actor,
        )

    # Repairing flows ---------------------------------------------------------------------------------------

    async def repair_flow(
        self, job_id: JobIdLike, *, older_than: Duration = OLD_ENOUGH_MS, actor: Actor | None = None
    ) -> list[JobRef]:
        """Release parents of a flow from children whose completion they were never told of, from a job downwards.

        Such flows are left by Node producers and workers. Returns the children that now count.

        Args:
            older_than: age of a parent (ms, timedelta or text); younger ones may still be being wired.
        """
        return await repair.repair_flow(
            await self.context(), self._own(job_id), older_than=older_than, actor=actor
        )

    async def get_blocking_children(self, job_id: JobIdLike) -> list[JobRef]:
        """Find the children that keep a job waiting and will not complete by themselves: failed, or gone."""
        return await repair.blocking_children(await self.context(), self._own(job_id))

    async def release_parent(
        self, job_id: JobIdLike, *, children: Iterable[JobRef] | None = None, actor: Actor | None = None
    ) -> list[JobRef]:
        """Release a waiting parent from children that failed or are gone; their results will be missing.

        Returns the children that now count as done. The parent runs once it waits for no other.

        Args:
            children: only these; by default all that will not complete by themselves.
        Raises: JobNotFoundError, JobStateError; InvalidOptionError for a child that may still complete.
        """
        return await repair.release_parent(
            await self.context(), self._own(job_id), children=children, actor=actor
        )

    # Dead letters ------------------------------------------------------------------------------------------

    async def get_dead_letter_jobs(
        self, start: int = 0, end: int = -1, *, exclude_data: bool = False
    ) -> list[Job[DataT, ResultT]]:
        """Read the dead letters of this queue at places `start` to `end` (inclusive; negative: all), oldest first.

        They are jobs of the queue that `dead_letter_queue` names, here or on the server; none is named: none.
        Raises InvalidOptionError.
        """
        context, letters = await self._letters()
        if letters is None:
            return []
        found = await deadletters.get_dead_letters(context, letters, start, end, exclude_data=exclude_data)
        return [Job.of(letter) for letter in found]

    async def get_dead_letter_job(
        self, job_id: JobIdLike, *, exclude_data: bool = False
    ) -> Job[DataT, ResultT] | None:
        """Read one dead letter of this queue; None if there is none.

        Args:
            job_id: the letter's own id, not that of the job that failed.
        """
        context, letters = await self._letters()
        if letters is None:
            return None
        found = await deadletters.get_dead_letter(
            context, letters, id_in(letters.queue, job_id), exclude_data=exclude_data
        )
        return None if found is None else Job.of(found)

    async def remove_dead_letter_job(self, job_id: JobIdLike, *, actor: Actor | None = None) -> bool:
        """Discard one dead letter of this queue; False if there is none. Raises JobStateError while it runs.

        Args:
            job_id: the letter's own id, not that of the job that failed.
        """
        context, letters = await self._letters()
        if letters is None:
            return False
        return await deadletters.remove_dead_letter(
            context, letters, id_in(letters.queue, job_id), actor=actor
        )

    async def replay_dead_letter_job(
        self,
        job_id: JobIdLike,
        *,
        data: DataT | Unset = UNSET,
        max_replays: int = deadletters.MAX_REPLAYS,
        actor: Actor | None = None,
    ) -> Job[DataT, ResultT] | None:
        """Add the job of a dead letter to this queue again and take the letter away; None if there is no letter.

        The new job has payload and options of the failed one while that exists, without its id, delay, deduplication
        and parent; else the letter's payload. Two calls for one letter make one job.

        Args:
            job_id: the letter's own id, not that of the job that failed.
            data: payload in place of the one that failed.
            max_replays: how often one job may be put back.
        Raises: JobStateError beyond `max_replays`; DuplicateJobError if the queue does not add the job, the letter
            stays then; PayloadTooLargeError, SerializationError, InvalidOptionError.
        """
        context, letters = await self._letters()
        if letters is None:
            return None
        new_id = await deadletters.replay_dead_letter(
            context,
            letters,
            id_in(letters.queue, job_id),
            data=data,
            max_replays=max_replays,
            events=self._options.events,
            actor=actor,
        )
        if new_id is None:
            return None
        return Job.of(await read.get_job(context, new_id) or JobSnapshot(context, new_id, {}))

    async def replay_dead_letter_jobs(
        self, *, group: str | None = None, count: int = 0, actor: Actor | None = None
    ) -> list[str]:
        """Put back the jobs of dead letters, oldest first; returns the ids of the new jobs.

        Args:
            group: only failures of this group, by the key that `Watch.failures` gives.
            count: at most so many; 0 is all.
        Letters beyond ten replays stay. Raises InvalidOptionError.
        """
        context, letters = await self._letters()
        if letters is None:
            return []
        return await deadletters.replay_dead_letters(
            context, letters, group=group, count=count, events=self._options.events, actor=actor
        )

    async def _letters(self) -> tuple[QueueContext, QueueContext | None]:
        """Return the context of this queue and that of the queue of its dead letters."""
        context = await self.context()
        return context, await deadletters.letters_queue(context, self._options.dead_letter_queue)
