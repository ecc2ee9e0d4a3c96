"""How long the longest single call holds the server, on big data.

python -m benchmarks.long_calls [--quick] [NAME...]

Every call that grows with what is stored is made on a lot of it, and its cost to the server's main thread measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from glidemq_core import Actor, Budget, DagNode, FlowJob, FlowProducer, JobOptions, NewJob, Queue, Worker
from glidemq_core.options.job import JobRef, Ordering
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

from .common import fresh_server

#: What no call should take longer than, ms.
GOAL_MS = 50
_ACTOR = Actor("bench")
_FILL = """
local P, n, kind = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local from, stamp = tonumber(ARGV[3]), ARGV[4]
for i = from, from + n - 1 do
  local id, key = 'f' .. i, P .. ':job:f' .. i
  local state = kind
  if kind == 'groups' then
    redis.call('HINCRBY', P .. ':ordering', 'key' .. i, 1)
    redis.call('ZADD', P .. ':groupq:key' .. i, i, id)
    redis.call('HSET', P .. ':group:key' .. i, 'active', '0', 'maxConcurrency', '1', 'nextSeq', '1')
    state = 'group-waiting'
  elseif kind == 'parked' then
    redis.call('ZADD', P .. ':groupq:one', i, id)
    state = 'group-waiting'
  elseif kind == 'lifo' then
    redis.call('RPUSH', P .. ':lifo', id)
    state = 'waiting'
  elseif kind == 'waiting' then
    redis.call('XADD', P .. ':stream', '*', 'jobId', id, 'name', 'n')
  elseif kind == 'delayed' then
    redis.call('ZADD', P .. ':scheduled', stamp, id)
  else
    redis.call('ZADD', P .. ':' .. kind, stamp, id)
  end
  redis.call('HSET', key, 'id', id, 'name', 'n', 'data', '{}', 'opts', '{}', 'timestamp', stamp, 'attemptsMade', '0',
    'delay', '0', 'priority', '0', 'maxAttempts', '0', 'state', state)
  if kind == 'lifo' then redis.call('HSET', key, 'lifo', '1') end
  if kind == 'parked' then redis.call('HSET', key, 'groupKey', 'one', 'orderingSeq', '0') end
