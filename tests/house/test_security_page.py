"""The users of the server that docs/security.md recommends may do what they are for, and no more."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.snippets import ROOT, blocks, environment

from glidemq_core import (
    Actor,
    Connection,
    FlowJob,
    FlowProducer,
    Job,
    JobOptions,
    NewJob,
    PermissionDeniedError,
    Queue,
    Watch,
    Worker,
    connect,
)
from glidemq_core.server.functions import LIBRARY

pytestmark = pytest.mark.thorough

PAGE = ROOT / "docs" / "security.md"
[_BLOCK] = blocks(PAGE, "acl")
#: Rules of each user, as ACL SETUSER takes them.
RULES = {line.split()[2]: line.split()[3:] for line in _BLOCK.text.splitlines()}
PASSWORD = "a-long-one"


async def process(job: Job) -> str:
    await job.stream_chunk("content", "hello")
    if job.data == "ask" and job.decision is None:
        await job.suspend(reason="may I?")
    return "done"


#: What each user does through our own calls. `suspended` is a job that waits for a decision.
Act = Callable[[Queue[Any, Any], str], Awaitable[Any]]
ADDING: dict[str, Act] = {
    "add": lambda queue, _: queue.add("x", 1, job_id="own", delay="1h"),
    "add in bulk": lambda queue, _: queue.add_bulk([NewJob("x"), NewJob("x", 1, JobOptions(priority=3))]),
    "add a flow": lambda queue, _: FlowProducer(queue.connection).add(
        FlowJob("root", "mail", children=[FlowJob("leaf", "mail")])
    ),
}
DECIDING: dict[str, Act] = {
    "signal": lambda queue, job_id: queue.signal(job_id, "note", early=True),
    "reject": lambda queue, job_id: queue.reject(job_id, actor=Actor("eve"), reason="no"),
}
OPERATING: dict[str, Act] = {
    "pause": lambda queue, _: queue.pause(actor=Actor("eve")),
    "resume": lambda queue, _: queue.resume(),
    "limit": lambda queue, _: queue.set_global_concurrency(5),
    "schedule": lambda queue, _: queue.upsert_job_scheduler("s", every="1h"),
    "drain": lambda queue, _: queue.drain(delayed=True),
    "clean": lambda queue, _: queue.clean("completed", grace=0),
    "obliterate": lambda queue, _: queue.obliterate(force=True),
}
MAY = {
    "viewer": {},
    "producer": ADDING,
    "approver": DECIDING,
    "worker": {**ADDING, **DECIDING, **OPERATING},
    "operator": {**ADDING, **DECIDING, **OPERATING},
}


@pytest.fixture
async def suspended(connection: Connection) -> str:
    """Id of a job of the queue `mail` that waits for a decision; the functions are loaded."""
    queue: Queue[Any, Any] = Queue("mail", connection)
    async with Worker("mail", process, connection):
        job = await queue.add("ask", "ask")
        assert job is not None
        await eventually(lambda: queue.get_suspend_info(job.id))
    return job.id


@pytest.fixture
async def url_of(connection: Connection, server_port: int) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Makes a user of the page, with other keys if asked, and gives their URL."""
    made = []

    async def make(role: str, keys: str | None = None) -> str:
        rules = [PASSWORD.join(rule.split("PASSWORD")) for rule in RULES[role]]
        if keys is not None:
            rules = [word for rule in rules for word in (keys.split() if "~glide:*" in rule else [rule])]
        await connection.command("ACL", "SETUSER", role, "reset", *rules)
        made.append(role)
        return f"valkey://{role}:{PASSWORD}@127.0.0.1:{server_port}"

    yield make
    for role in made:
        await connection.command("ACL", "DELUSER", role)


def test_the_page_names_the_functions_of_this_version() -> None:
    assert set(re.findall(r"gmq\d+", PAGE.read_text("utf-8"))) == {LIBRARY}
    [viewer] = blocks(ROOT / "docs" / "operations.md", "acl")
    assert viewer.text.split()[3:] == RULES["viewer"]
    assert RULES.keys() == MAY.keys()


@pytest.mark.leaves_records
@pytest.mark.parametrize("role", RULES)
async def test_a_user_may_do_what_it_is_for_and_no_more(
    role: str, suspended: str, url_of: Callable[..., Awaitable[str]]
) -> None:
    async with connect(await url_of(role)) as user:
        queue: Queue[Any, Any] = Queue("mail", user)
        assert (await queue.get_job_counts()).suspended == 1
        assert (await queue.review(suspended)).reason == "may I?"
        assert [chunk.text async for chunk in queue.stream(suspended, follow=False)] == ["hello"]
        async with Watch(user, queues=["mail"]) as watch:
            assert [row.suspended for row in (await watch.snapshot()).queues] == [1]
        for what, act in {**ADDING, **DECIDING, **OPERATING}.items():
            if what in MAY[role]:
                await act(queue, suspended)
            else:
                with pytest.raises(PermissionDeniedError):
                    await act(queue, suspended)
        for command in (
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("ACL", "LIST"),
            ("KEYS", "*"),
            ("GET", "other"),
        ):
            with pytest.raises(PermissionDeniedError):
                await user.command(*command)
        if role == "viewer":
            with pytest.raises(PermissionDeniedError):
                await user.command("HSET", f"glide:{{mail}}:job:{suspended}", "name", "forged")


