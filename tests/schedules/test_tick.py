"""The runs that workers make: what becomes of an entry and of its job, once each, beside Node's and each other's."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.wire import assert_same_records, dump, recording
from kits.worker import Outage, quick

from glidemq_core import JobOptions, JobTemplate, Queue, ServerError, Worker
from glidemq_core.schedules.tick import SchedulerTick
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext
from glidemq_core.worker import sweeps

KEY = "glide:{q}:schedulers"
LOCK = f"{KEY}:lock:__tick__"
NOW = 1_795_467_252_441


@pytest.fixture
def clock(bench: Bench) -> list[int]:
    """The caller's clock, which stands still until a test moves it."""
    now = [NOW]
    bench.connection.now_ms = lambda: now[0]  # type: ignore[method-assign]
    return now


class Ticker:
    """The scheduler's part of a worker's promotion tick, a tick at a time."""

    def __init__(self, context: QueueContext, name: str = "w1") -> None:
        self.context = context
        self.schedulers = SchedulerTick(context, name, 5_000)

    async def __call__(self) -> list[str]:
        tick = await sweeps.tick(self.context, self.schedulers.question(self.context.now_ms()))
        return tick.errors + await self.schedulers.run(tick.schedulers, tick.at_ms)


@pytest.fixture
def tick(bench: Bench) -> Ticker:
    return Ticker(bench.scope)


async def entry(bench: Bench, name: str) -> dict[str, Any] | None:
    stored = await bench.command("HGET", KEY, name)
    return None if stored is None else dict(json.loads(stored))


async def test_a_run_is_stored_as_recorded(bench: Bench, clock: list[int], tick: Ticker) -> None:
    """All but what workers did with the jobs, which other tests compare."""
    wanted = recording("scheduler_fired")["keys"]
    [text] = wanted["glide:{scheduler_fired}:schedulers"]["value"].values()
    clock[0] = json.loads(text)["nextRun"] - 600
    await bench.queue.upsert_job_scheduler(
        "tick", every=200, limit=3, template=JobTemplate("tick-job", {"a": 1})
    )

    for at in (wanted[f"glide:{{scheduler_fired}}:job:{n}"]["value"]["timestamp"] for n in (1, 2)):
        clock[0] = int(at)
        assert await tick() == []

    assert (await bench.command("HGET", KEY, "tick")).decode() == text
    jobs = await dump(bench.connection, "glide:{q}:job:*")
    done = ("processedOn", "lastActive", "returnvalue", "finishedOn")
    recorded = {
        f"glide:{{q}}:job:{n}": {
            "type": "hash",
            "value": {
                **{
                    k: v
                    for k, v in wanted[f"glide:{{scheduler_fired}}:job:{n}"]["value"].items()
                    if k not in done
                },
                "state": "waiting",
            },
        }
        for n in (1, 2)
    }
    assert {key: value["value"] for key, value in jobs.items()} == {
        k: v["value"] for k, v in recorded.items()
    }
    events = await bench.command("XRANGE", "glide:{q}:events", "-", "+")
    assert [[text.decode() for pair in fields for text in pair] for fields in events.values()] == [
        ["event", "added", "jobId", "1", "name", "tick-job"],
        ["event", "added", "jobId", "2", "name", "tick-job"],
    ]


async def test_repeat_after_complete_is_as_recorded(connection: Connection) -> None:
    """Set, made and settled by ours: every key is that of the recording."""
    name = "scheduler_repeat_after_complete"

    async def one(_: Any) -> int:
        return 1

    queue = Queue(name, connection)
    await queue.upsert_job_scheduler(
        "loop", repeat_after_complete=3_600_000, template=JobTemplate("loop-job", {"a": 1})
    )
    wanted = recording(name)["keys"]
    for record in (wanted, found := {}):
        record.pop(f"glide:{{{name}}}:metrics:completed", None)

    async with Worker(name, one, connection, promotion_interval=50):
        await eventually(lambda: connection.command("ZCARD", f"glide:{{{name}}}:completed"))
        found = await dump(connection, f"glide:{{{name}*")
        found.pop(f"glide:{{{name}}}:metrics:completed")
    assert_same_records(wanted, found)


