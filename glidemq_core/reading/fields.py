"""Named fields of many job records, long values cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq_core.wire.replies import failed, picked_fields, sliced

from .reader import Reader

#: Bytes of one field that are kept; the function cuts at the same length.
FIELD_CAP = 4096
#: Jobs that one call of a function reads: a few ms of the server's time.
JOBS_PER_CALL = 100


async def read_fields(
    reader: Reader, queue: str, ids: Sequence[str], names: Sequence[str]
) -> list[dict[str, bytes]]:
    """Read the named fields of jobs; `{}` for a job that is not there."""
    if not ids:
        return []
    keys = reader.keys(queue)
    reply = await reader.call_each(
        "rows", [(keys.root, (len(names), *names, *part)) for part in sliced(ids, JOBS_PER_CALL)]
    )
    if reply is not None and not any(failed(part) for part in reply):
        answers = [row for part in reply for row in part[1:]]
    else:
        answers = await reader.read([("HMGET", keys.job(job_id), *names) for job_id in ids])
    return [cut_fields(names, answer) for answer in answers]


def cut_fields(names: Sequence[str], answer: Any) -> dict[str, bytes]:
    """Turn the answer of HMGET into fields; `{}` for a job that is not there."""
    if failed(answer) or not answer:
        return {}
    return picked_fields(names, [value if value is None else value[:FIELD_CAP] for value in answer])
