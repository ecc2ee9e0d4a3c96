"""What surrounds every command: start-up, options in both places, environment, config file, errors of the server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import eventually, free_port

from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .harness import COMMAND, Ran, fill, within, words

pytestmark = pytest.mark.thorough

Run = Callable[..., Ran]

COMMANDS = words(
    "console demo tail queues jobs job approvals approve reject signal pause resume clean drain retry promote remove "
    "add worker workers usage audit events server config completion"
)


def test_help_of_every_command_is_light() -> None:
    """Neither the screens nor the Valkey client are imported to show a help text."""
    script = (
        "import sys\n"
        "from glidemq_console.cli import main\n"
        f"for command in [[], *([name] for name in {COMMANDS!r})]:\n"
        "    assert main([*command, '--help']) == 0, command\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "heavy = {'textual', 'glide', 'glide_shared', 'rich', 'plotext'} & loaded\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"glidemq {name} [OPTIONS]" in done.stdout


def test_a_terminal_that_is_gone_changes_no_exit_code() -> None:
    """What was still to be written to it is nobody's loss, and no error of the interpreter's last flush."""
    script = (
        "import sys\n"
        "from glidemq_console.cli import main\n"
        "sys.stdin.readline()\n"
        "sys.stderr.write('half a frame')\n"
        "sys.exit(main(['--version']))\n"
    )
    master, slave = pty.openpty()
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=slave,
        env=buffered,
    )
    os.close(slave)
    os.close(master)

    out, _ = process.communicate(b"\n", timeout=60)

    assert out.startswith(b"glidemq ")
    assert process.returncode == 0


def test_version(run: Run) -> None:
    assert run("--version").out.startswith("glidemq ")
    assert run("queues", "--version").out.startswith("glidemq ")


def test_global_options_stand_before_and_after(
    run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIDEMQ_URL")
    before = run("--url", server, "--prefix", "other", "--json", "add", "q", "n")
    after = run("add", "q", "n", "-u", server, "--prefix", "other", "--json")
    assert (before.object["job"]["id"], after.object["job"]["id"]) == ("1", "2")
    assert run("-u", server, "audit", "q").code == 1, "nothing went to the default prefix"
    assert (
        run("--url", "valkey://127.0.0.1:1", "add", "q", "n", "--url", server, "--prefix", "other").code == 0
    )


def test_unreachable_is_3(run: Run, server: str) -> None:
    url = f"valkey://127.0.0.1:{free_port()}"
    for line in (["queues"], ["add", "q", "n"], ["tail", "q:1"], ["events"], ["approve", "q:1"]):
        ran = run(*line, "--url", url)
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1), ran
        assert url.removeprefix("valkey://") in ran.err
    assert run("queues", "--url", url, "--json").error["type"] == "ServerUnavailableError"


def test_wrong_password_is_4(run: Run, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def protect(connection: Connection) -> None:
        await connection.command("ACL", "SETUSER", "alice", "on", ">right", "~*", "&*", "+@all")

    within(server, protect)
    url = server.replace("valkey://", "valkey://alice@")
    monkeypatch.setenv("GLIDEMQ_PASSWORD", "wr0ng-secret")
    ran = run("queues", "--url", url, "--json")
    assert ran.code == 4
    assert ran.error["type"] == "AuthenticationError"
    assert "wr0ng-secret" not in ran.err
    monkeypatch.setenv("GLIDEMQ_PASSWORD", "right")
    assert run("queues", "--url", url).code == 0
    monkeypatch.delenv("GLIDEMQ_PASSWORD")
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    assert run("queues", "--url", url, "--password-file", str(secret)).code == 0
    assert run("queues", "--url", url, "--password-file", str(tmp_path / "none")).code == 2


def test_a_user_who_may_only_read(run: Run, server: str) -> None:
    within(server, fill)

    async def reader(connection: Connection) -> None:
        rules = (
            "on",
            "nopass",
            "~*",
            "&*",
            "+@read",
            "+@connection",
            "+fcall_ro",
            "+info",
            "+function|list",
            "-@write",
        )
        await connection.command("ACL", "SETUSER", "viewer", *rules)

    within(server, reader)
    url = server.replace("valkey://", "valkey://viewer:x@")
    for line in (
        ["queues"],
        ["jobs", "chat"],
        ["job", "chat:failed"],
        ["approvals"],
        ["tail", "chat:completed"],
    ):
        assert run(*line, "--url", url).code == 0, line
    for line in (
        ["pause", "chat"],
        ["retry", "chat:failed"],
        ["approve", "chat:suspended"],
        ["add", "chat", "n"],
    ):
        ran = run(*line, "--url", url, "--json")
        assert ran.code == 4, (line, ran)
        assert ran.error["type"] == "PermissionDeniedError"


def test_a_reader_that_leaves_early_is_silence(server: str) -> None:
    for line in ("--help", "queues --json", "add q n"):
        done = subprocess.run(
            f"{' '.join(COMMAND)} {line} | true", shell=True, capture_output=True, text=True, check=False
        )
        assert done.stderr == "", line


def test_config_file(run: Run, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GLIDEMQ_URL")
    assert run("config", "set", "profiles.prod.url", server).code == 0
    assert run("config", "set", "profiles.prod.prefix", "other").code == 0
    assert run("config", "set", "user", "carol").code == 0
    assert run("add", "q", "n", "-P", "prod").code == 0
    assert run("pause", "q", "-P", "prod").code == 0
    monkeypatch.setenv("GLIDEMQ_PROFILE", "prod")
    assert run("audit", "q", "--json").object["entries"][0]["by"] == "carol"
    shown = run("config", "show", "--json").object
    assert sorted(shown) == ["config", "path", "sources"]
    assert shown["path"] == str(tmp_path / "config.toml")
    assert (shown["config"]["url"], shown["sources"]["url"]) == (server, "profile prod")
    assert shown["sources"]["profile"] == "environment"
    monkeypatch.setenv("GLIDEMQ_URL", "valkey://127.0.0.1:1")
    assert run("config", "show", "--json").object["sources"]["url"] == "environment"
    assert run("config", "show", "--url", server, "--json").object["sources"]["url"] == "option"
    assert run("config", "set", "colour", "red").code == 1
    assert run("config", "path").out.strip() == str(tmp_path / "config.toml")


def test_a_profile_named_on_the_line_beats_the_environment(
    run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("add", "q", "n").code == 0
    elsewhere = "valkey://127.0.0.1:1"
    for key, value in (("url", elsewhere), ("prefix", "other"), ("read_only", "true"), ("user", "carol")):
        assert run("config", "set", f"profiles.staging.{key}", value).code == 0
    monkeypatch.setenv("GLIDEMQ_PREFIX", "glide")
    monkeypatch.setenv("GLIDEMQ_READ_ONLY", "0")
    monkeypatch.setenv("GLIDEMQ_USER", "dave")

    assert run("drain", "q", "-y", "-P", "staging").code in (3, 4)
    assert [job["id"] for job in run("jobs", "q", "--json").object["jobs"]] == ["1"]
    shown = run("config", "show", "-P", "staging", "--json").object
    wanted = {"url": elsewhere, "prefix": "other", "read_only": True, "user": "carol"}
    assert {key: shown["config"][key] for key in wanted} == wanted
    assert {shown["sources"][key] for key in wanted} == {"profile staging"}
    assert (
        run("config", "show", "-P", "staging", "--url", server, "--json").object["sources"]["url"] == "option"
    )
    monkeypatch.setenv("GLIDEMQ_PROFILE", "staging")
    assert run("config", "show", "--json").object["sources"]["url"] == "environment"


def test_the_password_in_a_profiles_url_beats_the_one_in_the_environment(
    run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def protect(connection: Connection) -> None:
        await connection.command("ACL", "SETUSER", "bob", "on", ">of-staging", "~*", "&*", "+@all")

    within(server, protect)
    url = server.replace("valkey://", "valkey://bob:of-staging@")
    assert run("config", "set", "profiles.staging.url", url).code == 0
    monkeypatch.setenv("GLIDEMQ_PASSWORD", "of-production")
    assert run("queues", "-P", "staging").code == 0


def test_passwords_are_never_shown(run: Run, environment: None) -> None:
    assert run("config", "set", "profiles.prod.url", "valkey://u:hunter22@localhost:1").code == 0
    for line in (
        ["config", "show", "-P", "prod"],
        ["config", "show", "-P", "prod", "--json"],
        ["config", "profiles"],
    ):
        assert "hunter22" not in run(*line).out
    assert "hunter22" not in run("queues", "-P", "prod").err


def test_the_password_of_a_url_without_a_scheme_is_not_shown(
    run: Run, environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(
        "url = 'u:hunter22@localhost'\n[profiles.prod]\nurl = 'u:hunter22@localhost:6379'\n"
    )
    for line in (["config", "show"], ["config", "show", "--json"], ["config", "profiles"], ["queues"]):
        ran = run(*line)
        assert "hunter22" not in ran.out + ran.err, line
    monkeypatch.setenv("GLIDEMQ_URL", "u:hunter22@localhost")
    assert "hunter22" not in run("config", "show").out


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("theem = 'x'\n", "theem"),
        ("theme = 5\n", "theme"),
        ("theme = \n", "broken"),
        ("refresh = 'soon'\n", "refresh"),
        ("[profiles.a]\nurl = 1\n", "profiles.a.url"),
        ("profiles = 3\n", "profiles"),
        ("queues = 'a'\n", "queues"),
    ],
)
def test_a_broken_config_file(run: Run, environment: None, tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    ran = run("queues")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert str(tmp_path / "config.toml") in ran.err
    assert named in ran.err


def test_environment_flags(run: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIDEMQ_READ_ONLY", "1")
    assert run("add", "q", "n").code == 4
    monkeypatch.setenv("GLIDEMQ_READ_ONLY", "perhaps")
    assert run("add", "q", "n").code == 2
    monkeypatch.setenv("GLIDEMQ_READ_ONLY", "0")
    assert run("add", "q", "n").code == 0


def test_embedded_server_of_ones_own(run: Run, environment: None, tmp_path: Path) -> None:
    folder = str(tmp_path / "own")
    keys = sorted(["running", "url", "pid", "port", "version", "data_dir"])
    down = run("server", "status", "--data", folder, "--json")
    assert (down.code, down.object["server"]["running"]) == (1, False)
    assert sorted(down.object["server"]) == keys
    try:
        started = run("server", "start", "--data", folder, "--json")
        assert (started.code, sorted(started.object["server"])) == (0, keys)
        url = run("server", "url", "--data", folder).out.strip()
        assert run("add", "q", "n", "--url", url).out == "q:1 created\n"
        assert run("job", "q:1", "--url", f"embedded:{folder}", "--json").object["job"]["id"] == "1"
        assert run("server", "status", "--url", f"embedded:{folder}").code == 0
    finally:
        assert run("server", "stop", "--data", folder).code == 0
    assert run("server", "status", "--data", folder).code == 1


def test_worker(run: Run, server: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from glidemq_core import Worker\n"
        "async def process(job):\n    return job.data\n"
        "def make():\n    return [Worker('q', process), Worker('r', process, concurrency=2)]\n"
    )
    child = subprocess.Popen(
        [*COMMAND, "worker", "app:make", "--concurrency", "3"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for queue in ("q", "r"):
            added = run("add", queue, "n", "--data", '{"x":1}', "--wait", "--json")
            assert added.code == 0, added.err
            assert added.object["job"]["result"] == {"x": 1}
        workers = run("workers", "--json").object["workers"]
        assert {worker["queue"] for worker in workers} == {"q", "r"}
        assert {worker["concurrency"] for worker in workers} == {3}
    finally:
        child.terminate()
    assert child.wait(20) == 0


def test_a_worker_logs_each_attempt_that_failed(run: Run, server: str, tmp_path: Path) -> None:
    """Whatever a processor does, the job fails with a reason and the worker goes on."""
    (tmp_path / "app.py").write_text(
        "import asyncio, sys\nfrom glidemq_core import Worker\n"
        "class Mute(Exception):\n    def __str__(self): raise RuntimeError\n"
        "async def process(job):\n"
        "    match job.name:\n"
        "        case 'object': return object()\n"
        "        case 'nan': return float('nan')\n"
        "        case 'hang': await asyncio.sleep(60)\n"
        "        case 'mute': raise Mute\n"
        "        case 'exit': sys.exit(3)\n"
        "        case 'evil': raise ValueError('\\x1b]0;x\\x07two\\nlines')\n"
        "        case 'again' if not job.attempts_made: raise ValueError('once')\n"
        "worker = Worker('q', process, concurrency=10)\n"
    )
    reasons = {
        "object": "result: Object of type object is not JSON serializable",
        "nan": "result: Out of range float values",
        "hang": "Job timeout exceeded",
        "mute": "Mute",
        "exit": "SystemExit: 3",
        "evil": "two lines",
    }
    jobs = [{"name": name, "opts": {"timeout": 300}} for name in reasons]
    jobs += [{"name": "again", "opts": {"attempts": 2}}, {"name": "fine"}]
    lines = "\n".join(
        json.dumps({**job, "opts": {**job.get("opts", {}), "jobId": job["name"]}}) for job in jobs
    )
    assert run("add", "q", "--bulk", "-", stdin=lines.encode()).code == 0
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen([*COMMAND, "worker", "app:worker"], cwd=tmp_path, stderr=log)
    try:
        within(server, lambda connection: eventually(lambda: _ended(connection, len(jobs))))
    finally:
        child.terminate()
    assert child.wait(20) == 0
    told = (tmp_path / "log").read_bytes()
    assert not {b"\x1b", b"\x07"} & {told[i : i + 1] for i in range(len(told))}
    text = told.decode()
    for name, reason in reasons.items():
        [line] = [
            line for line in text.splitlines() if f"job q:{name} ({name}) failed in attempt 1: " in line
        ]
        assert reason in line
        assert " ERROR glidemq.worker " in line
    [line] = [line for line in text.splitlines() if "job q:again (again)" in line]
    assert line.endswith("WARNING glidemq.worker job q:again (again) failed in attempt 1, runs again: once")
    assert "case 'again' if not job.attempts_made: raise ValueError('once')" in text


APPLICATION = """
import logging
from glidemq_core import Worker
{configure}
async def process(job): raise ValueError("nope")
worker = Worker("q", process)
"""


@pytest.mark.parametrize(
    ("configure", "options", "expected"),
    [
        ("", "", ["ERROR glidemq.worker job q:1 (n) failed in attempt 1: nope"]),
        (
            "logging.basicConfig(format='mine %(message)s')",
            "",
            ["mine job q:1 (n) failed in attempt 1: nope"],
        ),
        (
            "logging.basicConfig(format='mine %(message)s')",
            "--log-format json",
            ["the application configures logging itself: --log-format has no effect"],
        ),
        (
            "",
            "--log-format json",
            [
                '"level": "error", "logger": "glidemq.worker", "message": "job q:1 (n) failed',
                '"job": "q:1", "attempt": 1, "duration_ms": ',
            ],
        ),
    ],
)
def test_the_logging_of_the_application_wins(
    run: Run, server: str, tmp_path: Path, configure: str, options: str, expected: list[str]
) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.format(configure=configure))
    assert run("add", "q", "n").code == 0
    child = subprocess.Popen(
        [*COMMAND, "worker", "app:worker", *options.split()], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        within(server, lambda connection: eventually(lambda: _failed(connection)))
    finally:
        child.terminate()
    _, told = child.communicate(timeout=20)
    assert [text for text in expected if text not in told] == []


def test_a_log_level_hides_what_is_less_severe(run: Run, server: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.format(configure=""))
    assert run("add", "q", "n", "--attempts", "2").code == 0
    child = subprocess.Popen(
        [*COMMAND, "worker", "app:worker", "--log-level", "error"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        within(server, lambda connection: eventually(lambda: _failed(connection)))
    finally:
        child.terminate()
    _, told = child.communicate(timeout=20)
    assert "failed in attempt 2: nope" in told
    assert "runs again" not in told


async def _failed(connection: Connection) -> bool:
    return (await Queue("q", connection).get_job_counts()).failed == 1


async def _ended(connection: Connection, number: int) -> bool:
    counts = await Queue("q", connection).get_job_counts()
    return counts.completed == 2 and counts.completed + counts.failed == number


def test_worker_processes(run: Run, server: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os\nfrom glidemq_core import Worker\n"
        "async def process(job):\n    os._exit(9)\n"
        "worker = Worker('q', process)\n"
    )
    child = subprocess.Popen(
        [*COMMAND, "worker", "app:worker", "--processes", "2"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run("add", "q", "n").code == 0
    _, told = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "a worker process died" in told


def test_worker_that_cannot_be_imported(
    run: Run, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_app.py").write_text("raise RuntimeError('no')\n")
    (tmp_path / "empty_app.py").write_text("worker = 5\n")
    for target in ("nowhere:worker", "broken_app:worker", "empty_app:worker", "empty_app:other"):
        ran = run("worker", target)
        assert (ran.code, len(ran.err.splitlines())) == (1, 1), ran


def test_wait(run: Run, server: str) -> None:
    ran = run("add", "q", "n", "--wait", "--timeout", "300ms", "--json")
    assert ran.code == 1
    assert ran.error["type"] == "WaitTimeoutError"
