"""Finding running jobs that stream: everybody is asked in time, and asking costs little."""

from __future__ import annotations

from glidemq_console.feed.readers.stream_finder import ASKED_A_ROUND, StreamFinder
from glidemq_console.model.snapshot import Interests
from glidemq_core import JobRef
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys

RUNNING = 3 * ASKED_A_ROUND


async def run(connection: Connection, queue: str, *streaming: int) -> None:
    """Let jobs 1.. of a queue be active; some of them have streamed."""
    keys = QueueKeys("glide", queue)
    batch: list[list[str]] = [["XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM"]]
    for number in range(1, RUNNING + 1):
        batch.append(["HSET", keys.job(str(number)), "name", "n", "state", "active"])
        batch.append(["XADD", keys.stream, f"{number}-0", "jobId", str(number), "name", "n"])
    batch.append(
        ["XREADGROUP", "GROUP", "workers", "worker-1-1", "COUNT", "1000", "STREAMS", keys.stream, ">"]
    )
    batch += [["XADD", keys.jstream(str(number)), "*", "t", "x"] for number in streaming]
    await connection.pipeline(batch)


async def test_a_job_that_streams_is_found_behind_many_that_do_not(connection: Connection) -> None:
    await run(connection, "q", 1)  # the oldest one, listed last
    finder = StreamFinder()

    async with Watch(connection, queues=["q"]) as watch:
        queues = (await watch.snapshot()).queues
        for _ in range(3):
            _, running = await finder.read(watch, Interests(pick=4), queues)

    assert [row.ref for row in running] == [JobRef("q", "1")]


async def test_followed_jobs_that_run_no_more_cost_a_call_a_queue(connection: Connection) -> None:
    await run(connection, "q")
    keys = QueueKeys("glide", "q")
    refs = tuple(JobRef("q", str(number)) for number in range(1, 10))
    for ref in refs:
        await connection.command("HSET", keys.job(ref.id), "state", "suspended")
    finder = StreamFinder()

    async with Watch(connection, queues=["q"]) as watch:
        queues = (await watch.snapshot()).queues
        wants = Interests(streams=(*refs, JobRef("q", "gone")))
        await finder.read(watch, wants, queues)
        before = connection.stats.commands
        followed, _ = await finder.read(watch, wants, queues)

    assert [row.state if (row := followed[ref]) else None for ref in refs] == ["suspended"] * 9
    assert followed[JobRef("q", "gone")] is None
    # The active jobs (their places and their rows), and the rows of the others.
    assert connection.stats.commands - before <= 7
