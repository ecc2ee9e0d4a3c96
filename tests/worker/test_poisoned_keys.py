"""Keys of a queue, or of its neighbours, that are something else: no batch is lost, no job stands nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import answers, ends, exchange
from kits.worker import P, quick

from glidemq_core import Budget, FlowJob, FlowProducer
from glidemq_core.doctor import repair
from glidemq_core.errors import PermissionDeniedError, ServerError
from glidemq_core.options.job import Actor, Ordering
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.context import QueueContext
from glidemq_core.watch import Watch

# What somebody else put under a name of the queue stays.
pytestmark = [pytest.mark.thorough, pytest.mark.leaves_records]
CONSUMER = "worker-1-0badcafe"


async def poison(bench: Bench, key: str) -> None:
    """Put something else in a key's place."""
    await bench.command("DEL", key)
    is_text = key.endswith(":list-active") or ":tpm:" in key
    await (bench.command("LPUSH", key, "x") if is_text else bench.command("SET", key, "x"))


async def restore(bench: Bench, ids: dict[str, str], name: str, key: str, kept: bytes | None) -> None:
    """Put back what was there; a job whose record was replaced is gone for good."""
    await bench.command("DEL", key)
    if name == "a job":
        del ids["plain"]
    elif kept is not None:
        await bench.command("RESTORE", key, 0, kept)


async def unless_refused(call: Awaitable[Any]) -> Any:
    """What a call answers; None if something of another type or a missing right stands in its way."""
    try:
        return await call
    except PermissionDeniedError:
        return None
    except ServerError as error:
        if error.code not in ("WRONGTYPE", "NOGROUP"):
            raise
        return None


async def orphans(bench: Bench, poisoned: str = "") -> list[str]:
    """Jobs that are to run, but in no stream, list or set that leads to them; those in a poisoned place apart."""
    known = set()
    for command in (
        ("LRANGE", f"{P}:lifo", 0, -1),
        ("LRANGE", f"{P}:priority", 0, -1),
        ("ZRANGE", f"{P}:list-runs", 0, -1),
        ("ZRANGE", f"{P}:scheduled", 0, -1),
        ("ZRANGE", f"{P}:groupq:k", 0, -1),
        ("ZRANGE", f"{P}:suspended", 0, -1),
        ("ZRANGE", f"{P}:completed", 0, -1),
        ("ZRANGE", f"{P}:failed", 0, -1),
    ):
        known |= {member.decode() for member in await unless_refused(bench.command(*command)) or ()}
    stream = await unless_refused(bench.command("XRANGE", f"{P}:stream", "-", "+")) or {}
    entries = {entry: dict(map(tuple, pairs))[b"jobId"].decode() for entry, pairs in stream.items()}
    held = await unless_refused(bench.command("XPENDING", f"{P}:stream", "workers", "-", "+", 1_000))
    pending = {entries[item[0]] for item in held or () if item[0] in entries}
    hidden = {"groupq:k": "group-waiting", "scheduled": "delayed"}.get(poisoned)
    found = []
    for key in await bench.command("KEYS", f"{P}:job:*"):
        job_id = key.decode().rpartition(":")[2]
        state = await unless_refused(bench.field(job_id, "state"))
        placed = job_id in known or job_id in (pending if state == "active" else set(entries.values()))
        if not placed and state not in ("waiting-children", hidden, None):
            found.append(f"{job_id} {state}")
    return found


