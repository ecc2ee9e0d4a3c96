"""The examples of the help: every command has some, and they do what they say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import eventually

from glidemq_console.cli import commands
from glidemq_console.cli.examples import EXAMPLES
from glidemq_console.cli.program import program
from glidemq_core import Budget, FlowJob, Queue, Worker
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.server.connection import Connection

from .harness import Ran, process, within, work

Run = Callable[..., Ran]

commands.register()
GROUP: Any = typer.main.get_command(program)

#: Commands that go on for ever, need a terminal, or start servers: their examples are read only.
READ_ONLY = ("", "console", "demo", "server", "worker")
#: Words that make a command go on.
GOES_ON = ("--watch", "--listen")
#: What job 42 is like, where it has not completed.
STATES = {"retry": "fail", "signal": "later"}


def arguments(line: str) -> list[str]:
    """Words of an example behind the name of the program, redirections and comments left out."""
    words = shlex.split(line, comments=True)
    if ">" in words:
        words = words[: words.index(">")]
    assert words[0] == "glidemq", line
    return words[1:]


def is_run(command: str, words: list[str]) -> bool:
    return not (
        command in READ_ONLY
        or not set(words).isdisjoint(GOES_ON)
        or (command == "events" and "--no-follow" not in words)
    )


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == {"", *GROUP.commands}
    assert [name for name, lines in EXAMPLES.items() if not lines] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_command_lines(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in EXAMPLES[name]:
        assert len(line) <= 110, line
        if line.startswith(("export ", "eval ")):
            continue
        words = arguments(line)
        command = GROUP.commands[next(word for word in words if word in GROUP.commands)]
        assert not name or command.name == name
        at = words.index(command.name)
        with command.make_context(command.name, words[at + 1 :]) as context:
            assert context.params


@pytest.fixture
def prepared(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server, and a folder with the files that examples name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    (tmp_path / "prompt.json").write_text('{"prompt": "Why?"}')
    (tmp_path / "jobs.jsonl").write_text('{"name": "answer"}\n{"name": "answer", "data": 1}\n')
    return server


async def populate(connection: Connection, command: str) -> None:
    """Make what the examples of a command name."""
    kind = STATES.get(command, "ok")
    jobs: dict[str, dict[str, Any]] = {"7": {"name": "ask", "data": {"text": "send it?"}}}
    if kind != "later":
        jobs["42"] = {"name": kind, "data": {"user": 42}}
    await work(connection, "inference", **jobs)
    inference = Queue("inference", connection)
    if kind == "later":
        await inference.add("answer", job_id="42", delay=3_600_000)
    await inference.add("answer", job_id="9", delay=3_600_000)
    await inference.upsert_job_scheduler("nightly", pattern="0 3 * * *")
    if command == "dlq":
        for prompt in ("long", "longer"):
            await inference.add("fail", {"prompt": prompt})
        worker = Worker("inference", process, connection, dead_letter_queue="letters", log_errors=False)
        async with worker:
            await eventually(lambda: _has_letters(connection))
    if command == "budget":
        async with FlowProducer(connection) as flows:
            await flows.add(FlowJob("root", "report"), budget=Budget(max_total_tokens=1_000))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in READ_ONLY])
def test_examples_do_what_they_say(run: Run, prepared: str, name: str) -> None:
    within(prepared, lambda connection: populate(connection, name))
    for line in EXAMPLES[name]:
        if line.startswith("eval "):
            continue
        words = arguments(line)
        if not is_run(name, words):
            continue
        if "HASH" in words:
            found = run("review", "inference:7", "--json").object["approval"]["review_hash"]
            words[words.index("HASH")] = found
            assert run(*words).code == 0, line
            within(prepared, lambda connection: populate_again(connection))
            continue
        if "--wait" in words:
            words += ["--timeout", "200ms"]  # nobody works here
            assert run(*words).code == 1, line
            continue
        ran = run(*words)
        assert ran.code == 0, (line, ran)
        if line.startswith("glidemq dlq inference"):
            assert {"letters:1", "letters:2"} <= set(ran.out.split()), ran


async def _has_letters(connection: Connection) -> bool:
    return await Queue("letters", connection).count() == 2


async def populate_again(connection: Connection) -> None:
    """Suspend job 7 once more."""
    queue = Queue("inference", connection)
    await queue.remove_job("7", force=True)
    await work(connection, "inference", **{"7": {"name": "ask", "data": {"text": "send it?"}}})


def test_help_shows_them_as_they_are(run: Run, environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for name, lines in EXAMPLES.items():
        told = run(*([name] if name else []), "--help").out
        assert told.rstrip().endswith("\n".join(f"  {line}" for line in lines)), name
        assert "\nExamples:\n" in told


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_shell_reads_them(name: str) -> None:
    ran = subprocess.run(["bash", "-n", "-c", "\n".join(EXAMPLES[name])], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
