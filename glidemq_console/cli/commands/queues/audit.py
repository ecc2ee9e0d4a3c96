"""`audit`: who changed what, whether the chain of it holds, and all of it to keep elsewhere."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ....text.format import UNKNOWN, moment, plural
from ... import options
from ...errors import UsageProblem
from ...option_types import some_text
from ...options import option
from ...program import command, require
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.records import AuditCheck, AuditEntry

#: The first word that asks for all entries instead of a list of the newest; a queue of this name takes `-q`.
EXPORT = "export"


@command("audit")
async def audit(
    session: Session,
    names: Annotated[
        list[str] | None,
        Argument(metavar="[export] QUEUE", help="Queues; none: all. After export: a JSON line an entry."),
    ] = None,
    queue: options.QueueOption = None,
    job: Annotated[str | None, option("--job", "JOB", "Only what concerns this job.", some_text)] = None,
    limit: Annotated[int, option("--limit", "N", "Entries at most.", min=1, max=100_000)] = 100,
    verify: Annotated[bool, Option("--verify", help="Recompute the chain of hashes.")] = False,
    expect_last: Annotated[
        str | None,
        option("--expect-last", "SEQ:HASH", "With --verify: this entry must still be there.", some_text),
    ] = None,
) -> int:
    """Show who changed what and when, newest first."""
    last = None if expect_last is None else _read_last(expect_last)
    require(last is None or verify, "--expect-last belongs to --verify")
    if names and names[0] == EXPORT:
        require(not (job or verify), "export writes everything: leave out --job and --verify")
        return await _export(session, options.merged(names[1:], queue))
    wanted, job_id = options.merged(names, queue), None
    if job is not None:
        ref = await session.job_ref_in(job, wanted)
        wanted, job_id = (ref.queue,), ref.id
    require(last is None or len(wanted) == 1, "--expect-last belongs to one QUEUE")
    found, _ = await session.chosen_queues(wanted)
    entries: list[AuditEntry] = []
    checks: dict[str, AuditCheck] = {}
    for name in found:
        if verify:
            checks[name] = await (await session.queue(name)).verify_audit(expect_last=last)
        entries += await _entries(session, name, limit, job_id)
    entries = sorted(entries, key=lambda entry: (entry.at, entry.queue, entry.seq), reverse=True)[:limit]
    if session.json:
        chains = {name: _state(check) for name, check in checks.items()}
        more = {"checks": checks} if verify else {}
        session.out.record({"entries": entries, "chains": chains, **more})
    else:
        _show(session, entries, checks)
    return 0 if all(check.ok for check in checks.values()) else 1


async def _entries(session: Session, name: str, limit: int, job_id: str | None) -> list[AuditEntry]:
    """Read the newest entries of a queue; none where the audit's key is of a foreign type."""
    from glidemq_core.errors import ServerError

    try:
        return await (await session.queue(name)).get_audit(limit=limit, job_id=job_id)
    except ServerError as error:
        if error.code != "WRONGTYPE":
            raise
        session.out.note(f"{session.out.safe(name)}: {error.message}")
        return []


def _read_last(text: str) -> tuple[int, str]:
    seq, _, digest = text.partition(":")
    if not seq.isascii() or not seq.isdecimal() or len(digest) != 64:
        raise UsageProblem("--expect-last is SEQ:HASH, as --verify prints it")
    return int(seq), digest.lower()


async def _export(session: Session, wanted: tuple[str, ...]) -> int:
    found, _ = await session.chosen_queues(wanted)
    for name in found:
        async for text in (await session.queue(name)).export_audit():
            try:
                entry = json.loads(text)
            except (ValueError, RecursionError):
                session.out.note(f"{session.out.safe(name)}: an entry cannot be read: see --verify")
                continue
            session.out.object(session.out.masked(entry))
    return 0


def _state(check: AuditCheck) -> str:
    return "ok" if check.ok else f"broken:{check.broken_at}"


def _show(session: Session, entries: list[AuditEntry], checks: dict[str, AuditCheck]) -> None:
    from glidemq_console.text.audit import detail_words

    out, now_ms = session.out, time.time_ns() // 1_000_000
    if entries:
        rows = [
            [
                moment(entry.at, now_ms),
                out.safe(entry.by, 30),
                out.safe(entry.action, 20),
                out.safe(entry.queue, 40),
                out.safe(", ".join(entry.job_ids) or UNKNOWN, 40),
                out.safe(entry.outcome, 20),
                out.safe(detail_words(entry.detail), 60),
                out.safe(entry.comment or "", 60),
            ]
            for entry in entries
        ]
        out.table(["WHEN", "WHO", "WHAT", "QUEUE", "JOBS", "OUTCOME", "DETAIL", "COMMENT"], rows)
    else:
        out.note("no entries")
    for name, check in checks.items():
        words = (
            f"{out.safe(name)}: chain {_state(check)}, {plural(check.entries, 'entry', 'entries')} checked"
        )
        if check.entries:
            words += f", {check.first_seq} to {check.last_seq}, last {check.last_seq}:{check.last_hash}"
        out.line(words)
