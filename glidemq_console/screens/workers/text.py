"""What the list of workers says, as parts: pure functions of rows and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...model.snapshot import age_ms, epoch_ms
from ...model.workers import QueueWorkers, WorkerRow, jobs_to_do
from ...text import format as fmt
from ...text.safe import clean
from ...widgets.styled import Cell, Parts, Styled

if TYPE_CHECKING:
    from glidemq_core.records import JobRow, WorkerJob

#: Jobs that a row names; the rest is counted.
NAMED = 12
#: Stands for a queue that nobody serves.
UNSERVED = "∅"
_LANGUAGES = {"python": "py"}
_DOT = Styled(" · ", "dim")
_UNKNOWN = Styled(fmt.UNKNOWN, "dim")


def _shown(text: str, limit: int = 256) -> str:
    return clean(text, single_line=True, limit=limit)


def who(row: WorkerRow) -> Parts:
    if row.kind == "silent":
        look = fmt.state_look("stalled")
        return [Styled(f"{look.glyph} silent", look.style, "bold")]
    if row.kind == "unserved":
        return [Styled(f"{UNSERVED} no worker", "warning", "bold")]
    return [Styled(_shown(row.process))]


def run(row: WorkerRow) -> Cell:
    """Running of slots, or how many jobs were left behind."""
    if row.kind == "silent":
        return Styled(f"{fmt.count(len(row.stalled))} left", "state-stalled")
    worker = row.worker
    if worker is None:
        return _UNKNOWN
    running = Styled(fmt.count(worker.active_jobs), "" if worker.active_jobs else "dim")
    return running if worker.concurrency is None else [running, Styled(f"/{worker.concurrency}", "dim")]


def oldest(row: WorkerRow, now: int) -> Cell:
    """Age of the job that runs longest, or that waits longest for its silent worker."""
    words = "" if row.oldest_ms is None else fmt.age(row.oldest_ms, now)
    return Styled(words, "state-stalled" if row.stalled else "") if words else _UNKNOWN


def language(row: WorkerRow) -> Cell:
    if row.worker is None:
        return _UNKNOWN
    return Styled(_shown(_LANGUAGES.get(row.worker.language, row.worker.language), 20), "dim")


def up(row: WorkerRow, now: int) -> Cell:
    return _UNKNOWN if row.worker is None else Styled(fmt.age(epoch_ms(row.worker.started_at), now), "dim")


def seen(row: WorkerRow, now: int) -> Cell:
    """Age of its latest sign of life."""
    return _UNKNOWN if row.worker is None else Styled(fmt.passed(age_ms(row.worker.seen_at, now)), "dim")


def does(row: WorkerRow, now: int) -> Parts:
    if row.kind == "silent":
        return _left_behind(row, now)
    if row.kind == "unserved":
        return _unserved(row, now)
    worker = row.worker
    assert worker is not None
    parts: list[Styled] = []
    if worker.paused:
        parts.append(Styled(fmt.state_look("paused").label(), "state-paused"))
    if jobs := _job_parts(row.running, {job.id for job in row.stalled}, now):
        parts += [*([_DOT] if parts else []), *jobs]
        more = worker.active_jobs - min(len(row.running), NAMED)
        return [*parts, _DOT, Styled(f"{more:,} more", "dim")] if more > 0 else parts
    if parts:
        return parts
    if not worker.active_jobs:
        return [Styled("idle", "dim")]
    return [Styled("not told by node workers" if worker.jobs is None else fmt.UNKNOWN, "dim")]


def _job_parts(jobs: Sequence[WorkerJob | JobRow], stalled: set[str], now: int) -> list[Styled]:
    """`answer 48213 38s · answer 48214 12s`, the first ones."""
    parts: list[Styled] = []
    look = fmt.state_look("stalled")
    for job in jobs[:NAMED]:
        begun = getattr(job, "started_at", None) or getattr(job, "processed_at", None)
        parts += [_DOT] if parts else []
        parts += [Styled(f"{look.glyph} ", look.style)] if job.id in stalled else []
        parts += [
            Styled(f"{_shown(job.name, 40)} ", "dim"),
            Styled(_shown(job.id, 40)),
            Styled(f" {fmt.age(epoch_ms(begun), now)}", "dim"),
        ]
    return parts


def _left_behind(row: WorkerRow, now: int) -> Parts:
    """Jobs whose worker is not heard of any more, and first what becomes of them: all else may be cut."""
    after = Styled(_taken_over(row, now), "dim" if row.served_by else "warning")
    words = Styled(f"{fmt.plural(len(row.stalled), 'job')} stalled", "state-stalled", "bold")
    oldest = sorted(row.stalled, key=lambda job: (epoch_ms(job.processed_at) or 0, job.id))
    return [after, _DOT, words, _DOT, *_job_parts(oldest, set(), now)]


def _taken_over(row: WorkerRow, now: int) -> str:
    """Say when another worker takes over the jobs of a silent one."""
    if not row.served_by:
        return "nobody takes over"
    if row.takeover_ms is None:
        return "another takes over"
    if row.takeover_ms - now < 1_000:
        return "taken over any moment"
    return f"taken over in {fmt.countdown(row.takeover_ms, now)}"


def _unserved(row: WorkerRow, now: int) -> Parts:
    """How much work waits for a worker that is not there."""
    queue = row.of
    if queue is None:
        return [_UNKNOWN]
    jobs = jobs_to_do(queue)
    waited = age_ms(queue.oldest_waiting_at, now)
    oldest = [] if waited is None else [_DOT, Styled(f"oldest {fmt.passed(waited)}", "dim")]
    nobody = "nobody serves it" if row.complete else "no worker found yet"
    return [
        Styled(f"{fmt.plural(jobs, 'job')} wait{'s' if jobs == 1 else ''}", "warning", "bold"),
        *oldest,
        _DOT,
        Styled(nobody, "warning"),
    ]


def summary(rows: Sequence[WorkerRow], serving: Mapping[str, QueueWorkers], queues: int) -> Parts:
    """For the status line: how many workers there are, what is wrong, how far the search has come."""
    workers = [row.worker for row in rows if row.worker is not None]
    stalled = sum(len(row.stalled) for row in rows)
    unserved = sum(1 for row in rows if row.kind == "unserved")
    parts: list[Styled] = []
    if stalled:
        parts += [Styled(f"{stalled:,} stalled", "state-stalled", "bold"), _DOT]
    if unserved:
        parts += [Styled(f"{fmt.plural(unserved, 'queue')} without worker", "warning", "bold"), _DOT]
    running = sum(worker.active_jobs for worker in workers)
    words = fmt.plural(len(workers), "worker") + (f", {running:,} running" if running else "")
    parts.append(Styled(words, "dim"))
    if len(serving) < queues:
        parts += [_DOT, Styled(f"{len(serving):,} of {queues:,} queues asked", "dim")]
    elif not all(known.complete for known in serving.values()):
        parts += [_DOT, Styled("searching …", "dim")]
    return parts
