"""Copies of exhausted jobs for the dead letter queue, kept up through an outage."""

from __future__ import annotations

from typing import Any

from ...jobs.add import add_records, encode_job
from ...options.job import JobOptions
from ...server.context import QueueContext
from ...server.retry import retry_through_outage
from ...wire.keys import QueueKeys
from ...wire.numbers import to_int
from ...wire.payload import decode_data
from ...wire.serializer import JSON_SERIALIZER
from .outcome import SettleRecord


async def send_dead_letter(scope: QueueContext, name: str, record: SettleRecord) -> None:
    """Add a copy of an exhausted job to queue `name`, once however often the call has to be repeated."""
    job = record.run.job
    target = QueueContext(scope.connection, QueueKeys(scope.keys.prefix, name), JSON_SERIALIZER)
    envelope: dict[str, Any] = {
        "originalQueue": scope.queue,
        "originalJobId": job.id,
        "data": decode_data(job.fields.get("data"), scope.serializer).value,
        "failedReason": record.value,
        "attemptsMade": to_int(job.fields.get("attemptsMade")) - 1,
    }
    _, *words = encode_job(target, job.name, envelope, JobOptions())
    # The id first: an add that is repeated then finds its own letter.
    [_, letter_id], _ = await retry_through_outage(
        lambda _: target.call("reserve_flow", scope.now_ms(), target.keys.root, "")
    )
    await retry_through_outage(
        lambda _: add_records(target, scope.now_ms(), True, [(letter_id.decode(), *words)])
    )
