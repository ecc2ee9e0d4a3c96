"""Durations as people write them, and numbers that were most likely meant as seconds."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import (
    Backoff,
    Batch,
    Deduplication,
    InvalidOptionError,
    JobFailedError,
    JobOptions,
    Queue,
    RateLimit,
    SuspiciousDurationWarning,
    WaitTimeoutError,
    Worker,
    connect,
)
from glidemq_core.options.durations import parse_duration
from glidemq_core.options.fields import to_ms
from glidemq_core.options.job import job_options
from glidemq_core.server.connection import Connection


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        (" 5 M ", 300_000),
        ("5min", 300_000),
        ("1h 30m", 5_400_000),
        ("1h30m", 5_400_000),
        ("1d 2h 3m 4s 5ms", 93_784_005),
        ("0.07s", 70),
        ("1.5ms", 2),
        ("0s", 0),
    ],
)
def test_text_is_a_duration(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == to_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "30", "s", "-1s", "1s 1s", "1s 1h", "5m 3", "1w", "1e3s", "inf", "nan", "९s", "1" * 65 + "s"],
)
def test_other_text_is_none(text: str) -> None:
    assert parse_duration(text) is None
    with pytest.raises(InvalidOptionError, match=re.escape('text such as "30s" or "1h 30m"')):
        to_ms(text)


def test_options_take_text() -> None:
    options = JobOptions(
        delay="1m",
        timeout="30s",
        ttl="1h 30m",
        lock_duration="90s",
        backoff="2s",
        deduplication=Deduplication("d", "5s"),
    )

    assert json.loads(options.to_wire()) == {
        "delay": 60_000,
        "timeout": 30_000,
        "ttl": 5_400_000,
        "lockDuration": 90_000,
        "backoff": {"type": "fixed", "delay": 2_000},
        "deduplication": {"id": "d", "ttl": 5_000},
    }
    assert RateLimit(5, "1m") == RateLimit(5, 60_000)
    assert Backoff("exponential", "1s").delay == 1_000
    assert Batch(2, "50ms").timeout == 50
    assert Worker("q", print, grace="1m", lock_duration="1m").options.grace == 60_000


async def test_calls_take_text(server_url: str, connection: Connection) -> None:
    async def process(job: Any) -> None:
        if not job.signals:
            await job.report_usage(tokens={"input": 1}, latency="2s")
            await job.suspend(timeout="1h")

    async with (
        connect(server_url, request_timeout="5s", connect_timeout="5s") as opened,
        Queue("q", opened) as queue,
        Worker("q", process, opened),
    ):
        job = await queue.add("a")
        info = await eventually(lambda: queue.get_suspend_info(job.id))
        assert info.timeout_ms == 3_600_000
        await job.refresh()
        assert job.usage is not None
        assert job.usage.latency_ms == 2_000
        await queue.signal(job.id, "go")
        await job.wait(timeout="10s")
        assert await queue.clean("completed", grace="1h") == []


@pytest.mark.parametrize(
    "stored", ['{"timeout":"30s"}', '{"backoff":"2s"}', '{"backoff":{"type":"fixed","delay":"2s"}}']
)
def test_text_in_a_record_is_none(stored: str) -> None:
    options = JobOptions.from_wire(stored)

    assert options.given == ()
    assert options.extra == json.loads(stored)
    with pytest.raises(InvalidOptionError):
        JobOptions.from_json(json.loads(stored))


def worker(**options: Any) -> Worker[Any, Any]:
    return Worker("q", print, **options)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: JobOptions(timeout=30), "timeout=30 is 30 milliseconds; write '30s' for seconds"),
        (lambda: JobOptions(ttl=999), "ttl=999"),
        (lambda: Deduplication("d", 60), "ttl=60"),
        (lambda: worker(lock_duration=30), "lock_duration=30"),
        (lambda: job_options(None, {"timeout": 5}), "timeout=5"),
    ],
)
def test_a_small_number_is_warned_of_where_it_stands(make: Callable[[], Any], named: str) -> None:
    with pytest.warns(SuspiciousDurationWarning, match=re.escape(named)) as caught:
        make()

    assert [warning.filename for warning in caught] == [__file__]


async def test_waiting_and_suspending_warn_too(connection: Connection) -> None:
    async def process(job: Any) -> None:
        await job.suspend(timeout=600)

    async with Queue("q", connection) as queue, Worker("q", process, connection, log_errors=False):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SuspiciousDurationWarning)
            job = await queue.add("a")
            with suppress(WaitTimeoutError, JobFailedError):
                await job.wait(timeout=300)
            await job.wait_until_finished(timeout="10s")

    assert {str(warning.message).partition(" ")[0] for warning in caught} == {"timeout=300", "timeout=600"}
    assert {warning.filename for warning in caught} == {__file__}


def test_nothing_is_warned_of_when_it_is_meant() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for meant in (0, 1_000, "30ms", timedelta(milliseconds=30)):
            JobOptions(timeout=meant, ttl=meant)
        told = JobOptions(timeout="30ms", deduplication=Deduplication("d", "30ms"))
        job_options(told, {"priority": 1})
        JobOptions.from_wire('{"timeout":30,"ttl":5.5,"deduplication":{"id":"d","ttl":30}}')
        Batch(2, 50)
