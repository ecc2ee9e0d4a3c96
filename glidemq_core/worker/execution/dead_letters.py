"""Copies of exhausted jobs for the dead letter queue, made beside the work and kept up through an outage."""

from __future__ import annotations

import asyncio

from ...jobs.adding.records import add_records, encode_job
from ...options.job import JobOptions, JobRef
from ...records.failures import count_of_replays, envelope
from ...server.context import QueueContext
from ...server.retry import retry_through_outage
from ...wire.keys import QueueKeys
from ...wire.numbers import to_int
from ...wire.payload import decode_data
from ...wire.serializer import JSON_SERIALIZER
from ..context import WorkerContext
from .outcome import SettleRecord

#: How long closing waits for copies on their way, s.
_FLUSH_S = 5.0


class DeadLetters:
    """Sends copies of exhausted jobs to the worker's dead letter queue, if it has one."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, record: SettleRecord) -> None:
        """Begin to copy a job."""
        name = self._context.options.dead_letter_queue
        if name:
            task = asyncio.create_task(self._context.attempt(lambda: self._send(name, record)))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def flush(self) -> None:
        """Wait a while for the copies on their way."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=_FLUSH_S)

    async def _send(self, name: str, record: SettleRecord) -> None:
        """Add the copy once, however often the call has to be repeated."""
        job, source = record.run.job, self._context.queue
        target = QueueContext(source.connection, QueueKeys(source.keys.prefix, name), JSON_SERIALIZER)
        content = envelope(
            JobRef(source.queue, job.id),
            decode_data(job.fields.get("data"), source.serializer).value,
            failed_reason=record.stored.decode(),
            attempts_made=to_int(job.fields.get("attemptsMade")) - 1,
            replays=count_of_replays(job.options.extra.get("replays")),
        )
        _, *words = encode_job(target, job.name, content, JobOptions())
        # The id first: an add that is repeated then finds the copy that it made before.
        [_, copy_id], _ = await retry_through_outage(
            lambda _: target.call("reserve_flow", source.now_ms(), target.keys.root, "")
        )
        await retry_through_outage(
            lambda _: add_records(target, source.now_ms(), True, [(copy_id.decode(), *words)])
        )
