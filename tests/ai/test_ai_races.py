"""Races between processes: approvers, a signal against a deadline, top-ups against the jobs they release."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.budget import budget_of, fields_of
from kits.exchange import claims, exchange

from glidemq_core.ai.suspension import suspend
from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.options.job import Budget, NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

pytestmark = pytest.mark.thorough

#: Each child says when it is ready, waits for a line, does its part at once and prints what it got as JSON.
HEAD = """
import asyncio, json, sys
from glidemq_core import Actor, Queue, Worker, connect

async def main(url, name):
    async with connect(url) as connection:
        queue = Queue("q", connection)
        await queue.exists()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps(await part(connection, queue, name)), flush=True)
"""
TAIL = """
asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def run_together(url: str, folder: Path, parts: dict[str, str]) -> dict[str, Any]:
    """Start one process a part, let all go at the same moment, and return what each printed."""
    with ExitStack() as stack:
        children = {}
        for name, part in parts.items():
            script = folder / f"{name}.py"
            script.write_text(HEAD + textwrap.dedent(part) + TAIL)
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            child = subprocess.Popen([sys.executable, str(script), url, name], **pipes)  # type: ignore[call-overload]
            children[name] = stack.enter_context(child)
            stack.callback(child.kill)
        for child in children.values():
            assert await asyncio.to_thread(child.stdout.readline) == "ready\n"
        for child in children.values():
            child.stdin.write("go\n")
            child.stdin.flush()
        outputs = {name: await asyncio.to_thread(child.stdout.readline) for name, child in children.items()}
        return {name: json.loads(output) for name, output in outputs.items()}


async def suspended_jobs(queue: Queue[Any, Any], connection: Connection, count: int, timeout: int) -> None:
    """Suspend jobs 1 to `count` as a worker would."""
    scope = await queue.context()
    await queue.add_bulk([NewJob("n", number) for number in range(count)])
    runs: list[Any] = []
    while len(runs) < count:
        stamp = scope.now_ms()
        reply = await scope.call(*exchange(stamp, "worker-1-00000000", count - len(runs), ""))
        runs += [(claim.entry, claim.job_id, stamp) for claim in claims(reply)]
    for entry, job_id, stamp in runs:
        assert (await suspend(scope, job_id, entry, stamp, "look", timeout)).ok


async def test_of_two_approvers_in_two_processes_one_decides_each_job(
    connection: Connection, server_url: str, tmp_path: Path
) -> None:
    queue = Queue[Any, Any]("q", connection)
    await suspended_jobs(queue, connection, 40, 0)
    decide = """
        async def part(connection, queue, name):
            async def one(job_id):
                await connection.command("INCR", "gate:" + job_id)
                while await connection.command("GET", "gate:" + job_id) != b"2":
                    pass
                if name == "ann":
                    decision = await queue.approve(job_id, actor=Actor(name))
                else:
                    decision = await queue.reject(job_id, actor=Actor(name), reason="no")
                return [job_id, decision.outcome, decision.decided_by]
            return [await one(str(number)) for number in range(1, 41)]
    """

    told = await run_together(server_url, tmp_path, {"ann": decide, "bob": decide})

    winners = {
        job_id: name for name, rows in told.items() for job_id, outcome, _ in rows if outcome == "sent"
    }
    assert len(winners) == 40
    assert Counter(row[1] for rows in told.values() for row in rows) == {"sent": 40, "not_suspended": 40}
    for rows in told.values():
        for job_id, outcome, first in rows:
            assert outcome == "sent" or first == winners[job_id], "the loser is told who was first"
    for job_id, name in winners.items():
        [signal] = json.loads((await fields_of(connection, f"glide:{{q}}:job:{job_id}"))["signals"])
        assert json.loads(signal["data"])["by"] == name
    assert await connection.command("XLEN", "glide:{q}:stream") == 40
    audit = await queue.get_audit(limit=100)
    assert {entry.job_ids[0]: entry.by for entry in audit} == winners
    assert len(audit) == 40
    assert (await queue.verify_audit()).ok