def keys_of_a_run(minute_ms: int, ids: dict[str, str], flow: str) -> dict[str, str]:
    """Every key that an exchange may write or read, by name."""
    plain = (
        "completed failed scheduled priority lifo list-active list-runs events rate ordering ratelimited meta "
        "metrics:completed metrics:failed schedulers outbox early-index suspended dedup limits group:k groupq:k"
    )
    return {
        **{name: f"{P}:{name}" for name in plain.split()},
        "tpm": f"{P}:tpm:{minute_ms // 60_000}",
        "parents": f"{P}:parents:{ids['child']}",
        "deps of the parent": f"{P}:deps:{flow}",
        "the parent": f"{P}:job:{flow}",
        "ledger": f"{P}:ledger:{ids['retry']}",
        "early": f"{P}:early:{ids['plain']}",
        "a job": f"{P}:job:{ids['plain']}",
        "log": f"{P}:log:{ids['plain']}",
        "budget": f"{P}:budget:{flow}",
        "budget-parked": f"{P}:budget-parked:{flow}",
        "usage": f"{P}:usage:{minute_ms - minute_ms % 60_000}",
    }


NAMES = sorted(keys_of_a_run(0, dict.fromkeys(("child", "plain", "retry"), "x"), "f"))


async def stock(bench: Bench) -> tuple[dict[str, str], str]:
    """A job of every kind that an exchange treats differently; their ids, and that of their parent."""
    async with FlowProducer(bench.connection) as producer:
        node = await producer.add(
            FlowJob("root", "q", None, None, [FlowJob("child", "q")]), budget=Budget(max_total_tokens=1_000)
        )
    assert node.children
    ids = {
        "child": node.children[0].job.id,
        "plain": await bench.add("plain"),
        "retry": await bench.add("retry", attempts=2, backoff=1),
        "fail": await bench.add("fail"),
        "lifo": await bench.add("lifo", lifo=True),
        "priority": await bench.add("priority", priority=1),
        "trimmed": await bench.add("trimmed", remove_on_complete=50),
        "first": await bench.add("first", ordering=Ordering("k", concurrency=1)),
        "second": await bench.add("second", ordering=Ordering("k", concurrency=1)),
    }
    await bench.scope.call("tick", bench.scope.now_ms())
    return ids, node.job.id


def settled(name: str, run: tuple[str, str, str]) -> tuple[str, str]:
    """A run's end as a worker sends it."""
    well = name not in ("retry", "fail")
    head = json.dumps({"started": int(run[2]), "attempt": 0, "fallback": 0, "worker": CONSUMER})
    words = (*run, "c" if well else "f", "2" if name == "retry" else "0", "1")
    rule = "n:50" if name == "trimmed" else ""
    return "\x1f".join((*words, rule, "", "7", "" if well else head)), "null" if well else "boom"


async def process(job: Any) -> None:
    if job.name == "fail" or (job.name == "retry" and not job.attempts_made):
        raise ValueError("boom")


async def all_end(bench: Bench, ids: dict[str, str]) -> None:
    """With the keys as they should be a worker brings every job to its end, once."""

    async def over() -> bool:
        states = {name: await bench.field(job_id, "state") for name, job_id in ids.items()}
        return all(state in ("completed", "failed", None) for state in states.values())

    await bench.scope.call("list_stalls", bench.scope.now_ms() + 10**9, 1_000, 5, 100)
    await bench.scope.call("stalls", bench.scope.now_ms() + 10**9, 0, 1_000, 5, "sweeper", "0-0")
    await bench.scope.call("tick", bench.scope.now_ms() + 10**6)
    await repair(bench.connection, Watch(bench.connection), ["q"], Actor("ada"))
    async with quick(process, bench.connection):
        await eventually(over)
    assert await bench.field(ids["fail"], "state") == "failed"


