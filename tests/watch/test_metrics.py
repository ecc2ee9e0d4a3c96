"""Figures for Prometheus, read back by its own parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import CORPUS
from kits.watch import viewer_url
from prometheus_client.parser import text_string_to_metric_families

from glidemq_core import (
    Budget,
    FlowJob,
    FlowProducer,
    Job,
    JobOptions,
    NewJob,
    Queue,
    RateLimit,
    TokenLimit,
    Worker,
)
from glidemq_core.errors import UnrecoverableError
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.watch.metrics import Exporter
from glidemq_core.watch.metrics import exporter as exporter_module
from glidemq_core.watch.metrics.exposition import Family, render
from glidemq_core.wire.keys import QueueKeys

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
MINUTE = 60_000


@pytest.fixture(autouse=True)
def every_reading_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter_module, "_FRESH_S", 0.0)


def parsed(text: str) -> Samples:
    """Read the text as Prometheus does; every metric must say what it is."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"glidemq_{name}", frozenset(labels.items())))


async def read(connection: Connection, *names: str, counting: bool = False) -> Samples:
    async with Watch(connection, calls_per_s=5_000) as watch:
        return parsed(await Exporter(watch, names or None, counting=counting).read())


@pytest.fixture
def clock(connection: Connection) -> list[int]:
    """What time it is for the connection; begins in the middle of a minute."""
    now = [connection.now_ms() // MINUTE * MINUTE + MINUTE // 2]
    connection.now_ms = lambda: now[0]
    return now


async def worked_off(queue: Queue[Any, Any], process: Callable[..., Any], **options: Any) -> None:
    async with Worker(queue.name, process, queue.connection, log_errors=False, **options) as worker:
        await worker.drain()


async def test_jobs_by_state_and_what_waits(connection: Connection, clock: list[int]) -> None:
    async with Queue[Any, Any]("q", connection) as queue:
        for _ in range(3):
            await queue.add("n")
        await queue.add("later", delay=60_000)
        await queue.add("first", priority=1)
        await queue.pause()
        clock[0] += 12_000

        samples = await read(connection, "q")

    states = {
        "waiting": 3,
        "delayed": 1,
        "prioritized": 1,
        "active": 0,
        "suspended": 0,
        "completed": 0,
        "failed": 0,
    }
    assert {state: of(samples, "jobs", queue="q", state=state) for state in states} == states
    assert of(samples, "up") == 1
    assert of(samples, "queue_paused", queue="q") == 1
    assert of(samples, "oldest_waiting_age_seconds", queue="q") == 12
    assert of(samples, "workers", queue="q") == 0
    assert of(samples, "stalled_jobs", queue="q") == 0
    assert of(samples, "concurrency_limit", queue="q") is None
    assert of(samples, "suspended_deadline_timestamp_seconds", queue="q") is None


async def test_what_ended_in_the_last_full_minute(connection: Connection, clock: list[int]) -> None:
    async def process(job: Job) -> None:
        await job.report_usage(model="m", tokens={"input": 10, "output": 5}, total_cost=0.25, cost_unit="USD")
        if job.name == "bad":
            raise UnrecoverableError("no")

    async with Queue[Any, Any]("q", connection) as queue:
        await queue.add_bulk([NewJob("good"), NewJob("good"), NewJob("bad")])
        await worked_off(queue, process)

        during = await read(connection, "q")
        clock[0] += MINUTE
        after = await read(connection, "q")
        clock[0] += MINUTE
        later = await read(connection, "q")

    shown = ("jobs_completed", "jobs_failed", "tokens", "usage_reports")
    for samples, expected in ((during, [0, 0, 0, 0]), (after, [2, 1, 45, 3]), (later, [0, 0, 0, 0])):
        assert [of(samples, f"last_minute_{name}", queue="q") for name in shown] == expected
    assert of(after, "last_minute_cost", queue="q", unit="USD") == 0.75
    assert (
        of(after, "jobs", queue="q", state="completed"),
        of(after, "jobs", queue="q", state="failed"),
    ) == (2, 1)
    assert not any(name.endswith("_total") for name, _ in after)


async def test_counters_begin_at_zero_and_go_on_from_minute_to_minute(
    connection: Connection, clock: list[int]
) -> None:
    async def process(job: Job) -> None:
        await job.report_usage(total_tokens=10, total_cost=0.5, cost_unit="EUR")

    async with Queue[Any, Any]("q", connection) as queue, Watch(connection, calls_per_s=5_000) as watch:
        await queue.add("before")
        await worked_off(queue, process)
        exporter = Exporter(watch, ["q"])

        async def counted() -> tuple[float | None, ...]:
            samples = parsed(await exporter.read())
            cost = of(samples, "cost_total", queue="q", unit="EUR")
            return (
                of(samples, "jobs_completed_total", queue="q"),
                of(samples, "tokens_total", queue="q"),
                cost,
            )

        assert await counted() == (0, 0, 0)
        await queue.add("same minute")
        await worked_off(queue, process)
        assert await counted() == (1, 10, 0.5)
        clock[0] += MINUTE
        await queue.add("next minute")
        await worked_off(queue, process)
        assert await counted() == (2, 20, 1)
        clock[0] += 600 * MINUTE  # nobody has asked for ten hours
        await queue.add_bulk([NewJob("late"), NewJob("late")])
        await worked_off(queue, process)
        clock[0] += 300 * MINUTE
        assert await counted() == (4, 40, 2)
        clock[0] += MINUTE
        assert await counted() == (4, 40, 2)


async def test_a_queue_that_appears_later_is_counted_from_the_start(
    connection: Connection, clock: list[int]
) -> None:
    """What ended in the minutes after the first reading counts, not what ended before it."""

    async def process(job: Job) -> None:
        await job.report_usage(total_tokens=10)

    async with Queue[Any, Any]("old", connection) as old, Queue[Any, Any]("new", connection) as new:
        await old.add("long ago")
        await worked_off(old, process)
        names: list[str] = []
        async with Watch(connection, calls_per_s=5_000) as watch:
            exporter = Exporter(watch, names)
            await exporter.read()
            clock[0] += MINUTE
            for queue in (old, new):
                await queue.add_bulk([NewJob("n"), NewJob("n")])
                await worked_off(queue, process)
            names += ["old", "new"]
            for _ in range(2):
                samples = parsed(await exporter.read())
                assert of(samples, "jobs_completed_total", queue="old") == 2
                assert of(samples, "tokens_total", queue="new") == 20
            # One that was not listed for a while goes on, and counts nothing twice.
            names.remove("new")
            await exporter.read()
            names.append("new")
            assert of(parsed(await exporter.read()), "tokens_total", queue="new") in (0, 20)


async def test_a_counter_never_falls_when_a_report_is_replaced(
    connection: Connection, clock: list[int]
) -> None:
    async def process(job: Job) -> None:
        await job.report_usage(total_tokens=10)

    async with Queue[Any, Any]("q", connection) as queue, Watch(connection, calls_per_s=5_000) as watch:
        exporter = Exporter(watch, ["q"])

        async def tokens() -> float | None:
            return of(parsed(await exporter.read()), "tokens_total", queue="q")

        assert await tokens() == 0
        job = await queue.add("n")
        assert job is not None
        await worked_off(queue, process)
        assert await tokens() == 10
        bucket = QueueKeys("glide", "q").usage(clock[0] // MINUTE * MINUTE)
        await connection.command("HINCRBYFLOAT", bucket, "totalTokens", "-7")
        assert await tokens() == 10
        await connection.command("HINCRBYFLOAT", bucket, "totalTokens", "9")
        assert await tokens() == 12


async def test_limits_workers_and_suspended_jobs(connection: Connection, clock: list[int]) -> None:
    async def process(job: Job) -> None:
        await job.suspend(reason="look", timeout=90_000 if job.name == "hurry" else None)

    async with Queue[Any, Any]("q", connection) as queue:
        await queue.set_global_rate_limit(RateLimit(10, 5_000))
        await queue.set_global_concurrency(4)
        limit = TokenLimit(1_000, MINUTE)
        async with Worker("q", process, connection, concurrency=2, token_limiter=limit) as worker:
            await queue.add_bulk([NewJob("hurry"), NewJob("whenever")])
            await eventually(lambda: _has(queue, suspended=2))
            samples = await read(connection, "q")
            await worker.close()

    def figures(*names: str) -> list[float | None]:
        return [of(samples, name, queue="q") for name in names]

    assert figures("rpm_used", "rpm_limit", "rpm_window_seconds", "concurrency_limit") == [2, 10, 5, 4]
    assert figures("tpm_used", "tpm_limit", "tpm_window_seconds", "workers") == [0, 1_000, 60, 1]
    assert of(samples, "jobs", queue="q", state="suspended") == 2
    assert figures("suspended_deadline_timestamp_seconds") == [(clock[0] + 90_000) / 1_000]


async def _has(queue: Queue[Any, Any], **expected: int) -> bool:
    counts = await queue.get_job_counts()
    return {name: getattr(counts, name) for name in expected} == expected


async def test_open_budgets_are_added_up_until_their_flow_ends(connection: Connection) -> None:
    async def process(job: Job) -> None:
        await job.report_usage(total_tokens=30, total_cost=1, cost_unit="USD")

    async with FlowProducer(connection) as flows, Queue[Any, Any]("q", connection) as queue:
        child = FlowJob("leaf", "leaves")
        narrow = await flows.add(
            FlowJob("root", "q", children=[child, child]),
            budget=Budget(max_total_tokens=20, on_exceeded="pause"),
        )
        await flows.add(
            FlowJob("root", "q", children=[child]), budget=Budget(max_total_cost=4, cost_unit="USD")
        )
        fresh = await read(connection, "q", "leaves")
        leaves = Queue[Any, Any]("leaves", connection)
        async with Worker("leaves", process, connection):
            await eventually(lambda: _has(leaves, completed=2, delayed=1))
        spent = await read(connection, "q", "leaves")
        await worked_off(queue, process)
        ended = await read(connection, "q", "leaves")
        await queue.top_up_budget(narrow.job.id, add_tokens=1_000)
        topped_up = await read(connection, "q", "leaves")
        await worked_off(leaves, process)
        await worked_off(queue, process)
        done = await read(connection, "q", "leaves")

    def figures(samples: Samples) -> list[float | None]:
        names = (
            "budgets",
            "budgets_exceeded",
            "budget_parked_jobs",
            "budget_used_tokens",
            "budget_left_tokens",
        )
        return [of(samples, name, queue="q") for name in (*names, "budget_least_left_ratio")]

    assert figures(fresh) == [2, 0, 0, 0, 20, 1]
    assert figures(spent) == [2, 1, 1, 60, 0, 0]
    assert of(spent, "budget_used_cost", queue="q", unit="USD") == 1
    assert of(spent, "budget_left_cost", queue="q", unit="USD") == 3
    assert figures(ended) == [1, 1, 1, 30, 0, 0]  # the one whose job is parked goes on
    assert figures(topped_up)[:5] == [1, 0, 0, 30, 990]
    assert figures(done)[:4] == [0, 0, 0, None]
    assert of(fresh, "budgets", queue="leaves") == 0


async def test_schedulers_and_dead_letters(connection: Connection, clock: list[int]) -> None:
    async def process(job: Job) -> None:
        raise UnrecoverableError("no")

    async with Queue[Any, Any]("q", connection, dead_letter_queue="letters") as queue:
        await queue.add("n")
        await worked_off(queue, process, dead_letter_queue="letters")
        await queue.upsert_job_scheduler("often", every=10_000)
        clock[0] += 100_000
        samples = await read(connection, "q")

    assert of(samples, "dead_letters", queue="letters") == 1
    assert of(samples, "schedulers", queue="q") == 1
    assert (of(samples, "schedulers_missed_runs", queue="q") or 0) >= 8
    assert of(samples, "jobs", queue="letters", state="waiting") is None  # only what was asked for


async def test_names_from_strangers_are_escaped(connection: Connection) -> None:
    names = [name.translate({ord(c): "" for c in "{}:"})[:200] for name in CORPUS]
    names = [name for name in dict.fromkeys(names) if name and name.isprintable() is not None]
    for name in names:
        async with Queue[Any, Any](name, connection) as queue:
            await queue.add("n")
    samples = await read(connection, *names)
    for name in names:
        clean = name.encode("utf-8", "replace").decode("utf-8")
        assert of(samples, "jobs", queue=clean, state="waiting") == 1


def test_the_format_is_that_of_prometheus() -> None:
    family = Family("glidemq_x", "gauge", "Help.")
    family.add(0.1, queue='a"b\\c\nd\re')
    family.add(None, queue="unknown")
    family.add(float("inf"), queue="inf")
    family.add(2**60, queue="large")

    text = render([family, Family("glidemq_empty", "gauge", "Nothing.")])

    assert text.startswith("# HELP glidemq_x Help.\n# TYPE glidemq_x gauge\n")
    assert 'queue="a\\"b\\\\c\\nd\re"} 0.1\n' in text
    assert "empty" not in text
    [parsed_family] = text_string_to_metric_families(text)
    assert [(sample.labels["queue"], sample.value) for sample in parsed_family.samples] == [
        ('a"b\\c\nd\re', 0.1),
        ("inf", float("inf")),
        ("large", float(2**60)),
    ]


@pytest.mark.parametrize("counting", [True, False])
async def test_the_cost_does_not_grow_with_the_number_of_jobs(connection: Connection, counting: bool) -> None:
    async def cost() -> int:
        await connection.command("CONFIG", "RESETSTAT")
        await exporter.read()
        stats = (await connection.command("INFO", "commandstats")).decode()
        calls = [line.split("calls=")[1].split(",")[0] for line in stats.splitlines() if "calls=" in line]
        return sum(map(int, calls))

    async with Queue[Any, Any]("q", connection) as queue, Watch(connection, calls_per_s=5_000) as watch:
        exporter = Exporter(watch, ["q"], counting=counting)
        await queue.add("n")
        await queue.add("later", delay=MINUTE)
        await queue.add("first", priority=3)
        await exporter.read()
        few = await cost()
        sent = connection.stats.commands
        await exporter.read()
        sent = connection.stats.commands - sent
        await queue.add_bulk([NewJob("n") for _ in range(3_000)])
        await queue.add_bulk([NewJob("n", options=JobOptions(delay=MINUTE)) for _ in range(500)])
        many = await cost()

    assert many == few
    assert sent <= 25


async def test_who_may_only_read_gets_the_same(connection: Connection, server_url: str) -> None:
    async with FlowProducer(connection) as flows:
        await flows.add(
            FlowJob("root", "q", children=[FlowJob("leaf", "q")]), budget=Budget(max_total_tokens=5)
        )
    async with connect(await viewer_url(connection, server_url)) as viewer:
        seen = await read(viewer, "q")
    mine = await read(connection, "q")
    await connection.command("ACL", "DELUSER", "viewer")

    ages = {key for key in mine if "age" in key[0]}
    assert seen.keys() == mine.keys()
    assert {key: seen[key] for key in seen.keys() - ages} == {key: mine[key] for key in mine.keys() - ages}


@pytest.mark.leaves_records
async def test_keys_of_another_type_are_told_and_spoil_nothing(connection: Connection) -> None:
    keys = QueueKeys("glide", "q")
    await Queue[Any, Any]("q", connection).add("n")
    for key in (keys.budgets, keys.schedulers, keys.suspended, keys.metrics("completed"), keys.failed):
        await connection.command("SET", key, "foreign")

    samples = await read(connection, "q", counting=True)

    assert of(samples, "jobs", queue="q", state="waiting") == 1
    assert of(samples, "unreadable_keys", queue="q") == 4
    assert of(samples, "budgets", queue="q") == 0
