"""What goes wrong under a user's hands: told at the right place, with the right code, nothing half done."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glidemq_console.cli.worker_log import _SafeFormatter
from glidemq_core import Queue, Worker
from glidemq_core.server.connection import Connection

from .harness import COMMAND, Ran, fill, through_a_pty, within, work

Run = Callable[..., Ran]


@pytest.fixture
def chat(server: str) -> str:
    """A server with queue `chat` and a job in each common state."""
    within(server, fill)
    return server


def test_workers_are_counted_and_named_queues_are_all(run: Run, chat: str) -> None:
    async def count(connection: Connection) -> tuple[Ran, Ran]:
        async with Worker("chat", lambda job: None, connection):
            told = await asyncio.to_thread(
                subprocess.run, [*COMMAND, "queues", "--workers", "--json"], capture_output=True
            )
            return json.loads(told.stdout)["queues"][0]["workers"]

    assert within(chat, count) == 1
    assert run("queues", "chat", "--json").object["complete"] is True
    assert run("queues", "chat").err == ""


@pytest.mark.parametrize("words", [["queues", "chat"], ["jobs", "chat"]])
def test_a_queue_of_foreign_keys_is_told(run: Run, chat: str, words: list[str]) -> None:
    async def spoil(connection: Connection) -> None:
        await connection.command("DEL", "glide:{chat}:stream")
        await connection.command("SET", "glide:{chat}:stream", "x")

    within(chat, spoil)
    ran = run(*words)
    assert ran.code == 1
    assert "queue 'chat'" in ran.err
    assert "stream" in ran.err
    assert ran.out, "what can be read is shown all the same"
    assert run("queues").code == 0


def test_a_flow_that_may_not_be_read_is_no_missing_job(
    run: Run, chat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def user(connection: Connection) -> None:
        await connection.command("ACL", "SETUSER", "elsewhere", "on", ">pw", "~other*", "+@all")

    within(chat, user)
    monkeypatch.setenv("GLIDEMQ_PASSWORD", "pw")
    where = (
        chat.replace("://", "://elsewhere@")
        if "@" not in chat
        else "valkey://elsewhere@" + chat.rpartition("@")[2]
    )
    assert run("flow", "chat:completed", "--url", where).code == 4


def test_the_job_is_named_once(run: Run, chat: str) -> None:
    assert run("job", "chat:completed", "-q", "chat").code == 0
    refused = run("job", "other:completed", "-q", "chat")
    assert (refused.code, refused.out) == (2, "")


def test_bulk_names_the_lines(run: Run, server: str) -> None:
    big = json.dumps({"name": "big", "data": "x" * 1_100_000})
    ran = run("add", "q", "--bulk", "-", stdin=f'{{"name":"a"}}\n\n{big}\n'.encode())
    assert (ran.code, ran.out) == (1, "1 added, 0 skipped, 1 failed\n")
    assert ran.err.startswith("line 3: ")
    broken = run("add", "q", "--bulk", "-", stdin=b'{"name":"a"}\n{')
    assert broken.code == 2
    assert "standard input line 2" in broken.err
    assert "--opts: not valid JSON" in run("add", "q", "n", "--opts", "{").err
    assert run("add", "q", "n", "--id", "").code == 2


def test_an_empty_url_is_no_url(run: Run, server: str) -> None:
    assert run("queues", "--url", "").code == 2
    assert run("--url", "", "queues").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "approve chat:suspended --expect-hash",
        "reject chat:suspended --reason no --expect-hash",
        "approve chat:suspended --signal",
        "approve chat:suspended --by",
        "approve suspended --queue",
        "queues --prefix",
        "queues --profile",
        "queues --password-file",
        "audit --job",
        "events --no-follow --job",
        "server start --data",
    ],
)
def test_a_variable_that_was_not_set_is_no_value(run: Run, chat: str, line: str) -> None:
    ran = run(*line.split(), "")
    assert ran.code == 2
    assert "it is empty" in ran.err
    assert json.loads(run("job", "chat:suspended", "--json").out)["job"]["state"] == "suspended"


def test_what_waits_is_shown_as_json_with_its_secrets_masked(run: Run, server: str) -> None:
    data = {"to": "Ada", "api_key": "sk-abcdefghijklmnopqrstuvwx", "urgent": True}
    within(server, lambda connection: work(connection, "mail", one={"name": "silent", "data": data}))
    [_, row] = run("approvals", "mail").out.splitlines()
    assert row.endswith('{"to": "Ada", "api_key": "•••", "urgent": true}')


@pytest.mark.parametrize("command", ["console", "demo"])
def test_screens_need_a_terminal(run: Run, server: str, command: str) -> None:
    ran = run(command)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"glidemq: {command} needs a terminal (in scripts: glidemq ")


def test_server_minds_no_strangers_server(run: Run, server: str) -> None:
    ran = run("server", "stop", "--url", "valkey://:secret@example.org")
    assert ran.code == 2
    assert "embedded:NAME" in ran.err
    assert "secret" not in ran.err
    assert run("server", "status").code == 1  # the environment's is not asked after


def test_server_url_prints_nothing_but_a_url(run: Run, environment: None) -> None:
    ran = run("server", "url")
    assert (ran.code, ran.out) == (1, "")
    assert "glidemq server start" in ran.err


def test_a_module_that_exits_cannot_be_imported(
    run: Run, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exits_at_import.py").write_text("import sys; sys.exit(5)")
    monkeypatch.syspath_prepend(str(tmp_path))
    ran = run("worker", "exits_at_import:worker")
    assert ran.code == 1
    assert "exits_at_import" in ran.err


def test_ctrl_c_ends_a_question(chat: str) -> None:
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "remove", "chat:waiting"], stdin=slave, stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    alarm = threading.Timer(60, child.kill)
    alarm.start()
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(master, 1_000)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    alarm.cancel()
    os.close(master)


def test_an_answer_may_take_longer_than_the_limit(chat: str) -> None:
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "remove", "chat:waiting", "--timeout", "8s"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        close_fds=True,
    )
    os.close(slave)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(master, 1_000)
    # Longer than the limit is what this is about.
    threading.Event().wait(8.5)
    os.write(master, b"y\n")
    assert child.wait(30) == 0
    os.close(master)


def test_narration_stands_on_lines_of_its_own(chat: str) -> None:
    code, seen = through_a_pty("tail", "chat:suspended", "--timeout", "4s")
    assert code == 1
    assert b"a draft\r\nchat:suspended: gave up" in seen or b"\nchat:suspended: gave up" in seen
    assert b"draftchat:" not in seen


def test_attempts_that_streamed_before_stand_apart(run: Run, server: str) -> None:
    async def twice(connection: Connection) -> None:
        async def process(job: Any) -> None:
            await job.stream_chunk("content", "word")
            await asyncio.sleep(0.01)
            if not job.attempts_made:
                raise ValueError("once")

        await Queue("q", connection).add("n", job_id="j", attempts=2)
        async with Worker("q", process, connection, log_errors=False):
            job = await Queue("q", connection).get_job("j")
            assert job is not None
            assert await job.wait_until_finished(poll_interval=50) == "completed"

    within(server, twice)
    assert run("tail", "q:j").out == "word\nword"
    assert run("tail", "q:j", "--no-follow").out == "word\nword"
    wrong = run("tail", "q:j", "--from", "soon")
    assert wrong.code == 2
    assert "start, now or an entry id" in wrong.err


@pytest.mark.parametrize(
    ("key", "value"), [("url", "http://x"), ("profiles.prod.url", "x"), ("url", ""), ("user", "")]
)
def test_config_set_refuses_what_nobody_could_use(run: Run, environment: None, key: str, value: str) -> None:
    ran = run("config", "set", key, value)
    assert (ran.code, ran.out) == (2, "")
    assert run("config", "set", "url", "embedded:mine").code == 0


def test_help_without_a_reader_is_no_error(environment: None) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert subprocess.run([*COMMAND, "--help"], stdout=writing, stderr=subprocess.PIPE).returncode == 0
    os.close(writing)


def test_a_workers_log_is_inert() -> None:
    record = logging.LogRecord(
        "app", logging.ERROR, __file__, 1, "bad \x1b]0;x\x07 \u202e job\nsecond", None, None
    )
    written = _SafeFormatter("%(levelname)s %(message)s").format(record)
    assert written.startswith("ERROR bad ")
    assert not {"\x1b", "\x07", "\u202e"} & set(written)
    assert written.endswith("\nsecond")


@pytest.mark.parametrize("command", ["audit", "events"])
def test_a_job_of_another_queue_than_the_one_named_is_refused(run: Run, chat: str, command: str) -> None:
    follow = ["--no-follow"] if command == "events" else []
    for named in (["other"], ["-q", "other"], ["other", "more"]):
        ran = run(command, *named, "--job", "chat:failed", *follow)
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
        assert "chat:failed" in ran.err
        assert "'other'" in ran.err
    assert run(command, "chat", "--job", "chat:failed", *follow).code == 0
    assert run(command, "chat", "--job", "failed", *follow).code == 0


def test_a_page_of_jobs_has_a_limit_that_its_help_tells(run: Run, chat: str) -> None:
    assert run("jobs", "chat", "--limit", "1000").code == 0
    ran = run("jobs", "chat", "--limit", "1001")
    assert (ran.code, ran.out) == (2, "")
    assert "'--limit'" in ran.err
    assert "1000" in run("jobs", "--help").out