@pytest.mark.parametrize("name", NAMES)
async def test_ended_jobs_are_settled_or_kept_whatever_a_key_is(bench: Bench, name: str) -> None:
    ids, parent = await stock(bench)
    now = bench.scope.now_ms()
    runs = {run[0]: run for run in await bench.claim(20)}
    started = {kind: job_id for kind, job_id in ids.items() if job_id in runs}
    assert set(ids) - set(started) == {"second"}
    key = keys_of_a_run(now, ids, parent)[name]
    kept = await bench.command("DUMP", key)
    await poison(bench, key)

    words = [word for kind, job_id in started.items() for word in settled(kind, runs[job_id])]
    limits = (100, 60_000, 10**9, 60_000)
    reply = await bench.scope.call(*exchange(now, CONSUMER, 9, "emt", *limits), *ends(*words))
    found = dict(zip(started, answers(reply, len(started)), strict=True))

    held = {"completed": "ok", "failed": "failed", "scheduled": "retrying"}.get(name)
    wanted = dict.fromkeys(started, "ok") | {"retry": "retrying", "fail": "failed"}
    if name == "a job":  # it is none any more
        wanted["plain"] = "lost"
    assert found == {kind: "unrecorded" if answer == held else answer for kind, answer in wanted.items()}
    assert not await orphans(bench, name)

    await restore(bench, ids, name, key, kept)
    # What was held is sent again, as the worker does it.
    again = [kind for kind, answer in found.items() if answer == "unrecorded"]
    words = [word for kind in again for word in settled(kind, runs[started[kind]])]
    reply = await bench.scope.call(*exchange(now, CONSUMER, 0, "emtr"), *ends(*words))
    assert answers(reply, len(again)) == [wanted[kind] for kind in again]
    assert not await orphans(bench)
    await all_end(bench, ids)


@pytest.mark.parametrize("name", NAMES)
async def test_claimed_jobs_run_or_wait_whatever_a_key_is(bench: Bench, name: str) -> None:
    ids, parent = await stock(bench)
    now = bench.scope.now_ms()
    await bench.command("HSET", f"{P}:job:{ids['fail']}", "revoked", "1")
    key = keys_of_a_run(now, ids, parent)[name]
    # A list that holds jobs is poisoned without them: they are gone, whoever did it.
    lost = {"lifo": {"lifo"}, "priority": {"priority"}}.get(name, set())
    kept = await bench.command("DUMP", key)
    await poison(bench, key)

    await bench.scope.call(*exchange(now, CONSUMER, 20, "emt", 100, 60_000, 10**9, 60_000))
    assert not [
        line
        for line in await orphans(bench, name)
        if line.partition(" ")[0] not in {ids[kind] for kind in lost}
    ]

    await restore(bench, ids, name, key, kept)
    await all_end(bench, ids)


@pytest.mark.parametrize("name", NAMES)
async def test_sweeps_lose_nothing_whatever_a_key_is(bench: Bench, name: str) -> None:
    ids, parent = await stock(bench)
    await bench.claim(20)
    late = bench.scope.now_ms() + 100_000
    key = keys_of_a_run(late, ids, parent)[name]
    kept = await bench.command("DUMP", key)
    await poison(bench, key)
    for function, args in (
        ("stalls", (late, 0, 1_000, 1, "sweeper", "0-0")),
        ("list_stalls", (late, 1_000, 1, 100)),
        ("tick", (late,)),
        ("suspend_sweep", (late, 100, 0)),
    ):
        await unless_refused(bench.scope.call(function, *args))
        assert not [line for line in await orphans(bench, name) if name != "list-runs"]
    await restore(bench, ids, name, key, kept)
    await all_end(bench, ids)


#: What an exchange runs. Whoever may not run HSET or LPUSH cannot put back what was popped.
COMMANDS = [
    "xack",
    "xdel",
    "xadd",
    "xreadgroup",
    "xpending",
    "xclaim",
    "xrange",
    "hset",
    "hmget",
    "hgetall",
    "hincrby",
    "hdel",
    "zadd",
    "zrem",
    "zcard",
    "rpop",
    "incrby",
    "get",
    "expire",
    "rpush",
    "exists",
    "smembers",
    "unlink",
]


