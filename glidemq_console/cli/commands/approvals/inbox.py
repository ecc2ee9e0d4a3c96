"""`approvals`, `review`: what waits for a person, as a list and whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from ....text.format import UNKNOWN, age, byte_size, clock, count, countdown, plural
from ... import options
from ...notices.watching import Telling, approval_object, channels_of
from ...options import option
from ...program import command, require, unless
from ...serving.ends import until_terminated
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.records import Approval, Inbox, ToolCall

#: Bytes up to which payloads and drafts are listed.
DEFAULT_BYTES = 4_096


@command("approvals", limit=unless("watch"))
async def approvals(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    limit: Annotated[int, option("--limit", "N", "Jobs at most.", min=1, max=10_000)] = 500,
    max_bytes: options.MaxBytes = None,
    watch: options.Watching = None,
    on_new: Annotated[
        str | None,
        option("--on-new", "COMMAND", "Run it when a job begins to wait; its review is JSON on stdin."),
    ] = None,
    webhook: Annotated[str | None, option("--webhook", "URL", "Post the same to a URL.")] = None,
) -> None:
    """List the jobs that wait for a person, the most urgent first.

    With `--on-new` or `--webhook` each suspension is told once, those too that wait already; unless on a terminal or
    with `--json` the list itself is left out. GLIDEMQ_WEBHOOK_SECRET signs what is posted.
    """
    wanted = options.merged(names, queue)
    channels = channels_of(on_new, webhook)
    require(not channels or watch, "--on-new and --webhook need --watch DUR")
    found, complete = await session.chosen_queues(wanted)
    view = await session.watch()
    cut = DEFAULT_BYTES if max_bytes is None else max_bytes
    if channels and watch is not None:
        listed = session.json or session.out.stdout_is_tty
        show = (lambda inbox: _show(session, inbox, complete)) if listed else None
        telling = Telling(session, channels, limit=limit, max_bytes=max_bytes, show=show)
        await until_terminated(telling.run(view, wanted, found, watch))
        return

    async def once() -> None:
        known = wanted or tuple(sorted({*found, *await view.known()}))
        _show(session, await view.approvals(known, limit=limit, payload_limit=cut), complete)

    await session.repeat(watch, once)


def _show(session: Session, inbox: Inbox, complete: bool) -> None:
    from glidemq_core.records import to_json

    out = session.out
    if session.json:
        shown = [approval_object(session, item) for item in inbox.items]
        whole = complete and inbox.complete
        out.object({"approvals": shown, "total": inbox.total, "complete": whole, "at_ms": to_json(inbox.at)})
        return
    if not inbox.items:
        out.note("nothing waits for approval")
        return

    rows = []
    for item in inbox.items:
        usage = item.usage
        cost = out.money(usage.total_cost, usage.cost_unit) if usage else UNKNOWN
        draft = item.draft if item.draft is not None else item.raw or _payload(out.masked(item.data))
        rows.append(
            [
                out.safe(f"{item.queue}:{item.id}", 48),
                out.safe(item.name, 24),
                countdown(item.deadline_at, inbox.at),
                age(item.suspended_at, inbox.at),
                out.safe(item.reason or UNKNOWN, 32),
                cost,
                count(item.waiting_behind),
                out.safe(" ".join(draft.split()), 48),
                out.safe(item.unshown or "", 40),
            ]
        )
    headers = ["JOB", "NAME", "LEFT", "WAITED", "REASON", "COST", "BEHIND", "DRAFT", "HELD"]
    out.table(headers, rows, right=["LEFT", "WAITED", "COST", "BEHIND"])
    if any(item.unshown for item in inbox.items):
        out.note(
            "what is held was not read whole: glidemq review JOB shows it, with the hash that approves it"
        )
    if inbox.total > len(inbox.items):
        out.note(f"{len(inbox.items)} of {inbox.total}; --limit shows more")


def _payload(data: Any) -> str:
    if data is None or isinstance(data, str):
        return data or ""
    return json.dumps(data, ensure_ascii=False, default=str)


def _arguments(session: Session, call: ToolCall) -> str:
    """Arguments of a tool call, secrets masked by the names of their fields too."""
    from glidemq_console.text.safe import mask_arguments

    return call.args if session.out.reveal else mask_arguments(call.args)[0]


@command("review")
async def review(session: Session, name: options.Job, queue: options.JobQueue = None) -> int:
    """Show the whole of what a decision on a suspended job covers, and the hash that binds one to it."""
    ref = await session.job_ref(name, queue)
    shown = await (await session.queue(ref.queue)).review(ref.id)
    if session.json:
        session.out.object({"approval": approval_object(session, shown)})
    else:
        _show_whole(session, shown)
    return 0


def _show_whole(session: Session, shown: Approval) -> None:
    out = session.out
    until = f", until {clock(shown.deadline_at)}" if shown.deadline_at else ", no deadline"
    pairs = [
        ("job", f"{out.safe(shown.queue)}:{out.safe(shown.id, 256)}"),
        ("name", out.safe(shown.name, 400)),
        ("reason", out.safe(shown.reason or UNKNOWN, 4_000)),
        ("suspended", f"{clock(shown.suspended_at)}{until}"),
    ]
    if shown.progress not in (0, None):
        pairs.append(("progress", out.whole(shown.progress)))
    if shown.usage is not None:
        pairs.append(("cost", out.money(shown.usage.total_cost, shown.usage.cost_unit)))
    pairs += [
        (f"signal {clock(one.received_at)}", f"{out.safe(one.name)} {out.whole(one.data)}")
        for one in shown.signals
    ]
    if shown.data_error is not None:
        pairs.append(("unreadable", out.safe(shown.data_error, 400)))
        pairs.append(("data as text", out.whole_text(shown.raw or "")))
    else:
        pairs.append((f"data {byte_size(shown.data_bytes)}", out.whole(shown.data)))
    pairs += [
        (f"tool call {number}", out.whole_text(f"{one.name} {_arguments(session, one)}".strip()))
        for number, one in enumerate(shown.tool_calls, 1)
    ]
    if shown.draft is not None:
        lines = plural(shown.draft.count("\n") + 1, "line")
        pairs.append((f"draft {lines}", out.whole_text(shown.draft)))
    streamed = ", ".join(f"{count} {out.safe(kind, 40)}" for kind, count in shown.chunks.items())
    pairs.append(("streamed", streamed or "nothing"))
    masked = approval_object(session, shown)["masked"]
    if masked:
        pairs.append(("masked", f"{plural(masked, 'secret')}: --reveal shows them"))
    if shown.unshown is not None:
        pairs.append(("hidden", out.safe(shown.unshown, 400)))
    pairs.append(("hash", shown.review_hash or f"{UNKNOWN} it cannot be shown whole"))
    out.fields(pairs)
