"""The access rules that docs/operations.md recommends are enough, and no more than enough."""

from __future__ import annotations

import re

import pytest
from conftest import eventually
from kits.snippets import ROOT, blocks

from glidemq_core import Job, PermissionDeniedError, Queue, Worker, connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

PAGE = ROOT / "docs" / "operations.md"


async def make_user(connection: Connection, rules: list[str]) -> None:
    await connection.command("ACL", "SETUSER", *rules)


async def test_viewer_sees_everything_and_changes_nothing(connection: Connection, server_port: int) -> None:
    [block] = blocks(PAGE, "acl")
    words = block.text.split()
    assert words[:3] == ["ACL", "SETUSER", "viewer"]
    await connection.command("ACL", "SETUSER", "viewer", "reset")
    await make_user(connection, [word.replace("PASSWORD", "pw") for word in words[2:]])
    url = f"valkey://viewer:pw@127.0.0.1:{server_port}"
    try:
        async with Queue("inference", connection) as queue, connect(url) as viewer:
            job = await queue.add("answer", {"prompt": "hello"})
            assert job is not None
            async with Watch(viewer, queues=["inference"]) as watch:
                fleet = await watch.snapshot()
                assert [(row.name, row.waiting) for row in fleet.queues] == [("inference", 1)]
                assert (await watch.jobs("inference", "waiting")).rows[0].id == job.id
                detail = await watch.job("inference", job.id)
                assert detail is not None
                assert detail.data == {"prompt": "hello"}
                allowed = await watch.permissions()
                assert (allowed.can_read, allowed.can_write) == (True, False)
            async with Queue("inference", viewer) as looked:
                with pytest.raises(PermissionDeniedError):
                    await looked.pause()
                with pytest.raises(PermissionDeniedError):
                    await looked.add("answer")
            for command in (("SET", "glide:x", "1"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*")):
                with pytest.raises(PermissionDeniedError):
                    await viewer.command(*command)
            with pytest.raises(PermissionDeniedError):
                await viewer.command("GET", "other:key")
    finally:
        await connection.command("ACL", "DELUSER", "viewer")


async def test_worker_needs_no_more_than_it_says(connection: Connection, server_port: int) -> None:
    found = re.search(r"`(\+@read [^`]*)` on `(~\S+)`", PAGE.read_text(encoding="utf-8"))
    assert found is not None
    await make_user(
        connection, ["hand", "reset", "on", ">pw", "resetchannels", "-@all", *found[1].split(), found[2]]
    )
    url = f"valkey://hand:pw@127.0.0.1:{server_port}"

    async def process(job: Job) -> None:
        await job.stream_chunk("content", "hello")
        await job.report_usage(model="model-a", total_tokens=3)

    try:
        async with Queue("inference", url) as queue, Worker("inference", process, url):
            job = await queue.add("answer")
            assert job is not None
            await eventually(job.is_completed)
    finally:
        await connection.command("ACL", "DELUSER", "hand")
