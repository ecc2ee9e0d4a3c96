"""Failed jobs and dead letters by the thousand, written as workers leave them."""

from __future__ import annotations

import json

from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import QueueKeys


async def fail(connection: Connection, queue: str, number: int, *, every_ms: int = 1, first: int = 0) -> None:
    """Leave failed jobs, the last one now, every tenth with a timeout."""
    keys, now = QueueKeys("glide", queue), connection.now_ms()
    for begin in range(first, number, 1_000):
        batch: list[list[str]] = []
        for at in range(begin, min(begin + 1_000, number)):
            reason = f"timeout after {at} s" if at % 10 == 0 else "refused"
            when = str(now - (number - 1 - at) * every_ms)
            fields = ["name", "send", "state", "failed", "timestamp", when, "failedReason", reason]
            batch.append(["HSET", keys.job(f"f{at}"), *fields])
            batch.append(["ZADD", keys.failed, when, f"f{at}"])
        await connection.pipeline(batch)


async def leave(connection: Connection, queue: str, number: int, *, first: int = 0) -> None:
    """Leave dead letters of `queue` in `<queue>-dead`, every tenth with a timeout."""
    keys, dead = QueueKeys("glide", queue), QueueKeys("glide", f"{queue}-dead")
    await connection.command("HSET", keys.meta, "deadLetterQueueName", f"{queue}-dead")
    now = connection.now_ms()
    for begin in range(first, number, 1_000):
        batch: list[list[str]] = []
        for at in range(begin, min(begin + 1_000, number)):
            content = {
                "originalQueue": queue,
                "originalJobId": f"j{at}",
                "data": {"user": at % 7},
                "failedReason": "timeout" if at % 10 == 0 else "refused",
                "attemptsMade": at % 3,
            }
            when = str(now - number + at)
            batch.append(
                ["HSET", dead.job(f"l{at}"), "name", "send", "data", json.dumps(content), "timestamp", when]
            )
            batch.append(["XADD", dead.stream, f"{now - number + at}-1", "jobId", f"l{at}", "name", "send"])
        await connection.pipeline(batch)
