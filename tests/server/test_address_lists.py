"""Several addresses of one server: its primary is found, and followed when another takes over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, free_port, serving
from kits.cluster import Node

from glidemq_core import Queue, Worker, connect, errors


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """A primary and its replica."""
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(tmp_path, "--repl-diskless-sync-delay", "0")) for _ in range(2)]
        first, second = (Node(port) for port in ports)
        await _follow(second, first)
        yield first, second


async def _follow(node: Node, primary: Node) -> None:
    await node.ask("REPLICAOF", "127.0.0.1", primary.port)

    async def follows() -> bool:
        return "master_link_status:up" in await node.ask("INFO", "replication")

    await eventually(follows)


def url(*nodes: Node) -> str:
    return "valkey://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


async def test_the_primary_is_used_whichever_comes_first(pair: tuple[Node, Node]) -> None:
    first, second = pair
    for order in (pair, (second, first), (second, Node(free_port()), first)):
        async with connect(url(*order)) as opened:
            assert not opened.is_cluster
            assert opened.address == f"127.0.0.1:{first.port}"
            assert await Queue[Any, Any]("q", opened).add("n", {})


async def test_work_goes_on_at_a_replica_that_took_over(pair: tuple[Node, Node]) -> None:
    first, second = pair
    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1

    async with (
        connect(url(first, second), request_timeout=1_000) as opened,
        Worker("q", process, opened, log_errors=False),
    ):
        queue: Queue[Any, Any] = Queue("q", opened)
        before = await queue.add("before", {})
        await eventually(lambda: len(ran) == 1)
        with pytest.raises(OSError, match="closed"):
            await first.ask("SHUTDOWN", "NOSAVE")
        with pytest.raises(errors.ServerUnavailableError):
            await queue.add("lost", {})
        await second.ask("REPLICAOF", "NO", "ONE")

        after = await eventually(lambda: _add(queue), timeout=20)
        await eventually(lambda: after.is_completed(), timeout=20)

        assert before is not None
        assert await before.is_completed()
        assert opened.address == f"127.0.0.1:{second.port}"


async def test_no_call_notices_a_primary_that_steps_down_in_order(pair: tuple[Node, Node]) -> None:
    first, second = pair
    done: set[str] = set()

    async def process(job: Any) -> None:
        done.add(job.id)

    async with (
        connect(url(first, second)) as opened,
        Worker("q", process, opened, log_errors=False, block_timeout=500),
    ):
        queue: Queue[Any, Any] = Queue("q", opened)
        added = [await queue.add("n", {})]
        await second.ask("REPLICAOF", "NO", "ONE")
        await _follow(first, second)

        added += await asyncio.gather(*(queue.add("n", {}) for _ in range(50)))

        await eventually(lambda: len(done) == len({job.id for job in added if job}) == 51, timeout=30)
        assert opened.address == f"127.0.0.1:{second.port}"
        assert await queue.exists()


async def test_addresses_without_one_primary_are_refused(pair: tuple[Node, Node]) -> None:
    first, second = pair
    with pytest.raises(errors.ServerUnavailableError, match="is a primary that can be reached"):
        await connect(url(second, Node(free_port())))
    await second.ask("REPLICAOF", "NO", "ONE")
    with pytest.raises(errors.ServerUnavailableError, match="both say that they are primaries"):
        await connect(url(first, second))


async def _add(queue: Queue[Any, Any]) -> Any:
    try:
        return await queue.add("after", {})
    except errors.GlideMQError:
        return None


async def test_a_client_is_changed_once_however_many_calls_find_a_replica(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    made = 0
    async with connect(url(first, second)) as opened:
        driver = opened._client._driver
        create = driver.create

        async def counted(*args: Any, **keywords: Any) -> Any:
            nonlocal made
            made += 1
            return await create(*args, **keywords)

        monkeypatch.setattr(driver, "create", counted)
        await second.ask("REPLICAOF", "NO", "ONE")
        await _follow(first, second)

        answers = await asyncio.gather(*(opened.command("INCR", "n") for _ in range(200)))

    assert sorted(answers) == list(range(1, 201))
    assert made == 1


async def test_the_primary_is_found_by_who_may_not_ask_for_the_servers_facts(pair: tuple[Node, Node]) -> None:
    first, second = pair
    for node in pair:
        await node.ask("ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all", "-info", "-role")

    async with connect(url(second, first), username="worker", password="pw") as opened:
        assert opened.address == f"127.0.0.1:{first.port}"
        await second.ask("REPLICAOF", "NO", "ONE")
        await _follow(first, second)

        assert await Queue[Any, Any]("q", opened).add("n", {})
        assert opened.address == f"127.0.0.1:{second.port}"