@contextlib.asynccontextmanager
async def without(bench: Bench, server_url: str, command: str) -> AsyncIterator[QueueContext]:
    """The queue as a user sees it who may not run a command."""
    await bench.command("ACL", "SETUSER", "narrow", "reset", "on", ">pw", "~*", "+@all", f"-{command}")
    own = await connect(server_url.replace("://", "://narrow:pw@"))
    try:
        yield QueueContext(own, bench.scope.keys)
    finally:
        await own.close()
        await bench.command("ACL", "DELUSER", "narrow")


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_user_who_may_not_run_a_command_loses_no_ended_job(
    bench: Bench, server_url: str, command: str
) -> None:
    ids, _ = await stock(bench)
    runs = {run[0]: run for run in await bench.claim(20)}
    started = {kind: job_id for kind, job_id in ids.items() if job_id in runs}
    words = [word for kind, job_id in started.items() for word in settled(kind, runs[job_id])]
    now = bench.scope.now_ms()
    async with without(bench, server_url, command) as scope:
        call = scope.call(*exchange(now, CONSUMER, 0, "emt", 100, 60_000, 10**9, 60_000), *ends(*words))
        await unless_refused(call)
    assert not await orphans(bench)
    await all_end(bench, ids)


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_user_who_may_not_run_a_command_loses_no_waiting_job(
    bench: Bench, server_url: str, command: str
) -> None:
    ids, _ = await stock(bench)
    await bench.command("HSET", f"{P}:job:{ids['fail']}", "revoked", "1")
    async with without(bench, server_url, command) as scope:
        await unless_refused(
            scope.call(*exchange(bench.scope.now_ms(), CONSUMER, 20, "em", 100, 60_000, 0, 0))
        )
    assert not await orphans(bench)
    await all_end(bench, ids)


async def test_a_full_server_refuses_an_exchange_whole(bench: Bench) -> None:
    ids, _ = await stock(bench)
    runs = {run[0]: run for run in await bench.claim(20)}
    started = {kind: job_id for kind, job_id in ids.items() if job_id in runs}
    words = [word for kind, job_id in started.items() for word in settled(kind, runs[job_id])]
    await bench.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(ServerError, match="memory"):
            await bench.scope.call(*exchange(1, CONSUMER, 20, "em"), *ends(*words))
        assert not await orphans(bench)
        assert await bench.field(ids["plain"], "state") == "active"
    finally:
        await bench.command("CONFIG", "SET", "maxmemory", "0")
    await all_end(bench, ids)


ENDS: dict[str, Callable[[Bench, tuple[str, str, str], int], Any]] = {
    "delay": lambda b, run, now: b.scope.call("delay", *run, now, now + 1_000, "", ""),
    "suspend": lambda b, run, now: b.scope.call("suspend", *run, now, "why", 1_000, ""),
    "wait_children": lambda b, run, now: b.scope.call("wait_children", *run, now, ""),
    "hand_back": lambda b, run, now: b.scope.call("hand_back", *run, now),
    "limit_group_run": lambda b, run, now: b.scope.call(
        "limit_group_run", *run, now, 1_000, "requeue", "front", "max", ""
    ),
}


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("name", NAMES)
async def test_other_ends_of_a_run_lose_nothing_whatever_a_key_is(bench: Bench, name: str, end: str) -> None:
    ids, parent = await stock(bench)
    now = bench.scope.now_ms()
    runs = await bench.claim(20)
    await poison(bench, keys_of_a_run(now, ids, parent)[name])
    for run in runs:
        await unless_refused(ENDS[end](bench, run, now))
    assert not [line for line in await orphans(bench, name) if name != "list-runs"]