async def test_of_the_stored_options_four_take_effect(bench: Bench, clock: list[int], tick: Ticker) -> None:
    options = JobOptions(
        priority=3, attempts=4, ttl=9_000, delay=60_000, job_id="mine", ordering="k", remove_on_complete=True
    )
    await bench.queue.upsert_job_scheduler("s", every=1_000, template=JobTemplate(options=options))
    clock[0] += 1_000
    await tick()
    fields = await bench.command("HGETALL", bench.scope.keys.job("1"))
    assert {name.decode(): value.decode() for name, value in fields.items()} == {
        "id": "1",
        "name": "s",
        "data": "{}",
        "opts": options.to_wire(),
        "timestamp": str(clock[0]),
        "attemptsMade": "0",
        "delay": "0",
        "priority": "3",
        "maxAttempts": "4",
        "state": "prioritized",
        "expireAt": str(clock[0] + 9_000),
    }


async def test_lifo_jobs_go_to_the_front(bench: Bench, clock: list[int], tick: Ticker) -> None:
    await bench.queue.upsert_job_scheduler(
        "s", every=1_000, template=JobTemplate(options=JobOptions(lifo=True))
    )
    clock[0] += 1_000
    await tick()
    assert await bench.command("LRANGE", "glide:{q}:lifo", 0, -1) == [b"1"]


async def test_missed_runs_are_made_once_and_the_phase_is_kept(
    bench: Bench, clock: list[int], tick: Ticker
) -> None:
    first = (await bench.queue.upsert_job_scheduler("s", every=1_000)).next_run
    assert first is not None
    clock[0] = first + 12_345
    await tick()
    found = await entry(bench, "s")
    assert found is not None
    assert (found["iterationCount"], found["lastRun"], found["nextRun"]) == (1, clock[0], first + 13_000)
    assert await bench.queue.count() == 1


@pytest.mark.parametrize(
    ("stored", "jobs", "left"),
    [
        ('{"every":1000,"limit":3,"iterationCount":2,"nextRun":5}', 1, False),
        ('{"every":1000,"limit":3,"iterationCount":3,"nextRun":5}', 0, False),
        ('{"every":1000,"endDate":4,"nextRun":5}', 0, False),
        ('{"every":1000,"endDate":6,"nextRun":5}', 1, False),
        ('{"pattern":"0 0 1 1 *","endDate":1795467252442,"nextRun":5}', 1, False),
        ('{"nextRun":5}', 0, False),
        ('{"template":{}}', 0, False),
        ('{"every":0,"nextRun":5}', 0, False),
        ('{"every":1000,"nextRun":0}', 0, True),
        ('{"every":1000}', 0, True),
        ('{"repeatAfterComplete":1000,"iterationCount":1,"nextRun":0}', 0, True),
        ("no json", 0, True),
        ("[1]", 0, False),
        ('{"every":1000,"nextRun":1795467252442}', 0, True),
        ('{"every": 1000, "nextRun": 5}', 1, False),
        ('{"every":1000,"template":{"data":{"nextRun":1895467252442}},"nextRun":5}', 1, False),
        ('{"every":1000,"template":{"data":{"nextRun":5}},"nextRun":1895467252442}', 0, True),
    ],
)
async def test_what_becomes_of_an_entry(
    bench: Bench, clock: list[int], tick: Ticker, stored: str, jobs: int, left: bool
) -> None:
    await bench.command("HSET", KEY, "s", stored)
    assert await tick() == []
    assert await bench.queue.count() == jobs
    found = await bench.command("HGET", KEY, "s")
    assert (found == stored.encode()) is left
    assert left or (found is not None) is ('"limit"' not in stored and "endDate" not in stored and jobs == 1)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ('{"pattern":"0 0 * * 7","nextRun":5}', "weekday 7"),
        ('{"pattern":"* * * * *","tz":"Mars/Olympus","nextRun":5}', "no known time zone"),
        ('{"every":1000,"nextRun":5,"template":{"data":"%s"}}' % ("x" * 2**20), "too large"),
        ('{"every":1000,"nextRun":5,"template":{"data":NaN}}', "NaN"),
    ],
    ids=["cron", "zone", "size", "json"],
)
async def test_what_cannot_be_run_is_told_once_and_left(
    bench: Bench, clock: list[int], tick: Ticker, stored: str, words: str
) -> None:
    await bench.command("HSET", KEY, "bad", stored, "good", '{"every":1000,"nextRun":5}')
    [trouble] = await tick()
    assert trouble.startswith("scheduler 'bad': ")
    assert words in trouble
    assert await tick() == []
    assert (await bench.command("HGET", KEY, "bad")).decode() == stored
    assert await bench.queue.count() == 1
    # Nothing is due that could be made: no reason to look again at once.
    good = await entry(bench, "good")
    assert good is not None
    assert tick.schedulers.due_ms == good["nextRun"] > NOW


