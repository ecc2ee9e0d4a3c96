"""What the tests of vector search share: jobs with vectors, answers in short."""

from __future__ import annotations

import struct
from typing import Any

from glidemq_core import Job, NumericField, Queue, TagField

FIELDS = (TagField("topic"), NumericField("size"))
#: Registration of a glide-mq worker.
NODE = {"addr": "host-a", "pid": 7, "startedAt": 1, "activeJobs": 0}


def packed(*numbers: float) -> bytes:
    """A vector as stored."""
    return struct.pack(f"<{len(numbers)}f", *numbers)


async def document(queue: Queue[Any, Any], embedding: Any, **fields: Any) -> Job[Any, Any]:
    """Add a job with a vector and further fields in its record."""
    job = await queue.add("document", {"n": 1})
    assert job is not None
    if fields:
        pairs = [word for name, value in fields.items() for word in (name, value)]
        await (await queue.context()).connection.command(
            "HSET", f"glide:{{{queue.name}}}:job:{job.id}", *pairs
        )
    await job.store_vector("embedding", embedding)
    return job


async def found(queue: Queue[Any, Any], embedding: Any, **options: Any) -> list[tuple[str, float]]:
    """Ids and scores of the hits."""
    return [(hit.job.id, hit.score) for hit in await queue.vector_search(embedding, **options)]


async def ids(queue: Queue[Any, Any], embedding: Any, **options: Any) -> list[str]:
    """Ids of the hits."""
    return [job_id for job_id, _ in await found(queue, embedding, **options)]
