"""Batches: several jobs for one call of the processor, each with a start and an end of its own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import BatchError, GlideMQError, JobControl
from ...options.job import Batch
from .run import JobRun
from .threads import Processor, call_in_thread, is_async


@dataclass(eq=False, slots=True)
class _Member:
    run: JobRun
    answer: asyncio.Future[Any]


class BatchProcessor:
    """Gathers runs into batches and calls the processor once for each.

    Args:
        processor: takes a list of jobs and returns one result a job, in their order.
        batch: how many jobs a call gets, and for how long it waits for them.
        concurrency: calls at once.
    """

    def __init__(self, processor: Processor, batch: Batch, concurrency: int) -> None:
        self._processor = processor
        self._in_thread = not is_async(processor)
        self._batch = batch
        self._concurrency = concurrency
        self._waiting: list[_Member] = []
        #: Set once the first job of the next batch has waited long enough.
        self._is_due = False
        self._timer: asyncio.Handle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def process(self, run: JobRun) -> Any:
        """Return the result of one job once the batch that it is part of has been processed.

        Raises:
            Exception: what the processor says of this job, or of the whole batch.
        """
        loop = asyncio.get_running_loop()
        member = _Member(run, loop.create_future())
        self._waiting.append(member)
        if self._timer is None and not self._is_due:
            wait_s = self._batch.timeout / 1000
            # Without a wait a batch is what the same reply has brought: those jobs begin in this turn of the loop.
            self._timer = loop.call_later(wait_s, self._due) if wait_s else loop.call_soon(self._due)
        self._fill()
        try:
            return await member.answer
        finally:
            if member in self._waiting:
                self._waiting.remove(member)

    def _due(self) -> None:
        self._timer, self._is_due = None, True
        self._fill()

    def _fill(self) -> None:
        """Start the batches that are full or have waited long enough, as many as may run at once."""
        size = self._batch.size
        # A run that was stopped just now has yet to take itself out.
        self._waiting = [member for member in self._waiting if not member.answer.done()]
        while self._waiting and len(self._calls) < self._concurrency:
            if len(self._waiting) < size and not self._is_due:
                return
            members, self._waiting = self._waiting[:size], self._waiting[size:]
            self._is_due = self._is_due and bool(self._waiting)
            if self._timer is not None and not self._waiting:
                self._timer.cancel()
                self._timer = None
            for member in members:
                member.run.start_timer()
            context: contextvars.Context = members[0].run.context.copy()
            call = asyncio.get_running_loop().create_task(self._call(members), context=context)
            self._calls.add(call)
            call.add_done_callback(self._called)
            for member in members:
                member.answer.add_done_callback(partial(_abandon, call, members))

    def _called(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._fill()

    async def _call(self, members: Sequence[_Member]) -> None:
        jobs = [member.run.job for member in members]
        try:
            answers = await (
                call_in_thread(self._processor, jobs) if self._in_thread else self._processor(jobs)
            )
            outcomes = _results(answers, len(members))
        except BatchError as error:
            outcomes = [*error.results, *[RuntimeError("No result in BatchError")] * len(members)]
        except JobControl as control:
            name = type(control).__name__
            outcomes = [GlideMQError(f"{name}: jobs of a batch can only complete or fail")] * len(members)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the outcome of every job
            outcomes = [error] * len(members)
        for member, outcome in zip(members, outcomes, strict=False):
            if member.answer.done():
                continue
            asked = member.run.drop_requests()
            if asked and not isinstance(outcome, BaseException):
                outcome = GlideMQError(f"{asked}(): jobs of a batch can only complete or fail")
            if isinstance(outcome, StopIteration):
                outcome = RuntimeError("StopIteration")  # a Future takes none
            if isinstance(outcome, BaseException):
                member.answer.set_exception(outcome)
            else:
                member.answer.set_result(outcome)


def _abandon(call: asyncio.Task[None], members: Sequence[_Member], _: asyncio.Future[Any]) -> None:
    """Stop a call once all of its jobs were stopped."""
    if all(member.answer.cancelled() for member in members):
        call.cancel()


def _results(answers: Any, count: int) -> list[Any]:
    """Check what a processor returned. Raises GlideMQError unless it is one result a job."""
    if not isinstance(answers, (list, tuple)):
        raise GlideMQError(
            f"Batch processor returned {type(answers).__name__}, not a list of {count} results"
        )
    if len(answers) != count:
        raise GlideMQError(f"Batch processor returned {len(answers)} results for {count} jobs")
    return list(answers)
