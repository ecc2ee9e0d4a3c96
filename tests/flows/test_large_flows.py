"""Flows that one call cannot hold are created in parts: nothing runs before all stand, nothing is left half done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.flow import diamond, everything, step
from kits.wire import dump

from glidemq_core.doctor import examine, repair
from glidemq_core.errors import CallTimeoutError, DuplicateJobError, ServerError, ServerUnavailableError
from glidemq_core.flows import parts
from glidemq_core.flows.nodes import DagNode, FlowJob
from glidemq_core.flows.parts import recover_flows
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.options.job import Actor, Budget, JobOptions, Ordering, TokenBucket
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

#: Calls that create a flow in parts, those before anything can run first.
WRITING = ("make_flow", "link_flow", "register_child")
RELEASING = ("begin_flow", "release_flow")


def wide(leaves: int, **options: Any) -> FlowJob:
    return FlowJob("root", "q", {}, JobOptions(**options), [step(str(n), "q") for n in range(leaves)])


def varied() -> FlowJob:
    bucket = TokenBucket(capacity=5.5, refill_rate=1)
    return FlowJob(
        "root",
        "q",
        {"a": "ü"},
        JobOptions(ttl=10**9, priority=3),
        [
            step("late", "q", delay=60_000),
            step("first", "q", priority=5),
            step("last", "far", lifo=True),
            step("mine", "q", job_id="mine", attempts=3),
            step("ordered", "q", ordering=Ordering("k", token_bucket=bucket), cost=1.9999),
            step("inner", "far", [step("leaf", "far"), step("leaf", "q", job_id="77")], cost=1.5),
        ],
    )


class Calls:
    """Watches the calls that create flows in parts; cuts the n-th of some functions."""

    def __init__(self, connection: Connection, cut: int = 0, how: str = "", of: tuple[str, ...] = ()) -> None:
        self._call, self._cut, self._how, self._of = connection.call, cut, how, of
        self.sizes: dict[str, list[int]] = {}
        self._met = 0

    async def __call__(self, function: str, key: str, *args: Any) -> Any:
        size = sum(len(word) if isinstance(word, (str, bytes)) else 8 for word in args)
        self.sizes.setdefault(function, []).append(size)
        self._met += function in self._of
        cut = function in self._of and self._met == self._cut
        if cut and self._how == "unsent":
            raise ServerUnavailableError("cut", address="test")
        answer = await self._call(function, key, *args)
        if cut and self._how == "cancelled":
            raise asyncio.CancelledError
        if cut and self._how == "lost":
            raise CallTimeoutError("no answer", command=function, timeout_ms=5)
        return answer


async def without_tokens(connection: Connection) -> dict[str, Any]:
    """Everything on the server, what differs from flow to flow left out."""
    found = await everything(connection)
    found.pop("glide:queues", None)
    for key, value in found.items():
        if ":job:" in key:
            value.pop("flowToken", None)
            for name in ("timestamp", "expireAt"):
                value.pop(name, None)
        if ":group:" in key:
            value.pop("tbLastRefill", None)
        if ":deps:" in key or ":parents:" in key:
            found[key] = sorted(value)
        if key.endswith((":stream", ":events")):
            found[key] = [entry["fields"] for entry in value]
    return found


@pytest.mark.parametrize("shape", ["tree", "graph", "child"])
async def test_a_flow_in_parts_is_the_flow_that_one_call_makes(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    async def make() -> dict[str, Any]:
        await connection.command("FLUSHALL")
        monkeypatch.setattr(connection, "now_ms", lambda: 1_700_000_000_000)
        async with FlowProducer(connection) as producer:
            if shape == "tree":
                await producer.add(varied(), budget=Budget(max_total_tokens=9, max_tokens={"a": 1}))
            elif shape == "graph":
                far = [DagNode("e", "far", {}, deps=["a"]), DagNode("f", "q", {}, deps=["e", "a"])]
                await producer.add_dag([*diamond("q"), *far])
            else:
                job = (await producer.add(FlowJob("agent", "b"), budget=Budget(max_total_tokens=9))).job
                await producer.add(FlowJob("root", "q", {}, JobOptions(parent=job.ref), [step("x", "q")]))
        return await without_tokens(connection)

    whole = await make()
    monkeypatch.setattr("glidemq_core.flows.producer.CALL_JOBS", 0)
    monkeypatch.setattr(parts, "_PART_JOBS", 2)
    monkeypatch.setattr(parts, "_CALL_LINKS", 2)
    assert await make() == whole


async def test_a_large_flow_runs_to_its_root(connection: Connection, producer: FlowProducer) -> None:
    node = await producer.add(wide(1_200), budget=Budget(max_total_tokens=10**6))
    assert node.children is not None
    assert [child.job.data["step"] for child in node.children] == [str(n) for n in range(1_200)]

    async with Worker("q", lambda job: job.name, connection, concurrency=100):
        await eventually(node.job.is_completed, timeout=60)
    assert len(await node.job.get_children_values()) == 1_200
    left = await connection.command("KEYS", "*flow-*")
    assert left == []


async def test_no_call_of_a_large_flow_is_large(
    connection: Connection, producer: FlowProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(connection)
    monkeypatch.setattr(connection, "call", calls)
    leaves = [FlowJob("x", "q", "x" * 10_000) for _ in range(600)]
    await producer.add(FlowJob("root", "q", {}, None, leaves))
    chain = FlowJob("0", "q")
    for level in range(600):
        chain = FlowJob(str(level), "q", {}, None, [chain])
    await producer.add(chain)

    largest = max(size for sizes in calls.sizes.values() for size in sizes)
    assert largest <= parts.CALL_BYTES
    assert len(calls.sizes["make_flow"]) == 3 + 3
    assert len(calls.sizes["link_flow"]) <= 4
    assert await connection.command("SCARD", "glide:{q}:deps:1") == 600


async def keys_left(connection: Connection) -> list[str]:
    return [key for key in await dump(connection) if not key.endswith("}:id") and key != "glide:queues"]


@pytest.mark.parametrize("how", ["unsent", "lost", "cancelled"])
@pytest.mark.parametrize("number", range(1, 7))
async def test_a_failure_before_anything_can_run_leaves_nothing(
    connection: Connection,
    producer: FlowProducer,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    how: str,
) -> None:
    monkeypatch.setattr("glidemq_core.flows.producer.CALL_JOBS", 0)
    monkeypatch.setattr(parts, "_PART_JOBS", 3)
    monkeypatch.setattr(parts, "_CALL_LINKS", 4)
    agent = await Queue("b", connection).add("agent")
    assert agent is not None
    before = await keys_left(connection)
    flow = FlowJob(
        "root",
        "q",
        {},
        JobOptions(parent=agent.ref, ordering="k"),
        [step(str(n), "q", ordering="other") for n in range(8)],
    )
    calls = Calls(connection, number, how, WRITING)
    monkeypatch.setattr(connection, "call", calls)
    with pytest.raises((ServerUnavailableError, CallTimeoutError, asyncio.CancelledError)):
        await producer.add(flow, budget=Budget(max_total_tokens=9))

    left = set(await keys_left(connection)) - set(before)
    assert not [key for key in left if ":group:" not in key and ":ordering" not in key]
    # What they had as places in their order is given back: the next job of the key runs.
    job = await Queue("q", connection).add("next", ordering="other")
    assert job is not None
    async with Worker("q", lambda job: 1, connection):
        await eventually(job.is_completed)


@pytest.mark.parametrize("how", ["unsent", "lost"])
@pytest.mark.parametrize("number", range(1, 6))
async def test_a_failure_afterwards_is_repeated_and_everything_runs_once(
    connection: Connection,
    producer: FlowProducer,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    how: str,
) -> None:
    monkeypatch.setattr("glidemq_core.flows.producer.CALL_JOBS", 0)
    monkeypatch.setattr(parts, "_PART_JOBS", 3)
    monkeypatch.setattr(connection, "call", Calls(connection, number, how, RELEASING))
    node = await producer.add(wide(8))

    ran: list[str] = []
    async with Worker("q", lambda job: ran.append(job.id), connection):
        await eventually(node.job.is_completed)
    assert len(ran) == len(set(ran)) == 9
    assert await connection.command("KEYS", "*flow-*") == []


async def test_a_cancelled_producer_of_a_flow_that_runs_finishes_it(
    connection: Connection, producer: FlowProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glidemq_core.flows.producer.CALL_JOBS", 0)
    monkeypatch.setattr(parts, "_PART_JOBS", 3)
    monkeypatch.setattr(connection, "call", Calls(connection, 2, "cancelled", RELEASING))
    with pytest.raises(asyncio.CancelledError):
        await producer.add(wide(8))
    await eventually(lambda: not parts._FINISHING)
    assert await connection.command("XLEN", "glide:{q}:stream") == 8


async def died(connection: Connection, number: int, of: tuple[str, ...]) -> None:
    """A producer is killed at some call: neither removes nor finishes anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glidemq_core.flows.producer.CALL_JOBS", 0)
        patch.setattr(parts, "_PART_JOBS", 3)
        patch.setattr(connection, "call", Calls(connection, number, "cancelled", of))
        patch.setattr(parts.PartedFlow, "_finish", lambda self: asyncio.sleep(0))
        patch.setattr(parts.PartedFlow, "_remove", lambda self, error: asyncio.sleep(0))
        async with FlowProducer(connection) as producer:
            with pytest.raises(asyncio.CancelledError):
                await producer.add(wide(8), budget=Budget(max_total_tokens=9))
    await eventually(lambda: not parts._FINISHING)


