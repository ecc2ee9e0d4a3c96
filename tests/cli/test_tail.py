"""`tail` as a process of its own: pipes, terminals, endings."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import eventually

from glidemq_console.cli.tail.narrator import Narrator
from glidemq_core import Job, Queue, Worker
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection

from .harness import COMMAND, Ran, fill, process, spawn, through_a_pty, within

Run = Callable[..., Ran]
EVIL = "\x1b]52;c;aGk=\x07\x1b[31m\u202ex\u200b\U000e0041\x9b2J\x7f"


@pytest.fixture
def chat(server: str) -> str:
    """A server with queue `chat` and a job in each common state."""
    within(server, fill)
    return server


async def _chunks(connection: Connection, *chunks: dict[str, str]) -> None:
    """Give the waiting job a stream."""
    key = "glide:{chat}:jstream:waiting"
    for chunk in chunks:
        await connection.command("XADD", key, "*", *[word for pair in chunk.items() for word in pair])


def test_a_finished_job(run: Run, chat: str) -> None:
    ran = run("tail", "chat:completed")
    assert (ran.code, ran.out) == (0, "Hello world")
    assert "completed" in ran.err
    assert run("tail", "completed", "--from", "now").out == ""


def test_json_lines(run: Run, chat: str) -> None:
    ran = run("tail", "chat:completed", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [sorted(line) for line in lines] == [["fields", "id", "t_ms", "text", "type"]] * 2
    assert [line["text"] for line in lines] == ["Hello ", "world"]
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert events[-1] == {
        "event": "end",
        "queue": "chat",
        "id": "completed",
        "state": "completed",
        "failed_reason": None,
        "at_ms": events[-1]["at_ms"],
    }
    after = run("tail", "chat:completed", "--json", "--from", lines[0]["id"])
    assert [json.loads(line)["text"] for line in after.out.splitlines()] == ["world"]


def test_a_failed_job_is_exit_1(run: Run, chat: str) -> None:
    ran = run("tail", "chat:failed", "--json")
    assert (ran.code, ran.out) == (1, "")
    end = json.loads(ran.err.splitlines()[-1])
    assert (end["event"], end["state"], end["failed_reason"]) == ("end", "failed", "boom")


@pytest.mark.parametrize(("fallbacks", "told"), [([], None), ([{"model": "small"}], "no fallback left")])
def test_a_chain_that_is_used_up_names_no_model(
    run: Run, chat: str, fallbacks: list[dict[str, str]], told: str | None
) -> None:
    fields = {"opts": json.dumps({"attempts": 9, "fallbacks": fallbacks}), "fallbackIndex": "2"}
    words = [word for pair in fields.items() for word in pair]
    within(chat, lambda connection: connection.command("HSET", "glide:{chat}:job:completed", *words))
    narration = run("tail", "chat:completed").err
    assert "unknown" not in narration
    assert (told in narration) if told else ("fallback" not in narration)


def test_no_follow_prints_what_is_there(run: Run, chat: str) -> None:
    assert run("tail", "chat:suspended", "--no-follow").out == "a draft"
    ran = run("tail", "chat:waiting", "--no-follow")
    assert (ran.code, ran.out) == (0, "")


def test_timeout_is_exit_1_and_the_job_goes_on(run: Run, chat: str) -> None:
    ran = run("tail", "chat:suspended", "--timeout", "300ms")
    assert (ran.code, ran.out) == (1, "a draft")
    assert "suspended: awaiting-review" in ran.err
    assert "gave up" in ran.err


def test_a_stream_that_survived_its_job(run: Run, chat: str) -> None:
    async def orphan(connection: Connection) -> None:
        await _chunks(connection, {"type": "content", "content": "left behind"})
        await connection.command("DEL", "glide:{chat}:job:waiting")

    within(chat, orphan)
    ran = run("tail", "chat:waiting")
    assert (ran.code, ran.out) == (1, "left behind")
    assert "removed" in ran.err


def test_kinds(run: Run, chat: str) -> None:
    async def stream(connection: Connection) -> None:
        await _chunks(
            connection,
            {"type": "reasoning", "content": "hm"},
            {"type": "content", "content": "A"},
            {"t": "B"},
            {"type": "tool_call", "name": "search", "args": '{"q":"valkey"}'},
            {"n": "1"},
            {"done": "1", "content": "!"},
        )

    within(chat, stream)
    assert run("tail", "chat:waiting", "--no-follow").out == "AB!"
    everything = run("tail", "chat:waiting", "--no-follow", "--show", "content,reasoning,tool_call,data").out
    assert everything == 'hm\nAB\ntool search {"q":"valkey"}\n{"n":"1"}\n!'
    only = run("tail", "chat:waiting", "--no-follow", "--show", "tool_call").out
    assert only == 'tool search {"q":"valkey"}\n'


def test_raw_in_a_pipe_safe_on_request(run: Run, chat: str) -> None:
    within(chat, lambda connection: _chunks(connection, {"content": EVIL}))
    assert run("tail", "chat:waiting", "--no-follow").out == EVIL
    safe = run("tail", "chat:waiting", "--no-follow", "--safe").out
    assert not any(bad in safe for bad in "\x1b\x07\u202e\u200b\U000e0041\x9b\x7f")


def test_no_dangerous_byte_reaches_a_terminal(chat: str) -> None:
    halves = EVIL.encode()
    cut = [halves[i : i + 1] for i in range(len(halves))]

    async def plant(connection: Connection) -> None:
        for piece in cut:
            await connection.command(
                "XADD", "glide:{chat}:jstream:waiting", "*", "type", "content", "content", piece
            )
        await _chunks(
            connection, {"type": "tool_call", "name": EVIL, "args": EVIL}, {"type": EVIL, "x": EVIL}
        )

    within(chat, plant)
    _, seen = through_a_pty("tail", "chat:waiting", "--no-follow")
    assert b"tool" in seen
    for bad in (
        b"\x1b",
        b"\x07",
        "\u202e".encode(),
        "\u200b".encode(),
        "\x9b".encode(),
        b"\x7f",
        "\U000e0041".encode(),
    ):
        assert bad not in seen, bad


def test_reader_gone_is_silence(chat: str) -> None:
    within(chat, lambda connection: _chunks(connection, {"content": "one\n"}))
    child = spawn("tail", "chat:waiting")
    assert child.stdout is not None
    assert child.stdout.readline() == b"one\n"
    child.stdout.close()
    # Nothing more is written, yet the end of the reader is noticed.
    assert child.wait(30) == 0
    assert child.stderr is not None
    assert b"Traceback" not in child.stderr.read()


def test_reader_gone_while_writing(chat: str) -> None:
    async def plant(connection: Connection) -> None:
        await connection.pipeline(
            [("XADD", "glide:{chat}:jstream:waiting", "*", "content", "x" * 1_000) for _ in range(2_000)]
        )

    within(chat, plant)
    child = spawn("tail", "chat:waiting", "--no-follow")
    assert child.stdout is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.wait(30) == 0
    assert child.stderr is not None
    assert child.stderr.read() == b""


def test_ctrl_c_is_130(chat: str) -> None:
    within(chat, lambda connection: _chunks(connection, {"content": "one\n"}))
    child = spawn("tail", "chat:waiting")
    assert child.stdout is not None
    assert child.stdout.readline() == b"one\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    assert child.stderr is not None
    assert b"Traceback" not in child.stderr.read()


def test_follows_a_job_from_before_its_start_to_its_end(chat: str) -> None:
    """A job that waits, suspends, is approved from another process, and completes."""
    assert subprocess.run([*COMMAND, "add", "chat", "ask", "--id", "followed"], check=False).returncode == 0
    child = spawn("tail", "chat:followed", "--json")
    lines: list[dict[str, Any]] = []
    assert child.stderr is not None
    reader = threading.Thread(target=lambda: lines.extend(json.loads(line) for line in child.stderr or ()))
    reader.start()

    async def serve(connection: Connection) -> None:
        await eventually(lambda: [line["event"] for line in lines] == ["waiting"])
        async with Worker("chat", process, connection, log_errors=False):
            await eventually(lambda: any(line["event"] == "suspended" for line in lines))
            assert (
                await Queue("chat", connection).signal("followed", "approve", {"ok": True})
            ).outcome == "resumed"
            await eventually(lambda: any(line["event"] == "end" for line in lines))

    within(chat, serve)
    assert child.wait(30) == 0
    reader.join(30)
    events = [line["event"] for line in lines]
    assert events == ["waiting", "suspended", "resumed", "end"]
    assert all({"event", "queue", "id", "at_ms"} <= line.keys() for line in lines)
    assert lines[-1]["state"] == "completed"
    assert child.stdout is not None
    assert [json.loads(line)["text"] for line in child.stdout.read().splitlines()] == ["a draft"]


@pytest.mark.parametrize(("attempts", "code", "state"), [(2, 0, "completed"), (1, 1, "failed")])
def test_nothing_is_missed_between_the_first_look_and_the_events(
    run: Run, chat: str, monkeypatch: pytest.MonkeyPatch, attempts: int, code: int, state: str
) -> None:
    """The whole life of the job happens right after it was looked at."""
    look = Narrator.look

    async def live(job: Job[Any, Any]) -> None:
        await job.stream_chunk("content", "word")
        if job.id == "quick" and not job.attempts_made:
            raise ValueError("once")

    async def look_and_be_late(narrator: Narrator) -> Any:
        detail = await look(narrator)
        async with connect(chat) as connection, Worker("chat", live, connection, log_errors=False):
            job = await Queue("chat", connection).get_job("quick")
            assert job is not None
            assert await job.wait_until_finished(poll_interval=20) == state
        return detail

    within(chat, lambda connection: Queue("chat", connection).add("n", job_id="quick", attempts=attempts))
    monkeypatch.setattr(Narrator, "look", look_and_be_late)
    ran = run("tail", "chat:quick", "--json")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert [event["event"] for event in events] == ["waiting", *["retrying"] * (attempts - 1), "end"]
    assert (ran.code, events[-1]["state"]) == (code, state)
    assert [json.loads(line)["text"] for line in ran.out.splitlines()] == ["word"] * attempts
