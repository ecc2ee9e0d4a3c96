"""A parent waits for children that come, and for no others: whatever happens between linking and adding."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from flows.test_flows_cluster import empty  # noqa: F401
from kits.flow import everything
from server.test_cluster import cluster, cluster_ports  # noqa: F401

from glidemq_core.errors import CallTimeoutError, ServerError, ServerUnavailableError
from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.jobs.adding import links
from glidemq_core.jobs.adding.links import mend_links
from glidemq_core.options.job import JobOptions, JobRef, NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker


async def parent_in(connection: Connection, queue: str = "b") -> Job[Any, Any]:
    job = await Queue(queue, connection).add("agent", {})
    assert job is not None
    return job


def writing_calls(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    call = connection.call

    async def counted(function: str, key: str, *args: Any) -> Any:
        made.append(function)
        return await call(function, key, *args)

    monkeypatch.setattr(connection, "call", counted)
    return made


async def test_on_one_server_a_child_and_its_link_are_one_call(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await parent_in(connection)
    made = writing_calls(connection, monkeypatch)

    await Queue("a", connection).add("tool", {}, parent=parent.ref)
    await Queue("b", connection).add("tool", {}, parent=parent.ref)
    await Queue("a", connection).add_bulk([NewJob("tool", {}, JobOptions(parent=parent.ref))] * 3)

    assert made == ["add", "add", "add"]
    members = await connection.command("SMEMBERS", "glide:{b}:deps:1")
    assert {member.decode() for member in members} == {
        *(f"glide:{{a}}:{n}" for n in range(1, 5)),
        "glide:{b}:2",
    }
    assert await connection.command("EXISTS", "glide:{b}:linking", "glide:{a}:reserved:1") == 0


@pytest.mark.parametrize("where", ["a", "b"])
@pytest.mark.parametrize("key", ["deps:1", "job:1"])
@pytest.mark.leaves_records
async def test_a_parent_whose_keys_are_foreign_refuses_the_child_whole(
    connection: Connection, producer: FlowProducer, where: str, key: str
) -> None:
    parent = await parent_in(connection)
    await connection.command("UNLINK", f"glide:{{b}}:{key}")
    await connection.command("SET", f"glide:{{b}}:{key}", "no queue data")
    await Queue("a", connection).add("old", {})
    before = await everything(connection)

    with pytest.raises(ServerError, match="cannot be told of its child"):
        await Queue(where, connection).add("tool", {}, parent=parent.ref)
    with pytest.raises(ServerError, match=r"cannot be told of its child|wrong type"):
        await producer.add(FlowJob("sub", where, {}, JobOptions(parent=parent.ref), [FlowJob("x", where)]))

    assert await everything(connection) == before


LINKING = ("reserve_child", "register_child", "add", "settle_link")


class Cut:
    """Ends the n-th call that adds a child between two slots: before it was made, or when its reply is lost."""

    def __init__(self, connection: Connection, step: int, how: str) -> None:
        self._call, self._left, self._how = connection.call, step, how
        self.made: list[str] = []

    async def __call__(self, function: str, key: str, *args: Any) -> Any:
        if function not in LINKING:  # a worker's, beside it
            return await self._call(function, key, *args)
        self.made.append(function)
        self._left -= 1
        if self._left == 0 and self._how == "unsent":
            raise ServerUnavailableError("cut", address="test")
        answer = await self._call(function, key, *args)
        if self._left == 0 and self._how == "cancelled":
            raise asyncio.CancelledError
        if self._left == 0:
            raise CallTimeoutError("no answer", command=function, timeout_ms=5)
        return answer


async def links_of(connection: Connection) -> set[str]:
    return {member.decode() for member in await connection.command("SMEMBERS", "glide:{b}:deps:1") or ()}


async def jobs_of(connection: Connection, queue: str, *ids: str) -> set[str]:
    keys = [f"glide:{{{queue}}}:{job_id}" for job_id in ids]
    found = await connection.pipeline([("EXISTS", f"glide:{{{queue}}}:job:{job_id}") for job_id in ids])
    return {key for key, there in zip(keys, found, strict=True) if there}


@pytest.mark.parametrize("job_id", [None, "mine"])
@pytest.mark.parametrize("how", ["unsent", "lost", "cancelled"])
@pytest.mark.parametrize("step", range(1, 5))
@pytest.mark.parametrize("healed_by", ["itself", "a sweep"])
async def test_no_parent_waits_for_a_child_that_never_came(
    empty: Connection,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    how: str,
    job_id: str | None,
    healed_by: str,
) -> None:
    parent = await parent_in(empty)
    cut = Cut(empty, step, how)
    with monkeypatch.context() as broken:
        broken.setattr(empty, "call", cut)
        if healed_by == "a sweep":
            broken.setattr(links.ChildLink, "leave", lambda self: None)
        with pytest.raises((ServerUnavailableError, CallTimeoutError, asyncio.CancelledError)):
            await Queue("a", empty).add("tool", {}, parent=parent.ref, job_id=job_id, cross_slot=True)
        assert cut.made[:step] == list(LINKING[:step])
        await eventually(lambda: not links._LEFT)
    if healed_by == "a sweep":
        await mend_links((await Queue("b", empty).context()), -60_000)

    came = await jobs_of(empty, "a", "1", "mine")
    assert await links_of(empty) == came
    assert len(came) == (1 if step == 4 or (step == 3 and how != "unsent") else 0)
    assert await empty.command("HLEN", "glide:{b}:linking") == 0

    # And again: what is repeated stands once.
    await Queue("a", empty).add("tool", {}, parent=parent.ref, job_id=job_id, cross_slot=True)
    assert await links_of(empty) == await jobs_of(empty, "a", "1", "2", "mine")


async def test_a_child_that_was_given_up_comes_no_more(empty: Connection) -> None:  # noqa: F811
    """A call that hung on the way for long must not bring a child that nobody waits for."""
    parent = await parent_in(empty)
    scope = await Queue("a", empty).context()
    held: list[tuple[Any, ...]] = []
    call = empty.call

    async def holding(function: str, key: str, *args: Any) -> Any:
        if function == "add":
            held.append((function, key, *args))
            raise CallTimeoutError("no answer", command=function, timeout_ms=5)
        return await call(function, key, *args)

    with pytest.MonkeyPatch.context() as slow:
        slow.setattr(empty, "call", holding)
        with pytest.raises(CallTimeoutError):
            await Queue("a", empty).add("tool", {}, parent=parent.ref, cross_slot=True)
        await eventually(lambda: not links._LEFT)
    assert await links_of(empty) == set()

    assert await call(*held[0]) == [[b"duplicate"]]
    assert await empty.command("EXISTS", scope.keys.job("1")) == 0


async def test_two_that_add_one_child_leave_one_link(empty: Connection) -> None:  # noqa: F811
    parent = await parent_in(empty)
    queue = Queue("a", empty)
    added = await asyncio.gather(
        *(queue.add("tool", {}, parent=parent.ref, job_id="kid", cross_slot=True) for _ in range(8))
    )
    assert len([job for job in added if job is not None]) == 1
    assert await links_of(empty) == {"glide:{a}:kid"}


async def test_a_parent_goes_on_once_its_worker_swept_a_link_without_child(
    empty: Connection,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The producer is killed between linking and adding: nothing of it is left but the link."""
    monkeypatch.setattr(links.ChildLink, "leave", lambda self: None)
    monkeypatch.setattr(links, "OLD_ENOUGH_MS", 0)
    monkeypatch.setattr(links.mend_links, "__defaults__", (-1,))

    async def process(job: Job[Any, Any]) -> Any:
        if await job.get_children_values():
            return "done"
        await Queue("c", empty).add("good", {}, parent=job.ref, cross_slot=True)
        cut = Cut(empty, 3, "unsent")
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(empty, "call", cut)
            with pytest.raises(ServerUnavailableError):
                await Queue("a", empty).add("tool", {}, parent=job.ref, cross_slot=True)
        await job.move_to_waiting_children()
        raise AssertionError

    async with Worker("c", lambda job: 1, empty, log_errors=False):
        worker = Worker("b", process, empty, log_errors=False, stalled_interval=1_000)
        async with worker:
            parent = await parent_in(empty)
            await eventually(parent.is_completed, timeout=30)
    # A sweep that takes every link for an old one may come between the two steps of the good child: it is added again.
    [link] = await links_of(empty)
    assert link.startswith("glide:{c}:")


async def test_repairing_a_flow_takes_links_back_whose_child_never_came(
    empty: Connection,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parent = await parent_in(empty)
    with monkeypatch.context() as broken:
        broken.setattr(links.ChildLink, "leave", lambda self: None)
        broken.setattr(empty, "call", Cut(empty, 3, "unsent"))
        with pytest.raises(ServerUnavailableError):
            await Queue("a", empty).add("tool", {}, parent=JobRef("b", parent.id), cross_slot=True)
    await Queue("b", empty).repair_flow(parent.id, older_than=60_000)
    assert await links_of(empty) == {"glide:{a}:1"}, "it may still come"

    await asyncio.sleep(0.002)
    await Queue("b", empty).repair_flow(parent.id, older_than=0)
    assert await links_of(empty) == set()
