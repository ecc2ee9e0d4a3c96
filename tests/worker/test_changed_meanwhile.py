"""Jobs that other writers change between claim and settle: a plain success looks at what they can have changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import answers, claims, ends, exchange
from kits.worker import P, in_state, quick

from glidemq_core.errors import ServerError
from glidemq_core.options.job import JobOptions, NewJob
from glidemq_core.options.types import Ordering
from glidemq_core.queue import Queue
from glidemq_core.server import functions
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.wire.serializer import Serializer

CONSUMER = "worker-1-0badcafe"


async def settle(bench: Bench, *runs: tuple[str, str, str], flags: str = "em") -> list[str]:
    words = ends(*(word for run in runs for word in ("\x1f".join(run), "null")))
    now = bench.scope.now_ms()
    reply = await bench.scope.call(*exchange(now, CONSUMER, 0, flags), *words)
    return answers(reply, len(runs))


@pytest.fixture
async def waiting_parent(bench: Bench) -> str:
    """A parent that waits for children, none of which is done; its id."""
    parent = await bench.add("parent")
    [run] = await bench.claim()
    await bench.command("SADD", f"{P}:deps:{parent}", f"{P}:2")
    assert (await bench.scope.call("wait_children", *run, bench.scope.now_ms(), ""))[0] == b"ok"
    return parent


async def test_a_parent_that_was_attached_to_a_running_job_hears_of_its_end(
    bench: Bench, waiting_parent: str
) -> None:
    """A peer creates the inner jobs of a flow first and links them to their parents afterwards."""
    child = await bench.add("child")
    [run] = await bench.claim()
    await bench.command("HSET", f"{P}:job:{child}", "parentId", waiting_parent, "parentQueue", "q")

    assert await settle(bench, run) == ["ok"]
    assert await bench.field(waiting_parent, "state") == "waiting"


async def test_dependents_that_were_attached_to_a_running_job_hear_of_its_end(
    bench: Bench, waiting_parent: str
) -> None:
    child, other = await bench.add("child"), await bench.add("other")
    runs = await bench.claim(2)
    await bench.command("SADD", f"{P}:parents:{child}", f"{P}:{waiting_parent}")

    assert await settle(bench, *runs) == ["ok", "ok"]
    assert await bench.field(waiting_parent, "state") == "waiting"
    assert await bench.field(other, "state") == "completed"


async def test_a_budget_that_was_attached_to_a_running_job_is_charged(bench: Bench) -> None:
    """A peer writes the budget of a flow when its jobs can run already."""
    job_id = await bench.add()
    [run] = await bench.claim()
    await bench.command("HSET", f"{P}:budget:root", "maxTotalTokens", "10")
    await bench.command(
        "HSET", f"{P}:job:{job_id}", "budgetKey", f"{P}:budget:root", "usage:totalTokens", "12"
    )

    assert await settle(bench, run) == ["ok"]
    assert await bench.command("HMGET", f"{P}:budget:root", "usedTokens", "exceeded") == [b"12", b"1"]
    await bench.command("DEL", f"{P}:budget:root")


async def test_early_signals_of_ended_jobs_go(bench: Bench) -> None:
    job_id, other = await bench.add(), await bench.add()
    runs = await bench.claim(2)
    await bench.command("SADD", f"{P}:early-index", job_id)
    await bench.command("RPUSH", f"{P}:early:{job_id}", "{}")

    assert await settle(bench, *runs) == ["ok", "ok"]
    assert await bench.command("EXISTS", f"{P}:early-index", f"{P}:early:{job_id}") == 0
    assert await bench.field(other, "state") == "completed"


@pytest.mark.parametrize("state", ["failed", "delayed", "waiting", None])
async def test_a_job_that_a_peer_moved_without_acknowledging_is_lost(bench: Bench, state: str | None) -> None:
    """A peer removes or retries an active job and leaves its entry pending."""
    job_id = await bench.add()
    [run] = await bench.claim()
    key = f"{P}:job:{job_id}"
    if state is None:
        await bench.command("DEL", key)
    else:
        await bench.command("HSET", key, "state", state)

    assert await settle(bench, run) == ["lost"]
    assert await bench.command("HMGET", key, "state", "returnvalue") == [state and state.encode(), None]
    assert await bench.command("ZSCORE", f"{P}:completed", job_id) is None


async def test_a_job_that_took_the_place_of_the_claimed_one_gives_its_slot_back(bench: Bench) -> None:
    """Same custom id, added and started again by others: what the claim saw of the first says nothing of it."""
    await bench.add(job_id="x")
    [run] = await bench.claim()
    await bench.command("DEL", f"{P}:job:x")
    await bench.add(job_id="x", ordering=Ordering("k"))
    await asyncio.sleep(0.002)
    [again] = await bench.claim()
    assert again[0] == run[0]
    assert again[2] != run[2]
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"1"

    assert await settle(bench, run) == ["ok"]
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"0"


async def test_a_worker_says_what_its_claim_saw(bench: Bench, connection: Connection) -> None:
    """Slots of ordering keys come free, whatever else their batch holds."""
    ids = [await bench.add(ordering=Ordering(f"k{n % 3}") if n % 2 else None) for n in range(40)]

    async def process(_: Any) -> None: ...

    async with quick(process, connection, concurrency=20):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
    for n in range(3):
        assert await bench.command("HGET", f"{P}:group:k{n}", "active") == b"0"


async def test_the_events_of_a_batch_are_all_there_and_their_stream_stays_short(bench: Bench) -> None:
    await bench.queue.add_bulk([NewJob("a") for _ in range(3_000)])
    for _ in range(15):
        assert set(await settle(bench, *await bench.claim(200))) == {"ok"}
    assert await bench.command("XLEN", f"{P}:events") < 1_400
    tail = [what for what in await bench.events() if what[0] == "completed"][-200:]
    assert sorted(int(job_id) for _, job_id in tail) == list(range(2_801, 3_001))


# What claims look like -------------------------------------------------------------------------------------------


class Binary(Serializer):
    """Payloads that hold every control character."""

    def serialize(self, value: Any) -> str:
        return "\x1e".join(map(chr, range(1, 32))) + str(value)

    def deserialize(self, text: str) -> Any:
        return text[61:]


async def test_payloads_with_control_characters_arrive(bench: Bench, connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection, serializer=Binary())
    job = await queue.add("a", "seven")
    assert job is not None
    seen: list[Any] = []

    async def process(job: Any) -> str:
        seen.append(job.data)
        return "back"

    async with quick(process, connection, serializer=Binary()):
        await eventually(lambda: in_state(bench, job.id, "completed"))
    assert seen == ["seven"]
    assert (await queue.get_job(job.id)).result == "back"  # type: ignore[union-attr]


@pytest.mark.parametrize("more", [(), ("progress", "\x1f")])
@pytest.mark.parametrize("options", [{}, {"lifo": True}, {"ordering": Ordering("k")}])
async def test_fields_with_the_separator_cost_nothing_but_another_read(
    bench: Bench, connection: Connection, options: dict[str, Any], more: tuple[str, ...]
) -> None:
    odd, plain = await bench.add(data={"n": 1}, **options), await bench.add(data={"n": 2})
    await bench.command("HSET", f"{P}:job:{odd}", "name", "a\x1fb\x1f", *more)
    seen: dict[str, Any] = {}

    async def process(job: Any) -> None:
        seen[job.id] = (job.name, job.data, job.state)

    async with quick(process, connection, concurrency=4):
        for job_id in (odd, plain):
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
    assert seen == {odd: ("a\x1fb\x1f", {"n": 1}, "active"), plain: ("a", {"n": 2}, "active")}


async def test_a_payload_of_ten_megabytes_is_handed_out_whole(bench: Bench) -> None:
    """No client of ours writes one; a peer may."""
    job_id = await bench.add()
    text = '"' + "x" * 10_000_000 + '"'
    await bench.command("HSET", f"{P}:job:{job_id}", "data", text)
    now = bench.scope.now_ms()
    reply = await bench.scope.call(*exchange(now, CONSUMER, 5, "em"))

    [claim] = claims(reply)
    assert claim.fields["data"] == text.encode()
    assert await settle(bench, (job_id, claim.entry, str(now))) == ["ok"]


async def test_results_of_a_megabyte_are_recorded(bench: Bench, connection: Connection) -> None:
    ids = [await bench.add() for _ in range(4)]

    async def process(_: Any) -> str:
        return "x" * 1_000_000

    async with quick(process, connection, concurrency=4):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
    assert {len(await bench.field(job_id, "returnvalue") or "") for job_id in ids} == {1_000_002}


# Another library under our name ----------------------------------------------------------------------------------


ODD_REPLIES: list[Any] = [
    [],
    b"ok",
    None,
    [[], [b"one"]],
    [[b"ok"] * 9, []],
    [[], [], b"why"],
    [[], [b"id\x1f7", b""]],
    [[], [b"7\x1ff", b""]],
    [[[b"0-1", b"7", [b"id", b"7"], b""]], [], b""],
]


@pytest.mark.parametrize("odd", ODD_REPLIES)
async def test_a_reply_of_an_unexpected_shape_is_told_and_stalls_nothing(
    bench: Bench, connection: Connection, odd: Any
) -> None:
    call, errors, left = connection.call, list[BaseException](), 3

    async def strange(function: str, *args: Any) -> Any:
        nonlocal left
        reply = await call(function, *args)
        if function == "exchange" and left:
            left -= 1
            return odd
        return reply

    async def process(_: Any) -> str:
        return "done"

    ids = [job.id for job in await bench.queue.add_bulk([NewJob("a", options=JobOptions())] * 8)]
    connection.call = strange  # type: ignore[method-assign]
    worker = quick(process, connection, concurrency=4)
    worker.on("error", errors.append)
    async with worker:
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
    assert [error for error in errors if "answers in another way" in str(error)]
    assert {await bench.field(job_id, "stalledCount") for job_id in ids} == {None}


async def test_a_library_of_another_build_is_refused_at_once(server_url: str, connection: Connection) -> None:
    other = functions.source().replace(functions.build(), f"{functions.LIBRARY} 0123456789abcdef")
    assert other != functions.source()
    await connection.client.custom_command(["FUNCTION", "LOAD", "REPLACE", other])
    try:
        with pytest.raises(ServerError, match="another build") as caught:
            await connect(server_url)
        assert caught.value.hint == functions.RELOAD
        assert caught.value.code == "LIBRARY"
    finally:
        await connection.client.custom_command(["FUNCTION", "LOAD", "REPLACE", functions.source()])
    async with connect(server_url) as again:
        assert again.functions_available