async def test_a_worker_runs_jobs_and_loads_the_functions(
    connection: Connection, url_of: Callable[..., Awaitable[str]]
) -> None:
    await connection.command("FUNCTION", "FLUSH")
    async with connect(await url_of("worker")) as user:
        queue: Queue[Any, Any] = Queue("mail", user)
        async with Worker("mail", process, user):
            job = await queue.add("x", 1)
            assert job is not None
            assert await job.wait() == "done"


async def test_an_approver_decides_from_a_terminal(
    suspended: str, url_of: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    surroundings = environment(await url_of("approver"), tmp_path)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "glidemq_console", *words]
        return subprocess.run(command, env=surroundings, capture_output=True, text=True, cwd=os.sep)

    listed = await asyncio.to_thread(run, "approvals")
    assert f"mail:{suspended}" in listed.stdout, listed.stderr
    assert (await asyncio.to_thread(run, "pause", "mail")).returncode == 4
    approved = await asyncio.to_thread(run, "approve", f"mail:{suspended}", "--by", "eve")
    assert approved.returncode == 0, approved.stderr


async def test_keys_of_one_queue_keep_a_user_out_of_others(
    connection: Connection, url_of: Callable[..., Awaitable[str]]
) -> None:
    found = re.search(r"`(~glide:\{mail\}[^`]*)` in place of `~glide:\*`", PAGE.read_text("utf-8"))
    assert found is not None
    await Queue("mail", connection).add("x")  # loads the functions
    async with connect(await url_of("producer", found[1])) as user:
        assert await Queue("mail", user).add("x") is not None
        other: Queue[Any, Any] = Queue("refunds", user)
        for act in (
            other.add("x"),
            other.get_job_counts(),
            user.command("HSET", "glide:{refunds}:job:1", "a", "b"),
        ):
            with pytest.raises(PermissionDeniedError):
                await act


async def test_a_bare_signal_is_no_decision(connection: Connection, suspended: str) -> None:
    seen = []

    async def look(job: Job) -> None:
        seen.append(job.decision)

    queue: Queue[Any, Any] = Queue("mail", connection)
    forged = {"approved": True, "action": "approve", "by": "eve", "reviewer": "eve", "at": 1}
    await queue.signal(suspended, "approve", forged)
    async with Worker("mail", look, connection):
        await eventually(lambda: seen)
    assert seen == [None]


@pytest.mark.parametrize("role", RULES)
async def test_the_doctor_tells_a_user_what_it_may(
    role: str, suspended: str, url_of: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "glidemq_console", "doctor", "mail", "--json"]
    surroundings = environment(await url_of(role), tmp_path)
    ran = await asyncio.to_thread(
        subprocess.run, command, env=surroundings, capture_output=True, text=True, cwd=os.sep
    )
    checks = {check["id"]: check for check in json.loads(ran.stdout)["checks"]}
    assert checks["functions"]["status"] == "ok"
    found = checks["permissions"]
    if role in ("viewer", "producer"):  # neither may call whatever function
        assert found["status"] == "warn"
        assert found["summary"].startswith("may read, not write: ")
        assert f"User {role} has no permissions to run the 'fcall' command" in found["summary"]
        adding, acting = re.fullmatch(
            r"enough to read; to add jobs grant ([^;]*); to act on them grant ([^;]*)", found["fix"]
        ).groups()  # type: ignore[union-attr]
        assert [adding.split(), acting.split()] == [RULES["producer"][2:], RULES["operator"][2:]]
    else:
        assert (found["status"], found["summary"]) == ("ok", "may read and write")


async def test_a_viewer_exports_figures(
    suspended: str, url_of: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "glidemq_console", "metrics", "mail"]
    surroundings = environment(await url_of("viewer"), tmp_path)
    ran = await asyncio.to_thread(
        subprocess.run, command, env=surroundings, capture_output=True, text=True, cwd=os.sep
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert 'glidemq_jobs{queue="mail",state="suspended"} 1\n' in ran.stdout


async def test_a_missing_right_is_named_with_its_remedy(
    suspended: str, url_of: Callable[..., Awaitable[str]], tmp_path: Path
) -> None:
    async with connect(await url_of("viewer")) as user:
        with pytest.raises(PermissionDeniedError) as caught:
            await Queue[Any, Any]("mail", user).pause()
    assert caught.value.reason == "acl"
    assert "viewer" in caught.value.message or "permission" in caught.value.message
    assert caught.value.hint == "ask for the ACL rights, or sign in as another user"
