"""The demo as a process: what it prints, what it leaves behind, whom it lets decide, whose data it spares."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.harness import through_a_pty
from conftest import eventually

from glidemq_console.demo.options import GUEST_PREFIX, DemoOptions
from glidemq_core import Connection, FlowBudget, Queue, Retention, connect
from glidemq_core.watch import Watch

pytestmark = pytest.mark.thorough

QUEUES = ["chat", "moderation", "agent", "rag", "rag-steps", "research", "webhooks", "nightly-digest"]
COMMAND = [sys.executable, "-m", "glidemq_console"]
SUMMARY = {"completed", "failed", "tokens", "suspended", "approved", "rejected", "ok"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of this test alone; whatever still runs in it at the end is stopped."""
    for name in [name for name in os.environ if name.startswith("GLIDEMQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GLIDEMQ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GLIDEMQ_CONFIG", str(tmp_path / "config.toml"))
    yield tmp_path / "data"
    if (tmp_path / "data" / "demo").exists():
        subprocess.run(
            [*COMMAND, "server", "stop", "--data", str(tmp_path / "data" / "demo")],
            capture_output=True,
            check=False,
            timeout=20,
        )


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that name the folder, or were started with it as their data folder."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and int(place.name) != os.getpid():
                line = (place / "cmdline").read_bytes()
                if str(folder).encode() in line + (place / "environ").read_bytes():
                    found.append(line.replace(b"\0", b" ").decode())
        except (OSError, ValueError):
            continue
    return found


def start(*words: str, **options: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, "demo", *words], text=True, **{**pipes, **options})


def workload() -> subprocess.Popen[str]:
    """The workload as it runs beside a console: nobody decides but people."""
    process = subprocess.Popen(
        [sys.executable, "-m", "glidemq_console.demo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(DemoOptions(speed=3).to_line() + "\n")
    process.stdin.flush()
    return process


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, timeout=60)


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="lists processes by /proc")


@needs_proc
async def test_headless_sums_up_what_was_done_and_leaves_nothing_behind(folder: Path) -> None:
    process = start("--headless", "--for", "6s", "--speed", "2")
    out, err = await asyncio.to_thread(process.communicate, timeout=90)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0, err
    assert err == ""
    assert lines[0] == {"url": "embedded:demo", "queues": QUEUES}
    assert set(lines[-1]) == {"summary"}
    summary = lines[-1]["summary"]
    assert set(summary) == SUMMARY
    assert summary["ok"] is True
    assert summary["completed"] > 0
    assert summary["tokens"] > 0
    assert summary["suspended"] >= summary["approved"] > 0
    await eventually(lambda: not processes_of(folder))


async def test_too_short_a_run_says_no(folder: Path) -> None:
    process = start("--headless", "--for", "50ms", "--speed", "0.2")
    out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert json.loads(out.splitlines()[-1])["summary"]["ok"] is False
    assert process.returncode == 1