async def test_a_foreign_key_in_their_place_is_told(bench: Bench, clock: list[int], tick: Ticker) -> None:
    await bench.command("SET", KEY, "x")
    [trouble] = await tick()
    assert "WRONGTYPE" in trouble


async def test_more_than_one_look_returns_are_made_in_several(
    bench: Bench, clock: list[int], tick: Ticker
) -> None:
    texts = [word for n in range(250) for word in (f"s{n}", '{"every":60000,"nextRun":5}')]
    await bench.command("HSET", KEY, *texts)
    for made in (100, 200, 250):
        await tick()
        assert await bench.queue.count() == made
        clock[0] += 20
    assert len({json.loads(text)["nextRun"] for text in (await bench.command("HVALS", KEY))}) == 1


async def test_thousands_are_looked_at_in_pages(bench: Bench, clock: list[int], tick: Ticker) -> None:
    """So that none of them holds the server for long; nothing is left out."""
    late = NOW + 5_000
    entries = {f"s{n}": f'{{"every":60000,"nextRun":{late if n % 100 else 5}}}' for n in range(3_000)}
    await bench.command("HSET", KEY, *(word for pair in entries.items() for word in pair))
    calls = Calls(bench.connection)
    assert await tick() == []
    assert await bench.queue.count() == 30
    assert calls.names[0] == "tick"
    assert 2 <= calls.names.count("schedule_look") <= 4
    assert tick.schedulers.due_ms is not None
    assert NOW < tick.schedulers.due_ms <= late


# Turns and calls ---------------------------------------------------------------------------------------------


class Calls:
    """Counts the function calls of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.names: list[str] = []
        self._call = connection.call
        connection.call = self._called  # type: ignore[method-assign]

    async def _called(self, function: str, *args: Any) -> Any:
        self.names.append(function)
        return await self._call(function, *args)


async def test_the_price_of_a_tick(bench: Bench, clock: list[int], tick: Ticker) -> None:
    """None but the promotion's own when nothing is due, one more when something is; others do not even look."""
    await bench.queue.upsert_job_scheduler("s", every=1_000)
    calls, other = Calls(bench.connection), Ticker(bench.scope, "w2")
    await tick()
    assert calls.names == ["tick"]
    await other()
    assert other.schedulers.due_ms is None
    clock[0] += 1_000
    await other()
    assert calls.names == ["tick"] * 3
    assert await bench.queue.count() == 0
    calls.names.clear()
    await tick()
    assert calls.names == ["tick", "schedule_tick"]
    assert await bench.queue.count() == 1
    assert tick.schedulers.due_ms == clock[0] + 1_000


async def test_a_turn_ends(bench: Bench, clock: list[int], tick: Ticker) -> None:
    """Who lost it leaves the runs to the one that has it, and asks again when its own would have ended."""
    await bench.queue.upsert_job_scheduler("s", every=10_000)
    other = Ticker(bench.scope, "w2")
    await tick()
    assert 3_000 < await bench.command("PTTL", "glide:{q}:turn:scheduler") <= 4_000
    await bench.command("DEL", "glide:{q}:turn:scheduler")
    await other()
    await tick()
    assert (tick.schedulers.due_ms, other.schedulers.due_ms) == (NOW + 10_000, NOW + 10_000)
    clock[0] += 4_000
    await tick()
    assert (tick.schedulers.due_ms, other.schedulers.due_ms) == (None, NOW + 10_000)


async def test_ticks_that_come_often_look_once_a_turn(bench: Bench, clock: list[int], tick: Ticker) -> None:
    await bench.queue.upsert_job_scheduler("s", every=60_000)
    await tick()
    for _ in range(3):
        clock[0] += 1_000
        assert tick.schedulers.question(clock[0])[0] == ""
        await tick()
        assert tick.schedulers.due_ms == NOW + 60_000
    clock[0] += 1_000
    assert tick.schedulers.question(clock[0])[0] == "4000"


async def test_a_tick_that_fails_is_not_made_again_at_once(
    bench: Bench, clock: list[int], tick: Ticker
) -> None:
    texts = [word for n in range(150) for word in (f"s{n}", '{"every":60000,"nextRun":5}')]
    await bench.command("HSET", KEY, *texts)
    await bench.command("SET", "glide:{q}:lifo", "x")
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await tick()
    assert tick.schedulers.due_ms is None
    await bench.command("DEL", "glide:{q}:lifo")


