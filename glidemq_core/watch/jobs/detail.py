"""Everything that is known of one job; payloads up to a size."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from glidemq_core.ai.reviews import review_hash
from glidemq_core.ai.rounds import Round
from glidemq_core.ai.usage.ledger import attempts_of
from glidemq_core.options.job import Fallback, JobRef
from glidemq_core.reading.reader import Reader, read_fields
from glidemq_core.records import Child, JobDetail, StreamInfo
from glidemq_core.records.decoding import (
    Fields,
    budget_of,
    decode_options,
    decode_parents,
    decode_signals,
    decode_state,
    instant,
    optional_text,
)
from glidemq_core.records.usage import decode_usage
from glidemq_core.wire.keys import split_member
from glidemq_core.wire.numbers import to_int
from glidemq_core.wire.payload import decode_data, decode_result
from glidemq_core.wire.replies import as_text, entries, failed, integer, number, picked_fields, text
from glidemq_core.wire.serializer import JSON_SERIALIZER

from .rows import ROW_FIELDS, row_facts

#: Fields that may be long: they are only read up to a size.
_LONG = (
    "opts",
    "failedReason",
    "progress",
    "signals",
    "parentIds",
    "parentQueues",
    "usage:tokens",
    "usage:costs",
)
#: The others; longer ones are cut.
_SHORT = (
    *(name for name in ROW_FIELDS if name not in _LONG),
    "cost",
    "expireAt",
    "groupKey",
    "orderingSeq",
    "lifo",
    "schedulerName",
    "usage:provider",
    "usage:latencyMs",
    "usage:cached",
    "tpmTokens",
    "revoked",
    "stalledCount",
)
#: Children and log lines that are read, beside their numbers.
CHILDREN = 100
LOG_LINES = 100
#: Bytes of a long field that are read, and entries of the ledger, the newest; what is left out is named.
LONGEST = 1_048_576
LEDGER_ENTRIES = 500


class _Facts(NamedTuple):
    """What one round trip reads of a job beside its short fields; None for what could not be read."""

    #: Bytes of the payload, then of the long fields.
    sizes: list[int]
    scheduled: Any
    deadline: Any
    stream_length: Any
    last_entry: Any
    logs: Any
    logs_total: Any
    children: Any
    children_total: Any
    ledger: Any


async def read_job(
    reader: Reader, queue: str, job_id: str, *, payload_limit: int = 65_536
) -> JobDetail | None:
    """Read one job, None if no record of it exists; see `Watch.job`."""
    key = reader.keys(queue).job(job_id)
    [short], facts = await asyncio.gather(
        read_fields(reader, queue, [job_id], _SHORT), _read_facts(reader, queue, job_id)
    )
    if not short and not any(facts.sizes):
        return None
    data_bytes, *sizes = facts.sizes
    fitting = [name for name, size in zip(_LONG, sizes, strict=True) if 0 < size <= LONGEST]
    left_out = tuple(
        f"{name} ({size:,} bytes)" for name, size in zip(_LONG, sizes, strict=True) if size > LONGEST
    )
    truncated = data_bytes > payload_limit
    (data, result_bytes, long), children = await asyncio.gather(
        _read_all(
            reader,
            ("HSTRLEN", key, "data") if truncated else ("HGET", key, "data"),
            ("HSTRLEN", key, "returnvalue"),
            ("HMGET", key, *(fitting or ("state",))),
        ),
        _read_children(reader, [as_text(member) for member in facts.children[1]] if facts.children else []),
    )
    fields = {**short, **(picked_fields(fitting, long) if fitting and long else {})}
    decoded = decode_data(None if truncated else data, JSON_SERIALIZER)
    result = None
    if 0 < integer(result_bytes) <= payload_limit:
        result = decode_result(text(await reader.read_one("HGET", key, "returnvalue")), JSON_SERIALIZER).value
    score = number(facts.deadline if short.get("state") == b"suspended" else facts.scheduled)
    row = row_facts(queue, job_id, fields, score, reader.now_ms())
    hidden = truncated or left_out or decoded.error or integer(facts.stream_length)
    if row["suspend"] is not None and not hidden:
        # Whoever sees this has seen all of it: the job streamed nothing.
        digest = review_hash(JobRef(queue, job_id), {**fields, "data": data or b""}, Round())
        row["suspend"] = replace(row["suspend"], review_hash=digest)
    return JobDetail(
        **row,
        **_record(fields, row["fallback_index"], reader.prefix),
        data=None if truncated else decoded.value,
        data_bytes=data_bytes,
        data_error=decoded.error,
        truncated=truncated,
        result=result,
        children=children,
        children_total=integer(facts.children_total),
        stream=StreamInfo(
            entries=integer(facts.stream_length),
            last_id=next((entry_id for entry_id, _ in entries(facts.last_entry)), None),
        ),
        ledger=tuple(attempts_of(facts.ledger, row["state"])) if facts.ledger else None,
        logs=tuple(as_text(line[:payload_limit]) for line in facts.logs or ()),
        logs_total=integer(facts.logs_total),
        left_out=left_out,
        at=reader.now(),
    )


async def _read_facts(reader: Reader, queue: str, job_id: str) -> _Facts:
    keys = reader.keys(queue)
    beside, sizes = await asyncio.gather(
        _read_all(
            reader,
            ("ZSCORE", keys.scheduled, job_id),
            ("ZSCORE", keys.suspended, job_id),
            ("XLEN", keys.jstream(job_id)),
            ("XREVRANGE", keys.jstream(job_id), "+", "-", "COUNT", 1),
            ("LRANGE", keys.log(job_id), -LOG_LINES, -1),
            ("LLEN", keys.log(job_id)),
            ("SSCAN", keys.deps(job_id), 0, "COUNT", CHILDREN),
            ("SCARD", keys.deps(job_id)),
            ("LRANGE", keys.ledger(job_id), -LEDGER_ENTRIES, -1),
        ),
        _read_all(reader, *(("HSTRLEN", keys.job(job_id), name) for name in ("data", *_LONG))),
    )
    return _Facts([integer(size) for size in sizes], *beside)


def _record(fields: Fields, fallback_index: int, prefix: str) -> dict[str, Any]:
    """Decode the fields of a job that its row leaves out."""
    options = decode_options(fields)
    chain: Sequence[Fallback] = options.fallbacks or ()
    return {
        "options": options,
        "cost": to_int(fields["cost"]) / 1000 if "cost" in fields else None,
        "expires_at": instant(fields.get("expireAt")),
        "last_active_at": instant(fields.get("lastActive")),
        "ordering_key": optional_text(fields.get("groupKey")),
        "ordering_seq": to_int(fields.get("orderingSeq")) or None,
        "lifo": fields.get("lifo") == b"1",
        "scheduler": optional_text(fields.get("schedulerName")),
        "parents": decode_parents(fields),
        "budget": budget_of(fields, prefix),
        "fallback": chain[fallback_index - 1] if 0 < fallback_index <= len(chain) else None,
        "usage": decode_usage(fields),
        "tpm_tokens": to_int(fields["tpmTokens"]) if "tpmTokens" in fields else None,
        "signals": tuple(decode_signals(fields.get("signals"))),
        "revoked": fields.get("revoked") == b"1",
        "stalled_count": to_int(fields.get("stalledCount")),
    }


async def find_job(reader: Reader, names: Sequence[str], job_id: str) -> list[JobRef]:
    """Ask all given queues for a job of this id."""
    answers = await reader.read([("EXISTS", reader.keys(name).job(job_id)) for name in names])
    return [JobRef(name, job_id) for name, found in zip(names, answers, strict=True) if integer(found) == 1]


async def _read_all(reader: Reader, *commands: tuple[str | int, ...]) -> list[Any]:
    """Answers of reads about one job, None for what could not be read."""
    return [None if failed(answer) else answer for answer in await reader.read(commands)]


async def _read_children(reader: Reader, members: Sequence[str]) -> tuple[Child, ...]:
    refs = [ref for ref in (split_member(member, reader.prefix) for member in members) if ref][:CHILDREN]
    states = await reader.read([("HMGET", reader.keys(q).job(i), "name", "state") for q, i in refs])
    return tuple(
        Child(
            queue=queue,
            id=job_id,
            name=as_text(None if failed(found) else found[0]),
            state=decode_state(None if failed(found) else found[1]),
        )
        for (queue, job_id), found in sorted(zip(refs, states, strict=True), key=lambda item: item[0])
    )
