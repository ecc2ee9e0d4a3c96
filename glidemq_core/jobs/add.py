"""Adding jobs: validated and encoded here, placed by one server call a batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Literal

from ..errors import (
    BulkError,
    CostExceedsCapacityError,
    DuplicateJobError,
    GlideMQError,
    InvalidOptionError,
    SerializationError,
)
from ..options.fields import refuse
from ..options.job import JobOptions, JobRef, NewJob, job_options, millitokens
from ..options.middleware import AddRequest, everywhere
from ..options.types import none_given
from ..options.worker import QueueOptions
from ..server.context import QueueContext
from ..server.slots import check_one_slot
from ..wire.replies import as_text
from .adding.around import Outcome, Snapshot, add_all_through, add_through
from .adding.links import ChildLink, link_child, parent_keys, refused_error, unless_left
from .adding.records import BATCH, BATCH_BYTES, Record, add_records, encode_job
from .adding.sharing import SharedAdds
from .registry import register_queue
from .snapshot import JobSnapshot

#: Jobs of one bulk add that go through middleware at the same time.
_THROUGH = 4 * BATCH
#: Calls of one bulk add at the same time: one that the server works on, others on their way to it or back.
_UNDER_WAY = 3

#: What to do when a job was deduplicated or its id is taken.
OnDuplicate = Literal["skip", "raise"]
#: A job on its way: its place among those asked for, its record, its options.
_Encoded = tuple[int, Record, JobOptions]

#: Makes the object that stands for a job of its context, id and fields.
MakeJob = Callable[[QueueContext, str, dict[str, bytes]], Snapshot]

_DEFAULTS = QueueOptions()


class _Batches:
    """Sends encoded jobs in their order, a call a batch; the server adds one while others are being made or read.

    `results` gets a Job, None (skipped) or the error at the place of each.
    """

    def __init__(
        self,
        context: QueueContext,
        now_ms: int,
        events: bool,
        results: list[Outcome],
        make: MakeJob,
    ) -> None:
        self._context, self._now_ms, self._events, self._results = context, now_ms, events, results
        self._make = make
        self._waiting: list[_Encoded] = []
        self._bytes = 0
        self._under_way: deque[tuple[list[_Encoded], asyncio.Task[list[list[bytes]]]]] = deque()

    def put(self, place: int, record: Record, options: JobOptions) -> bool:
        """Take a job; True when a batch is full and should be sent."""
        self._waiting.append((place, record, options))
        self._bytes += len(record[2])
        return len(self._waiting) >= BATCH or self._bytes >= BATCH_BYTES

    async def send(self) -> None:
        """Send what was taken, and take answers if too many calls are under way."""
        batch, self._waiting, self._bytes = self._waiting, [], 0
        await self._settle(_UNDER_WAY - 1)
        call = add_records(self._context, self._now_ms, self._events, [record for _, record, _ in batch])
        self._under_way.append((batch, asyncio.create_task(call)))
        # The call leaves the process at the next turn of the loop, not when its answer is asked for.
        await asyncio.sleep(0)

    async def _settle(self, most: int) -> None:
        """Take answers until at most so many calls are under way."""
        while len(self._under_way) > most:
            batch, call = self._under_way[0]
            answers = await call
            self._under_way.popleft()
            while len(answers) < len(batch):
                rest = [record for _, record, _ in batch[len(answers) :]]
                answers += await add_records(self._context, self._now_ms, self._events, rest)
            for (place, record, options), answer in zip(batch, answers, strict=True):
                try:
                    self._results[place] = _added(
                        self._context, self._now_ms, record, options, answer, self._make
                    )
                except GlideMQError as error:
                    self._results[place] = error

    async def finish(self) -> None:
        """Send the rest and take every answer."""
        if self._waiting:
            await self.send()
        await self._settle(0)

    async def stop(self) -> None:
        """Wait out calls that nobody waits for any more, after an error elsewhere."""
        calls = [call for _, call in self._under_way]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def add_each(
    context: QueueContext,
    jobs: Iterable[NewJob],
    settings: QueueOptions = _DEFAULTS,
    *,
    cross_slot: bool = False,
    on_duplicate: OnDuplicate = "skip",
    make: MakeJob = JobSnapshot,
) -> list[Outcome]:
    """Add many jobs with one timestamp; what `make` makes of one, None (skipped) or the error for each, in order.

    With `on_duplicate="raise"` there is a DuplicateJobError in the place of None.
    """
    _check(on_duplicate)
    if on_duplicate == "skip":
        return await _add_or_skip(context, jobs, settings, make, cross_slot=cross_slot)
    wanted = list(jobs)
    results = await _add_or_skip(context, wanted, settings, make, cross_slot=cross_slot)
    return [
        _duplicate(context, job.options) if result is None else result
        for job, result in zip(wanted, results, strict=True)
    ]


def _check(on_duplicate: OnDuplicate) -> None:
    if on_duplicate not in ("skip", "raise"):
        refuse("on_duplicate", on_duplicate, "skip or raise")


def _duplicate(context: QueueContext, options: JobOptions | None) -> DuplicateJobError:
    return DuplicateJobError(
        "the job was not added: there is one of the same custom or deduplication id",
        queue=context.queue,
        job_id=(options.job_id if options else None) or "",
    )


async def _add_or_skip(
    context: QueueContext, jobs: Iterable[NewJob], settings: QueueOptions, make: MakeJob, *, cross_slot: bool
) -> list[Outcome]:
    now_ms = context.now_ms()
    middleware = everywhere(settings.middleware)
    if not middleware:
        return await _add_each(context, jobs, settings, now_ms, make, cross_slot=cross_slot)
    results: list[Outcome] = []
    left = iter(jobs)
    while part := list(islice(left, _THROUGH)):
        requests = [_request(context, job) for job in part if isinstance(job, NewJob)]
        stored = iter(
            await add_all_through(
                middleware,
                requests,
                lambda wanted: _add_each(
                    context, map(_job, wanted), settings, now_ms, make, cross_slot=cross_slot
                ),
                whole=False,
            )
        )
        results += [next(stored) if isinstance(job, NewJob) else _no_job(job) for job in part]
    return results


def _request(context: QueueContext, job: NewJob) -> AddRequest:
    options = job.options or job_options(None, {})
    return AddRequest(queue=context.queue, name=job.name, data=job.data, options=options)


def _job(request: AddRequest) -> NewJob:
    return NewJob(request.name, request.data, request.options)


def _no_job(value: Any) -> InvalidOptionError:
    allowed = "NewJob objects"
    return InvalidOptionError(
        f"jobs must be {allowed}, not {type(value).__name__}", option="jobs", value=value, allowed=allowed
    )


async def _add_each(
    context: QueueContext,
    jobs: Iterable[NewJob],
    settings: QueueOptions,
    now_ms: int,
    make: MakeJob,
    *,
    cross_slot: bool = False,
) -> list[Outcome]:
    results: list[Outcome] = []
    batches = _Batches(context, now_ms, settings.events, results, make)
    links: list[tuple[int, ChildLink]] = []
    try:
        for job in jobs:
            try:
                if not isinstance(job, NewJob):
                    raise _no_job(job)
                options = job.options or job_options(None, {})
                record = encode_job(context, job.name, job.data, options, compression=settings.compression)
                if options.parent is not None:
                    _check_parent_slot(context, options.parent, cross_slot)
                    link = await link_child(context, options.parent, record)
                    record = link.record
                    links.append((len(results), link))
            except (InvalidOptionError, SerializationError) as error:
                results.append(error)
                continue
            results.append(None)
            if batches.put(len(results) - 1, record, options):
                await batches.send()
        await batches.finish()
    except BaseException:
        for _, link in links:
            link.leave()
        raise
    finally:
        await batches.stop()
    for place, link in links:
        await link.settle(came=isinstance(results[place], JobSnapshot))
    if any(not isinstance(result, BaseException) for result in results):
        await register_queue(context)
    return results


async def add_job(
    context: QueueContext,
    name: str,
    data: Any,
    options: JobOptions,
    settings: QueueOptions = _DEFAULTS,
    *,
    cross_slot: bool = False,
    on_duplicate: OnDuplicate = "skip",
) -> Snapshot | None:
    """Add one job; see `Queue.add`."""
    _check(on_duplicate)
    middleware = everywhere(settings.middleware)
    if middleware:
        added = await add_through(
            middleware,
            AddRequest(queue=context.queue, name=name, data=data, options=options),
            lambda wanted: _add(context, wanted.name, wanted.data, wanted.options, settings, cross_slot),
        )
    else:
        added = await _add(context, name, data, options, settings, cross_slot)
    if added is None and on_duplicate == "raise":
        raise _duplicate(context, options)
    return added


async def _add(
    context: QueueContext,
    name: str,
    data: Any,
    options: JobOptions,
    settings: QueueOptions,
    cross_slot: bool,
) -> Snapshot | None:
    if options.parent is not None:
        _check_parent_slot(context, options.parent, cross_slot)
    record = encode_job(context, name, data, options, compression=settings.compression)
    if options.parent is None:
        now_ms, answer = await SharedAdds.of(context, settings.events).add(record)
    else:
        now_ms = context.now_ms()
        link = await link_child(context, options.parent, record)
        record = link.record
        async with unless_left(link):
            [answer] = await add_records(context, now_ms, settings.events, [record])
            await link.settle(came=answer[0] == b"ok")
    await register_queue(context)
    return _added(context, now_ms, record, options, answer)


def raise_refused(results: Sequence[Any]) -> None:
    """Raise BulkError if some of the jobs that `add_each` was given were refused."""
    refused = [result for result in results if isinstance(result, BaseException)]
    if refused:
        raise BulkError(
            f"{len(refused)} of {len(results)} jobs were refused, the first because {refused[0]}",
            results=results,
        )


def _check_parent_slot(context: QueueContext, parent: JobRef, cross_slot: bool) -> None:
    check_one_slot(context.connection, (context.keys, parent_keys(context, parent)), cross_slot)


def _added(
    context: QueueContext,
    now_ms: int,
    record: Record,
    options: JobOptions,
    answer: list[bytes],
    make: MakeJob = JobSnapshot,
) -> Snapshot | None:
    status = answer[0]
    if status == b"ok":
        return created_job(context, now_ms, record, options, answer[1], make)
    if status == b"cost":
        key = options.ordering.key if options.ordering else ""
        raise CostExceedsCapacityError(
            f"the job costs more than group '{key}' can hold",
            option="cost",
            value=options.cost,
            allowed="at most the group's capacity",
            key=key,
            cost=options.cost or 1,
            capacity=0.0,
        )
    if status == b"error":
        raise context.connection.server_error("add", context.keys.root, as_text(answer[1]))
    if status == b"refused":
        raise refused_error(options.parent, answer[1].decode("utf-8", "replace"))
    return None


def created_job(
    context: QueueContext,
    now_ms: int,
    record: Record,
    options: JobOptions,
    job_id: bytes,
    make: MakeJob = JobSnapshot,
) -> Snapshot:
    """Return a job as it stands right after its creation, without reading it."""
    _, name, data, opts, delay, priority, attempts, lifo, _extra_json = record
    state = b"delayed" if delay != "0" else b"prioritized" if priority != "0" else b"waiting"
    fields = {
        "id": job_id,
        "name": name.encode(),
        "data": data.encode(),
        "opts": opts.encode(),
        "timestamp": str(now_ms).encode(),
        "attemptsMade": b"0",
        "delay": delay.encode(),
        "priority": priority.encode(),
        "maxAttempts": attempts.encode(),
        "state": state,
    }
    if none_given(options):
        return make(context, job_id.decode(), fields)
    if options.ttl:
        fields["expireAt"] = str(now_ms + options.ttl).encode()
    if options.cost:
        fields["cost"] = str(millitokens(options.cost)).encode()
    if lifo:
        fields["lifo"] = b"1"
    if options.ordering is not None:
        fields["groupKey"] = options.ordering.key.encode()
    if options.parent is not None:
        fields["parentId"] = options.parent.id.encode()
        fields["parentQueue"] = options.parent.queue.encode()
    return make(context, job_id.decode(), fields)
