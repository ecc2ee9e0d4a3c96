"""`limits`: what holds queues back, and setting what a queue itself allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from glidemq_core import Queue, RateLimit, TokenLimit
from glidemq_core.options.job import Ordering
from glidemq_core.server.connection import Connection
from glidemq_core.worker.worker import Worker

from .harness import Ran, process, within, words

Run = Callable[..., Ran]
LIMITS = words("queue rpm tpm global_concurrency groups groups_total")
RATE = words("used max window_ms resets_ms source")
GROUP = words("key active max_concurrency waiting rate tokens capacity refill_per_s resume_ms")
RESULT = words("queue id action ok outcome count ids message")


@pytest.fixture
def chat(server: str, run: Run) -> str:
    """A server with queue `chat` and one job."""
    run("add", "chat", "answer")
    return server


def set_line(run: Run, *line: str) -> list[tuple[str, bool]]:
    """Set limits and return what became of each."""
    ran = run("limits", *line, "--json")
    assert list(ran.object) == ["results"]
    for result in ran.object["results"]:
        assert list(result) == RESULT
    return [(result["outcome"], result["ok"]) for result in ran.object["results"]]


def test_limits_have_exactly_the_keys(run: Run, chat: str) -> None:
    ran = run("limits", "--json")
    assert ran.code == 0
    assert list(ran.object) == ["limits", "at_ms"]
    [limits] = ran.object["limits"]
    assert list(limits) == LIMITS
    assert list(limits["rpm"]) == list(limits["tpm"]) == RATE
    assert limits["global_concurrency"] == {"used": 0, "max": None}
    assert (limits["queue"], limits["groups"], limits["groups_total"]) == ("chat", [], 0)
    assert limits["rpm"]["max"] is None
    assert limits["rpm"]["source"] is None


def test_setting_and_lifting_caps(run: Run, chat: str) -> None:
    assert set_line(run, "chat", "--rpm", "60/1m") == [("set", True)]
    assert set_line(run, "chat", "--concurrency", "5") == [("set", True)]
    [limits] = run("limits", "chat", "--json").object["limits"]
    assert (limits["rpm"]["max"], limits["rpm"]["window_ms"], limits["rpm"]["source"]) == (
        60,
        60_000,
        "queue",
    )
    assert limits["global_concurrency"] == {"used": 0, "max": 5}
    text = run("limits", "chat").out
    assert "· of 60 in 1m" in text
    assert "· of 5" in text
    assert set_line(run, "-q", "chat", "--rpm", "10/500ms") == [("set", True)]
    [limits] = run("limits", "chat", "--json").object["limits"]
    assert (limits["rpm"]["max"], limits["rpm"]["window_ms"]) == (10, 500)
    assert set_line(run, "chat", "--no-rpm", "--concurrency", "0") == [("cleared", True), ("cleared", True)]
    [limits] = run("limits", "chat", "--json").object["limits"]
    assert limits["rpm"]["max"] is None
    assert limits["global_concurrency"]["max"] is None


def test_setting_is_audited_and_told(run: Run, chat: str) -> None:
    ran = run("limits", "chat", "--rpm", "60/1m", "--by", "ada", "--comment", "429s")
    assert ran.out == "chat set (60 starts in 1m)\n"
    [entry] = run("audit", "chat", "--json").object["entries"]
    assert (entry["by"], entry["comment"], entry["action"]) == ("ada", "429s", "set_limits")
    assert entry["detail"] == {"rpm": {"max": 60, "window_ms": 60_000}}


def test_the_audit_shows_what_a_limit_was_set_to(run: Run, chat: str) -> None:
    for caps in (("--rpm", "60/1m", "--concurrency", "5"), ("--no-rpm", "--concurrency", "0")):
        assert run("limits", "chat", *caps).code == 0
    rows = [line.split("  ") for line in run("audit", "chat").out.splitlines()[1:]]
    shown = [[cell.strip() for cell in row if cell.strip()][-1] for row in rows]
    assert shown == ["no cap on jobs at once", "no cap on starts", "5 jobs at once", "60 starts in 1m"]


def test_an_unknown_queue_is_not_made(run: Run, chat: str) -> None:
    assert set_line(run, "nowhere", "--rpm", "5/1s") == [("not_found", False)]
    assert run("limits", "nowhere", "--rpm", "5/1s").code == 1
    assert run("limits", "nowhere", "--json").error["type"] == "QueueNotFoundError"
    assert [one["queue"] for one in run("limits", "--json").object["limits"]] == ["chat"]


@pytest.mark.parametrize(
    "bad",
    [
        ("--rpm", "0/1m"),
        ("--rpm", "-5/1m"),
        ("--rpm", "nan/1m"),
        ("--rpm", "1.5/1m"),
        ("--rpm", "60/0s"),
        ("--rpm", "60/"),
        ("--rpm", "60/week"),
        ("--rpm", "/1m"),
        ("--rpm", "9" * 400),
        ("--rpm", "6\x1b[31m0/1m"),
        ("--rpm", "60/1m", "--no-rpm"),
        ("--concurrency", "-1"),
        ("--concurrency", "nan"),
        ("--concurrency", "1.5"),
        ("other", "--no-rpm"),
    ],
)
def test_bad_limits_are_refused_and_nothing_is_written(run: Run, chat: str, bad: tuple[str, ...]) -> None:
    ran = run("limits", "chat", *bad, "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.error["type"] == "UsageError"
    assert "\x1b" not in ran.err
    [limits] = run("limits", "chat", "--json").object["limits"]
    assert limits["rpm"]["max"] is None
    assert limits["global_concurrency"]["max"] is None


def test_setting_needs_a_queue(run: Run, chat: str) -> None:
    assert run("limits", "--no-rpm").code == 2
    assert run("limits", "chat", "--rpm", "5/1s", "--read-only", "--json").code == 4


def test_caps_of_workers_and_groups_are_shown(run: Run, chat: str) -> None:
    async def body(connection: Connection) -> None:
        source: Queue[Any, Any] = Queue("chat", connection)
        ordering = Ordering("tenant\x1b[2J", concurrency=2)
        await source.add("ok", {}, job_id="g", ordering=ordering, delay=3_600_000)
        worker = Worker(
            "chat",
            process,
            connection,
            log_errors=False,
            limiter=RateLimit(max=100, duration=60_000),
            token_limiter=TokenLimit(max_tokens=5_000, duration=60_000),
        )
        async with worker:
            await worker.wait_until_ready()
            told["json"] = await asyncio.to_thread(run, "limits", "chat", "--json")
            told["text"] = await asyncio.to_thread(run, "limits", "chat")

    told: dict[str, Ran] = {}
    within(chat, body)
    [limits] = told["json"].object["limits"]
    assert (limits["rpm"]["max"], limits["rpm"]["source"]) == (100, "worker")
    assert (limits["tpm"]["max"], limits["tpm"]["source"]) == (5_000, "worker")
    [group] = limits["groups"]
    assert list(group) == GROUP
    assert (group["key"], group["max_concurrency"]) == ("tenant\x1b[2J", 2)
    assert "\x1b" not in told["text"].out
    assert "ordering groups of chat" in told["text"].out


def test_no_queues_say_so(run: Run, server: str) -> None:
    ran = run("limits")
    assert (ran.code, ran.out) == (0, "")
    assert "no queues" in ran.err
    assert run("limits", "--json").object["limits"] == []
