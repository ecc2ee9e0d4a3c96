"""The table of readers: each reads one part of the snapshot when it is wanted and due. A new part is one line here."""

from __future__ import annotations

from dataclasses import replace

from ...model.decisions import server_of
from ...model.snapshot import JobView
from ..reading import Reader, Reading
from .cost import CostReader
from .events import EventsReader
from .failures import FailuresReader, LettersReader
from .flow import FlowReader
from .job_pages import JobListReader
from .queue_detail import read_queue_detail
from .queues import read_columns, read_known, read_rows
from .schedules import read_schedules
from .stream_finder import StreamFinder
from .workers import WorkersReader

SERVER_EVERY_MS = 30_000
DETAIL_EVERY_MS = 5_000
#: How often queues on screen are searched for token counters that no worker reports.
TOKENS_EVERY_MS = 10_000
#: How often the list of flows is read; one flow is read at the usual rate.
FLOWS_EVERY_MS = 2_000


def readers(job_list: JobListReader) -> tuple[Reader, ...]:
    return (
        _read_server,
        read_rows,
        job_list.read,
        _read_job,
        _read_inbox,
        _read_detail,
        StreamFinder().read_wanted,
        _read_limits,
        _read_flows,
        FlowReader().read_wanted,
        WorkersReader().read_wanted,
        FailuresReader().read_wanted,
        LettersReader().read_wanted,
        read_schedules,
        EventsReader().read_wanted,
        CostReader().read_wanted,
        read_columns,
    )


async def _read_server(reading: Reading) -> None:
    if reading.is_due("server", SERVER_EVERY_MS):
        server = await reading.attempt(reading.watch.server())
        permissions = await reading.attempt(reading.watch.permissions())
        known = reading.known
        reading.known = replace(
            known, server=server or known.server, permissions=permissions or known.permissions
        )


async def _read_job(reading: Reading) -> None:
    ref = reading.wants.job
    if ref is None or not reading.is_due(ref):
        return

    async def read() -> JobView:
        detail = await reading.watch.job(ref.queue, ref)
        return JobView(ref=ref, detail=detail, at_ms=reading.clock())

    if (view := await reading.attempt(read())) is not None:
        reading.known = replace(reading.known, job=view)


async def _read_inbox(reading: Reading) -> None:
    wants = reading.wants
    if wants.inbox and reading.is_due("inbox"):
        shown = [ref for ref in wants.inbox_shown if server_of(ref) is None]
        inbox = await reading.attempt(reading.watch.approvals(shown=shown))
        if inbox is not None:
            reading.known = replace(reading.known, inbox=inbox)


async def _read_detail(reading: Reading) -> None:
    queue = reading.wants.queue_detail
    if queue is None or not reading.is_due(("detail", queue), DETAIL_EVERY_MS):
        return
    workers = await reading.attempt(reading.watch.workers((queue,)))
    if workers is not None:
        reading.rows.note_workers(queue, workers.workers)
    detail = await reading.attempt(read_queue_detail(reading.watch, queue, workers, reading.clock()))
    if detail is not None:
        reading.known = replace(reading.known, queue_detail=detail)


async def _read_limits(reading: Reading) -> None:
    wants = reading.wants
    if wants.limits is None:
        return
    if reading.is_due("tokens", TOKENS_EVERY_MS) and wants.rows:
        await reading.attempt(reading.watch.limits(wants.rows))
    if reading.is_due(("limits", wants.limits)):
        found = await reading.attempt(reading.watch.limits((wants.limits,)))
        if found:
            reading.known = replace(reading.known, limits=found[0])


async def _read_flows(reading: Reading) -> None:
    wants = reading.wants
    every_ms = max(reading.config.refresh_ms, FLOWS_EVERY_MS)
    if wants.flows and reading.is_due("flows", every_ms):
        flows = await reading.attempt(reading.watch.flows(limit=wants.flows, shown=wants.flows_shown))
        if flows is not None:
            reading.known = replace(reading.known, flows=flows)


#: What is read of a server of which only the jobs that wait for a person are listed.
INBOX_READERS: tuple[Reader, ...] = (_read_server, read_known, _read_inbox)
