"""What applications test with: jobs without a server, workers that run until nothing is left, fixtures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glidemq_core import (
    DelayedError,
    Fallback,
    InvalidOptionError,
    Job,
    JobStateError,
    Queue,
    SuspendError,
    WaitingChildrenError,
    WaitTimeoutError,
    Worker,
)
from glidemq_core.server.connection import Connection
from glidemq_core.testing import make_job, run_until_idle


async def agent(job: Job[Any, Any]) -> dict[str, Any]:
    await job.log("begun")
    await job.update_progress(50)
    for word in ("Hel", "lo"):
        await job.stream_chunk("content", word)
    await job.report_usage(model="m", tokens={"input": 5, "output": 7}, costs={"total": 0.5})
    decision = job.decision
    if decision is None:
        await job.suspend(reason="send it?", timeout=60_000)
    assert decision is not None
    return {"approved": decision.approved, "by": decision.by, "data": decision.data}


async def test_what_a_processor_does_is_kept() -> None:
    job = make_job("answer", {"to": "ann"}, attempts_made=1)
    with pytest.raises(SuspendError):
        await agent(job)

    assert (job.name, job.data, job.attempts_made, job.state) == ("answer", {"to": "ann"}, 1, "active")
    assert job.logged == ["begun"]
    assert job.progress == 50
    assert job.streamed == [
        {"type": "content", "content": "Hel"},
        {"type": "content", "content": "lo"},
    ]
    assert job.usage is not None
    assert (job.usage.total_tokens, job.usage.total_cost) == (12, 0.5)
    assert job.suspended is not None
    assert (job.suspended.reason, job.suspended.timeout_ms) == ("send it?", 60_000)


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_a_decision_is_seen(action: Any) -> None:
    job = make_job("answer", {"to": "ann"}, decision=action, by="bob")
    assert await agent(job) == {"approved": action == "approve", "by": "bob", "data": {"to": "ann"}}
    edited = make_job("answer", {"to": "ann"}, decision=action, decision_data={"to": "eve"})
    assert (await agent(edited))["data"] == {"to": "eve"}
    assert edited.suspended is None


async def test_signals_fallbacks_and_options() -> None:
    job = make_job(
        "a", signals=[("go", {"n": 1})], fallback_index=1, fallbacks=[Fallback("b")], attempts=2, ordering="k"
    )
    assert [(signal.name, signal.data) for signal in job.signals] == [("go", {"n": 1})]
    assert job.current_fallback == Fallback("b")
    assert (job.options.attempts, job.ordering_key) == (2, "k")


async def test_other_ways_out_of_a_run() -> None:
    with pytest.raises(DelayedError):
        await make_job("a", {}).move_to_delayed(2**41, "next")
    job = make_job("a")
    job.children = {"glide:{q}:1": 5}
    assert await job.get_children_values() == {"glide:{q}:1": 5}
    with pytest.raises(WaitingChildrenError):
        await job.move_to_waiting_children()
    job.abort()
    assert job.aborted
    await job.update_data({"n": 2})
    assert job.data == {"n": 2}


async def test_wrong_use_is_told() -> None:
    job = make_job("a")
    with pytest.raises(InvalidOptionError):
        await job.report_usage(tokens={"input": -1})
    with pytest.raises(InvalidOptionError):
        await job.stream({})
    with pytest.raises(JobStateError, match=r"made by make_job\(\) and has no server"):
        await job.refresh()
    with pytest.raises(InvalidOptionError):
        make_job("a", attempts=-1)


async def test_workers_run_until_nothing_is_left(connection: Connection) -> None:
    done: list[int] = []

    async def first(job: Job[Any, Any]) -> None:
        async with Queue("second", connection) as second:
            await second.add("b", job.data)

    async def second(job: Job[Any, Any]) -> None:
        if job.attempts_made == 0:
            raise ValueError("again")
        done.append(job.data)

    async with Queue("first", connection) as queue:
        for n in range(5):
            await queue.add("a", n)
        again = Worker("second", second, connection, promotion_interval=20, log_errors=False)
        async with Queue("second", connection) as other:
            await other.add("b", 9, attempts=2)
        await run_until_idle(Worker("first", first, connection), again)

    assert done == [9]


async def test_what_does_not_end_is_told(connection: Connection) -> None:
    async def process(_: Any) -> None: ...

    async with Queue("q", connection) as queue:
        job = await queue.add("a", delay=60_000)
        with pytest.raises(WaitTimeoutError, match="still something to do in q after 300 ms"):
            await run_until_idle(Worker("q", process, connection), timeout=300)
        await job.remove()


APPLICATION = """
from glidemq_core import Queue, Worker
from glidemq_core.testing import run_until_idle

async def double(job):
    return job.data * 2

async def test_one(glidemq_queue, glidemq_connection):
    job = await glidemq_queue.add("a", 4)
    await run_until_idle(Worker("test", double, glidemq_connection))
    assert await job.wait() == 8

async def test_two(glidemq_queue):
    assert (await glidemq_queue.get_job_counts()).completed == 0
"""


@pytest.mark.thorough
def test_an_application_uses_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(APPLICATION)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    ran = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


LEAKING = """
import pytest
from glidemq_core import Queue, connect

async def test_outside(glidemq_connection, glidemq_server):
    async with connect(glidemq_server) as other:
        await Queue("mine", other).add("a")

async def test_orphans(glidemq_connection, glidemq_queue):
    job = await glidemq_queue.add("a")
    await glidemq_connection.command("RPUSH", f"{glidemq_connection.prefix}:{{test}}:log:99", "x")
    await glidemq_connection.command("SET", f"{glidemq_connection.prefix}:{{test}}:jstream:98", "x", "EX", 60)

async def test_fails_and_leaks(glidemq_connection, glidemq_server):
    async with connect(glidemq_server) as other:
        await Queue("mine", other).add("a")
    assert False

async def test_clean(glidemq_connection, glidemq_queue):
    for _ in range(3):
        await glidemq_queue.add("a", delay=1000)
    assert await glidemq_connection.command("KEYS", "glide:*") == []
"""


@pytest.mark.thorough
def test_what_a_test_leaves_behind_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(LEAKING)
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        "-ra",
        "-W",
        "ignore",
    ]
    ran = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert "1 failed, 3 passed, 2 errors" in ran.stdout, ran.stdout + ran.stderr
    assert re.search(
        r"keys left outside of the test's prefix 'test-\w+' \(a queue that was not given the connection\?\): .*"
        r"'glide:\{mine\}:job:1'",
        ran.stdout,
    )
    assert re.search(r"keys left of jobs that are gone: 'test-\w+:\{test\}:log:99'\n", ran.stdout)
    assert "jstream:98" not in ran.stdout
    assert "ERROR test_app.py::test_fails_and_leaks" not in ran.stdout


def test_the_plugin_loads_nothing_before_a_fixture_is_used(tmp_path: Path) -> None:
    """A whole session of pytest, with the plugin found by its entry point."""
    (tmp_path / "test_app.py").write_text(
        "import sys\n"
        "def test_none():\n"
        "    loaded = {name for name in sys.modules if name.partition('.')[0] in ('glide', 'glidemq_core')}\n"
        "    assert loaded == {'glidemq_core', 'glidemq_core.pytest_plugin'}\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
