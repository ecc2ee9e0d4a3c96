"""What an operator meets on a real server: schedules, one that nobody ticks, and a job whose worker died."""

from __future__ import annotations

from typing import Any

from glidemq_core import Connection, Queue, connect
from glidemq_core.options.job import JobTemplate
from glidemq_core.wire.keys import QueueKeys

#: Queues that nobody serves: one whose schedule is behind, one whose worker died.
CRM, IMPORTS = "crm", "imports"
_HOUR_MS = 3_600_000
_DEAD_MS = 21 * 60_000


async def leave_traces(url: str, prefix: str | None) -> None:
    """Write them with the clock set back, as if they were some time ago."""
    async with connect(url, prefix=prefix, role="demo") as connection:
        now = connection.now_ms()
        digest: Queue[Any, Any] = Queue("nightly-digest", connection)
        await digest.upsert_job_scheduler(
            "nightly-digest",
            pattern="0 3 * * *",
            tz="Europe/Berlin",
            template=JobTemplate(name="digest", data={"customer": "all", "since": "24h"}),
        )
        hooks: Queue[Any, Any] = Queue("webhooks", connection)
        await hooks.upsert_job_scheduler(
            "health-check", every=30_000, template=JobTemplate(name="deliver", data={"event": "ping"})
        )
        connection.now_ms = lambda: now - _HOUR_MS
        crm: Queue[Any, Any] = Queue(CRM, connection)
        await crm.upsert_job_scheduler(
            "crm-sync", every=5 * 60_000, template=JobTemplate(name="sync", data={"since": "last run"})
        )
        connection.now_ms = lambda: now - _DEAD_MS
        await _die(connection, now - _DEAD_MS)


async def _die(connection: Connection, at_ms: int) -> None:
    """Leave a running job behind as a worker does whose machine was switched off."""
    queue: Queue[Any, Any] = Queue(IMPORTS, connection)
    job = await queue.add("contacts", {"file": "contacts-2026.csv", "rows": 48_210})
    assert job is not None
    keys = QueueKeys(connection.prefix, IMPORTS)
    begun = ("state", "active", "processedOn", at_ms, "lastActive", at_ms)
    await connection.command("HSET", keys.job(job.id), *begun)
    await connection.command("XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM")
    await connection.command(
        "XREADGROUP", "GROUP", "workers", "import-worker-1", "COUNT", 1, "STREAMS", keys.stream, ">"
    )
