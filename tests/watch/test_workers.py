"""Workers of many queues: what finding them costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ai.test_approvals_inbox import costs
from conftest import eventually

from glidemq_core.errors import InvalidOptionError, PermissionDeniedError
from glidemq_core.queue import Queue
from glidemq_core.reading import scan
from glidemq_core.search import store
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys
from glidemq_core.worker import Worker


def registration(pid: int) -> str:
    return json.dumps({"addr": "host", "pid": pid, "startedAt": 1_000, "activeJobs": 0})


@pytest.mark.leaves_records
async def test_one_walk_finds_the_new_workers_of_all_queues(connection: Connection) -> None:
    names = [f"q{number}" for number in range(40)]
    registered = [["SET", QueueKeys("glide", name).worker("worker-1-1"), registration(7)] for name in names]
    await connection.pipeline(registered)

    async with Watch(connection, calls_per_s=5_000) as watch:
        before = (await costs(connection)).get("scan", 0)
        listed = await watch.workers(names)

    assert sorted(worker.queue for worker in listed.workers) == sorted(names)
    assert (await costs(connection))["scan"] - before <= 10


@pytest.mark.leaves_records
async def test_consumers_of_workers_long_gone_are_asked_for_once(connection: Connection) -> None:
    keys = QueueKeys("glide", "q")
    await connection.command("XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM")
    dead = [f"worker-1-{number:08x}" for number in range(100)]
    await connection.pipeline([["XGROUP", "CREATECONSUMER", keys.stream, "workers", name] for name in dead])
    await connection.command("XGROUP", "CREATECONSUMER", keys.stream, "workers", "worker-2-0")
    await connection.command("SET", keys.worker("worker-2-0"), registration(8))

    async with Watch(connection, calls_per_s=5_000) as watch:
        first = await watch.workers(["q"])
        before = (await costs(connection))["get"]
        second = await watch.workers(["q"])
        asked = (await costs(connection))["get"] - before
        # One comes back: it reads again and is registered.
        await connection.command("SET", keys.worker(dead[3]), registration(9))
        watch_late = connection.now_ms
        connection.now_ms = lambda: watch_late() + 5_000  # type: ignore[method-assign]  # as if it read later
        third = await watch.workers(["q"])

    assert [worker.pid for worker in (*first.workers, *second.workers)] == [8, 8]
    assert asked == 1
    assert sorted(worker.pid for worker in third.workers) == [8, 9]


async def fill(connection: Connection, count: int) -> None:
    """Lay other keys between the registrations, more than one call looks at."""
    words = [word for number in range(count) for word in (f"other:{number}", "")]
    await connection.command("MSET", *words)


async def test_an_idle_crew_is_known_without_a_walk(connection: Connection) -> None:
    async with Worker("q", lambda job: None, connection), Watch(connection) as watch:
        before = (await costs(connection)).get("scan", 0)
        listed = await watch.workers(["q"], brief=True)

        assert [worker.language for worker in listed.workers] == ["python"]
        assert (await costs(connection)).get("scan", 0) == before
        [row] = (await watch.snapshot(["q"])).queues
        assert row.workers == 1
        assert await connection.command("PTTL", "glide:{q}:crew") > 0
    assert await connection.command("EXISTS", "glide:{q}:crew") == 0


async def test_no_worker_is_overlooked_among_many_keys(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "STEP_KEYS", 10)
    await fill(connection, 12_000)
    keys = QueueKeys("glide", "q")
    await connection.pipeline(
        [["SET", keys.worker(f"worker-1-{pid:08x}"), registration(pid), "PX", 60_000] for pid in range(30)]
    )

    found = await Queue[Any, Any]("q", connection).get_workers()

    assert sorted(worker.pid for worker in found) == list(range(30))


async def test_a_watcher_says_whether_it_has_looked_everywhere(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "STEP_KEYS", 10)
    await fill(connection, 300)
    keys = QueueKeys("glide", "q")
    await connection.pipeline(
        [["SET", keys.worker(f"worker-1-{pid:08x}"), registration(pid), "PX", 60_000] for pid in range(30)]
    )

    async with Watch(connection, calls_per_s=5_000) as watch:
        first = await watch.workers(["q"])
        assert not first.complete
        assert len(first.workers) < 30

        async def all_looked_at() -> bool:
            return (await watch.workers(["q"])).complete

        await eventually(all_looked_at)
        assert len((await watch.workers(["q"])).workers) == 30


async def test_a_vector_is_refused_until_all_keys_were_looked_at(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "STEP_KEYS", 10)
    monkeypatch.setattr(store, "_PAGES", 10)
    await fill(connection, 1_000)
    for name, has_node in (("quiet", False), ("served", True)):
        queue: Queue[Any, Any] = Queue(name, connection)
        job = await queue.add("n", {})
        assert job is not None
        if has_node:
            await connection.command("SET", f"glide:{{{name}}}:w:worker-1-0", registration(1), "PX", 60_000)
        # Where the one key lies among all is the server's business: it may be found at once.
        with pytest.raises(
            InvalidOptionError, match=f"nobody knows yet{'|a Node worker' if has_node else ''}"
        ):
            await job.store_vector("embedding", [1, 2], on_node_worker="refuse")
        assert await connection.command("HEXISTS", f"glide:{{{name}}}:job:1", "embedding") == 0

        async def is_decided(job: Any = job) -> str:
            try:
                await job.store_vector("embedding", [1, 2], on_node_worker="refuse")
            except InvalidOptionError as error:
                return "" if "nobody knows yet" in error.message else error.message
            return "stored"

        said = await eventually(is_decided)

        assert "a Node worker serves the queue" in said if has_node else said == "stored"


async def test_who_may_not_look_is_told_so(server_url: str, connection: Connection) -> None:
    await connection.command("SET", "glide:{q}:w:worker-1-0", registration(1), "PX", 60_000)
    await connection.command(
        "ACL", "SETUSER", "short", "on", ">pw", "~*", "+@all", "-scan", "-@dangerous", "+info"
    )
    async with connect(server_url.replace("//", "//short:pw@")) as opened:
        with pytest.raises(PermissionDeniedError):
            await Queue[Any, Any]("q", opened).get_workers()
        async with Watch(opened) as watch:
            assert not (await watch.workers(["q"])).complete
    await connection.command("ACL", "DELUSER", "short")
