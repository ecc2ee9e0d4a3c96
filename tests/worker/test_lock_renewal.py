"""Passwords that change while many calls are under way: one new client, and no call is told that we closed it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, serving

from glidemq_core import Connection, Queue, Worker, connect, errors


class Secret:
    """A password that can change; counts how often it is asked for."""

    def __init__(self, first: str) -> None:
        self.now = first
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        await asyncio.sleep(0.01)  # as a vault over the network
        return self.now

    async def change(self, connection: Connection, new: str) -> None:
        """Change it on the server, which then drops everybody."""
        await connection.command("CONFIG", "SET", "requirepass", new)
        self.now = new
        with contextlib.suppress(
            errors.ServerUnavailableError
        ):  # it is dropped too, at times before it is answered
            await connection.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Clients made from now on."""
    from glidemq_core.server import driver

    create, clients = driver.create, []

    async def noted(*args: Any, **keywords: Any) -> Any:
        clients.append(await create(*args, **keywords))
        return clients[-1]

    monkeypatch.setattr(driver, "create", noted)
    return clients


async def test_forty_adds_after_a_changed_password_share_one_new_client(
    tmp_path: Path, made: list[Any]
) -> None:
    secret = Secret("old")
    with serving(tmp_path, "--requirepass", "old") as port:
        async with connect(f"valkey://127.0.0.1:{port}", password=secret, request_timeout=1_000) as opened:
            queue: Queue[Any, Any] = Queue("q", opened)
            await queue.add("n", {})
            await secret.change(opened, "new")
            # Somebody meets the lost connection.
            await eventually(lambda: _fails(opened))
            made.clear()
            secret.asked = 0

            added = await asyncio.gather(*(queue.add("n", {}) for _ in range(40)))

            assert (len(made), secret.asked) == (1, 1)
            assert len({job.id for job in added if job}) == 40
            assert (await queue.get_job_counts()).waiting == 41


async def test_no_job_is_lost_or_run_twice_while_passwords_change(tmp_path: Path) -> None:
    secret = Secret("p0")
    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1
        await asyncio.sleep(0.01)

    with serving(tmp_path, "--requirepass", "p0") as port:
        async with connect(f"valkey://127.0.0.1:{port}", password=secret, request_timeout=2_000) as opened:
            queue: Queue[Any, Any] = Queue("q", opened)
            async with Worker("q", process, opened, concurrency=10, log_errors=False, block_timeout=500):
                accepted: set[str] = set()
                for number in range(1, 4):
                    adding = asyncio.gather(*(_add(queue) for _ in range(40)))
                    await secret.change(opened, f"p{number}")
                    accepted |= {answer for answer in await adding if answer}
                    accepted.add(await eventually(lambda: _add(queue)))
                await eventually(lambda: accepted <= ran.keys(), timeout=30)
                await eventually(lambda: _idle(queue), timeout=30)
            for job_id in [job_id for job_id, times in ran.items() if times > 1]:
                assert await opened.command("HGET", f"glide:{{q}}:job:{job_id}", "stalledCount")


async def test_a_read_that_a_replaced_client_still_owed_is_lost_not_closed(tmp_path: Path) -> None:
    secret = Secret("old")
    with serving(tmp_path, "--requirepass", "old") as port:
        async with connect(f"valkey://127.0.0.1:{port}", password=secret, request_timeout=300) as opened:
            reader = await opened.dedicated()
            reading = asyncio.create_task(reader.command("XREAD", "BLOCK", "60000", "STREAMS", "s", "$"))
            await eventually(lambda: _blocked(opened))
            await opened.command("CONFIG", "SET", "requirepass", "new")
            secret.now = "new"
            opened._nodes.doubtful = True
            await reader.ping()

            with pytest.raises(errors.ServerUnavailableError):
                await reading
            await reader.close()


async def test_many_calls_on_a_dead_server_look_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glidemq_core.server import nodes

    looks = 0
    accepts = nodes.any_accepts

    async def counted(addresses: Any) -> bool:
        nonlocal looks
        looks += 1
        return await accepts(addresses)

    with serving(tmp_path) as port:
        opened = await connect(f"valkey://127.0.0.1:{port}", request_timeout=1_000)
    await eventually(lambda: _fails(opened))
    monkeypatch.setattr(nodes, "any_accepts", counted)

    answers = await asyncio.gather(*(opened.ping() for _ in range(100)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {errors.ServerUnavailableError}
    assert looks == 1
    await opened.close()


async def _fails(connection: Connection) -> bool:
    try:
        await connection.ping()
    except (errors.ServerUnavailableError, errors.CallTimeoutError):
        return True
    return False


async def _add(queue: Queue[Any, Any]) -> str | None:
    """Add a job; its id, or None where nobody knows whether it was added."""
    try:
        job = await queue.add("n", {})
    except (errors.ServerUnavailableError, errors.CallTimeoutError, errors.AuthenticationError):
        return None
    return job.id if job else None


async def _idle(queue: Queue[Any, Any]) -> bool:
    counts = await queue.get_job_counts()
    return counts.waiting == counts.active == 0


async def _blocked(connection: Connection) -> bool:
    return b"blocked_clients:1\r" in await connection.command("INFO", "clients")
