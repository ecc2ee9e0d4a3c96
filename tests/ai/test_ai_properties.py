"""Properties of limits and signals that must hold whatever happens, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from conftest import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidemq_core import Connection, Job, NewJob, Queue, TokenLimit, UnrecoverableError, Worker, connect

EXAMPLES = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
WINDOW_MS = 60_000

# Tokens ------------------------------------------------------------------------------------------------------

#: What a run does: tokens it reports (None: nothing), whether by usage or by number alone, and how it ends.
RUN = st.tuples(st.none() | st.integers(0, 120), st.booleans(), st.sampled_from(["done", "fail", "fatal"]))


@EXAMPLES
@given(
    runs=st.lists(RUN, min_size=1, max_size=10) | st.lists(RUN, min_size=20, max_size=30),
    cap=st.integers(1, 150),
    crew=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    scope=st.sampled_from(["queue", "both"]),
)
async def test_a_window_admits_no_more_than_its_cap_and_what_was_in_flight(
    connection: Connection,
    runs: Sequence[tuple[int | None, bool, str]],
    cap: int,
    crew: list[int],
    scope: str,
) -> None:
    """Clocks stand still within a window, so that all that starts belongs to it; then they go to the next one."""
    await connection.command("FLUSHALL")
    clock = [connection.now_ms() // WINDOW_MS * WINDOW_MS + 1]
    counted = 0  # by runs whose end is on the server
    reported: dict[str, int] = {}
    running: set[str] = set()
    admitted: list[int] = []
    queue: Queue[Any, Any] = Queue("q", connection)

    async def process(job: Job[Any, Any]) -> None:
        admitted.append(job.data)
        running.add(job.id)
        tokens, by_usage, end = runs[job.data]
        if tokens is not None:
            if by_usage:
                await job.report_usage(model="m", tokens={"t": tokens})
            else:
                await job.report_tokens(tokens)
            reported[job.id] = tokens
        if end == "fatal":
            raise UnrecoverableError("no more")
        if end == "fail":
            raise RuntimeError("for good too: it has one attempt")

    def ended(job: Job[Any, Any], _: Any) -> None:
        nonlocal counted
        running.discard(job.id)
        counted += reported.get(job.id, 0)

    await queue.add_bulk([NewJob("n", number) for number in range(len(runs))])
    connections = [await connect(connection.url) for _ in crew]
    workers = []
    for own, concurrency in zip(connections, crew, strict=True):
        own.now_ms = lambda: clock[0]
        limit = TokenLimit(cap, WINDOW_MS, scope)
        worker = Worker("q", process, own, concurrency=concurrency, token_limiter=limit, log_errors=False)
        worker.on("completed", ended)
        worker.on("failed", ended)
        workers.append(worker)
    try:
        for worker in workers:
            await worker.start()

        async def window_is_over() -> bool:
            return not running and (counted >= cap or len(admitted) == len(runs))

        await eventually(window_is_over)
        # What the server holds is what was reported, however runs ended.
        stored = await connection.command("GET", f"glide:{{q}}:tpm:{clock[0] // WINDOW_MS}")
        assert int(stored or 0) == counted
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))
        await asyncio.gather(*(own.close() for own in connections))
    total = int(await connection.command("GET", f"glide:{{q}}:tpm:{clock[0] // WINDOW_MS}") or 0)
    # The last start saw a window below its cap: over it went only what ran side by side then.
    spent = sorted(runs[number][0] or 0 for number in admitted)
    assert sum(spent) == total
    assert sum(spent[: -sum(crew)]) < cap
    left = await connection.command("XLEN", "glide:{q}:stream")
    assert left == len(runs) - len(admitted), "the rest waits, unclaimed"


# Signals -----------------------------------------------------------------------------------------------------

#: How a signal is sent: kept if it is early, or only once the job is suspended.
SENT = st.lists(st.booleans(), min_size=1, max_size=6)


@EXAMPLES
@given(ways=SENT, before=st.booleans(), workers=st.integers(1, 2))
async def test_signals_arrive_in_order_none_lost_none_twice(
    connection: Connection, ways: list[bool], before: bool, workers: int
) -> None:
    """A job that asks once for every signal sees each exactly once, in the order in which it was accepted."""
    await connection.command("FLUSHALL")
    fresh: list[list[int]] = []
    queue: Queue[Any, Any] = Queue("q", connection)

    async def process(job: Job[Any, Any]) -> list[int]:
        if job.signals:
            fresh.append([signal.data for signal in job.new_signals])
        if len(job.signals) < len(ways):
            await job.suspend(reason=f"round {len(job.signals)}")
        return [signal.data for signal in job.signals]

    job = await queue.add("n", {})
    assert job is not None

    async def send() -> None:
        for number, early in enumerate(ways):
            if early:
                answer = await queue.signal("1", f"s{number}", number, early=True)
                assert answer.outcome in ("kept", "resumed")
            else:

                async def accepted(number: int = number) -> bool:
                    return bool(await queue.signal("1", f"s{number}", number))

                await eventually(accepted)

    if before:
        # Early ones up to the first that needs a suspended job are sent while nobody works.
        sending = asyncio.create_task(send())
    crew = [Worker("q", process, connection, promotion_interval=50) for _ in range(workers)]
    for worker in crew:
        await worker.start()
    if not before:
        sending = asyncio.create_task(send())
    try:
        await asyncio.wait_for(sending, 20)
        await eventually(job.is_completed)
    finally:
        await asyncio.gather(*(worker.close() for worker in crew))
    await job.refresh()
    assert [signal.name for signal in job.signals] == [f"s{number}" for number in job.result]
    assert sorted(job.result) == list(range(len(ways))), "none lost, none twice"
    assert fresh == [[number] for number in job.result], "each run sees only what is new"
    in_turn = [number for number in job.result if ways[number]]
    assert in_turn == sorted(in_turn), "kept signals keep their order"
