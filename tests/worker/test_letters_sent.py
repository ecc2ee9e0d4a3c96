"""Dead letters go out with the end of their job: at once, or by the outbox where another slot holds them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import P, in_state, quick
from server.test_cluster import cluster, cluster_ports  # noqa: F401

from glidemq_core import BroadcastWorker, Job, Queue, Worker
from glidemq_core.broadcast import Broadcast
from glidemq_core.doctor import examine
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker.outbox import Outbox


async def hopeless(job: Job) -> None:
    raise ValueError("hopeless")


async def letters(connection: Connection, name: str = "dead") -> list[Any]:
    async with Queue(name, connection) as queue:
        return [job.data for job in await queue.get_jobs("waiting")]


async def test_the_call_that_records_the_failure_adds_the_letter(
    bench: Bench, connection: Connection
) -> None:
    """A worker that dies right after the call has lost nothing."""
    calls: list[str] = []
    call = connection.call

    async def counted(function: str, *args: Any) -> Any:
        calls.append(function)
        reply = await call(function, *args)
        if function == "exchange" and await bench.field(job_id, "state") == "failed":
            seen.append(await bench.command("XLEN", "glide:{dead}:stream"))
        return reply

    seen: list[int] = []
    job_id = await bench.add(data={"n": 1}, attempts=2)
    connection.call = counted  # type: ignore[method-assign]
    async with quick(hopeless, connection, dead_letter_queue="dead"):
        await eventually(lambda: seen)

    assert seen[0] == 1
    assert not {"add", "add_plain", "reserve_flow", "take_letter"} & set(calls)
    [letter] = await letters(connection)
    assert (letter["originalJobId"], letter["data"], letter["attemptsMade"]) == (job_id, {"n": 1}, 1)


async def test_a_job_that_does_not_stay_leaves_its_letter(bench: Bench, connection: Connection) -> None:
    job_id = await bench.add(data=[1], remove_on_fail=True)
    async with quick(hopeless, connection, dead_letter_queue="dead"):
        await eventually(lambda: letters(connection))

    assert await bench.field(job_id, "state") is None
    assert [letter["data"] for letter in await letters(connection)] == [[1]]


async def test_many_that_end_in_one_call_have_each_their_own(bench: Bench, connection: Connection) -> None:
    ids = [await bench.add(data={"n": number, "text": "é" * number}) for number in range(20)]
    async with quick(hopeless, connection, dead_letter_queue="dead", concurrency=20):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "failed"))
            assert await bench.field(job_id, "failedReason") == "hopeless"

    found = await letters(connection)
    assert {letter["originalJobId"]: letter["data"] for letter in found} == {
        job_id: {"n": number, "text": "é" * number} for number, job_id in enumerate(ids)
    }


async def test_a_message_of_a_broadcast_too(connection: Connection) -> None:
    worker = BroadcastWorker(
        "b",
        hopeless,
        connection,
        subscription="s",
        start_from="0-0",
        dead_letter_queue="dead",
        log_errors=False,
    )
    async with Broadcast("b", connection) as broadcast, worker:
        await broadcast.publish("told", {"n": 1})
        await eventually(lambda: letters(connection))

    assert [letter["originalQueue"] for letter in await letters(connection)] == ["b"]


@pytest.mark.leaves_records
async def test_a_queue_that_refuses_gets_it_later(bench: Bench, connection: Connection) -> None:
    await bench.command("SET", "glide:{dead}:stream", "something else")
    job_id = await bench.add()
    async with quick(hopeless, connection, dead_letter_queue="dead"):
        await eventually(lambda: in_state(bench, job_id, "failed"))
        [entry] = [json.loads(entry) for entry in await bench.command("LRANGE", f"{P}:outbox", 0, -1)]
        assert entry["to"] == "glide:{dead}"
        await bench.command("DEL", "glide:{dead}:stream")
        await eventually(lambda: letters(connection))

    assert len(await letters(connection)) == 1
    assert await bench.command("LLEN", f"{P}:outbox") == 0


async def test_a_letter_that_comes_twice_is_added_once(bench: Bench, connection: Connection) -> None:
    packed = json.dumps(["", "{}", "0", "0", "0", "", ""])
    letter = {"mark": "q:1:5", "name": "a", "data": "{}", "packed": packed}
    entry = json.dumps({"to": "glide:{dead}", "letter": letter})
    await bench.command("RPUSH", f"{P}:outbox", entry, entry)
    errors: list[BaseException] = []

    assert not await Outbox(bench.scope, errors.append).deliver()

    assert errors == []
    assert len(await letters(connection)) == 1
    assert 0 < await bench.command("TTL", "glide:{dead}:lettered:q:1:5") <= 30 * 86_400


@pytest.mark.parametrize("letter", [5, {"mark": "m"}, {"mark": 1, "name": "", "data": "", "packed": ""}])
async def test_what_is_no_letter_is_set_aside(bench: Bench, connection: Connection, letter: Any) -> None:
    await bench.command("RPUSH", f"{P}:outbox", json.dumps({"to": "glide:{dead}", "letter": letter}))

    await Outbox(bench.scope, print).deliver()

    assert await bench.command("LLEN", f"{P}:outbox") == 0
    async with Watch(connection) as watch:
        checks = {check.id: check for check in await examine(connection, watch, ["q"])}
    assert checks["outbox"].status != "ok"
    await bench.command("DEL", f"{P}:outbox-failed")


@pytest.mark.xdist_group("cluster")
async def test_another_slot_gets_it_by_the_outbox(cluster: Connection) -> None:  # noqa: F811
    import glide

    await cluster.client.custom_command(["FLUSHALL"], route=glide.AllPrimaries())
    async with Queue("b", cluster) as queue:
        job = await queue.add("a", {"n": 1})
        worker = Worker(
            "b", hopeless, cluster, dead_letter_queue="c", log_errors=False, promotion_interval=50
        )
        async with worker:
            await eventually(lambda: letters(cluster, "c"))

    [letter] = await letters(cluster, "c")
    assert (letter["originalQueue"], letter["originalJobId"], letter["data"]) == ("b", job.id, {"n": 1})
    assert await cluster.command("LLEN", "glide:{b}:outbox") == 0
