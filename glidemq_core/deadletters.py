"""Dead letters of a queue: read where they were sent, put back into the queue of their jobs, or discarded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .ai.usage.ledger import get_ledger
from .errors import DuplicateJobError, JobStateError
from .filters.failures import letter_fits
from .filters.language import Expression
from .jobs.adding.records import Record, encode_job
from .jobs.audit import audit_blob
from .jobs.control import remove_job
from .jobs.read import get_job, load_jobs, without_data
from .jobs.registry import register_queue
from .jobs.snapshot import JobSnapshot
from .options.fields import UNSET, refuse, whole
from .options.job import Actor, JobOptions, JobRef, job_options
from .records.failures import DeadLetter, count_of_replays, failure_key, is_letter, letter_of
from .server.context import QueueContext
from .server.retry import retry_lost_reply
from .wire.keys import QueueKeys
from .wire.replies import as_text, as_texts
from .wire.serializer import JSON_SERIALIZER
from .wire.strict_json import compact_json

#: Replays after which a job is not put back again without a word.
MAX_REPLAYS = 10
#: How long a call whose reply was lost is repeated, s.
_PATIENCE_S = 10.0
#: Entries of the queue of letters that one call looks at.
_PAGE = 100
#: Options of the failed job that do not hold for the job made from its letter.
_DROPPED = ("job_id", "delay", "deduplication", "parent")


async def letters_queue(context: QueueContext, configured: str | None) -> QueueContext | None:
    """Return the queue that holds the letters of a queue; None where none is named.

    Args:
        configured: its name as the caller's options say; else the name that workers and queues left on the server.
    """
    name = configured or as_text(
        await context.connection.command("HGET", context.keys.meta, "deadLetterQueueName")
    )
    return letters_at(context, name) if name else None


def letters_at(context: QueueContext, name: str) -> QueueContext:
    """Return the context of a queue of letters; their payloads are JSON whatever the queue's serializer."""
    return QueueContext(context.connection, QueueKeys(context.keys.prefix, name), JSON_SERIALIZER)


async def _pages(context: QueueContext, letters: QueueContext) -> AsyncIterator[list[str]]:
    """Yield ids of the letters of a queue, oldest first, a page a call."""
    head = compact_json({"originalQueue": context.queue})[:-1]
    cursor = "-"
    while cursor:
        at, *ids = await letters.read("list_dead_letters", context.queue, head, cursor, _PAGE)
        yield as_texts(ids)
        cursor = as_text(at)


async def get_dead_letters(
    context: QueueContext, letters: QueueContext, start: int = 0, end: int = -1, *, exclude_data: bool = False
) -> list[JobSnapshot]:
    """Read the letters of a queue at places `start` to `end` (inclusive; negative: all the rest), oldest first.

    Raises:
        InvalidOptionError: a place is not a whole number.
    """
    whole(0)(start, "start")
    if isinstance(end, bool) or not isinstance(end, int):
        refuse("end", end, "a whole number")
    ids: list[str] = []
    async for page in _pages(context, letters):
        ids += page
        if 0 <= end < len(ids):
            break
    chosen = ids[start : end + 1] if end >= 0 else ids[start:]
    return [job for job in await load_jobs(letters, chosen, exclude_data) if job is not None]


async def get_dead_letter(
    context: QueueContext, letters: QueueContext, letter_id: str, *, exclude_data: bool = False
) -> JobSnapshot | None:
    """Read one letter; None if there is none of that id, or its job came from another queue."""
    job = await get_job(letters, letter_id)
    if job is None or not _is_from(context, job):
        return None
    return without_data(letters, job) if exclude_data else job


def _is_from(context: QueueContext, job: JobSnapshot) -> bool:
    return is_letter(job.data) and job.data["originalQueue"] == context.queue


class ListedLetters(NamedTuple):
    """Letters of a queue, the oldest first; how many there are of it, and how many of those were looked at."""

    letters: list[DeadLetter]
    total: int
    looked: int


async def list_letters(
    context: QueueContext,
    letters: QueueContext,
    limit: int,
    *,
    where: Expression[DeadLetter] | None = None,
    most: int | None = None,
) -> ListedLetters:
    """Read the oldest letters of a queue, and count all of them.

    Args:
        limit: letters that are returned at most.
        where: only letters that this filter takes.
        most: letters that are looked at, at most.
    """
    ids: list[str] = []
    async for page in _pages(context, letters):
        ids += page
    wanted, now = ids[: limit if where is None else most], datetime.now(UTC)
    found: list[DeadLetter] = []
    for start in range(0, len(wanted), _PAGE):
        for at, job in enumerate(await load_jobs(letters, wanted[start : start + _PAGE]), start + 1):
            letter = _decoded(letters, job) if job is not None else None
            if letter is not None and (where is None or letter_fits(where, letter, now)):
                found.append(letter)
                if len(found) == limit:
                    return ListedLetters(found, len(ids), at)
    return ListedLetters(found, len(ids), len(wanted))


async def read_letter(letters: QueueContext, letter_id: str) -> DeadLetter | None:
    """Read one letter of whichever queue; None if there is no such job, or it is no letter."""
    job = await get_job(letters, letter_id)
    return None if job is None else _decoded(letters_at(letters, letters.queue), job)


def _decoded(letters: QueueContext, job: JobSnapshot) -> DeadLetter | None:
    return letter_of(JobRef(letters.queue, job.id), job.name, job.data, job.created_at)


