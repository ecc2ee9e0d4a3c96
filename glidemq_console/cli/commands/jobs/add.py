"""`add`: one job, or many from a file."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ... import options
from ...errors import Exit, UsageProblem
from ...option_types import (
    Parsed,
    backoff_option,
    decoded,
    deduplication_option,
    duration,
    json_argument,
    json_object,
    ordering_option,
    parse_json,
)
from ...options import option
from ...program import DEFAULT_TIMEOUT_MS, OWN, Values, command, require
from ...session import Session
from .read import job_object, read_job

if TYPE_CHECKING:
    from glidemq_core import Fallback, Job, JobOptions, NewJob, Queue

#: How long `--wait` waits by default.
WAIT_MS = 30_000
#: How long a bulk may take.
BULK_MS = 600_000
_POLL_MS = 100
#: Refused lines of a bulk that are named.
_SHOWN = 5


def _limit(values: Values) -> int | None:
    if values["wait"]:
        return OWN
    return BULK_MS if values["bulk"] else DEFAULT_TIMEOUT_MS


#: What can be said of a job, in the order of the help.
_Name = Annotated[str | None, Argument(metavar="NAME", help="Kind of job.")]
_Opts = Annotated[str | None, option("--opts", "JSON", "Options as stored: attempts, backoff, ... (ms).")]
_Id = Annotated[str | None, option("--id", "ID", "Its id; refused if taken.")]
_Delay = Annotated[int | None, option("--delay --schedule-in", "DUR", "Not before.", duration)]
_Priority = Annotated[int | None, option("--priority", "N", "1 first, 2048 last.")]
_Attempts = Annotated[int | None, option("--attempts", "N", "Runs at most.")]
_Backoff = Annotated[
    Parsed | None,
    option("--backoff", "[TYPE:]DUR[:JITTER]", "Between attempts: 5s, exponential:1s:0.2.", backoff_option),
]
_JobTimeout = Annotated[
    int | None, option("--job-timeout", "DUR", "An attempt that runs longer has failed.", duration)
]
_Ttl = Annotated[int | None, option("--ttl", "DUR", "Expires after.", duration)]
_Dedup = Annotated[
    Parsed | None,
    option("--dedup", "ID[,ttl=DUR][,mode=MODE]", "Skip it beside a job of this ID.", deduplication_option),
]
_Ordering = Annotated[
    Parsed | None,
    option(
        "--ordering", "KEY[,concurrency=N][,rate=N/DUR]", "Start jobs of a KEY in order.", ordering_option
    ),
]
_LockDuration = Annotated[
    int | None, option("--lock-duration", "DUR", "Silence until it counts as stalled.", duration)
]
_Fallbacks = Annotated[
    list[str] | None, option("--fallback", "MODEL[@PROVIDER]", "Model of a further attempt; may be repeated.")
]
_Wait = Annotated[bool, Option("--wait", help="Wait for its end (30s, or --timeout).")]
_Bulk = Annotated[
    str | None, option("--bulk", "FILE", "JSON lines {name, data, opts}; - for standard input.")
]


@command("add", limit=_limit)
async def add(
    session: Session,
    queue_name: options.Queue = None,
    name: _Name = None,
    queue: options.QueueOption = None,
    data: options.Data = None,
    opts: _Opts = None,
    job_id: _Id = None,
    delay: _Delay = None,
    priority: _Priority = None,
    attempts: _Attempts = None,
    backoff: _Backoff = None,
    job_timeout: _JobTimeout = None,
    ttl: _Ttl = None,
    dedup: _Dedup = None,
    in_order: _Ordering = None,
    lock_duration: _LockDuration = None,
    fallback: _Fallbacks = None,
    wait: _Wait = False,
    bulk: _Bulk = None,
) -> int:
    """Add a job to a queue."""
    if queue:
        # With -q the only argument left is the name.
        require(name is None or queue_name is None, "name the queue once: as QUEUE or with --queue")
        name, queue_name = name or queue_name, None
    source = await session.queue(options.one_queue(queue_name, queue))
    single = {
        "job_id": job_id,
        "delay": delay,
        "priority": priority,
        "attempts": attempts,
        "timeout": job_timeout,
        "ttl": ttl,
        **_structured(backoff=backoff, deduplication=dedup, ordering=in_order),
        "lock_duration": lock_duration,
        "fallbacks": [_fallback(text) for text in fallback] if fallback else None,
    }
    if bulk is not None:
        others = [name, data, opts, *single.values(), wait or None]
        require(not any(value is not None for value in others), "--bulk takes everything from its lines")
        return await _add_bulk(session, source, bulk)
    require(name is not None, "NAME is missing: glidemq add QUEUE NAME --data JSON")
    require(job_id != "", "--id is empty: leave it out to get one")
    require(not (data == "-" and opts == "-"), "--data and --opts cannot both read standard input")
    job_options = _options(json_object(opts, "--opts") if opts is not None else {}, single)
    payload = json_argument(data, "--data") if data is not None else None
    with _warnings_noted(session):
        job = await source.add(name or "", payload, options=job_options)
    if job is None or not wait:
        return _show_outcome(session, source.name, job, job_options.job_id)
    return await _wait(session, job)


@contextmanager
def _warnings_noted(session: Session) -> Iterator[None]:
    """Write each warning of the engine in one line, once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        session.out.note(session.out.safe(f"warning: {text}", 400))


