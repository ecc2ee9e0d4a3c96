"""What `add` says about a job: options with parts, and options under other names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .harness import Ran

Run = Callable[..., Ran]


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        ("--job-timeout 2m", {"timeout": 120_000}),
        ("--schedule-in 5m", {"delay": 300_000}),
        ("--delay 1h --schedule-in 5m", {"delay": 300_000}),
        ("--backoff 5s", {"backoff": {"type": "fixed", "delay": 5_000}}),
        ("--backoff fixed:500ms", {"backoff": {"type": "fixed", "delay": 500}}),
        ("--backoff exponential:1s:0.2", {"backoff": {"type": "exponential", "delay": 1_000, "jitter": 0.2}}),
        ("--backoff mine:0s", {"backoff": {"type": "mine", "delay": 0}}),
        ("--dedup nightly", {"deduplication": {"id": "nightly"}}),
        ("--dedup user:42", {"deduplication": {"id": "user:42"}}),
        ("--dedup a,b=,c", {"deduplication": {"id": "a,b=,c"}}),
        (
            "--dedup user:42,ttl=1h,mode=throttle",
            {"deduplication": {"id": "user:42", "ttl": 3_600_000, "mode": "throttle"}},
        ),
        (
            "--dedup x,mode=debounce,ttl=5s",
            {"deduplication": {"id": "x", "ttl": 5_000, "mode": "debounce"}},
        ),
        ("--ordering user:42", {"ordering": {"key": "user:42"}}),
        ("--ordering user:42,concurrency=3", {"ordering": {"key": "user:42", "concurrency": 3}}),
        (
            "--ordering a,b,rate=10/1s",
            {"ordering": {"key": "a,b", "rateLimit": {"max": 10, "duration": 1_000}}},
        ),
    ],
)
def test_options_of_one_job(run: Run, server: str, words: str, stored: dict[str, Any]) -> None:
    assert run("add", "q", "n", *words.split()).code == 0
    job = run("job", "q:1", "--json").object["job"]
    assert job["opts"] == stored


def test_what_is_said_beside_opts_wins(run: Run, server: str) -> None:
    opts = '{"backoff": {"type": "fixed", "delay": 1}, "timeout": 1, "lifo": true}'
    assert run("add", "q", "n", "--opts", opts, "--backoff", "1s", "--job-timeout", "5s").code == 0
    assert run("job", "q:1", "--json").object["job"]["opts"] == {
        "backoff": {"type": "fixed", "delay": 1_000},
        "timeout": 5_000,
        "lifo": True,
    }


def test_a_duplicate_is_skipped(run: Run, server: str) -> None:
    assert run("add", "q", "n", "--dedup", "nightly").code == 0
    skipped = run("add", "q", "n", "--dedup", "nightly", "--json")
    assert (skipped.code, skipped.object["job"]["outcome"]) == (1, "skipped")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--backoff soon", "'soon': write a time as 500ms"),
        ("--backoff exponential:", "'': write a time as"),
        ("--backoff :1s", "should be [TYPE:]DUR[:JITTER], for example exponential:1s:0.2"),
        ("--backoff a:1s:1:1", "should be [TYPE:]DUR[:JITTER]"),
        ("--backoff a:1s:x", "'x': must be a number"),
        ("--backoff a:1s:", "it is empty"),
        ("--dedup ,ttl=1s", "it is empty"),
        ("--dedup a,mode=twice", "'twice' should be simple, throttle or debounce"),
        ("--dedup a,ttl=1s,ttl=2s", "ttl is given twice"),
        ("--dedup a,tll=1s", "unknown part ',tll='; there are ttl, mode"),
        ("--dedup a,ttl=x", "'x': write a time"),
        ("--ordering ,concurrency=2", "it is empty"),
        ("--ordering a,concurrency=-1", "'-1' should be a whole number"),
        ("--ordering a,rate=x", "'x': write how many starts a minute"),
        ("--job-timeout -1s", "write a time"),
        ("--bulk x --backoff 1s", "--bulk takes everything from its lines"),
        ('--ordering a --opts {"lifo":true}', "lifo and ordering cannot be used together"),
    ],
)
def test_what_cannot_be_meant_is_told(run: Run, server: str, words: str, said: str) -> None:
    name = () if "--bulk" in words else ("n",)
    ran = run("add", "q", *name, *words.split())
    assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran
    assert said in ran.err
    assert run("job", "q:1").code == 1, "nothing was added"


@pytest.mark.parametrize("words", ["-h", "add -h", "queues -h", "scheduler -h", "worker -h"])
def test_h_is_help(run: Run, environment: None, words: str) -> None:
    short, long = run(*words.split()), run(*words.replace("-h", "--help").split())
    assert (short.code, short.out) == (0, long.out)
    assert short.out.startswith("Usage: glidemq")


@pytest.mark.parametrize("words", ["-V", "queues -V", "add -V"])
def test_v_is_version(run: Run, environment: None, words: str) -> None:
    ran = run(*words.split())
    assert (ran.code, ran.out) == (0, run("--version").out)