async def test_what_a_killed_producer_left_is_removed_while_nothing_ran(connection: Connection) -> None:
    await died(connection, 2, WRITING)
    scope = await Queue("q", connection).context()
    assert await connection.command("XLEN", scope.keys.stream) == 0
    assert await recover_flows(scope) == {}, "its producer may still be at it"

    assert list((await recover_flows(scope, -60_000)).values()) == ["removed"]
    assert await keys_left(connection) == []


async def test_what_a_killed_producer_left_is_finished_once_it_runs(connection: Connection) -> None:
    await died(connection, 1, RELEASING)
    scope = await Queue("q", connection).context()

    assert list((await recover_flows(scope, -60_000)).values()) == ["finished"]
    assert await connection.command("XLEN", scope.keys.stream) == 8
    assert await connection.command("KEYS", "*flow-*") == []


async def test_a_worker_finishes_what_a_killed_producer_left(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await died(connection, 1, RELEASING)
    monkeypatch.setattr(parts.recover_flows, "__defaults__", (-60_000,))
    async with Worker("q", lambda job: 1, connection):
        await eventually(lambda: connection.command("ZSCORE", "glide:{q}:completed", "1"), timeout=30)


async def test_a_producer_that_was_given_up_learns_of_it(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, producer: FlowProducer
) -> None:
    monkeypatch.setattr("glidemq_core.flows.producer.CALL_JOBS", 0)
    monkeypatch.setattr(parts, "_PART_JOBS", 3)
    call, made = connection.call, 0
    scope = await Queue("q", connection).context()

    async def slow(function: str, key: str, *args: Any) -> Any:
        nonlocal made
        made += function == "make_flow"
        if function == "make_flow" and made == 3:
            await recover_flows(scope, -60_000)
        return await call(function, key, *args)

    monkeypatch.setattr(connection, "call", slow)
    with pytest.raises(ServerError, match="took too long to create and was removed"):
        await producer.add(wide(8))
    assert await keys_left(connection) == []


async def test_an_id_that_is_taken_meanwhile_refuses_the_whole_flow(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, producer: FlowProducer
) -> None:
    monkeypatch.setattr("glidemq_core.flows.producer.CALL_JOBS", 0)
    monkeypatch.setattr(parts, "_PART_JOBS", 3)
    call = connection.call

    async def racing(function: str, key: str, *args: Any) -> Any:
        if function == "make_flow":
            await Queue("q", connection).add("first", job_id="mine")
        return await call(function, key, *args)

    monkeypatch.setattr(connection, "call", racing)
    leaves = [*(step(str(n), "q") for n in range(8)), step("mine", "q", job_id="mine")]
    with pytest.raises(DuplicateJobError, match="'q:mine' is taken, nothing was added"):
        await producer.add(FlowJob("root", "q", {}, None, leaves))
    jobs = [key for key in await keys_left(connection) if ":job:" in key]
    assert jobs == ["glide:{q}:job:mine"]
    assert await connection.command("HGET", jobs[0], "name") == b"first"


async def test_doctor_tells_of_half_created_flows_and_finishes_them(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await died(connection, 1, RELEASING)
    watch, clock = Watch(connection), connection.now_ms
    monkeypatch.setattr(connection, "now_ms", lambda: clock() + 120_000)
    by_id = {check.id: check for check in await examine(connection, watch, ["q"])}
    assert by_id["unfinished_flows"].status == "warn"

    results = await repair(connection, watch, ["q"], Actor("ann"))
    assert [(result.action, result.outcome) for result in results] == [("finish_flows", "finished")]
    by_id = {check.id: check for check in await examine(connection, watch, ["q"])}
    assert by_id["unfinished_flows"].status == "ok"
    assert await connection.command("XLEN", "glide:{q}:stream") == 8
    entries = await Queue("q", connection).get_audit()
    assert [(entry.action, entry.outcome) for entry in entries] == [("finish_flows", "finished")]