async def test_no_turn_is_taken_where_there_are_no_schedulers(bench: Bench, tick: Ticker) -> None:
    await tick()
    assert await bench.command("KEYS", "*turn*") == []


# Beside others -----------------------------------------------------------------------------------------------


async def test_a_run_that_several_found_is_made_by_one(bench: Bench, clock: list[int]) -> None:
    await bench.queue.upsert_job_scheduler("s", every=1_000)
    tickers = [Ticker(bench.scope, f"w{n}") for n in range(10)]
    clock[0] += 1_000
    for ticker in tickers:
        ticker.schedulers.due_ms = clock[0]
        ticker.schedulers._ask_at_ms = 2 * NOW
    await asyncio.gather(*(ticker() for ticker in tickers))
    assert await bench.queue.count() == 1
    found = await entry(bench, "s")
    assert found is not None
    assert found["iterationCount"] == 1


async def test_nothing_is_made_while_a_peer_holds_its_lock(
    bench: Bench, clock: list[int], tick: Ticker
) -> None:
    await bench.command("HSET", KEY, "s", '{"every":1000,"nextRun":5}')
    await bench.command("SET", LOCK, "0123456789abcdef", "PX", 60_000)
    assert await tick() == []
    assert await bench.queue.count() == 0
    assert tick.schedulers.due_ms == NOW + 250  # soon, not at the next turn
    await bench.command("DEL", LOCK)
    clock[0] += 250
    await tick()
    assert await bench.queue.count() == 1


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_a_tick_that_dies_between_looking_and_making_loses_and_doubles_nothing(
    bench: Bench, clock: list[int], tick: Ticker, fate: str
) -> None:
    await bench.queue.upsert_job_scheduler("s", every=1_000)
    clock[0] += 1_000
    outage = Outage(bench.connection, only="schedule_tick")
    outage.plan = [fate]
    with pytest.raises(Exception, match=r"connection was lost|no answer"):
        await tick()
    assert await bench.queue.count() == (fate == "after")
    # Another worker, once it has the turn.
    await bench.command("DEL", "glide:{q}:turn:scheduler")
    await Ticker(bench.scope, "w2")()
    assert await bench.queue.count() == 1


async def test_an_edit_between_looking_and_making_wins(bench: Bench, clock: list[int], tick: Ticker) -> None:
    await bench.queue.upsert_job_scheduler("s", every=1_000)
    clock[0] += 1_000
    found = await sweeps.tick(bench.scope, tick.schedulers.question(clock[0]))
    await bench.queue.upsert_job_scheduler("s", every=5_000)
    await tick.schedulers.run(found.schedulers, found.at_ms)
    assert await bench.queue.count() == 0
    clock[0] += 5_000
    found = await sweeps.tick(bench.scope, tick.schedulers.question(clock[0]))
    assert found.schedulers[0] == b"looked"
    await bench.queue.remove_job_scheduler("s")
    await tick.schedulers.run(found.schedulers, found.at_ms)
    assert await bench.queue.get_job_schedulers() == {}


async def test_edits_and_ticks_at_the_same_time_lose_and_double_nothing(bench: Bench) -> None:
    """Every run that an entry has counted has its job, and no job was made besides."""
    await bench.queue.upsert_job_scheduler("s", every=10)
    until = bench.connection.now_ms() + 1_000

    async def keep_ticking(ticker: Ticker) -> None:
        while bench.connection.now_ms() < until:
            ticker.schedulers.due_ms = 0
            await ticker()

    async def keep_setting(limit: int) -> None:
        while bench.connection.now_ms() < until:
            await bench.queue.upsert_job_scheduler("s", every=10, limit=limit)
            await asyncio.sleep(0)

    tickers = [Ticker(bench.scope, f"w{n}") for n in range(4)]
    await asyncio.gather(*map(keep_ticking, tickers), keep_setting(1_000), keep_setting(2_000))
    found = await entry(bench, "s")
    assert found is not None
    assert await bench.queue.count() == found["iterationCount"] > 10


