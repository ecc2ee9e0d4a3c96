"""`failures`, `dlq`: what failed and why, and the dead letters that workers left of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from ... import options
from ...errors import Refusal
from ...option_types import failure_filter, letter_filter, positive_duration
from ...options import option
from ...program import command, require
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core import Actor, DeadLetter, FailureGroup, JobRef, OperationResult, Queue
    from glidemq_core.server.context import QueueContext

_HOUR_MS = 3_600_000
#: Jobs that `failures` reads and letters that `dlq` lists unless told otherwise.
_READ, _LISTED = 10_000, 100
#: What `--limit` may be at most; failed jobs that are looked at in one go.
_MOST, _PAGE = 100_000, 500
#: What the first word of `dlq` may ask for; a queue of such a name takes `-q`.
LIST, SHOW, REPLAY, DISCARD = VERBS = ("list", "show", "replay", "discard")


@command("failures")
async def failures(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    since: Annotated[
        int | None, option("--since", "DUR", "How far back to look (1h).", positive_duration)
    ] = None,
    limit: Annotated[
        int | None,
        option("--limit", "N", "Jobs read at most, the newest (10000; with --where all).", min=1, max=_MOST),
    ] = None,
    where: Annotated[
        list[str] | None,
        option("--where", "EXPR", "Only jobs that this filter takes; @NAME is a saved one.", failure_filter),
    ] = None,
    scan: options.Scan = None,
) -> None:
    """Show failed jobs by cause; `retry QUEUE --group KEY` runs one group again."""
    require(scan is None or where, "--scan belongs to --where")
    require(scan is None or limit is None, "--scan and --limit both say how many jobs are read: name one")
    found, complete = await session.chosen_queues(options.merged(names, queue))
    watch, more = await session.watch(), None
    if where:
        looking = await watch.scan_failures(" ".join(where), found, since=since or _HOUR_MS)
        await look(looking, scan or limit)
        read = looking.failures
        if looking.has_more:
            more = options.looked_words(looking.matches, looking.looked, looking.total)
    else:
        read = await watch.failures(found, since=since or _HOUR_MS, limit=limit or _READ)
    out = session.out
    if session.json:
        out.record(
            {
                "failures": read.groups,
                "jobs_read": read.jobs_read,
                "complete": read.complete and complete,
                "at_ms": read.at,
            }
        )
        return
    if read.groups:
        rows = [_group_row(session, group) for group in read.groups]
        headers = ["COUNT", "QUEUE", "ERROR", "FIRST", "LAST", "MODELS", "WASTED", "KEY"]
        out.table(headers, rows, right=["COUNT", "FIRST", "LAST", "WASTED"])
    else:
        out.note("no such failures" if where else "no failures")
    if more is not None:
        out.note(f"{more}: --scan N looks further")
    elif not read.complete:
        out.note(f"the newest {read.jobs_read} failed jobs were looked at: --limit N looks at more")


class Looking(Protocol):
    """Something that looks through many things, page by page."""

    looked: int

    @property
    def has_more(self) -> bool:
        """Whether there is more to look at."""

    async def look(self, most: int) -> None:
        """Look at so many more at most."""


async def look(scan: Looking, most: int | None) -> None:
    """Look through all there is, or at so many at most."""
    while scan.has_more and (most is None or scan.looked < most):
        await scan.look(_PAGE if most is None else min(_PAGE, most - scan.looked))


def _group_row(session: Session, group: FailureGroup) -> list[str]:
    from glidemq_console.text.format import UNKNOWN, age, count, money

    now, out = int(time.time() * 1_000), session.out
    models = " ".join(f"{name} {jobs}" for name, jobs in sorted(group.models.items())[:3])
    return [
        count(group.count),
        out.safe(group.queue, 30),
        out.safe(f"{group.error_type or ''} {group.message}".strip(), 60),
        age(group.first_at.timestamp() * 1_000, now),
        age(group.last_at.timestamp() * 1_000, now),
        out.safe(models, 30) or UNKNOWN,
        UNKNOWN if group.wasted_cost is None else money(group.wasted_cost),
        group.key,
    ]


@command("dlq")
async def dlq(
    session: Session,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[list|show|replay|discard] QUEUE|LETTER",
            help="The QUEUE whose jobs failed; to show, replay or discard, letters as QUEUE:ID of their own.",
        ),
    ] = None,
    queue: options.QueueOption = None,
    data: options.Data = None,
    limit: Annotated[int, option("--limit", "N", "Letters listed at most.", min=1, max=_MOST)] = _LISTED,
    where: Annotated[
        list[str] | None,
        option(
            "--where",
            "EXPR",
            "List only letters that this filter takes; @NAME is a saved one.",
            letter_filter,
        ),
    ] = None,
    scan: options.Scan = None,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """List dead letters of a queue; show, replay (--data edits the payload) or discard some."""
    words = list(names or ())
    verb = words.pop(0) if words and words[0] in VERBS else LIST
    require(data is None or verb == REPLAY, "--data belongs to replay")
    if verb == LIST:
        wanted = options.merged(words, queue)
        require(len(wanted) == 1, "name one QUEUE")
        require(scan is None or where, "--scan belongs to --where")
        return await _list(session, wanted[0], limit, " ".join(where or ()), scan)
    require(not where and scan is None, "--where and --scan belong to list")
    require(not queue or len(queue) == 1, "name one queue beside the ids of its letters")
    require(words, f"name at least one letter to {verb}, as QUEUE:ID")
    letters = {
        ref: await _find(session, ref) for ref in await session.job_refs(words, queue[0] if queue else None)
    }
    if verb == SHOW:
        require(len(letters) == 1, "show takes one letter")
        [(ref, letter)] = letters.items()
        if letter is None:
            await session.existing_queue(ref.queue)
            raise Refusal(f"'{ref}' is no dead letter: it may have been replayed or discarded already")
        return _show(session, letter)
    actor = session.actor(by, comment)
    if verb == REPLAY:
        require(data is None or len(letters) == 1, "--data belongs to one letter")
        payload: Any = options.given_json(data)

        async def replay(source: Queue, letter: DeadLetter) -> tuple[bool, str, str | None]:
            job = await source.replay_dead_letter_job(letter.id, data=payload, actor=actor)
            return (False, "not_found", None) if job is None else (True, "replayed", f"as {job.ref}")

        return await _each(session, letters, verb, replay)
    return await _discard(session, letters, actor, yes=yes)


async def _discard(
    session: Session, letters: dict[JobRef, DeadLetter | None], actor: Actor, *, yes: bool
) -> int:
    names_shown = ", ".join(session.out.safe(ref, 60) for ref in list(letters)[:5])
    session.confirm(
        f"Discard {len(letters)} dead letter{'s' if len(letters) > 1 else ''}: {names_shown}?", yes
    )

    async def discard(source: Queue, letter: DeadLetter) -> tuple[bool, str, str | None]:
        gone = await source.remove_dead_letter_job(letter.id, actor=actor)
        return gone, "discarded" if gone else "not_found", None

    return await _each(session, letters, DISCARD, discard)


async def _list(session: Session, name: str, limit: int, where: str, most: int | None) -> int:
    from glidemq_core import deadletters
    from glidemq_core.filters.failures import parse_letter_filter
    from glidemq_core.records import to_json

    context = await (await session.existing_queue(name)).context()
    holder = await deadletters.letters_queue(context, None)
    letters: list[DeadLetter] = []
    total = looked = 0
    if holder is not None:
        wanted = parse_letter_filter(where) if where else None
        letters, total, looked = await deadletters.list_letters(
            context, holder, limit, where=wanted, most=most
        )
    out = session.out
    if session.json:
        out.object({"letters": out.masked(to_json(letters)), "total": total, "looked": looked})
        return 0
    if holder is None:
        out.note(f"queue '{out.safe(name)}' sends no dead letters: give its workers dead_letter_queue")
    elif not letters:
        out.note("no such dead letters" if where else "no dead letters")
    else:
        rows = [_letter_row(session, letter) for letter in letters]
        out.table(
            ["LETTER", "ORIGIN", "NAME", "AGE", "ATTEMPTS", "REPLAYS", "ERROR"],
            rows,
            right=["AGE", "ATTEMPTS", "REPLAYS"],
        )
    if where and looked < total:
        how = "--limit N lists more" if len(letters) == limit else "--scan N looks further"
        out.note(f"{options.looked_words(len(letters), looked, total)}: {how}")
    elif not where and total > len(letters):
        out.note(f"{total - len(letters)} more: --limit N lists more")
    return 0


def _letter_row(session: Session, letter: DeadLetter) -> list[str]:
    from glidemq_console.text.format import UNKNOWN, age, count

    out = session.out
    failed_ms = letter.failed_at.timestamp() * 1_000 if letter.failed_at else None
    return [
        out.safe(letter.ref, 40),
        out.safe(letter.origin, 40) if letter.origin else UNKNOWN,
        out.safe(letter.name, 30),
        age(failed_ms, int(time.time() * 1_000)),
        count(letter.attempts_made + 1),
        count(letter.replays),
        out.safe(letter.failed_reason or "", 80),
    ]


def _show(session: Session, letter: DeadLetter) -> int:
    from glidemq_console.text.format import UNKNOWN, moment

    out = session.out
    if session.json:
        out.record({"letter": letter})
        return 0
    now_ms = int(time.time() * 1_000)
    failed_ms = letter.failed_at.timestamp() * 1_000 if letter.failed_at else None
    out.fields(
        [
            ("letter", out.safe(letter.ref, 256)),
            ("origin", out.safe(letter.origin, 256) if letter.origin else UNKNOWN),
            ("name", out.safe(letter.name)),
            ("failed", moment(failed_ms, now_ms)),
            ("error", out.safe(letter.failed_reason or "", 1_000)),
            ("attempts", str(letter.attempts_made + 1)),
            ("replays", str(letter.replays)),
            ("payload", out.pretty(letter.data)),
        ]
    )
    return 0


async def _find(session: Session, ref: JobRef) -> DeadLetter | None:
    """Find a letter by its own place, or by its id and the queue of its job."""
    from glidemq_core import deadletters

    context: QueueContext = await (await session.queue(ref.queue)).context()
    letter = await deadletters.read_letter(context, ref.id)
    if letter is None and (holder := await deadletters.letters_queue(context, None)) is not None:
        letter = await deadletters.read_letter(holder, ref.id)
        if letter is not None and letter.origin is not None and letter.origin.queue != ref.queue:
            letter = None
    return letter


Change = Callable[["Queue", "DeadLetter"], Awaitable[tuple[bool, str, "str | None"]]]


async def _each(
    session: Session, letters: dict[JobRef, DeadLetter | None], action: str, change: Change
) -> int:
    from glidemq_core import OperationResult
    from glidemq_core.errors import DuplicateJobError, JobStateError
    from glidemq_core.queue import Queue

    results: list[OperationResult] = []
    for ref, letter in letters.items():
        if letter is None:
            missing = "it may have been replayed or discarded already"
            results.append(
                OperationResult(
                    queue=ref.queue, id=ref.id, action=action, ok=False, outcome="not_found", message=missing
                )
            )
            continue
        assert letter.origin is not None  # _find took it for a letter
        source: Queue = Queue(letter.origin.queue, await session.connection(), dead_letter_queue=letter.queue)
        try:
            ok, outcome, message = await change(source, letter)
        except (JobStateError, DuplicateJobError) as error:
            ok, outcome, message = False, "refused", error.message
        results.append(
            OperationResult(
                queue=letter.queue, id=letter.id, action=action, ok=ok, outcome=outcome, message=message
            )
        )
    return session.results(results)