async def remove_dead_letter(
    context: QueueContext, letters: QueueContext, letter_id: str, *, actor: Actor | None = None
) -> bool:
    """Discard one letter; False if there is none of that id here."""
    if await get_dead_letter(context, letters, letter_id) is None:
        return False
    return await remove_job(letters, letter_id, actor=actor)


async def replay_dead_letter(
    context: QueueContext,
    letters: QueueContext,
    letter_id: str,
    *,
    data: Any = UNSET,
    max_replays: int = MAX_REPLAYS,
    events: bool = True,
    actor: Actor | None = None,
) -> str | None:
    """Add the job of a letter to its queue again and take the letter away; returns the id of the new job.

    The job gets payload and options of the failed one while that exists, else the payload that the letter holds. The
    queue remembers for 30 days which letters it took back, so that a repeated or a racing call adds no second job.

    Args:
        data: payload in place of the one that failed.
        max_replays: how often one job may be put back.

    Returns:
        None if there is no such letter.

    Raises:
        JobStateError: the job was put back `max_replays` times.
        DuplicateJobError: the queue did not add the job; the letter stays.
        PayloadTooLargeError, SerializationError, InvalidOptionError: `data` cannot be stored.
    """
    whole(1)(max_replays, "max_replays")
    letter = await get_dead_letter(context, letters, letter_id)
    if letter is None:
        return None
    record = await _record(context, letters, letter, data, max_replays)
    _, name, payload, *rest = record
    mark = f"{letters.queue}:{letter.id}:{as_text(letter.fields.get('timestamp'))}"
    now_ms = context.now_ms()
    detail = {"letter": f"{letters.queue}:{letter.id}"}
    if data is not UNSET:
        detail["payload"] = "edited"
    blob = await audit_blob(context, actor, "replay", [letter.data["originalJobId"]], now_ms, detail=detail)
    status, *found = await retry_lost_reply(
        lambda: context.call(
            "replay_dead_letter",
            now_ms,
            "1" if events else "",
            mark,
            name,
            payload,
            compact_json(["", *rest]),
            blob,
        ),
        _PATIENCE_S,
    )
    if status not in (b"ok", b"again"):
        raise DuplicateJobError(
            f"letter '{letters.queue}:{letter.id}' was not put back: queue '{context.queue}' did not add its job",
            queue=context.queue,
            job_id=letter.data["originalJobId"],
        )
    await register_queue(context)
    # Whoever runs it may have begun it there; a letter is no job to run, so it goes all the same.
    await retry_lost_reply(lambda: remove_job(letters, letter.id, force=True), _PATIENCE_S)
    return as_text(found[0])


async def _record(
    context: QueueContext, letters: QueueContext, letter: JobSnapshot, data: Any, max_replays: int
) -> Record:
    """Return what the server is told of the new job."""
    content = letter.data
    original = await get_job(context, content["originalJobId"])
    options = original.options if original is not None else JobOptions()
    done = count_of_replays(content.get("replays")) or count_of_replays(options.extra.get("replays"))
    if done >= max_replays:
        raise JobStateError(
            f"letter '{letters.queue}:{letter.id}' was put back {done} times, the limit is {max_replays}",
            queue=letters.queue,
            job_id=letter.id,
            operation="replay",
            state=f"replayed {done} times",
            needed=f"fewer than {max_replays} replays",
            hint="mend what makes it fail, then raise max_replays or add the job anew",
        )
    changed = {**dict.fromkeys(_DROPPED), "extra": {**options.extra, "replays": done + 1}}
    options = job_options(options, changed)
    if data is not UNSET:
        return encode_job(context, letter.name, data, options)
    if original is None:
        return encode_job(context, letter.name, content.get("data"), options)
    record = encode_job(context, letter.name, None, options)
    # As stored, whatever wrote it: it need not be read to be copied.
    return (*record[:2], as_text(original.fields.get("data")), *record[3:])


async def replay_dead_letters(
    context: QueueContext,
    letters: QueueContext,
    *,
    group: str | None = None,
    count: int = 0,
    events: bool = True,
    actor: Actor | None = None,
) -> list[str]:
    """Put back the jobs of letters, oldest first; returns the ids of the new jobs.

    Args:
        group: only letters of one group of failures (`failure_key`).
        count: at most so many; 0 is all that are there when it begins.

    Letters that were put back too often, and those that somebody else takes meanwhile, stay out.
    """
    whole(0)(count, "count")
    ids: list[str] = []
    async for page in _pages(context, letters):
        ids += page
    added: list[str] = []
    for letter_id in ids:
        if count and len(added) == count:
            break
        if group is not None:
            job = await get_dead_letter(context, letters, letter_id)
            if job is None or await _group_of(context, job.data) != group:
                continue
        try:
            new = await replay_dead_letter(context, letters, letter_id, events=events, actor=actor)
        except JobStateError:
            continue
        if new is not None:
            added.append(new)
    return added


async def _group_of(context: QueueContext, content: dict[str, Any]) -> str:
    """Return the key of the group of failures that a letter belongs to."""
    job_id = content["originalJobId"]
    attempts = await get_ledger(context, job_id)
    error_type = attempts[-1].error_type if attempts else None
    return failure_key(context.queue, error_type, str(content.get("failedReason") or ""), job_id)
