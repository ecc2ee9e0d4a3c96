"""A worker of ours and one that works as Node's does on one queue, both sweeping for stalled jobs all the time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

from conftest import eventually

from glidemq_core.options.job import JobOptions, NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker

P = "glide:{q}"
LOCK, STALLED = 2_000, 200

ACTIVATE = """
local key = KEYS[1] .. ':job:' .. ARGV[1]
redis.call('HSET', key, 'state', 'active', 'processedOn', ARGV[2], 'lastActive', ARGV[2])
return redis.call('HGET', key, 'data')
"""
COMPLETE = """
local P, id, entry, now = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if entry ~= '' then
  redis.call('XACK', P .. ':stream', 'workers', entry)
  redis.call('XDEL', P .. ':stream', entry)
elseif tonumber(redis.call('GET', P .. ':list-active') or '0') > 0 then
  redis.call('DECR', P .. ':list-active')
end
redis.call('ZADD', P .. ':completed', now, id)
redis.call('HSET', P .. ':job:' .. id, 'state', 'completed', 'returnvalue', '"node"', 'finishedOn', now)
"""
#: Neither state nor existence is asked for, the entries move to the sweeper; returns the jobs taken for dead.
SWEEP = """
local P, now, taken = KEYS[1], tonumber(ARGV[2]), {}
local function again(key, id)
  redis.call('HINCRBY', key, 'stalledCount', 1)
  redis.call('HSET', key, 'state', 'waiting')
  redis.call('HDEL', key, 'processedOn', 'lastActive')
  taken[#taken + 1] = id
end
for _, item in ipairs(redis.call('XAUTOCLAIM', P .. ':stream', 'workers', ARGV[1], ARGV[3], '0-0')[2]) do
  local id = item[2][2]
  local key = P .. ':job:' .. id
  local beat = tonumber(redis.call('HGET', key, 'lastActive') or '')
  if not beat or now - beat >= tonumber(ARGV[4]) then
    redis.call('XACK', P .. ':stream', 'workers', item[1])
    redis.call('XDEL', P .. ':stream', item[1])
    again(key, id)
    redis.call('XADD', P .. ':stream', '*', 'jobId', id, 'name', 'x')
  end
end
local active = 0
for _, key in ipairs(redis.call('KEYS', P .. ':job:*')) do
  local f = redis.call('HMGET', key, 'state', 'lifo', 'priority', 'lastActive')
  if f[1] == 'active' and (f[2] == '1' or tonumber(f[3]) > 0) then
    active = active + 1
    if now - tonumber(f[4]) >= tonumber(ARGV[4]) then again(key, key:sub(#P + 6)) end
  end
end
return taken
"""


class Peer:
    """Polls lists, then the stream; pops, counts and activates in three steps; beats by plain HSET; sweeps."""

    def __init__(self, connection: Connection, reader: Connection) -> None:
        self.connection, self.reader = connection, reader
        self.running: dict[str, asyncio.Task[None]] = {}
        self.ran: Counter[str] = Counter()
        self.taken: list[bytes] = []
        self.loops = [asyncio.create_task(loop()) for loop in (self._poll, self._beat, self._sweep)]

    async def close(self) -> None:
        self.loops[0].cancel()
        await asyncio.gather(*self.running.values())
        for loop in self.loops:
            loop.cancel()
        await asyncio.gather(*self.loops, return_exceptions=True)

    async def _fetch(self, free: int) -> list[tuple[str, str]]:
        for name in ("priority", "lifo"):
            ids = await self.connection.command("RPOP", f"{P}:{name}", free)
            if ids:
                await self.connection.command("INCRBY", f"{P}:list-active", len(ids))
                return [(job_id.decode(), "") for job_id in ids]
        words = (
            "GROUP",
            "workers",
            "worker-1-0badcafe",
            "COUNT",
            free,
            "BLOCK",
            20,
            "STREAMS",
            f"{P}:stream",
            ">",
        )
        pages = (await self.reader.command("XREADGROUP", *words) or {}).values()
        return [(dict(pairs)[b"jobId"].decode(), e.decode()) for page in pages for e, pairs in page.items()]

    async def _poll(self) -> None:
        while True:
            free = 4 - len(self.running)
            for job_id, entry in await self._fetch(free) if free else ():
                data = await self.connection.command("EVAL", ACTIVATE, 1, P, job_id, self.connection.now_ms())
                self.running[job_id] = asyncio.create_task(self._run(job_id, entry, int(data)))
            await asyncio.sleep(0.001)

    async def _run(self, job_id: str, entry: str, takes_ms: int) -> None:
        self.ran[job_id] += 1
        await asyncio.sleep(takes_ms / 1000)
        await self.connection.command("EVAL", COMPLETE, 1, P, job_id, entry, self.connection.now_ms())
        del self.running[job_id]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(LOCK / 4000)
            for job_id in list(self.running):
                await self.connection.command(
                    "HSET", f"{P}:job:{job_id}", "lastActive", self.connection.now_ms()
                )

    async def _sweep(self) -> None:
        while True:
            words = ("worker-1-0badcafe", self.connection.now_ms(), STALLED, LOCK)
            self.taken += await self.connection.command("EVAL", SWEEP, 1, P, *words)
            await asyncio.sleep(STALLED / 1000)


async def test_nobody_takes_a_running_job_from_the_other(connection: Connection) -> None:
    """Some jobs run longer than the lock and the stalled interval; every job runs once, on either side."""
    chance, queue, total = random.Random(7), Queue("q", connection), 240
    kinds = [JobOptions(), JobOptions(lifo=True), JobOptions(priority=3), JobOptions(delay=300)]
    await queue.add_bulk(
        [
            NewJob("x", 2_500 if n % 30 < 2 else chance.randrange(30), kinds[n % len(kinds)])
            for n in range(total)
        ]
    )
    ran: Counter[str] = Counter()
    told: list[Any] = []

    async def process(job: Any) -> None:
        ran[job.id] += 1
        await asyncio.sleep(job.data / 1000)

    options: dict[str, Any] = {"lock_duration": LOCK, "stalled_interval": STALLED, "promotion_interval": 100}
    worker = Worker("q", process, connection, concurrency=4, **options)
    worker.on("error", told.append)
    worker.on("stalled", told.append)
    async with worker, await connection.dedicated() as reader:
        peer = Peer(connection, reader)
        await eventually(lambda: _completed(queue, total), timeout=60)
        await peer.close()
    assert told == []
    assert peer.taken == []
    assert ran + peer.ran == Counter(str(n) for n in range(1, total + 1))
    assert ran
    assert peer.ran
    assert int(await connection.command("GET", f"{P}:list-active")) == 0
    assert await connection.command("XLEN", f"{P}:stream") == 0


async def _completed(queue: Queue[Any, Any], total: int) -> bool:
    return (await queue.get_job_counts()).completed == total