end
"""


async def fill(connection: Connection, kind: str, count: int) -> None:
    """Store many jobs of one state in the queue `q`."""
    stamp = str(connection.now_ms() - 3_600_000)
    for start in range(0, count, 5_000):
        words = ("EVAL", _FILL, 1, "glide:{q}", min(5_000, count - start), kind, start, stamp)
        await connection.command(*words)


async def large_flow(connection: Connection, count: int) -> None:
    """A flow of many jobs, with a budget."""
    async with FlowProducer(connection) as producer:
        leaves = [FlowJob("leaf", "q", {"n": n}) for n in range(count - 1)]
        await producer.add(FlowJob("root", "q", {}, None, leaves), budget=Budget(max_total_tokens=1e9))


async def chain_of_levels(connection: Connection, count: int) -> None:
    """A flow of many levels."""
    flow = FlowJob("leaf", "q")
    for _ in range(count // 20):
        flow = FlowJob("level", "q", children=[flow])
    async with FlowProducer(connection) as producer:
        await producer.add(flow)


async def many_dependents(connection: Connection, count: int) -> None:
    """A node that thousands wait for completes."""
    nodes = [DagNode("a", "q"), *(DagNode(f"d{n}", "q", deps=["a"]) for n in range(count // 10))]
    async with FlowProducer(connection) as producer:
        jobs = await producer.add_dag(nodes)
    async with Worker("q", lambda job: 1, connection, concurrency=1):
        await jobs[f"d{count // 10 - 1}"].wait_until_finished(poll_interval=100, timeout=600_000)


async def released_parent(connection: Connection, count: int) -> None:
    """A parent goes on without many children that are gone."""
    job = await Queue("q", connection).add("parent")
    assert job is not None
    for start in range(0, count // 10, 1_000):
        members = [f"glide:{{q}}:gone{n}" for n in range(start, start + 1_000)]
        await connection.command("SADD", f"glide:{{q}}:deps:{job.id}", *members)
    await connection.command("HSET", f"glide:{{q}}:job:{job.id}", "state", "waiting-children")
    await Queue("q", connection).release_parent(job.id, actor=_ACTOR)


async def ordering_keys(connection: Connection, count: int) -> None:
    """Listing the parked jobs of many ordering keys, and their figures."""
    await fill(connection, "groups", count)
    await Queue("q", connection).get_jobs("group-waiting", 0, 99)
    watch = Watch(connection)
    await watch.limits(["q"])
    await watch.snapshot(["q"])


async def obliterate(connection: Connection, count: int) -> None:
    """Obliterating a queue with many ordering keys."""
    await fill(connection, "groups", count)
    await Queue("q", connection).obliterate(force=True)


async def drain(connection: Connection, count: int) -> None:
    """Draining a backlog."""
    await fill(connection, "waiting", count)
    await Queue("q", connection).drain(actor=_ACTOR)


async def clean(connection: Connection, count: int) -> None:
    """Cleaning results."""
    await fill(connection, "completed", count)
    await Queue("q", connection).clean("completed", grace=0, limit=count, actor=_ACTOR)


async def retry_all(connection: Connection, count: int) -> None:
    """Retrying all failures, and promoting what is due then."""
    await fill(connection, "failed", count)
    await Queue("q", connection).retry_jobs(actor=_ACTOR)


async def promotion(connection: Connection, count: int) -> None:
    """Promoting a backlog that is due at once."""
    await fill(connection, "delayed", count)
    context = await Queue("q", connection).context()
    while (await context.call("tick", context.now_ms()))[0] == b"more":
        pass


async def retention_rules(connection: Connection, count: int) -> None:
    """Results with rules of their own, on a full set."""
    await fill(connection, "completed", count)
    queue = Queue("q", connection)
    rule = {"remove_on_complete": 10}
    await queue.add_bulk([NewJob("n", {}, JobOptions(**rule)) for _ in range(200)])  # type: ignore[arg-type]
    async with Worker("q", lambda job: 1, connection, concurrency=100) as worker:
        await worker.drain()


async def removal(connection: Connection, count: int) -> None:
    """Removing, reprioritising and revoking jobs deep in long lists and streams."""
    for kind in ("lifo", "waiting"):
        await connection.command("FLUSHALL")
        await fill(connection, kind, count)
        queue = Queue("q", connection)
        middle = [f"f{count // 2 + n}" for n in range(200)]
        context = await queue.context()
        from glidemq_core.jobs.control import remove_jobs, revoke

        await remove_jobs(context, middle, actor=_ACTOR)
        await revoke(context, f"f{count // 2 + 300}")


async def skip_markers(connection: Connection, count: int) -> None:
    """A key whose next jobs, very many, were all removed."""
    await connection.command(
        "HSET", "glide:{q}:group:one", "maxConcurrency", "1", "nextSeq", "1", "active", "0"
    )
    for start in range(2, count, 1_000):
        words = [word for n in range(start, start + 1_000) for word in (f"skip:{n}", "1")]
        await connection.command("HSET", "glide:{q}:group:one", *words)
    await connection.command("HSET", "glide:{q}:ordering", "one", 0)
    queue = Queue("q", connection)
    first = await queue.add("first", options=JobOptions(ordering=Ordering("one")))
    last = await queue.add("last", options=JobOptions(ordering=Ordering("one")))
    assert first is not None
    assert last is not None
    await connection.command("HSET", f"glide:{{q}}:job:{last.id}", "orderingSeq", count + 2)
    async with Worker("q", lambda job: 1, connection, concurrency=1):
        await last.wait_until_finished(poll_interval=50, timeout=600_000)


async def wide_group(connection: Connection, count: int) -> None:
    """A held key with a long row of parked jobs is let go."""
    await fill(connection, "parked", count)
    await connection.command("HSET", "glide:{q}:ordering", "one", count)
    await connection.command(
        "HSET", "glide:{q}:group:one", "active", "0", "maxConcurrency", "0", "nextSeq", "1"
    )
    await connection.command("ZADD", "glide:{q}:ratelimited", 1, "one")
    context = await Queue("q", connection).context()
    for _ in range(5):
        await context.call("tick", context.now_ms())


async def bookings(connection: Connection, count: int) -> None:
    """Bookings of a budget from another slot, after very many."""
    async with FlowProducer(connection) as producer:
        await producer.add(FlowJob("root", "q"), budget=Budget(max_total_tokens=1e9))
    context = await Queue("q", connection).context()
    marks = [word for n in range(count) for word in (n, f"glide:{{far}}:{n}:{n}")]
    for start in range(0, len(marks), 2_000):
        await connection.command("ZADD", context.keys.budget_booked("1"), *marks[start : start + 2_000])
    for n in range(100):
        await context.call("budget_book", "1", '{"totalTokens":"1"}', f"glide:{{far}}:n{n}:{count}")


async def overview(connection: Connection, count: int) -> None:
    """What a console asks for all the time: figures, lists of rows with long fields, a flow."""
    await fill(connection, "failed", count)
    for n in range(1_000):
        await connection.command("HSET", f"glide:{{q}}:job:f{n}", "failedReason", "x" * 100_000)
    watch = Watch(connection)
    await watch.snapshot(["q"])
    await watch.jobs("q", "failed", limit=1_000)
    await watch.rows([JobRef("q", f"f{n}") for n in range(1_000)])


CASES: dict[str, Callable[[Connection, int], Awaitable[None]]] = {
    case.__name__: case
    for case in (
        large_flow,
        chain_of_levels,
        many_dependents,
        released_parent,
        ordering_keys,
        obliterate,
        drain,
        clean,
        retry_all,
        promotion,
        retention_rules,
        removal,
        skip_markers,
        wide_group,
        bookings,
        overview,
    )
}


class Meter:
    """Measures what each call of one of our functions costs the server's main thread, one call at a time.

    Time on the clock would say more about what else runs on the machine.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._call, self._read = connection.call, connection.read
        self._one = asyncio.Lock()
        self.worst: dict[str, float] = {}

    async def call(self, function: str, key: str, *args: Any) -> Any:
        return await self._measured(self._call, function, key, *args)

    async def read(self, function: str, key: str, *args: Any) -> Any:
        return await self._measured(self._read, function, key, *args)

    async def read_many(self, calls: Sequence[Any]) -> list[Any]:
        """Make each call by itself."""
        return [await self.read(function, key, *args) for function, key, *args in calls]

    async def _measured(self, send: Callable[..., Awaitable[Any]], function: str, *words: Any) -> Any:
        async with self._one:
            before = await self._used_ms()
            answer = await send(function, *words)
            cost = await self._used_ms() - before
            self.worst[function] = max(self.worst.get(function, 0.0), cost)
            return answer

    async def _used_ms(self) -> float:
        text = (await self._connection.command("INFO", "cpu")).decode()
        found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return 1_000 * sum(float(found[f"used_cpu_{kind}_main_thread"]) for kind in ("sys", "user"))