async def test_a_worker_wakes_for_a_run_it_knows_of(bench: Bench) -> None:
    """Long before its promotion interval has passed."""
    first = (await bench.queue.upsert_job_scheduler("s", every=300, limit=3)).next_run
    assert first is not None
    started: list[int] = []

    async def process(_: Any) -> None:
        started.append(bench.connection.now_ms())

    async with quick(process, bench.connection, promotion_interval=60_000):
        await eventually(lambda: len(started) == 3, timeout=5)
    # Never early; by the phase, so late ones may follow each other sooner.
    assert all(at >= first + 300 * n for n, at in enumerate(started))
    assert await bench.queue.get_job_schedulers() == {}


async def test_a_worker_tells_of_an_entry_that_nobody_can_run(bench: Bench) -> None:
    errors: list[BaseException] = []

    async def process(_: Any) -> None: ...

    await bench.command("HSET", KEY, "bad", '{"pattern":"0 0 * * 7","nextRun":5}')
    worker = quick(process, bench.connection)
    worker.on("error", errors.append)
    async with worker:
        await eventually(lambda: errors)
        await asyncio.sleep(0.3)
    assert len(errors) == 1
    assert "scheduler 'bad'" in str(errors[0])
    await bench.command("DEL", KEY)


async def test_many_schedulers_and_many_workers(bench: Bench, server_url: str) -> None:
    """Two hundred schedulers, ten workers on connections of their own, and a peer like Node's that ticks too.

    For a minute with SCHEDULER_RUNS=85 in the environment.
    """
    count, runs, stop = 200, int(os.environ.get("SCHEDULER_RUNS", "3")), asyncio.Event()
    first = bench.connection.now_ms() + 500
    texts = {f"s{n}": {"every": 700, "limit": runs, "nextRun": first + n % 7 * 50} for n in range(count)}
    for text in texts.values():
        text |= {"iterationCount": 0, "template": {}}
    await bench.command("HSET", KEY, *(w for name, text in texts.items() for w in (name, json.dumps(text))))
    made: list[str] = []

    async def process(job: Any) -> None:
        made.append(job.name)

    connections = [await connect(server_url) for _ in range(10)]
    workers = [
        Worker("q", process, opened, promotion_interval=400, log_errors=False) for opened in connections
    ]
    by_node: list[str] = []
    node = asyncio.create_task(tick_like_node(connections[0], stop, by_node))
    try:
        await eventually(lambda: by_node)  # it takes part, however busy the machine is
        await asyncio.gather(*(worker.start() for worker in workers))
        await eventually(lambda: len(made) >= count * runs, timeout=30 + runs)
        await eventually(lambda: is_empty(bench))
    finally:
        stop.set()
        await node
        await asyncio.gather(*(worker.close() for worker in workers))
        await asyncio.gather(*(opened.close() for opened in connections))
    assert {name: made.count(name) for name in set(made)} == dict.fromkeys(texts, runs)


async def is_empty(bench: Bench) -> bool:
    return bool(await bench.command("HLEN", KEY) == 0)


async def tick_like_node(connection: Connection, stop: asyncio.Event, made: list[str]) -> None:
    """Tick as glide-mq does: under its lock, read all, then write; `made` names the schedulers that it ran."""
    while not stop.is_set():
        await asyncio.sleep(0.15)
        now = connection.now_ms()
        if not await connection.command("SET", LOCK, "fedcba9876543210", "PX", 5_000, "NX"):
            continue
        entries = await connection.command("HGETALL", KEY)
        due = {}
        for name, text in entries.items():
            entry = json.loads(text)
            if entry["nextRun"] <= now and len(due) < 10:
                due[name] = entry
        await asyncio.sleep(0.02)  # its round trips
        for name, entry in due.items():
            job_id = await connection.command("INCR", "glide:{q}:id")
            fields = {"id": job_id, "name": name.decode(), "data": "{}", "opts": "{}", "timestamp": now}
            fields |= {"attemptsMade": 0, "delay": 0, "priority": 0, "maxAttempts": 0, "state": "waiting"}
            words = [str(word) for pair in fields.items() for word in pair]
            await connection.command("HSET", f"glide:{{q}}:job:{job_id}", *words)
            await connection.command("XADD", "glide:{q}:stream", "*", "jobId", str(job_id), "name", name)
            count = entry["iterationCount"] + 1
            if count == entry["limit"]:
                await connection.command("HDEL", KEY, name)
            else:
                late = (now - entry["nextRun"]) // entry["every"] + 1
                entry |= {"iterationCount": count, "nextRun": entry["nextRun"] + late * entry["every"]}
                await connection.command("HSET", KEY, name, json.dumps(entry | {"lastRun": now}))
            made.append(name.decode())
        await connection.command("DEL", LOCK)
