"""What the tests of flows share: shapes of flows, running them, and a producer."""

from __future__ import annotations

from typing import Any

from conftest import eventually

from glidemq_core.flows.nodes import DagNode, FlowJob, JobNode
from glidemq_core.options.job import JobOptions
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker
from kits.wire import dump

#: Keys outside every queue, which recordings leave out.
OUTSIDE = ("glide:queues",)
#: What workers leave behind that depends on which worker it was.
WORKING = (*OUTSIDE, "*:w:*", "*:metrics:*", "*:usage:queues")


def step(name: str, queue: str, children: list[FlowJob] | None = None, **options: Any) -> FlowJob:
    return FlowJob(
        name, queue, {"step": name}, JobOptions(**options) if options else None, tuple(children or ())
    )


def rag(queue: str, **child: Any) -> FlowJob:
    steps = [step(name, queue, **child) for name in ("embed", "search", "generate")]
    return FlowJob("rag", queue, {"query": "q"}, None, steps)


async def states(connection: Connection, queue: str, *ids: str) -> list[str]:
    answers = await connection.pipeline([("HGET", f"glide:{{{queue}}}:job:{i}", "state") for i in ids])
    return [answer.decode() if answer else "unknown" for answer in answers]


async def everything(connection: Connection) -> dict[str, Any]:
    found = await dump(connection)
    return {key: entry["value"] for key, entry in found.items() if not key.endswith(":id")}


def ids_of(node: JobNode) -> Any:
    return node.job.id, None if node.children is None else [ids_of(child) for child in node.children]


def diamond(queue: str) -> list[DagNode]:
    return [
        DagNode("a", queue, {}),
        DagNode("b", queue, {}, deps=["a"]),
        DagNode("c", queue, {}, deps=["a"]),
        DagNode("d", queue, {}, deps=["b", "c"]),
    ]


async def run_until(queue: str, connection: Connection, process: Any, done: Any, **options: Any) -> None:
    async with Worker(queue, process, connection, log_errors=False, **options):
        await eventually(done)
