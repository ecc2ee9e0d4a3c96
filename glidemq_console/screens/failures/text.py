"""What failures and dead letters say, as parts: pure functions of records and time."""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import TYPE_CHECKING

from ...model.lists.failures import FailuresView, LettersView, window_words
from ...model.snapshot import JobView, age_ms, epoch_ms
from ...text import format as fmt
from ...text.safe import cell_fit, cell_pad, masked_text, short
from ...text.shown_keys import key_of
from ...widgets.styled import Parts, Styled, dim, hotkey
from ..jobs import page_text
from ..lists.values import size_of, value_lines

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import DeadLetter, FailureGroup, JobDetail

#: Places that the one line of a traceback names, the innermost.
_PLACES = 4
#: Cells of a terminal from which on the summary says in how many queues.
_QUEUES_WIDTH = 80
_PLACE = re.compile(r'File "(?:[^"]*/)?([^"/]+)", line (\d+), in (\S+)')


def tabs(
    current: str, failures: FailuresView | None, letters: LettersView | None
) -> list[tuple[str, Parts, Parts]]:
    """The two halves with their counts."""
    failed = sum(group.count for group in failures.groups) if failures is not None else None
    told = letters.total if letters is not None else None
    shown: list[tuple[str, Parts, Parts]] = []
    for key, number in (("failures", failed), ("dead letters", told)):
        token = "focus" if key == current else "foreground" if number else "dim"
        figure = Styled(f" {fmt.count(number)}", token)
        shown.append((key, [Styled(key, token), figure], [Styled(key, token), figure]))
    return shown


def summary(view: FailuresView, width: int) -> Parts:
    """`last 1h · in 3 queues · wasted 0.41`; on a narrow terminal without the queues."""
    queues = len({group.queue for group in view.groups}) if width >= _QUEUES_WIDTH else 0
    parts = [Styled(window_words(view.since_ms), "focus")]
    if queues:
        parts.append(dim(f" · in {fmt.plural(queues, 'queue')}"))
    if view.wasted:
        parts.append(Styled(f" · wasted {fmt.money(view.wasted)}", "error"))
    return parts


def read_words(view: FailuresView, zone: tzinfo | None) -> Parts:
    """How far it was looked, and when."""
    if view.progress is not None:
        looked = view.progress.words
    elif view.complete:
        looked = f"looked at all {view.jobs_read:,}"
    else:
        looked = f"looked at the newest {view.jobs_read:,}"
    return [dim(f"{looked} · read {fmt.clock(view.at_ms, zone)}")]


def letters_summary(view: LettersView) -> Parts:
    """How many there are, and whether the list holds all of them; with a filter the status line says more."""
    if view.progress is not None:
        return []
    shown = len(view.letters)
    words = f"{shown:,} of {view.total:,} shown" if shown < view.total else "all shown"
    return [dim(words if view.complete or shown < view.total else "still searching queues")]


# --- the newest of a group ---------------------------------------------------------------------------------


def member_title(group: FailureGroup, ref: JobRef, at: int, now: int) -> str:
    """`newest of 14: inference:48209, 1m ago`."""
    which = "newest" if at == 0 else f"number {at + 1}"
    ago = f", {fmt.rough(age_ms(group.last_at, now))} ago" if at == 0 else ""
    return f"{which} of {group.count:,}: {short(str(ref), 60)}{ago}"


def member_lines(
    group: FailureGroup, view: JobView | None, now: int, *, tall: bool, reveal: bool, bare: bool
) -> list[Parts]:
    """One member, whole: its error, attempts, where it failed, payload; what else is in the group."""
    if view is None:
        return [[dim("reading …")]]
    job = view.detail
    if job is None:
        return [[dim("This one is gone: retried, removed, or it left when it was done.")]]
    lines: list[Parts] = [_headline(job, reveal)]
    also = also_words(group, now)
    if not tall:
        payload = payload_lines(job, reveal, bare=bare, laid_out=False)[:1]
        return [*lines, *_attempts(job, reveal), *_places(job, reveal), *payload, also]
    story = [[], *_attempts(job, reveal), *page_text.traceback(job, reveal)]
    return [*lines, *story, [], *payload_lines(job, reveal, bare=bare, laid_out=True), [], also]


