"""What the job page says, as lines of parts: pure functions of the record and the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from ...model.snapshot import age_ms, epoch_ms, shown_state
from ...text import format as fmt
from ...text.safe import masked_text, short
from ...text.shown_keys import key_of
from ...widgets.styled import Parts, Styled, dim, hotkey, label

if TYPE_CHECKING:
    from glidemq_core.records import Attempt, JobDetail

_OUTCOMES = {
    "completed": ("✓", "state-completed"),
    "failed": ("✗", "error"),
    "suspended": ("◆", "person"),
    "delayed": ("◷", "state-delayed"),
    "lost": ("?", "warning"),
}
#: Stored options that are milliseconds.
_MS_OPTIONS = ("delay", "timeout", "ttl", "lockDuration")
#: Log lines shown; the page says how many there are.
LOG_LINES = 12
#: Lines of a traceback shown.
TRACE_LINES = 16


def headline(job: JobDetail, now: int) -> tuple[Parts, Parts]:
    """Which job, in which state since when; what it cost and what of that was for nothing."""
    look = fmt.state_look(shown_state(job))
    since = {
        "completed": job.finished_at,
        "failed": job.finished_at,
        "active": job.processed_at,
        "suspended": job.suspend.suspended_at if job.suspend is not None else None,
    }.get(job.state, job.created_at)
    age = age_ms(since, now)
    ago = " ago" if job.state in ("completed", "failed") else ""
    word = look.word if look.word != "unknown" else short(job.state, 20)
    left = [
        dim(short(job.queue)),
        dim(" : "),
        Styled(short(job.id), "", "bold"),
        Styled(f"   {short(job.name)}   "),
        Styled(f"{look.glyph} {word}", look.style, "bold"),
        *([] if age is None else [dim(f" {fmt.passed(age)}{ago}")]),
        *([Styled("   revoked", "warning")] if job.revoked else []),
        *([Styled(f"   stalled {job.stalled_count}x", "warning")] if job.stalled_count else []),
    ]
    return left, money_parts(job)


def story(job: JobDetail, now: int, zone: tzinfo | None, *, reveal: bool) -> list[Parts]:
    """All that is known of a job but its payload and result.

    Args:
        reveal: Show secrets in errors and tracebacks instead of masking them.
    """
    blocks = [
        left_out(job),
        waiting_for(job),
        attempts(job, now, reveal=reveal),
        timeline(job, now, zone),
        usage(job),
        tokens(job),
        options(job),
        logs(job),
    ]
    return [line for block in blocks if block for line in (*block, [])]


def left_out(job: JobDetail) -> list[Parts]:
    """Which fields were too long to be read."""
    return [[dim("too long to show "), Styled(short(words, 60), "warning")] for words in job.left_out]


def money_parts(job: JobDetail) -> Parts:
    """`wasted 0.004 of 0.021 usd` where the ledger knows, else the cost alone."""
    unit = short(job.cost_unit, 12) or None
    spent = [(entry.total_cost or 0.0, entry.outcome) for entry in job.ledger or ()]
    total = max(sum(cost for cost, _ in spent), job.total_cost or 0.0)
    wasted = sum(cost for cost, outcome in spent if outcome in ("failed", "lost"))
    parts: list[Styled] = []
    if job.total_tokens:
        parts.append(dim(f"{fmt.full(job.total_tokens)} tok  "))
    if wasted:
        parts.append(Styled(f"wasted {fmt.money(wasted, unit)} of {fmt.money(total, unit)} ", "error"))
    elif total:
        parts.append(Styled(f"{fmt.money(total, unit)} ", "foreground"))
    return parts


def title(text: str, note: str = "") -> Parts:
    return [label(text), dim(f"  {note}" if note else "")]


def attempts(job: JobDetail, now: int, *, reveal: bool = False) -> list[Parts]:
    """Every run that is known, with model, time, outcome and cost, and the traceback of the newest that has one.

    Args:
        reveal: Show secrets in errors and tracebacks instead of masking them.
    """
    planned = max(job.max_attempts, 1)
    lines: list[Parts] = [title("attempts", f"{job.attempts_made} of {planned} failed")]
    if job.ledger is None:
        if job.state == "active":
            ran = age_ms(job.processed_at, now)
            lines.append([Styled("  running for "), Styled(fmt.took(ran), "state-active")])
        if job.failed_reason:
            lines.append([Styled("  ✗ ", "error"), Styled(short(job.failed_reason, 400), "error")])
        if job.model:
            lines.append([dim("  model "), Styled(short(job.model))])
        if job.attempts_made or job.state in ("completed", "failed"):
            lines.append([dim("  single attempts are kept by Python workers only")])
        return lines
    if not job.ledger:
        return [*lines, [Styled("  what was kept of them cannot be read", "warning")]]
    followers = (*job.ledger[1:], None)
    for number, (entry, after) in enumerate(zip(job.ledger, followers, strict=True), 1):
        lines.append([*_attempt(number, entry, job, now, reveal), *_fell_back(entry, after)])
    fallbacks = len(job.options.fallbacks)
    if job.state == "failed" and fallbacks and job.fallback_index >= fallbacks:
        lines.append([dim(f"  └ no fallback left; attempts {job.attempts_made} of {planned}")])
    return [*lines, *traceback(job, reveal)]


def traceback(job: JobDetail, reveal: bool) -> list[Parts]:
    """Where the newest attempt that has a traceback failed, innermost lines last."""
    kept = [(number, entry.trace) for number, entry in enumerate(job.ledger or (), 1) if entry.trace]
    if not kept:
        return []
    number, trace = kept[-1]
    lines = masked_text(trace, reveal).splitlines()
    shown = lines[-TRACE_LINES:]
    more = "" if len(shown) == len(lines) else f", the innermost {len(shown)} of {len(lines)} lines"
    return [
        [],
        title("traceback", f"of attempt {number}{more}"),
        *([dim(f"  {short(line, 300)}")] for line in shown),
    ]


def _attempt(number: int, entry: Attempt, job: JobDetail, now: int, reveal: bool) -> Parts:
    glyph, token = _OUTCOMES.get(entry.outcome, ("●", "state-active"))
    started, ended = epoch_ms(entry.started_at), epoch_ms(entry.ended_at)
    ran = None if started is None else (ended if ended is not None else now) - started
    running = entry.ended_at is None
    words = short(masked_text(_error_words(entry), reveal), 300) or ("running" if running else entry.outcome)
    cost = fmt.money(entry.total_cost) if entry.total_cost else ""
    model, provider = entry.model, entry.provider
    if model is None and 0 < entry.fallback_index <= len(job.options.fallbacks):
        # An attempt that reported nothing ran on the fallback it was given.
        asked = job.options.fallbacks[entry.fallback_index - 1]
        model, provider = asked.model, asked.provider
    return [
        dim(f"{number:>3}  "),
        Styled(_cell(model or fmt.UNKNOWN, 18)),
        dim(_cell(provider or "", 10)),
        Styled(f"{fmt.took(ran):>6}  "),
        Styled(f"{cost:>6}  " if cost else "", "foreground"),
        Styled(f"{'●' if running else glyph} {words}", "state-active" if running else token),
    ]


def _error_words(entry: Attempt) -> str:
    """`ValueError: no such model`; the class alone says as much as an error without a text."""
    kind, error = entry.error_type or "", entry.error or ""
    return f"{kind}: {error}" if kind and error and error != kind else error or kind


def _fell_back(entry: Attempt, after: Attempt | None) -> Parts:
    """Mark an error that made a fallback fire; the next line names its model."""
    if after is None or after.fallback_index <= entry.fallback_index:
        return []
    return [Styled(f" → fallback {after.fallback_index}", "warning")]


def _cell(text: str, width: int) -> str:
    from ...text.safe import cell_fit, cell_pad

    return cell_pad(cell_fit(short(text, 80), width - 1), width)


def timeline(job: JobDetail, now: int, zone: tzinfo | None) -> list[Parts]:
    """When what happened, the gaps between."""
    parts = [dim("added "), Styled(fmt.moment(epoch_ms(job.created_at), now, zone))]
    before = epoch_ms(job.created_at)
    for entry in job.ledger or ():
        started, ended = epoch_ms(entry.started_at), epoch_ms(entry.ended_at)
        if started is not None and before is not None and started - before >= 100:
            parts.append(dim(f" ─ +{fmt.took(started - before)}"))
        if started is not None and ended is not None:
            glyph, token = _OUTCOMES.get(entry.outcome, ("●", "dim"))
            parts += [dim(" ─ "), Styled(f"{fmt.took(ended - started)} "), Styled(glyph, token)]
        before = ended
    if not job.ledger and job.processed_at is not None and job.state != "failed":
        started = epoch_ms(job.processed_at)
        parts += [dim(" ─ started "), Styled(fmt.moment(started, now, zone))]
    if job.finished_at is not None:
        parts += [dim(f" ─ {job.state} "), Styled(fmt.moment(epoch_ms(job.finished_at), now, zone))]
    if job.parked:
        parts += [Styled(" ─ parked", "state-paused"), dim(" until its budget is topped up")]
    elif job.due_at is not None and job.state in ("delayed", "prioritized"):
        parts += [dim(" ─ starts in "), Styled(fmt.countdown(epoch_ms(job.due_at), now), "state-delayed")]
    if job.suspend is not None:
        deadline = epoch_ms(job.suspend.deadline_at)
        if deadline is not None:
            parts += [dim(" ─ times out in "), Styled(fmt.countdown(deadline, now), "person")]
    return [title("timeline"), [Styled("  "), *parts]]


def waiting_for(job: JobDetail) -> list[Parts]:
    """The person, the children, the group that a job waits for."""
    lines: list[Parts] = []
    if job.suspend is not None:
        lines.append(
            [Styled("◆ ", "person"), Styled(short(job.suspend.reason) or "waits for a signal", "person")]
        )
    if job.children_total:
        states = ", ".join(
            f"{short(child.queue, 40)}:{short(child.id, 40)} {short(child.state, 20)}"
            for child in job.children[:4]
        )
        more = "" if job.children_total <= 4 else f" and {job.children_total - 4} more"
        lines.append([dim("children "), Styled(f"{states}{more}")])
    if job.parent is not None:
        lines.append([dim("parent   "), Styled(short(str(job.parent)))])
    if job.budget is not None:
        ran_out = [Styled("  ran out and parked this job", "state-paused")] if job.parked else []
        lines.append([dim("budget   "), Styled(short(str(job.budget))), *ran_out])
    if job.children_total or job.parent is not None or job.budget is not None:
        lines.append([dim("flow     "), hotkey(key_of("job.flow", "f")), dim(" shows it whole")])
    if job.ordering_key is not None:
        lines.append(
            [dim("group    "), Styled(f"{short(job.ordering_key)} #{job.ordering_seq or fmt.UNKNOWN}")]
        )
    return lines


def options(job: JobDetail) -> list[Parts]:
    """The options that were asked for, on one or two lines."""
    given = job.options.to_json()
    given.pop("fallbacks", None)
    words = [f"{short(name, 40)} {short(_option(name, value), 60)}" for name, value in given.items()]
    chain = " → ".join(short(fallback.model, 40) for fallback in job.options.fallbacks)
    lines: list[Parts] = [title("options", "" if words or chain else "none")]
    if words:
        lines.append([Styled("  " + "   ".join(words))])
    if chain:
        lines.append([dim("  fallbacks "), Styled(chain)])
    return lines


def _option(name: str, value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_option(key, item)}" for key, item in value.items())
    if name in _MS_OPTIONS and isinstance(value, int):
        return fmt.took(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def usage(job: JobDetail) -> list[Parts]:
    if job.usage is None:
        return []
    entry = job.usage
    words = [f"{short(name, 30)} {fmt.full(amount)}" for name, amount in entry.tokens.items()]
    head = " ".join(part for part in (short(entry.model, 60), short(entry.provider, 40)) if part)
    line: list[Styled] = [Styled("  "), Styled(head or fmt.UNKNOWN), dim("   " + "  ".join(words))]
    if entry.total_cost is not None:
        line.append(Styled(f"   {fmt.money(entry.total_cost, short(entry.cost_unit, 12) or None)}"))
    if entry.latency_ms is not None:
        line.append(dim(f"   {fmt.took(entry.latency_ms)}"))
    if entry.cached:
        line.append(dim("   cached"))
    return [title("usage"), line]


def logs(job: JobDetail) -> list[Parts]:
    if not job.logs_total:
        return [title("logs", "none")]
    shown: Sequence[str] = job.logs[-LOG_LINES:]
    note = (
        f"{job.logs_total:,}"
        if job.logs_total <= len(shown)
        else f"the latest {len(shown)} of {job.logs_total:,}"
    )
    return [title("logs", note), *([Styled("  "), Styled(short(line, 500))] for line in shown)]


def tokens(job: JobDetail) -> list[Parts]:
    if not job.stream.entries:
        return []
    return [
        [
            label("tokens   "),
            Styled(f"{job.stream.entries:,} chunks streamed"),
            dim(f"   {key_of('job.tokens', 't')} follows them"),
        ]
    ]
