"""The same runs as a recording's, made by our worker: they must leave the same records.

Where ours does better on purpose, the test names the difference.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.recording import HOUR, Process, never, one, same, steady_minute, worker  # noqa: F401
from kits.wire import dump, recording

from glidemq_core.ai.usage.report import report_usage
from glidemq_core.options.job import Backoff
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

# Running -----------------------------------------------------------------------------------------------------


async def test_active_jobs(connection: Connection) -> None:
    queue = Queue("active", connection)
    for i in range(3):
        await queue.add("slow", {"i": i})
    async with worker(connection, "active", never, concurrency=2, grace=0):
        await same(connection, "active")

    queue = Queue("active_lifo", connection)
    for kind in "ab":
        await queue.add(kind, {}, lifo=True)
    async with worker(connection, "active_lifo", never, grace=0):
        await same(connection, "active_lifo")


async def test_registered_workers(connection: Connection) -> None:
    name = "worker_registration"
    queue = Queue(name, connection)
    for i in range(2):
        await queue.add("slow", {"i": i})
    options = {"grace": 0, "stalled_interval": 2000}
    async with worker(connection, name, never, concurrency=2, **options) as busy:
        await eventually(lambda: busy.active_jobs == 2)
        async with worker(connection, name, never, **options):
            # Two registrations look alike but for their names; the normal form keeps one.
            await same(connection, name)
            assert len(await queue.get_workers()) == 2
        listed = await queue.get_workers()
        assert [w.id for w in listed] == [busy.id]


async def test_results_and_an_orderly_close(connection: Connection) -> None:
    name = "completed"
    queue = Queue(name, connection)
    for i, kind in enumerate("abc", 1):
        await queue.add(kind, {"i": i})
    results = {"a": {"ok": True, "s": "é"}, "b": None, "c": "text"}

    async def process(each: Any) -> Any:
        return results[each.name]

    async with worker(connection, name, process):
        await same(connection, name)

    await Queue("worker_closed", connection).add("a", {})
    async with worker(connection, "worker_closed", one):
        await eventually(lambda: connection.command("ZCARD", "glide:{worker_closed}:completed"))
    await same(connection, "worker_closed")


async def test_metrics(connection: Connection) -> None:
    name = "metrics"
    queue = Queue(name, connection)
    for i in range(8):
        await queue.add("a", {"i": i})

    async def process(each: Any) -> int:
        clock = connection.now_ms
        connection.now_ms = lambda: clock() + 6
        if each.data["i"] % 4 == 3:
            raise ValueError("x")
        return 1

    async with worker(connection, name, process):
        await same(connection, name)
    for kind, count in (("completed", 6), ("failed", 2)):
        metrics = await connection.command("HGETALL", f"glide:{{{name}}}:metrics:{kind}")
        durations = [int(value) for field, value in metrics.items() if field.endswith(b":d")]
        assert sum(durations) >= 6 * count


async def test_events_and_metrics_off(connection: Connection) -> None:
    name = "events_off"
    queue = Queue(name, connection, events=False)
    await queue.add("a", {})
    await queue.add("b", {})

    async def process(each: Any) -> int:
        if each.name == "b":
            raise ValueError("no")
        return 1

    async with worker(connection, name, process, events=False, metrics=False):
        await same(connection, name)


async def test_progress_logs_and_data(connection: Connection) -> None:
    async def report(each: Any) -> int:
        await each.update_progress(40)
        await each.update_progress({"step": "embed", "pct": 70})
        await each.log("one")
        await each.log("two")
        await each.update_data({"v": 1})
        return 1

    await Queue("progress_log", connection).add("a", {})
    async with worker(connection, "progress_log", report):
        await same(connection, "progress_log")

    async def replace(each: Any) -> None:
        await each.update_data({"v": 2, "more": True})
        await each.update_progress(100)

    await Queue("job_data_updated", connection).add("a", {"v": 1})
    async with worker(connection, "job_data_updated", replace):
        await same(connection, "job_data_updated")


async def test_token_streams(connection: Connection) -> None:
    name = "token_stream"
    chunks = [e["fields"] for e in recording(name)["keys"][f"glide:{{{name}}}:jstream:1"]["value"]]

    async def process(each: Any) -> int:
        for chunk in chunks:
            await each.stream(chunk)
        return 1

    await Queue(name, connection).add("chat", {})
    async with worker(connection, name, process):
        await same(connection, name)

    async def live(each: Any) -> None:
        await asyncio.gather(*(each.stream({"t": f"{word} "}) for word in ("one", "two", "three")))
        await never(each)

    await Queue("token_stream_live", connection).add("chat", {})
    async with worker(connection, "token_stream_live", live, grace=0):
        await same(connection, "token_stream_live")


async def test_usage(connection: Connection) -> None:
    name = "usage"

    async def process(each: Any) -> int:
        if each.name == "a":
            await each.report_usage(
                model="gpt-5.4",
                provider="openai",
                tokens={"input": 120, "output": 60, "reasoning": 20},
                costs={"input": 0.001, "output": 0.0025},
                cost_unit="usd",
                latency=831,
                cached=False,
            )
        elif each.name == "b":
            await each.report_usage(model="claude-sonnet-4-20250514", total_tokens=99, total_cost=0.01)
        else:
            await each.report_usage(model="m1", tokens={"input": 5})
            await each.report_usage(model="m2", tokens={"input": 7, "output": 1})
        return 1

    queue = Queue(name, connection)
    for kind in "abc":
        await queue.add(kind, {})
    async with worker(connection, name, process):
        await same(connection, name)


async def test_report_usage_twice_from_outside(connection: Connection) -> None:
    """A report replaces the one before, also in the bucket: `models` may stay at 0."""
    bench = Bench(connection, "usage2")
    bench.scope = await bench.queue.context()
    job_id = await bench.add()
    await report_usage(bench.scope, job_id, model="m1", tokens={"input": 5})
    await report_usage(bench.scope, job_id, model="m2", tokens={"input": 7})
    [bucket] = [value["value"] for key, value in (await dump(connection)).items() if "{usage2}:usage:" in key]
    assert bucket["jobCount"] == "1"
    assert bucket["models:m1"] == "0"
    assert bucket["tokens:input"] == "7"


async def test_retention(connection: Connection) -> None:
    name = "remove_on_complete"
    queue = Queue(name, connection)
    await queue.add("a", {}, remove_on_complete=True)
    for _ in range(2):
        await queue.add("b", {}, remove_on_complete=1)
    async with worker(connection, name, one):
        # The scheduler lock of that moment is no record.
        await same(connection, name, ignore=("*:lock:*",))


async def test_a_step_delay(connection: Connection) -> None:
    name = "step_moved_to_delayed"
    frozen = connection.now_ms()
    connection.now_ms = lambda: frozen

    async def process(each: Any) -> None:
        await each.move_to_delayed(frozen + HOUR - 1, "two")

    await Queue(name, connection).add("steps", {})
    async with worker(connection, name, process):
        await same(connection, name)


# Suspension --------------------------------------------------------------------------------------------------


def suspending(**options: Any) -> Process:
    async def process(each: Any) -> Any:
        if not each.signals:
            await each.suspend(**options)
        signal = each.signals[-1]
        return {"by": signal.data["reviewer"], "n": len(each.signals)}

    return process


async def test_suspended_without_options(connection: Connection) -> None:
    name = "suspended_no_timeout"
    await Queue(name, connection).add("moderate", {})
    async with worker(connection, name, suspending()):
        await same(connection, name)


async def test_signalled_and_completed(connection: Connection) -> None:
    name = "signalled_completed"
    queue = Queue(name, connection)
    moderated = await queue.add("moderate", {})
    assert moderated is not None
    async with worker(connection, name, suspending(reason="review", timeout=60_000)):
        await eventually(lambda: queue.get_suspend_info("1"))
        answer = {"action": "approve", "reviewer": "alice@example.com"}
        assert await queue.signal("1", "review", answer)
        await same(connection, name)
        assert not await queue.signal("1", "review", answer)
        await same(connection, name)


async def test_signalled_with_a_continuation(connection: Connection) -> None:
    name = "signalled_on_resume"
    queue = Queue(name, connection)
    calls = 0

    async def process(each: Any) -> None:
        nonlocal calls
        calls += 1
        await each.suspend(reason="r", on_resume=lambda signals: {"resumed": [s.name for s in signals]})

    await queue.add("review", {})
    async with worker(connection, name, process):
        await eventually(lambda: queue.get_suspend_info("1"))
        await queue.signal("1", "go", {"a": 1})
        await same(connection, name)
    assert calls == 1


@pytest.mark.parametrize(
    ("name", "kind", "options", "signal"),
    [
        ("signalled_no_worker", "review", {"reason": "human", "timeout": HOUR}, {"by": "ops"}),
        (
            "signalled_waiting",
            "moderate",
            {"reason": "r"},
            {"action": "approve", "reviewer": "alice@example.com"},
        ),
    ],
)
async def test_signalled_while_nobody_works(
    connection: Connection, name: str, kind: str, options: dict[str, Any], signal: dict[str, str]
) -> None:
    """Node's closing worker had fetched the entry in one of them; ours never does (D4)."""
    queue = Queue(name, connection)
    await queue.add(kind, {})
    async with worker(connection, name, suspending(**options)):
        await eventually(lambda: queue.get_suspend_info("1"))
    assert await queue.signal("1", "approve", signal)
    assert not await queue.signal("1", "approve", signal)

    def unread(wanted: dict[str, Any]) -> None:
        wanted[f"glide:{{{name}}}:stream"]["groups"][0]["pending_entries"] = []

    await same(connection, name, change=unread)


async def test_a_suspension_times_out_for_good(connection: Connection) -> None:
    name = "suspend_timeout_retries"
    options = {"attempts": 3, "backoff": Backoff("fixed", HOUR)}
    await Queue(name, connection).add("review", {}, **options)
    async with worker(connection, name, suspending(reason="quick", timeout=150)):
        await same(connection, name)