def _options(wire: dict[str, Any], chosen: dict[str, Any] | None = None) -> JobOptions:
    """Read options as stored; what was chosen beside them wins."""
    from glidemq_core.options.job import JobOptions, job_options

    given = {key: value for key, value in (chosen or {}).items() if value is not None}
    return job_options(JobOptions.from_json(wire), given)


def _structured(**wire: Parsed | None) -> dict[str, Any]:
    """Make options that have parts from their JSON form."""
    from glidemq_core.options.types import Backoff, Deduplication, Ordering

    kinds: dict[str, Any] = {"backoff": Backoff, "deduplication": Deduplication, "ordering": Ordering}
    return {name: kinds[name].from_json(value) for name, value in wire.items() if value is not None}


def _fallback(text: str) -> Fallback:
    from glidemq_core import Fallback

    model, at, provider = text.rpartition("@")
    return Fallback(model, provider) if at and model and provider else Fallback(text)


def _show_outcome(session: Session, queue: str, job: Job[Any, Any] | None, asked_id: str | None) -> int:
    outcome = "created" if job is not None else "skipped"
    job_id = job.id if job is not None else asked_id
    if session.json:
        created = {"queue": queue, "id": job_id, "created": job is not None, "outcome": outcome}
        session.out.object({"job": created})
    else:
        ref = session.out.safe(queue) + (f":{session.out.safe(job_id, 256)}" if job_id else "")
        reason = "" if job is not None else " (its id is taken, or it is a duplicate)"
        session.out.line(f"{ref} {outcome}{reason}")
    return Exit.DONE if job is not None else Exit.REFUSED


async def _wait(session: Session, job: Job[Any, Any]) -> int:
    limit_ms = session.given.timeout or WAIT_MS
    state = await job.wait_until_finished(poll_interval=_POLL_MS, timeout=limit_ms)
    detail = await read_job(session, job.queue, job.id)
    if session.json:
        session.out.object({"job": job_object(session, detail)})
    elif state == "completed":
        session.out.line(session.out.pretty(detail.result))
    else:
        session.out.note(session.out.safe(f"{job.ref} failed: {detail.failed_reason}", 400))
    return Exit.DONE if state == "completed" else Exit.REFUSED


async def _add_bulk(session: Session, source: Queue[Any, Any], file: str) -> int:
    from glidemq_core import GlideMQError
    from glidemq_core.jobs.add import add_each
    from glidemq_core.jobs.snapshot import JobSnapshot

    # Everything is read and checked before anything is stored.
    numbered = list(_parsed(_lines(file), file))
    with _warnings_noted(session):
        results = await add_each(await source.context(), [job for _, job in numbered])
    ids = [result.id if isinstance(result, JobSnapshot) else None for result in results]
    failed = [
        f"line {number}: {result.message}"
        for (number, _), result in zip(numbered, results, strict=True)
        if isinstance(result, GlideMQError)
    ]
    added = sum(1 for job_id in ids if job_id is not None)
    skipped = len(numbered) - added - len(failed)
    if session.json:
        session.out.object({"added": added, "skipped": skipped, "failed": len(failed), "ids": ids})
    else:
        session.out.line(f"{added} added, {skipped} skipped, {len(failed)} failed")
        for problem in failed[:_SHOWN]:
            session.out.note(session.out.safe(problem, 300))
        if len(failed) > _SHOWN:
            session.out.note(f"and {len(failed) - _SHOWN} more")
    return Exit.DONE if added == len(numbered) else Exit.REFUSED


def _lines(file: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return decoded(content, _called(file)).split("\n")
    except OSError as error:
        raise UsageProblem(f"cannot read {file}: {error.strerror}") from None


def _called(file: str) -> str:
    return "standard input" if file == "-" else file


def _parsed(lines: Iterable[str], file: str) -> Iterable[tuple[int, NewJob]]:
    """Read each line that is not empty; yields its number too."""
    from glidemq_core import InvalidOptionError, NewJob

    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{_called(file)} line {number}"
        value = parse_json(line, where)
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise UsageProblem(f'{where}: expected {{"name": TEXT, "data": ..., "opts": {{...}}}}')
        if unknown := value.keys() - {"name", "data", "opts"}:
            raise UsageProblem(f"{where}: unknown key '{sorted(unknown)[0]}'; known: name, data, opts")
        opts = value.get("opts")
        if opts is not None and not isinstance(opts, dict):
            raise UsageProblem(f"{where}: opts must be an object")
        try:
            job_options = _options(opts or {})
        except InvalidOptionError as error:
            raise UsageProblem(f"{where}: {error.message}") from None
        yield number, NewJob(value["name"], value.get("data"), job_options)