async def longest(
    connection: Connection, case: Callable[[Connection, int], Awaitable[None]], count: int
) -> Any:
    """Return the dearest call of a case, ms of the server's main thread."""
    await connection.command("FLUSHALL")
    meter = Meter(connection)
    with patched(connection, meter):
        await case(connection, count)
    worst = max(meter.worst, key=meter.worst.__getitem__)
    return {"longest_ms": round(meter.worst[worst], 1), "call": worst}


@contextmanager
def patched(connection: Connection, meter: Meter) -> Iterator[None]:
    """Let calls of a connection go through a meter."""
    with (
        patch.object(connection, "call", meter.call),
        patch.object(connection, "read", meter.read),
        patch.object(connection, "read_many", meter.read_many),
    ):
        yield


async def measure(count: int, names: list[str]) -> dict[str, Any]:
    """Take every case on one server."""
    cases = {}
    async with fresh_server() as (_, connection):
        for name in names or CASES:
            cases[name] = await longest(connection, CASES[name], count)
            print(
                f"{name}: {cases[name]['longest_ms']} ms ({cases[name]['call']})", file=sys.stderr, flush=True
            )
    worst = max(cases.values(), key=lambda case: float(case["longest_ms"]))
    return {
        "benchmark": "long_calls",
        "stored": count,
        "cases": cases,
        **worst,
        "reach": {"longest_ms": GOAL_MS},
    }


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer jobs")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(10_000 if given.quick else 100_000, given.names))))


if __name__ == "__main__":
    main()
