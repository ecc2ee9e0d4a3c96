"""What the doctor says of a broadcast that is well: nothing is wrong with messages that stay, fail and are shared."""

from __future__ import annotations

from typing import Any

from conftest import eventually

from glidemq_core import Backoff, Broadcast, BroadcastWorker, Connection, Queue, Watch
from glidemq_core.doctor import examine


async def test_a_broadcast_in_order_is_no_finding(connection: Connection) -> None:
    async def process(job: Any) -> None:
        if job.name == "bad":
            raise ValueError("no")

    async def findings(watch: Watch) -> dict[str, str]:
        return {check.id: check.status for check in await examine(connection, watch, ["q"])}

    broadcast = Broadcast("q", connection)
    async with (
        Watch(connection) as watch,
        BroadcastWorker("q", process, connection, subscription="s", start_from="0-0"),
    ):
        before = await findings(watch)
        for name in ("bad", "good"):
            await broadcast.publish(name, attempts=2, backoff=Backoff("fixed", 60_000))
        await eventually(lambda: connection.command("ZCARD", "glide:{q}:completed"))
        assert await findings(watch) == before
        assert await findings(watch) == before
    assert (await Queue("q", connection).get_job_counts()).completed == 1


async def test_kept_messages_are_no_waiting_jobs(connection: Connection) -> None:
    """Without a worker, what every subscription has read waits for nobody."""

    async def process(_: Any) -> None: ...

    broadcast = Broadcast("q", connection)
    for _ in range(3):
        await broadcast.publish("a")
    await BroadcastWorker("q", process, connection, subscription="first", start_from="0-0").drain()
    async with Watch(connection) as watch:

        async def finding() -> Any:
            [found] = [one for one in await examine(connection, watch, ["q"]) if one.id == "workers"]
            return found

        assert (await finding()).status == "ok"
        async with BroadcastWorker("q", process, connection, subscription="other"):
            pass
        await broadcast.publish("b")
        found = await finding()
    assert found.status == "warn"
    assert found.detail is not None
    assert found.detail.splitlines() == [
        "q: 1 message waiting for subscription 'first', no live worker",
        "q: 1 message waiting for subscription 'other', no live worker",
    ]
