"""`glidemq worker`: targets, ends, probes, processes, starting again when files change."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port, serving

from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, spawn, within

pytestmark = pytest.mark.thorough

Run = Callable[..., Ran]

APPLICATION = """
import asyncio, time
from glidemq_core import Handlers, Job, Worker

async def process(job):
    await asyncio.sleep(job.data or 0)
    return "first"

def block(job):
    time.sleep(job.data)

worker = Worker("q", process, concurrency=3)
blocking = Worker("q", block)
both = [worker, Worker("r", process)]
handlers = Handlers()

@handlers.on("answer", "rate")
async def answer(job: Job[int, int]) -> int: ...

async def make():
    await asyncio.sleep(0)
    return Worker("s", handlers)

def raises(): raise ValueError("no database")
five = 5
"""


@pytest.fixture
def folder(tmp_path: Path, server: str) -> Path:
    """A folder with an application."""
    made = tmp_path / "code"
    made.mkdir()
    (made / "app.py").write_text(APPLICATION)
    return made


class Started:
    """A worker that runs, and what it has said."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log = folder.parent / "log"
        with self.log.open("wb") as log:
            self.child = spawn("worker", *words, cwd=folder, stderr=log, stdout=log)

    @property
    def told(self) -> str:
        return self.log.read_text()

    def until(self, words: str, times: int = 1) -> None:
        """Wait until it has said something."""
        wait_for(lambda: self.told.count(words) >= times or self.child.poll() is not None)
        assert self.told.count(words) >= times, self.told

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    def end(self) -> int:
        return self.child.wait(40)


@contextmanager
def started(folder: Path, *words: str) -> Iterator[Started]:
    worker = Started(folder, *words)
    try:
        yield worker
    finally:
        if worker.child.poll() is None:
            worker.signal(signal.SIGTERM)
            try:
                worker.child.wait(30)
            except subprocess.TimeoutExpired:
                worker.child.kill()
                worker.child.wait(10)
        assert "Traceback" not in worker.told


def wait_for(check: Callable[[], Any], timeout_s: float = 40) -> Any:
    """Wait until a check is true, and return what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.05)
    return found


def probe(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    """Ask a probe; 0 when nobody listens."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, None


def job(server: str, job_id: str = "1", queue: str = "q") -> Any:
    """Read a job."""

    async def read(connection: Connection) -> Any:
        return await Queue(queue, connection).get_job(job_id)

    return within(server, read)


def state(server: str, job_id: str = "1", queue: str = "q") -> str:
    """State of a job."""
    found = job(server, job_id, queue)
    return found.state if found is not None else "missing"


# What would run ------------------------------------------------------------------------------------------------


def test_check_tells_what_would_run_and_runs_nothing(
    run: Run, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("add", "q", "n").code == 0
    with started(folder, "app:both", "app:worker", "app:make", "--concurrency", "4", "--check") as worker:
        assert worker.end() == 0
    assert worker.told.splitlines() == [
        f"q: process, 4 jobs at once, on {server}",
        f"r: process, 4 jobs at once, on {server}",
        f"s: handlers answer, rate, 4 jobs at once, on {server}",
    ]
    assert state(server) == "waiting"
    assert run("workers", "--json").object["workers"] == []


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("app:five", 1, "it holds int"),
        ("app:raises", 1, "'app:raises' raised ValueError: no database"),
        ("app:nothing", 1, "module 'app' has no 'nothing'"),
        ("nowhere:worker", 1, "cannot import 'nowhere'"),
        ("app", 2, "'app' is not MODULE:ATTR"),
    ],
)
def test_check_finds_what_would_not_run(folder: Path, target: str, code: int, said: str) -> None:
    with started(folder, "app:worker", target, "--check") as worker:
        assert worker.end() == code
    assert said in worker.told
    assert len(worker.told.splitlines()) == 1


