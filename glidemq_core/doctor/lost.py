"""Check and repair of lost jobs: active, but in no stream and no list, so that no sweep finds them."""

from __future__ import annotations

from collections.abc import Sequence

from ..jobs.audit import audit_blob
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..watch import Watch
from ..wire.keys import WORKERS_GROUP
from ..wire.replies import entries, failed, integer, number, pairs, sliced, text
from .findings import plural, result, verdict
from .walk import StartedJob, walk_jobs

#: A list-sourced job in no index counts as lost after so long without a heartbeat, ms: a Node worker may run it.
_SILENT_MS = 60_000
#: Pages of a stream that are read, and entries of each.
_STEPS = 200
_PAGE = 1_000
#: Jobs of one repairing call.
_BATCH = 100
_TOO_LONG = "too many entries in its stream to check"


async def lost_jobs(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find active jobs without an entry in the stream or a place in the index of list-sourced ones."""
    found, looked, complete, unchecked = await _find(reader, names)
    if not found and (unchecked or not complete):
        summary = f"none among the {looked} jobs checked; there are more"
        if unchecked:
            summary = f"{', '.join(unchecked)}: {_TOO_LONG}"
        return Check(id="lost_jobs", status="skip", summary=summary)
    return verdict(
        "lost_jobs",
        [f"{job.queue}:{job.id} is active, but in no stream or list" for job in found],
        good="every active job has a worker or will be requeued",
        bad=f"{plural(len(found), 'job')} will never end"
        + ("" if complete else ", and more jobs are still to be checked"),
        status="fail",
        fix="glidemq doctor --repair requeues them",
    )


async def requeue_lost(_: Watch, reader: Reader, names: Sequence[str], actor: Actor) -> list[OperationResult]:
    """Requeue lost jobs; the server checks each again."""
    found, *_rest = await _find(reader, names)
    results = []
    for name in names:
        mine = [job for job in found if job.queue == name]
        context = reader.context(name)
        for batch in sliced(mine, _BATCH):
            now_ms = reader.now_ms()
            ids = [job.id for job in batch]
            blob = await audit_blob(context, actor, "requeue_lost", ids, now_ms)
            words = [word for job in batch for word in (job.id, job.processed_on)]
            status, *outcomes = await context.call("requeue_lost", now_ms, *words, blob)
            if status != b"ok":
                results.append(result("requeue_lost", name, status.decode(), ok=False, message=_TOO_LONG))
                continue
            results += [
                result("requeue_lost", name, outcome.decode(), id=job_id)
                for job_id, outcome in zip(ids, outcomes, strict=True)
            ]
    return results


async def _find(reader: Reader, names: Sequence[str]) -> tuple[list[StartedJob], int, bool, list[str]]:
    """Return lost jobs, how many jobs were checked, whether those were all, and queues with too long a stream."""
    walk = await walk_jobs(reader, names)
    active = [job for job in walk.jobs if job.state == "active"]
    found, unchecked = [], []
    for name in dict.fromkeys(job.queue for job in active):
        mine = {job.id: job for job in active if job.queue == name}
        if not await _is_ordinary(reader, name):
            continue
        held = await _held(reader, name, mine)
        if held is None:
            unchecked.append(name)
            continue
        found += await _still(reader, name, [job for job_id, job in mine.items() if job_id not in held])
    return found, walk.looked, walk.complete, unchecked


async def _is_ordinary(reader: Reader, name: str) -> bool:
    """Tell whether no other group reads the stream: several runs may share a job of a broadcast."""
    groups = await reader.read_one("XINFO", "GROUPS", reader.keys(name).stream)
    if failed(groups):
        return True
    names = [{text(key): text(value) for key, value in pairs(group)}.get("name") for group in groups or ()]
    return all(name == WORKERS_GROUP for name in names)


async def _held(reader: Reader, name: str, wanted: dict[str, StartedJob]) -> set[str] | None:
    """Return jobs that have an entry, or that a worker may be running; None where the stream is too long."""
    keys = reader.keys(name)
    counter, indexed, *scores = await reader.read(
        [
            ("GET", keys.list_active),
            ("ZCARD", keys.list_runs),
            *(("ZSCORE", keys.list_runs, job_id) for job_id in wanted),
        ]
    )
    surplus = integer(counter) > integer(indexed)
    silent = reader.now_ms() - _SILENT_MS
    held = {
        job.id
        for job, score in zip(wanted.values(), scores, strict=True)
        if number(score) is not None or (job.listed and (surplus or job.beat_ms > silent))
    }
    start = "-"
    for _ in range(_STEPS):
        page = await reader.read_one("XRANGE", keys.stream, start, "+", "COUNT", _PAGE)
        listed = entries(page)
        held |= {job_id for _, fields in listed if (job_id := dict(fields).get("jobId")) in wanted}
        if len(listed) < _PAGE:
            return held
        start = f"({listed[-1][0]}"
    return None


async def _still(reader: Reader, name: str, suspects: Sequence[StartedJob]) -> list[StartedJob]:
    """Return suspects that are still in the run they were found in: an entry exists as long as its run."""
    answers = await reader.read(
        [("HMGET", reader.keys(name).job(job.id), "state", "processedOn") for job in suspects]
    )
    return [
        job
        for job, answer in zip(suspects, answers, strict=True)
        if not failed(answer) and text(answer[0]) == "active" and (text(answer[1]) or "0") == job.processed_on
    ]
