"""What strangers left behind in bulk costs a watcher a bounded amount, and what is left out is said."""

from __future__ import annotations

import warnings

import pytest
from kits.watch import calls, quick_watch

from glidemq_core import NewJob, Queue
from glidemq_core.jobs import read as reading
from glidemq_core.reading import scan
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch, discovery
from glidemq_core.wire.keys import QueueKeys, registry

__all__ = ["quick_watch"]


async def test_a_huge_signals_field_does_not_freeze_the_page_of_a_job(
    connection: Connection, watch: Watch
) -> None:
    job = await Queue("chat", connection).add("answer", {"prompt": "hi"})
    assert job is not None
    await connection.command("HSET", QueueKeys("glide", "chat").job(job.id), "signals", "x" * 20_000_000)
    before = (await connection.command("INFO", "stats")).decode()

    detail = await watch.job("chat", job.id)

    after = (await connection.command("INFO", "stats")).decode()
    assert detail is not None
    assert detail.data == {"prompt": "hi"}
    assert detail.signals == ()
    assert detail.left_out == ("signals (20,000,000 bytes)",)
    assert _sent(after) - _sent(before) < 100_000


def _sent(stats: str) -> int:
    return int(stats.partition("total_net_output_bytes:")[2].split()[0])


async def test_a_search_that_ends_early_says_so(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue("chat", connection)
    await queue.add_bulk([NewJob("answer", {}) for _ in range(601)])
    monkeypatch.setattr(scan, "STEP_KEYS", 100)
    monkeypatch.setattr(scan, "WALK_STEPS", 1)
    with pytest.warns(RuntimeWarning, match="too many keys to look at all of them for 'chat'"):
        await queue.search_jobs(name="nobody")
    monkeypatch.setattr(reading, "_SEARCH_LIMIT", 400)
    with pytest.warns(RuntimeWarning, match="only 400 jobs of 'chat' that are waiting were looked at"):
        await queue.search_jobs(state="waiting", name="nobody")
    monkeypatch.setattr(reading, "_SEARCH_LIMIT", 601)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await queue.search_jobs(state="waiting", name="nobody")


async def test_names_of_queues_long_gone_cost_a_bounded_number_of_commands(
    connection: Connection, watch: Watch
) -> None:
    names = [f"gone-{number}" for number in range(50_000)]
    for start in range(0, len(names), 5_000):
        await connection.command("SADD", registry("glide"), *names[start : start + 5_000])
    await Queue("chat", connection).add("answer", {})
    await watch.known()
    before = await calls(connection)

    for _ in range(3):
        await watch.known()

    after = await calls(connection)
    asked = {
        name: after[name] - before.get(name, 0) for name in ("exists", "sscan", "smembers") if name in after
    }
    assert asked["exists"] <= 3 * 256
    assert asked["sscan"] <= 3 * 2 * 10
    found = [name async for step in watch.discover(calls_per_s=1_000) for name in step.found]
    assert "chat" in found


async def test_more_queues_than_are_kept_are_said_to_be_left_out(
    connection: Connection, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "MOST_QUEUES", 3)
    for number in range(5):
        await Queue(f"q{number}", connection).add("answer", {})

    async for step in watch.discover(calls_per_s=1_000):
        last = step

    assert len(await watch.known()) == 3
    assert watch.leaves_out_queues
    assert not last.complete
    assert not (await watch.snapshot()).complete
