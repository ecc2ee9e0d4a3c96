"""Copies of exhausted jobs for the dead letter queue; they go out with the end that makes them."""

from __future__ import annotations

import json

from ...errors import GlideMQError
from ...jobs.adding.records import encode_job
from ...options.job import JobOptions, JobRef
from ...records.failures import count_of_replays, envelope
from ...server.context import QueueContext
from ...wire.keys import QueueKeys
from ...wire.payload import decode_data
from ...wire.serializer import JSON_SERIALIZER
from ..context import WorkerContext
from .run import JobRun


class DeadLetters:
    """Writes copies of exhausted jobs for the worker's dead letter queue, if it has one."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    def letter(self, run: JobRun, reason: str) -> bytes:
        """Return the copy of a job that fails for good, as an entry of the outbox; empty if there is to be none."""
        name = self._context.options.dead_letter_queue
        if not name:
            return b""
        job, source = run.job, self._context.queue
        target = QueueContext(source.connection, QueueKeys(source.keys.prefix, name), JSON_SERIALIZER)
        content = envelope(
            JobRef(source.queue, job.id),
            decode_data(job.fields.get("data"), source.serializer).value,
            failed_reason=reason,
            attempts_made=job.attempts_made,
            replays=count_of_replays(job.options.extra.get("replays")),
        )
        try:
            job_id, named, data, *rest = encode_job(target, job.name, content, JobOptions())
        except GlideMQError as error:  # the job and its reason together are too large for one
            self._context.report(error)
            return b""
        mark = f"{source.queue}:{job.id}:{run.processed_on}"
        letter = {"mark": mark, "name": named, "data": data, "packed": json.dumps([job_id, *rest])}
        return json.dumps({"to": target.keys.root, "letter": letter}).encode()