async def test_a_signal_and_the_deadline_meet_in_other_processes(
    connection: Connection, server_url: str, tmp_path: Path
) -> None:
    """Every job is resumed or has failed, never both, and the sender knows which."""
    queue = Queue[Any, Any]("q", connection)
    await suspended_jobs(queue, connection, 60, 1)
    signal = """
        async def part(connection, queue, name):
            return [str(n) for n in range(1, 61) if await queue.signal(str(n), "go", name)]
    """
    sweep = """
        async def part(connection, queue, name):
            scope, swept = await queue.context(), 0
            while await connection.command("ZCARD", scope.keys.suspended):
                status, count, rank = await scope.call("suspend_sweep", scope.now_ms(), 1, 0)
                swept += count
            return swept
    """

    parts = {"first": signal, "second": sweep, "third": sweep}
    told = await run_together(server_url, tmp_path, parts)

    resumed = set(told["first"])
    states = {str(n): (await fields_of(connection, f"glide:{{q}}:job:{n}"))["state"] for n in range(1, 61)}
    assert {job_id for job_id, state in states.items() if state == "waiting"} == resumed
    failed = {job_id for job_id, state in states.items() if state == "failed"}
    assert len(failed) == 60 - len(resumed) == told["second"] + told["third"]
    assert await connection.command("XLEN", "glide:{q}:stream") == len(resumed)
    assert await connection.command("ZCARD", "glide:{q}:failed") == len(failed)
    events = await connection.command("XRANGE", "glide:{q}:events", "-", "+")
    ends = Counter(pair[1].decode() for pairs in events.values() for pair in pairs if pair[0] == b"event")
    assert (ends["resumed"], ends["failed"]) == (len(resumed), len(failed))


async def test_top_ups_of_two_processes_race_with_workers_of_two_more(
    connection: Connection, producer: FlowProducer, server_url: str, tmp_path: Path
) -> None:
    """Every job runs once, is released at most once for each time it was parked, and all spend is booked."""
    steps = [FlowJob("step", "q") for _ in range(40)]
    budget = Budget(max_total_tokens=50, on_exceeded="pause")
    node = await producer.add(FlowJob("root", "q", children=steps), budget=budget)
    work = """
        async def part(connection, queue, name):
            ran = []
            async def process(job):
                ran.append(job.id)
                if job.name == "step":
                    await job.report_usage(model=name, tokens={"t": 100})
            async with Worker("q", process, connection, concurrency=3):
                while not await connection.command("ZSCORE", "glide:{q}:completed", "FLOW"):
                    await asyncio.sleep(0.02)
            return ran
    """.replace("FLOW", node.job.id)
    top_up = """
        async def part(connection, queue, name):
            released = []
            while not await connection.command("ZSCORE", "glide:{q}:completed", "FLOW"):
                answer = await queue.top_up_budget("FLOW", add_tokens=70, actor=Actor(name))
                released += [ref.id for ref in answer.released]
            return released
    """.replace("FLOW", node.job.id)

    parts = {"ann": top_up, "bob": top_up, "left": work, "right": work}
    told = await run_together(server_url, tmp_path, parts)

    ran = [*told["left"], *told["right"]]
    assert sorted(map(int, ran)) == list(range(1, 42))
    stored = await budget_of(connection, "q", node.job.id)
    assert stored["usedTokens"] == "4000"
    added = sum(
        entry.action == "top_up_budget"
        for entry in await Queue[Any, Any]("q", connection).get_audit(limit=5000)
    )
    assert stored["maxTotalTokens"] == str(50 + 70 * added), "each top-up counts once"
    events = await connection.command("XRANGE", "glide:{q}:events", "-", "+")
    facts = Counter(pair[1].decode() for pairs in events.values() for pair in pairs if pair[0] == b"event")
    released = [*told["ann"], *told["bob"]]
    assert len(released) == facts["promoted"] == facts["delay-changed"], "released once for each parking"
    await eventually(node.job.is_completed)