async def test_a_parent_in_a_queue_that_is_out_of_bounds_hears_by_letter(
    bench: Bench, server_url: str
) -> None:
    """The user of the worker may not write there: ours are settled, theirs waits in the outbox."""
    async with FlowProducer(bench.connection) as producer:
        nodes = [
            await producer.add(FlowJob("root", "other", None, None, [FlowJob("child", "q")]))
            for _ in range(20)
        ]
    await bench.command(
        "ACL",
        "SETUSER",
        "narrow",
        "on",
        ">pw",
        "resetkeys",
        "~glide:{q}*",
        "%R~glide:{other}*",
        "~glide:queues",
        "+@all",
    )
    try:
        own = await connect(server_url.replace("://", "://narrow:pw@"))
        errors: list[BaseException] = []
        worker = quick(process, own, concurrency=20)
        worker.on("error", errors.append)
        async with worker:
            await eventually(lambda: _count(bench, f"{P}:completed", 20))
            await eventually(lambda: any("not allowed" in str(error) for error in errors))
        await own.close()
        assert not await orphans(bench)
        letters = [json.loads(text) for text in await bench.command("LRANGE", f"{P}:outbox", 0, -1)]
        assert {letter["parent"] for letter in letters} == {node.job.id for node in nodes}
    finally:
        await bench.command("ACL", "DELUSER", "narrow")
    parents: Queue[Any, Any] = Queue("other", bench.connection)
    async with quick(process, bench.connection):
        await eventually(lambda: _no_letters(bench))
    assert {(await parents.get_job(node.job.id)).state for node in nodes} == {"waiting"}  # type: ignore[union-attr]


async def test_a_batch_survives_a_foreign_key_at_its_parents_name(bench: Bench) -> None:
    async with FlowProducer(bench.connection) as producer:
        node = await producer.add(FlowJob("root", "other", None, None, [FlowJob("child", "q")]))
    for _ in range(19):
        await bench.add("plain")
    runs = await bench.claim(20)
    parent = f"glide:{{other}}:job:{node.job.id}"
    await bench.command("RENAME", parent, "aside")
    await bench.command("SET", parent, "something else")
    words = [word for run in runs for word in settled("plain", run)]
    reply = await bench.scope.call(*exchange(runs[0][2], CONSUMER, 0, "em"), *ends(*words))
    assert answers(reply, len(runs)) == ["ok"] * len(runs)
    assert reply[4] == 1
    assert await bench.command("ZCARD", f"{P}:completed") == 20
    await bench.command("RENAME", "aside", parent)
    async with quick(process, bench.connection):
        await eventually(lambda: _no_letters(bench))
    assert await bench.command("HGET", parent, "state") == b"waiting"


async def test_results_that_cannot_be_recorded_keep_their_jobs_until_they_can(bench: Bench) -> None:
    await bench.command("SET", f"{P}:completed", "something else")
    ids = [await bench.add("plain") for _ in range(30)]
    ran: list[str] = []
    errors: list[BaseException] = []

    async def count(job: Any) -> None:
        ran.append(job.id)

    worker = quick(count, bench.connection, concurrency=10, lock_duration=1_000, stalled_interval=1_000)
    worker.on("error", errors.append)
    async with worker:
        await eventually(lambda: len([error for error in errors if "WRONGTYPE" in str(error)]) > 2)
        before = list(ran)
        assert len(before) < 30, "slots stay taken by those that wait to be recorded"
        assert not await orphans(bench)
        # Longer than a lock: they give signs of life.
        first = await bench.field(before[0], "lastActive")
        await eventually(lambda: _beats(bench, before[0], int(first or 0) + 1_500))
        assert ran == before
        await bench.command("DEL", f"{P}:completed")
        await eventually(lambda: _count(bench, f"{P}:completed", 30))
    assert sorted(ran) == sorted(ids)
    assert {await bench.field(job_id, "stalledCount") for job_id in ids} == {None}


async def _beats(bench: Bench, job_id: str, after_ms: int) -> bool:
    return int(await bench.field(job_id, "lastActive") or 0) > after_ms


async def _count(bench: Bench, key: str, wanted: int) -> bool:
    return bool(await bench.command("ZCARD", key) == wanted)


async def _no_letters(bench: Bench) -> bool:
    await asyncio.sleep(0)
    return not await bench.command("LLEN", f"{P}:outbox")