def test_check_connects(server: str, folder: Path) -> None:
    with started(folder, "app:worker", "--check", "--url", f"valkey://127.0.0.1:{free_port()}") as worker:
        assert worker.end() == 3

    async def protect(connection: Connection) -> None:
        rules = ("on", "nopass", "~*", "&*", "+@read", "+@connection", "+info", "-@write")
        await connection.command("ACL", "SETUSER", "viewer", *rules)

    within(server, protect)
    url = server.replace("valkey://", "valkey://viewer:x@")
    with started(folder, "app:worker", "--check", "--url", url) as worker:
        assert worker.end() == 4
    assert "q: not allowed: " in worker.told


@pytest.mark.parametrize(
    "words", ["--reload --processes 2", "--check --reload", "--check --health 1", "--json", "--health 0"]
)
def test_words_that_contradict_each_other(run: Run, server: str, words: str) -> None:
    assert run("worker", "app:worker", *words.split()).code == 2


def test_all_targets_run(run: Run, server: str, folder: Path) -> None:
    with started(folder, "app:both", "app:make") as worker:
        worker.until("working on q, r, s")
        for queue in ("q", "r"):
            assert run("add", queue, "n", "--wait", "--timeout", "30s").code == 0
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0


@pytest.mark.parametrize("missing", [False, True])
def test_uvloop_runs_the_workers_where_it_is_installed(
    run: Run, server: str, folder: Path, missing: bool
) -> None:
    (folder / "loops.py").write_text(
        "import asyncio\nfrom glidemq_core import Worker\n"
        "async def process(job):\n    return type(asyncio.get_running_loop()).__module__\n"
        "worker = Worker('q', process)\n"
    )
    if missing:
        (folder / "uvloop.py").write_text("raise ImportError\n")
    with started(folder, "loops:worker") as worker:
        worker.until("working on q")
        told = run("add", "q", "n", "--wait", "--timeout", "30s")
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    assert ("uvloop" in told.out) is not missing


# Ends ----------------------------------------------------------------------------------------------------------


def test_a_second_ctrl_c_hands_back_what_runs(run: Run, server: str, folder: Path) -> None:
    assert run("add", "q", "n", "--data", "600").code == 0
    with started(folder, "app:worker") as worker:
        wait_for(lambda: state(server) == "active")
        worker.signal(signal.SIGINT)
        worker.until("ending: 1 job runs and may finish; Ctrl-C again hands back what runs")
        worker.signal(signal.SIGINT)  # the same key press, passed on by a parent
        time.sleep(0.6)
        assert worker.child.poll() is None
        worker.signal(signal.SIGINT)
        assert worker.end() == 0
    found = job(server)
    assert (found.state, found.attempts_made, found.stalled_count) == ("waiting", 0, 0)
    assert run("workers", "--json").object["workers"] == []


def test_sigterm_again_while_draining_lets_jobs_finish(run: Run, server: str, folder: Path) -> None:
    assert run("add", "q", "n", "--data", "2.5").code == 0
    with started(folder, "app:worker") as worker:
        wait_for(lambda: state(server) == "active")
        worker.signal(signal.SIGTERM)
        for _ in range(3):
            time.sleep(0.5)
            worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    assert state(server) == "completed"


def test_a_thread_that_does_not_end_is_left_behind(run: Run, server: str, folder: Path) -> None:
    assert run("add", "q", "n", "--data", "600").code == 0
    with started(folder, "app:blocking", "--grace", "100ms") as worker:
        wait_for(lambda: state(server) == "active")
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    assert state(server) == "waiting"


# Probes --------------------------------------------------------------------------------------------------------