def _headline(job: JobDetail, reveal: bool) -> Parts:
    """`ProviderError  429 slow down, retry after 800 ms`."""
    last = job.ledger[-1] if job.ledger else None
    kind = short(last.error_type, 80) if last is not None else ""
    words = short(masked_text(job.failed_reason or "", reveal), 1_000)
    if words == kind:
        words = ""
    parts = [Styled(f"{kind}  ", "error", "bold")] if kind else []
    return [*parts, Styled(words or ("" if kind else "no reason given"), "error" if not kind else "")]


def _attempts(job: JobDetail, reveal: bool) -> list[Parts]:
    """A line an attempt: model, time, cost, and the error where it is not that of the headline."""
    lines: list[Parts] = []
    for number, entry in enumerate(job.ledger or (), 1):
        ran = None
        if entry.started_at is not None and entry.ended_at is not None:
            ran = (epoch_ms(entry.ended_at) or 0) - (epoch_ms(entry.started_at) or 0)
        model = cell_pad(cell_fit(short(entry.model, 80) or fmt.UNKNOWN, 18), 18)
        words = short(masked_text(entry.error or entry.error_type or entry.outcome, reveal), 300)
        cost = fmt.money(entry.total_cost) if entry.total_cost else ""
        line = [dim(f"{number:>3}  "), Styled(model), Styled(f"{fmt.took(ran):>6}"), Styled(f"{cost:>8}  ")]
        lines.append([*line, dim(words)])
    return lines


def _places(job: JobDetail, reveal: bool) -> list[Parts]:
    """`worker.py:88 answer › client.py:41 call › raise ProviderError`: a traceback on one line."""
    trace = next((entry.trace for entry in reversed(job.ledger or ()) if entry.trace), None)
    if trace is None:
        return []
    found = _PLACE.findall(masked_text(trace, reveal))
    words = [f"{short(file, 40)}:{line} {short(name, 40)}" for file, line, name in found[-_PLACES:]]
    last = job.ledger[-1].error_type if job.ledger else None
    return (
        [[dim("     " + " › ".join([*words, f"raise {short(last, 60)}"] if last else words))]]
        if words
        else []
    )


def payload_lines(job: JobDetail, reveal: bool, *, bare: bool, laid_out: bool) -> list[Parts]:
    """The payload with secrets masked; on one line unless it is to be laid out."""
    if job.truncated:
        size = fmt.byte_size(job.data_bytes)
        key = hotkey(key_of("failures.page", "o"))
        return [[dim(f"payload {size}, too long to show here; "), key, dim(" opens the job")]]
    if job.data_error is not None:
        return [[Styled(f"payload cannot be decoded: {short(job.data_error, 200)}", "warning")]]
    size = fmt.byte_size(job.data_bytes)
    return value_lines(job.data, size, reveal, bare=bare, laid_out=laid_out)


def also_words(group: FailureGroup, now: int) -> Parts:
    """`also 11 gpt-5.4, 3 gpt-5.4-nano · first 52m ago`."""
    most = sorted(group.models.items(), key=lambda item: (-item[1], item[0]))
    names = ", ".join(f"{jobs:,} {short(name, 40)}" for name, jobs in most[:6])
    words = [names] if names else []
    names = ", ".join(f"{jobs:,} {short(name, 40)}" for name, jobs in list(group.names.items())[:4])
    words += [names] if len(group.names) > 1 else []
    first = f"first {fmt.rough(age_ms(group.first_at, now))} ago"
    return [dim("  " + " · ".join([*words, first]))]


# --- one letter --------------------------------------------------------------------------------------------


def letter_title(letter: DeadLetter) -> str:
    return f"letter {short(str(letter.ref), 60)}"


def letter_lines(
    letter: DeadLetter, now: int, zone: tzinfo | None, *, reveal: bool, bare: bool
) -> list[Parts]:
    """Where it came from, what was wrong, the payload."""
    origin = short(str(letter.origin), 100) if letter.origin is not None else fmt.UNKNOWN
    lines: list[Parts] = [
        [Styled(short(masked_text(letter.failed_reason or "", reveal), 1_000) or "no reason given", "error")],
        [dim("job      "), Styled(origin), dim("  "), Styled(short(letter.name, 80))],
        [dim("failed   "), Styled(fmt.moment(epoch_ms(letter.failed_at), now, zone)),
         dim(f"  after {fmt.plural(letter.attempts_made + 1, 'attempt')}")],
    ]  # fmt: skip
    if letter.replays:
        lines.append([dim("replays  "), Styled(f"{letter.replays:,}", "warning"),
                      dim("  it was put back and failed again")])  # fmt: skip
    size = size_of(letter.data)
    return [*lines, *value_lines(letter.data, size, reveal, bare=bare)]