@needs_proc
async def test_a_signal_ends_it_cleanly_and_another_demo_may_follow(folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start("--headless")
        assert await asyncio.to_thread(first_line, process) == {"url": "embedded:demo", "queues": QUEUES}
        process.send_signal(number)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
        await eventually(lambda: not processes_of(folder))


async def test_one_demo_at_a_time_and_a_lost_server_is_told_in_one_line(folder: Path) -> None:
    process = start("--headless")
    await asyncio.to_thread(first_line, process)
    second = await asyncio.to_thread(run, "demo", "--headless", "--for", "1s")
    assert second.returncode != 0
    assert second.stdout == ""
    assert second.stderr.startswith("glidemq: another demo is running already")
    assert len(second.stderr.splitlines()) == 1
    assert process.poll() is None

    stopped = await asyncio.to_thread(run, "server", "stop", "--data", str(folder / "demo"))
    assert stopped.returncode == 0
    _, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 3
    assert len(err.splitlines()) == 1, err


@needs_proc
async def test_the_workload_shows_every_state_and_obeys_people(folder: Path) -> None:
    process = workload()
    try:
        assert await asyncio.to_thread(first_line, process) == {"url": "embedded:demo", "queues": QUEUES}
        async with connect("embedded:demo") as connection, Watch(connection, queues=["research"]) as watch:
            await people_decide(connection)
            await budgets_run_out_and_an_operator_tops_them_up(connection, watch)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.to_thread(process.wait, 30)
    assert process.returncode == 0
    await eventually(lambda: not processes_of(folder))


async def people_decide(connection: Connection) -> None:
    moderation: Queue[Any, Any] = Queue("moderation", connection)
    chat: Queue[Any, Any] = Queue("chat", connection)
    digest: Queue[Any, Any] = Queue("nightly-digest", connection)
    assert await digest.is_paused()
    assert (await digest.get_job_counts()).waiting > 0
    assert (await chat.get_metrics("completed")).count > 100, "the charts do not begin empty"
    [asked, *_] = await eventually(lambda: moderation.get_suspended_jobs(), timeout=30)

    done = await asyncio.to_thread(
        run, "approve", f"moderation:{asked.id}", "--url", "embedded:demo", "--by", "ada", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decisions"][0]["outcome"] == "sent"
    await eventually(lambda: is_completed(moderation, asked.id), timeout=30)
    job = await moderation.get_job(asked.id)
    assert job is not None
    assert job.result["published"] is True

    streaming = await eventually(lambda: newest_active(chat), timeout=30)
    tail = await asyncio.to_thread(run, "tail", f"chat:{streaming}", "--url", "embedded:demo")
    assert tail.stdout.strip()
    await eventually(lambda: has_children(connection), timeout=30)


async def budgets_run_out_and_an_operator_tops_them_up(connection: Connection, watch: Watch) -> None:
    research: Queue[Any, Any] = Queue("research", connection)
    flow = await eventually(lambda: parked_flow(watch), timeout=40)
    kinds = {item.kind for item in (await watch.flows(["research"])).items}
    assert kinds == {"tree", "dag"}
    words = (
        "--add-tokens",
        "20000",
        "--add-cost",
        "1",
        "--add-cost-for",
        "output=1",
        "--yes",
        "--json",
    )
    done = await asyncio.to_thread(run, "budget", f"research:{flow}", *words, "--url", "embedded:demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["top_up"]["released"]
    await eventually(lambda: is_completed(research, flow), timeout=40)

    strict = await eventually(lambda: by_policy(watch, "fail"), timeout=40)
    assert strict.exceeded
    chat, webhooks = await watch.limits(["chat", "webhooks"])
    assert (chat.rpm.source, chat.rpm.max, chat.tpm.max) == ("worker", 110, 30_000)
    assert (webhooks.rpm.source, webhooks.rpm.max) == ("queue", 150)


async def is_completed(queue: Queue[Any, Any], job_id: str) -> bool:
    job = await queue.get_job(job_id)
    return job is not None and job.state == "completed"


async def newest_active(queue: Queue[Any, Any]) -> str | None:
    jobs = await queue.get_jobs("active")
    return max((job.id for job in jobs), key=int, default=None)


async def has_children(connection: Connection) -> bool:
    steps: Queue[Any, Any] = Queue("rag-steps", connection)
    return any(job.parent for job in await steps.get_jobs("completed"))


async def parked_flow(watch: Watch) -> str | None:
    flows = (await watch.flows(["research"])).items
    return next((flow.root.id for flow in flows if flow.budget and flow.budget.parked), None)


async def by_policy(watch: Watch, policy: str) -> FlowBudget | None:
    """The budget of the flow with this policy, once it is exceeded."""
    budgets = [flow.budget for flow in (await watch.flows(["research"])).items]
    return next((b for b in budgets if b and b.on_exceeded == policy and b.exceeded), None)


@needs_proc
async def test_leaving_the_console_ends_the_workload(folder: Path) -> None:
    screen, terminal = pty.openpty()
    process = start("--speed", "3", stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = bytearray()
    try:
        await asyncio.to_thread(read_until, screen, seen, b"moderation")
        assert any("glidemq_console.demo" in line for line in processes_of(folder))
        os.write(screen, b"q")
        await eventually(lambda: drain(screen, seen) or process.poll() is not None, timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
        os.close(screen)
    assert process.returncode == 0
    await eventually(lambda: not processes_of(folder))


@needs_proc
async def test_a_killed_console_takes_its_workload_along(folder: Path) -> None:
    screen, terminal = pty.openpty()
    process = start(stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    await asyncio.to_thread(read_until, screen, bytearray(), b"moderation")
    process.kill()
    process.wait()
    os.close(screen)
    await eventually(lambda: not processes_of(folder))


def read_until(descriptor: int, seen: bytearray, wanted: bytes, seconds: float = 60) -> None:
    """Read from a terminal until it shows something."""
    deadline = time.monotonic() + seconds
    while wanted not in seen:
        assert time.monotonic() < deadline, bytes(seen[-2_000:])
        if select.select([descriptor], [], [], 0.2)[0]:
            seen += os.read(descriptor, 65_536)


def drain(descriptor: int, seen: bytearray) -> bool:
    """Read what a terminal has to tell now, so that nobody waits for it; answers False."""
    try:
        while select.select([descriptor], [], [], 0)[0]:
            seen += os.read(descriptor, 65_536)
    except OSError:
        pass  # the other end is closed
    return False


async def test_somebody_elses_server_is_left_as_it_is(
    folder: Path, connection: Connection, server_url: str
) -> None:
    theirs: Queue[Any, Any] = Queue("chat", connection)
    await theirs.add("answer", {"prompt": "mine"}, job_id="theirs")
    process = start("--headless", "--for", "5s", "--speed", "3", "--url", server_url)
    out, err = await asyncio.to_thread(process.communicate, timeout=90)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[0])["url"] == server_url
    job = await theirs.get_job("theirs")
    assert job is not None
    assert job.state == "waiting"
    assert not await Queue[Any, Any]("nightly-digest", connection).exists()
    async with connect(server_url, prefix=GUEST_PREFIX) as guest:
        assert (await Queue[Any, Any]("chat", guest).get_job_counts()).completed > 0


NOT_THERE = pytest.mark.parametrize(
    ("url", "code"), [("valkey://127.0.0.1:1", 3), ("valkeyy://127.0.0.1", 2)]
)


@NOT_THERE
async def test_a_server_that_is_not_there_is_told(folder: Path, url: str, code: int) -> None:
    done = await asyncio.to_thread(run, "demo", "--headless", "--url", url)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("glidemq: ")
    assert len(done.stderr.splitlines()) == 1


@NOT_THERE
async def test_a_server_that_is_not_there_is_told_before_the_screen(
    folder: Path, url: str, code: int
) -> None:
    ended, seen = await asyncio.to_thread(through_a_pty, "demo", "--url", url)
    assert ended == code
    assert seen.startswith(b"glidemq: ")
    assert len(seen.splitlines()) == 1


async def test_the_same_seed_asks_the_same(connection: Connection) -> None:
    from glidemq_console.demo.pace import World
    from glidemq_console.demo.server import WORKLOADS

    for kind in WORKLOADS:
        one, two, other = (kind(World(seed), connection) for seed in (7, 7, 8))
        asked = [[w.new(number, True) for number in range(1, 40)] for w in (one, two, other)]
        assert asked[0] == asked[1]
        if kind.queue != "nightly-digest":
            assert asked[0] != asked[2]
        for job in asked[0]:
            assert job.options is not None
            assert isinstance(job.options.remove_on_complete, Retention), "a demo may run for days"


def test_options_survive_the_way_to_the_workload() -> None:
    options = DemoOptions(
        url="valkey://h?prefix=p", seed=3, speed=2.5, connect_options={"insecure": True, "read_only": True}
    )
    assert DemoOptions.from_line(options.to_line()) == options
    assert options.key_prefix is None, "the URL names it"
    assert options.worker_connect_options == {"insecure": True}
    assert DemoOptions(url="valkey://h").key_prefix == GUEST_PREFIX
    assert DemoOptions().key_prefix is None