def test_probes(run: Run, server: str, folder: Path) -> None:
    port = free_port()
    assert run("add", "q", "n", "--data", "3").code == 0
    with started(folder, "app:both", "--health", str(port)) as worker:
        wait_for(lambda: probe(port, "/ready")[0] == 200)
        wait_for(lambda: state(server) == "active")
        code, told = probe(port, "/live?verbose=1")
        assert (code, told["status"]) == (200, "ready")
        assert [sorted(one) for one in told["workers"]] == [["active_jobs", "id", "paused", "queue"]] * 2
        assert [(one["queue"], one["active_jobs"]) for one in told["workers"]] == [("q", 1), ("r", 0)]
        assert probe(port, "/ready", "HEAD") == (200, None)
        assert probe(port, "/other") == (404, {"error": "not found"})
        assert probe(port, "/ready", "POST")[0] == 405
        worker.signal(signal.SIGTERM)
        worker.until("ending")
        code, told = probe(port, "/ready")
        assert (code, told["status"]) == (503, "draining")
        assert probe(port, "/live")[0] == 200
        assert worker.end() == 0
    assert state(server) == "completed"


def test_probes_listen_on_loopback_only(server: str, folder: Path) -> None:
    port = free_port()
    with started(folder, "app:worker", "--health", str(port)):
        wait_for(lambda: probe(port, "/live")[0] == 200)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect(("192.0.2.1", 9))  # sends nothing; tells the address that leads out
            own = way.getsockname()[0]
        if own != "127.0.0.1":
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((own, port), timeout=5)


def test_probes_while_the_application_is_imported(server: str, folder: Path) -> None:
    port = free_port()
    (folder / "slow.py").write_text(
        "import asyncio\nfrom app import worker\n"
        "async def make():\n    await asyncio.sleep(1.5)\n    return worker\n"
    )
    with started(folder, "slow:make", "--health", str(port)):
        code, told = wait_for(lambda: (found := probe(port, "/ready"))[0] and found)
        assert (code, told) == (503, {"status": "starting", "workers": []})
        assert probe(port, "/live")[0] == 200
        wait_for(lambda: probe(port, "/ready")[0] == 200)


def test_ready_is_no_while_the_server_is_away(environment: None, folder: Path, tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path) as at:
        worker = started(folder, "app:worker", "--health", str(port), "--url", f"valkey://127.0.0.1:{at}")
        here = worker.__enter__()
        wait_for(lambda: probe(port, "/ready")[0] == 200)
    wait_for(lambda: probe(port, "/ready")[0] == 503)
    assert probe(port, "/ready")[1]["status"] == "no_server"
    assert probe(port, "/live")[0] == 200
    here.child.kill()
    here.end()


