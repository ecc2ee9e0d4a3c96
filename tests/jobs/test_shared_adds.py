"""Adds made at the same time share calls: each keeps its place, its answer and its error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kits.bench import Bench
from kits.worker import P

from glidemq_core.errors import BulkError, CallTimeoutError, CostExceedsCapacityError, ServerError
from glidemq_core.options.job import JobOptions, NewJob
from glidemq_core.options.types import Deduplication, Ordering, TokenBucket
from glidemq_core.server.connection import Connection


class Calls:
    """The adding calls of a connection: function and number of jobs each."""

    def __init__(self, connection: Connection) -> None:
        self.made: list[tuple[str, int]] = []
        self._call = connection.call
        connection.call = self._counted  # type: ignore[method-assign]

    async def _counted(self, function: str, key: str, *args: Any) -> Any:
        if function == "add_plain":
            self.made.append((function, int(args[2])))
        elif function == "add":
            self.made.append((function, (len(args) - 2) // 3))
        return await self._call(function, key, *args)


@pytest.fixture
async def calls(bench: Bench) -> Calls:
    await bench.add("first")  # the registry knows the queue
    return Calls(bench.connection)


async def ids_of(bench: Bench, *adds: Any) -> list[Any]:
    found = await asyncio.gather(*adds, return_exceptions=True)
    return [getattr(one, "id", one) for one in found]


async def test_an_add_alone_is_a_call_alone(bench: Bench, calls: Calls) -> None:
    for _ in range(3):
        await bench.add()
    assert calls.made == [("add_plain", 1)] * 3


async def test_adds_of_one_turn_share_calls_and_keep_their_order(bench: Bench, calls: Calls) -> None:
    ids = await ids_of(bench, *(bench.queue.add("a", n) for n in range(1_001)))
    assert [count for _, count in calls.made] == [1, 250, 250, 250, 250]
    assert ids == [str(n) for n in range(2, 1_003)]
    assert await bench.stream_ids() == ["1", *ids]
    for n in (0, 500, 1_000):
        job = await bench.queue.get_job(ids[n])
        assert job is not None
        assert (job.name, job.data) == ("a", n)


async def test_large_payloads_are_spread_over_calls(bench: Bench, calls: Calls) -> None:
    ids = await ids_of(bench, *(bench.queue.add("a", "x" * 1_000_000) for _ in range(9)))
    assert [count for _, count in calls.made] == [1, 3, 3, 2]
    assert len(set(ids)) == 9


async def test_jobs_with_and_without_options_keep_their_order(bench: Bench, calls: Calls) -> None:
    adds = [bench.queue.add("a", n, **({"attempts": 3} if n % 10 > 4 else {})) for n in range(40)]
    ids = await ids_of(bench, *adds)
    assert calls.made == [("add_plain", 1), ("add_plain", 4), *[("add", 5), ("add_plain", 5)] * 3, ("add", 5)]
    assert await bench.stream_ids() == ["1", *ids]


async def test_a_refused_add_is_the_only_one_that_hears_of_it(bench: Bench, calls: Calls) -> None:
    await bench.command("SET", f"{P}:group:foreign", "something else")
    small = Ordering("small", token_bucket=TokenBucket(1, 1))
    add = bench.queue.add
    found = await ids_of(
        bench,
        add("alone"),
        add("a", attempts=2),
        add("b", ordering=Ordering("foreign")),
        add("c", job_id="1"),
        add("d", ordering=small, cost=5),
        add("e", deduplication=Deduplication("once")),
        add("f", deduplication=Deduplication("once")),
        add("g", attempts=2),
    )
    assert calls.made == [("add_plain", 1), ("add", 6)]
    assert isinstance(found[2], ServerError)
    assert found[2].code == "WRONGTYPE"
    assert "glide:{q}" in str(found[2]) or "queue 'q'" in str(found[2])
    assert isinstance(found[4], CostExceedsCapacityError)
    assert (found[3], found[6]) == (None, None)
    assert await bench.stream_ids() == ["1", found[0], found[1], found[5], found[7]]
    await bench.command("DEL", f"{P}:group:foreign")


async def test_a_foreign_key_at_the_place_of_a_record_costs_a_number(bench: Bench, calls: Calls) -> None:
    """The job that cannot have it, and those behind it, are added by another call under other numbers."""
    await bench.command("SET", f"{P}:job:5", "something else")
    found = await ids_of(bench, *(bench.queue.add("a", n) for n in range(8)))
    assert calls.made == [("add_plain", 1), ("add_plain", 7), ("add_plain", 5)]
    assert found == ["2", "3", "4", "10", "11", "12", "13", "14"]
    assert [await bench.field(job_id, "data") for job_id in found] == [str(n) for n in range(8)]
    await bench.command("DEL", f"{P}:job:5")


async def test_a_bulk_add_loses_only_what_a_foreign_key_refuses(bench: Bench) -> None:
    await bench.command("SET", f"{P}:group:foreign", "something else")
    keys = ["k", "k", "foreign", "k", "k"]
    with pytest.raises(BulkError) as caught:
        await bench.queue.add_bulk([NewJob("a", options=JobOptions(ordering=Ordering(key))) for key in keys])
    found = caught.value.results
    assert [isinstance(one, ServerError) for one in found] == [False, False, True, False, False]
    assert len(await bench.stream_ids()) == 4
    await bench.command("DEL", f"{P}:group:foreign")


async def test_cancelling_one_add_disturbs_no_other(bench: Bench, calls: Calls) -> None:
    tasks = [asyncio.create_task(bench.queue.add("a", n)) for n in range(6)]
    await asyncio.sleep(0)  # the first is on its way, the others wait for the end of this turn
    tasks[2].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[2], asyncio.CancelledError)
    assert [bool(getattr(one, "id", None)) for one in found] == [True, True, False, True, True, True]
    assert calls.made == [("add_plain", 1), ("add_plain", 4)]

    tasks = [asyncio.create_task(bench.queue.add("a", n)) for n in range(6)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # all are on their way
    tasks[3].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [bool(getattr(one, "id", None)) for one in found] == [True, True, True, False, True, True]
    assert await bench.command("XLEN", f"{P}:stream") == 1 + 5 + 6


async def test_when_a_shared_reply_is_lost_each_caller_hears_of_it(bench: Bench) -> None:
    await bench.add()
    call = bench.connection.call

    async def lossy(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "add_plain" and int(args[3]) > 1:
            raise CallTimeoutError("lost", command="add_plain", timeout_ms=1)
        return reply

    bench.connection.call = lossy  # type: ignore[method-assign]
    found = await asyncio.gather(*(bench.queue.add("a", n) for n in range(5)), return_exceptions=True)
    assert [type(one).__name__ for one in found] == ["Job", *["CallTimeoutError"] * 4]
    bench.connection.call = call  # type: ignore[method-assign]
    assert await bench.add("again")


async def test_what_a_dead_loop_left_waiting_holds_up_nobody(bench: Bench) -> None:
    from glidemq_core.jobs.adding.sharing import SharedAdds

    context = await bench.queue.context()

    async def left_behind() -> None:
        shared = SharedAdds.of(context, True)
        shared._under_way = 1
        shared._queued.append((("", "a", "1", "{}", "0", "0", "0", "", ""), asyncio.Future()))

    await asyncio.to_thread(asyncio.run, left_behind())
    assert len({(await bench.queue.add("a")).id for _ in range(3)}) == 3
