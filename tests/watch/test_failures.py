"""Failures gathered by cause."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from hypothesis import given
from hypothesis import strategies as st

from glidemq_core import InvalidOptionError, Queue, Usage, Worker
from glidemq_core.options.job import JobRef
from glidemq_core.records.failures import failure_key, message_pattern
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch


class ProviderError(Exception):
    pass


async def fail(connection: Connection, queue: str, *errors: Exception, usage: Usage | None = None) -> None:
    """Let one job fail for each error, in that order."""

    async def process(job: Any) -> None:
        if usage is not None:
            await job.report_usage(usage)
        raise errors[job.data]

    async with Queue(queue, connection) as jobs, Worker(queue, process, connection, log_errors=False):
        before = (await jobs.get_job_counts()).failed
        for n in range(len(errors)):
            await jobs.add(f"n{n % 2}", n)

            async def ended(n: int = n) -> bool:
                return (await jobs.get_job_counts()).failed == before + n + 1

            await eventually(ended)


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("429 slow down, retry after 800 ms", "# slow down, retry after # ms"),
        ("chunk 12 has no text", "chunk # has no text"),
        ("no model 'gpt-9' in \"eu west\"", "no model # in #"),
        ("request 123e4567-e89b-12d3-a456-426614174000 at 0x7FFF took 1.25s", "request # at # took #s"),
        ("hash deadbeef01 of job abc", "hash # of job #"),
        ("it can't be, isn't it", "it can't be, isn't it"),
        ("two\n  lines", "two lines"),
        ("", ""),
    ],
)
def test_what_differs_from_job_to_job_is_left_out(message: str, pattern: str) -> None:
    assert message_pattern(message, "abc") == pattern


@given(st.text(), st.text(max_size=20))
def test_every_text_has_a_pattern_that_stays(message: str, job_id: str) -> None:
    once = message_pattern(message, job_id)

    assert len(once) <= 2_000
    assert failure_key("q", None, message, job_id) == failure_key("q", None, message, job_id)


async def test_one_cause_is_one_group(connection: Connection) -> None:
    spent = Usage(model="gpt-5.4", costs={"total": 0.25}, cost_unit="usd")
    await fail(connection, "inference", *(ProviderError(f"429 after {n} ms") for n in range(3)), usage=spent)
    await fail(connection, "inference", ValueError("429 after 1 ms"))
    await fail(connection, "rag", ProviderError("429 after 1 ms"))
    async with Watch(connection) as watch:
        failures = await watch.failures()

    first, *others = failures.groups
    assert (failures.jobs_read, failures.complete) == (5, False)
    assert (first.queue, first.error_type, first.message, first.count) == (
        "inference",
        "ProviderError",
        "# after # ms",
        3,
    )
    assert first.names == {"n0": 2, "n1": 1}
    assert first.models == {"gpt-5.4": 3}
    assert first.wasted_cost == pytest.approx(0.75)
    assert first.sample == tuple(JobRef("inference", n) for n in "321")
    assert first.first_at <= first.last_at
    assert {(group.queue, group.error_type, group.wasted_cost) for group in others} == {
        ("inference", "ValueError", None),
        ("rag", "ProviderError", None),
    }


async def test_only_the_newest_since_then_are_read(connection: Connection) -> None:
    await fail(connection, "a", *(ValueError("x") for _ in range(4)))
    await fail(connection, "b", *(ValueError("y") for _ in range(4)))
    await connection.command("ZADD", "glide:{b}:failed", connection.now_ms() - 7_200_000, "1")
    async with Watch(connection) as watch:
        all_of_them = await watch.failures(["a", "b"])
        some = await watch.failures(["a", "b"], limit=5)
        old = await watch.failures(["a", "b"], since=10_800_000)
        with pytest.raises(InvalidOptionError):
            await watch.failures(limit=0)

    assert (all_of_them.jobs_read, all_of_them.complete) == (7, True)
    assert (some.jobs_read, some.complete) == (5, False)
    assert [(group.queue, group.count) for group in some.groups] == [("b", 3), ("a", 2)]
    assert old.jobs_read == 8


async def test_what_was_retried_meanwhile_is_no_failure(connection: Connection) -> None:
    await fail(connection, "a", ValueError("x"), ValueError("x"))
    await connection.command("HSET", "glide:{a}:job:1", "state", "delayed")
    await connection.command("SET", "glide:{hurt}:failed", "no set")
    async with Watch(connection) as watch:
        failures = await watch.failures(["a", "hurt", "none"])

    assert [group.count for group in failures.groups] == [1]
    assert not failures.complete


async def test_jobs_that_are_known_are_not_read_again(connection: Connection) -> None:
    await fail(connection, "mail", ValueError("no address"), ValueError("no address"))
    async with Watch(connection) as watch:
        first = await watch.failures(["mail"])
        before = connection.stats.commands
        again = await watch.failures(["mail"])
        assert again.groups == first.groups
        assert connection.stats.commands - before == 1

        [group] = again.groups
        assert await Queue("mail", connection).retry_job(group.sample[0].id) is None
        assert [one.count for one in (await watch.failures(["mail"])).groups] == [1]