def test_a_port_that_is_taken(server: str, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words in ((), ("--processes", "2"), ("--reload",)):
            with started(folder, "app:worker", "--health", str(port), *words) as worker:
                assert worker.end() == 1
            assert (
                worker.told == f"glidemq: port {port} of 127.0.0.1 is taken; --health PORT chooses another\n"
            )


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / SPDY\r\n\r\n",
        b"x" * 100_000 + b"\r\n\r\n",
        b"\xff\x00 \xfe q\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(server: str, folder: Path, sent: bytes) -> None:
    port = free_port()
    with started(folder, "app:worker", "--health", str(port)):
        wait_for(lambda: probe(port, "/ready")[0] == 200)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(sent)
            assert line.recv(12) == b"HTTP/1.1 400"
        assert probe(port, "/ready")[0] == 200


# Processes -----------------------------------------------------------------------------------------------------


def test_probes_of_several_processes(run: Run, server: str, folder: Path) -> None:
    port = free_port()
    with started(folder, "app:both", "--processes", "2", "--health", str(port)) as worker:
        wait_for(lambda: probe(port, "/ready")[0] == 200)
        _, told = probe(port, "/ready")
        assert sorted(told) == ["processes", "status"]
        pids = [one["pid"] for one in told["processes"]]
        assert len(set(pids)) == 2
        assert [[two["queue"] for two in one["workers"]] for one in told["processes"]] == [["q", "r"]] * 2
        os.kill(pids[0], signal.SIGSTOP)
        _, told = wait_for(lambda: (found := probe(port, "/live"))[0] == 503 and found)
        assert [one["status"] for one in told["processes"]] == ["silent", "ready"]
        os.kill(pids[0], signal.SIGCONT)
        wait_for(lambda: probe(port, "/ready")[0] == 200)
        assert run("add", "q", "n", "--data", "2").code == 0
        wait_for(lambda: state(server) == "active")
        worker.signal(signal.SIGTERM)
        wait_for(lambda: probe(port, "/ready")[0] == 503)
        assert probe(port, "/live")[0] in (200, 0)
        assert worker.end() == 0
    assert state(server) == "completed"


def test_a_second_ctrl_c_reaches_all_processes(run: Run, server: str, folder: Path) -> None:
    for _ in range(4):
        assert run("add", "q", "n", "--data", "600").code == 0
    with started(folder, "app:worker", "--processes", "2", "--concurrency", "2") as worker:
        wait_for(lambda: all(state(server, str(n)) == "active" for n in range(1, 5)))
        worker.signal(signal.SIGINT)
        time.sleep(1)
        worker.signal(signal.SIGINT)
        assert worker.end() == 0
    assert [state(server, str(n)) for n in range(1, 5)] == ["waiting"] * 4


def test_processes_end_in_order_when_their_parent_is_killed(run: Run, server: str, folder: Path) -> None:
    assert run("add", "q", "n", "--data", "1").code == 0
    with started(folder, "app:worker", "--processes", "2") as worker:
        wait_for(lambda: state(server) == "active")
        wait_for(lambda: len(run("workers", "--json").object["workers"]) == 2)
        worker.child.kill()
        worker.end()
        wait_for(lambda: run("workers", "--json").object["workers"] == [])
    assert state(server) == "completed"


def test_programs_of_a_process_do_not_hold_its_line(server: str, folder: Path) -> None:
    (folder / "child.py").write_text(
        "import os, subprocess, sys\nfrom app import worker\n"
        "print('variable', os.environ.get('GLIDEMQ_WORKER_PARENT_FD'), file=sys.stderr)\n"
    )
    with started(folder, "child:worker", "--processes", "2") as worker:
        worker.until("working on q", 2)
        assert worker.told.count("variable None") == 2


# Starting again ------------------------------------------------------------------------------------------------


def test_reload_runs_the_new_code_and_loses_no_job(run: Run, server: str, folder: Path) -> None:
    port = free_port()
    source = folder / "app.py"
    with started(folder, "app:worker", "--reload", "--grace", "100ms", "--health", str(port)) as worker:
        worker.until("working on q")
        assert run("add", "q", "n", "--wait", "--json").object["job"]["result"] == "first"
        assert run("add", "q", "n", "--data", "600").code == 0
        wait_for(lambda: state(server, "2") == "active")

        source.write_text(APPLICATION.replace("first", "second").replace("sleep(job.data or 0)", "sleep(0)"))
        worker.until("app.py changed: starting again")
        wait_for(lambda: state(server, "2") == "completed")
        found = job(server, "2")
        assert (found.result, found.attempts_made) == ("second", 0)

        source.write_text("this is no Python\n")
        worker.until("cannot import 'app': SyntaxError")
        worker.until("the worker ended (exit code 1); it starts again when a file changes")
        wait_for(lambda: probe(port, "/live")[0] == 200)
        assert probe(port, "/ready")[1]["status"] == "starting"

        (folder / "another.py").write_text("word = 'third'\n")
        worker.until("another.py changed: starting again")
        worker.until("the worker ended (exit code 1)", 2)
        source.write_text("from another import word\n" + APPLICATION.replace('"first"', "word"))
        worker.until("working on q", 3)
        assert run("add", "q", "n", "--wait", "--json").object["job"]["result"] == "third"
        worker.signal(signal.SIGINT)
        assert worker.end() == 0
    assert run("workers", "--json").object["workers"] == []


def test_reload_ends_while_it_waits_for_a_file(server: str, folder: Path) -> None:
    with started(folder, "app:raises", "--reload") as worker:
        worker.until("it starts again when a file changes")
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    assert re.search("'app:raises' raised ValueError: no database", worker.told)
