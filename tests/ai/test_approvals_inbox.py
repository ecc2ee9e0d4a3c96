"""The list of jobs that wait for a person: what it costs the server, and that it is right all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from kits.watch import viewer_url

from glidemq_console.feed.queue_rows import QueueRows
from glidemq_core.queue import Queue
from glidemq_core.records import Inbox, JobRef
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys

FAR = 9_999_999_999_999


@pytest.fixture
async def watch(connection: Connection) -> AsyncIterator[Watch]:
    async with Watch(connection, calls_per_s=5_000) as opened:
        yield opened


async def suspend(connection: Connection, queue: str, jobs: dict[str, int], data: str = "{}") -> None:
    """Let jobs wait, by id until when."""
    keys = QueueKeys("glide", queue)
    batch: list[list[str | int]] = []
    for job_id, deadline in jobs.items():
        fields = ["id", job_id, "name", "n", "state", "suspended", "suspendedAt", 1_000, "data", data]
        batch += [["HSET", keys.job(job_id), *fields], ["ZADD", keys.suspended, deadline, job_id]]
    await connection.pipeline(batch)


async def costs(connection: Connection) -> dict[str, int]:
    """Calls of each command, those within functions too."""
    told = (await connection.command("INFO", "commandstats")).decode()
    lines = [
        line.removeprefix("cmdstat_").split(":calls=") for line in told.splitlines() if ":calls=" in line
    ]
    return {name: int(rest.split(",")[0]) for name, rest in lines}


def ids(inbox: Inbox) -> list[str]:
    return [f"{one.queue}:{one.id}" for one in inbox.items]


async def test_queues_where_nobody_waits_cost_one_command_together(
    connection: Connection, watch: Watch
) -> None:
    await suspend(connection, "q7", {"1": 5_000})
    names = [f"q{number}" for number in range(400)]
    before = connection.stats.commands

    inbox = await watch.approvals(names)

    assert ids(inbox) == ["q7:1"]
    # Where somebody waits is found in a few steps, then the one queue is asked.
    assert connection.stats.commands - before < 60
    before = connection.stats.commands
    assert ids(await watch.approvals(names)) == ["q7:1"]
    assert connection.stats.commands - before == 2
    await connection.command("UNLINK", "glide:{q7}:suspended")
    assert (await watch.approvals(names)).total == 0
    await suspend(connection, "q8", {"1": 5_000})
    assert ids(await watch.approvals(names)) == ["q8:1"]


async def test_the_most_urgent_of_many_queues_are_found_without_reading_all(
    connection: Connection, watch: Watch
) -> None:
    for queue in range(10):
        await suspend(connection, f"q{queue}", {f"{at:03d}": 1_000 + 100 * at + queue for at in range(200)})
    # One queue holds more of the most urgent than a first page has.
    await suspend(connection, "urgent", {f"{at:03d}": at for at in range(60)})
    names = ["urgent", *(f"q{queue}" for queue in range(10))]

    inbox = await watch.approvals(names, limit=100)

    assert inbox.total == 2_060
    assert ids(inbox)[:60] == [f"urgent:{at:03d}" for at in range(60)]
    assert ids(inbox)[60:] == [f"q{at % 10}:{at // 10:03d}" for at in range(40)]
    before = await costs(connection)
    assert ids(await watch.approvals(names, limit=100, shown=())) == ids(inbox)
    after = await costs(connection)
    assert after["hmget"] - before["hmget"] < 400
    assert after["fcall_ro"] - before["fcall_ro"] == len(names)


async def test_without_deadlines_no_queue_is_read_to_its_end(connection: Connection, watch: Watch) -> None:
    for queue in "abcd":
        await suspend(connection, queue, {f"{at:03d}": FAR for at in range(100)})

    before = (await costs(connection)).get("hstrlen", 0)
    inbox = await watch.approvals(list("abcd"), limit=20)

    assert ids(inbox) == [f"a:{at:03d}" for at in range(20)]
    assert (await costs(connection))["hstrlen"] - before < 120


@pytest.mark.parametrize("plain", [False, True])
async def test_only_what_is_on_screen_is_looked_at_again(
    connection: Connection, server_url: str, watch: Watch, plain: bool
) -> None:
    if plain:
        watch = Watch(await viewer_url(connection, server_url), calls_per_s=5_000)
    await suspend(connection, "q", {str(at): at for at in range(1, 6)})
    first = await watch.approvals(["q"], shown=())
    keys = QueueKeys("glide", "q")
    for job_id in ("2", "4"):
        await connection.command("HSET", keys.job(job_id), "data", '{"a":1}' if job_id == "2" else "[]")

    second = await watch.approvals(["q"], shown=[JobRef("q", "1"), JobRef("q", "2")])

    assert [one.data for one in first.items] == [{}] * 5
    assert [one.data for one in second.items] == [{}, {"a": 1}, {}, {}, {}]
    assert second.items[1].mark != first.items[1].mark
    # Seen once more, the other one too.
    third = await watch.approvals(["q"], shown=[JobRef("q", "4")])
    assert [one.data for one in third.items] == [{}, {"a": 1}, {}, [], {}]
    # A job that was suspended anew is noticed wherever it stands.
    await connection.command("HSET", keys.job("5"), "suspendedAt", 2_000, "data", "5")
    assert [one.data for one in (await watch.approvals(["q"], shown=())).items] == [{}, {"a": 1}, {}, [], 5]
    await watch.close()


async def test_a_long_payload_is_hashed_for_the_opened_job_only(connection: Connection, watch: Watch) -> None:
    await suspend(connection, "q", {"1": 1, "2": 2}, data='"' + "x" * 100_000 + '"')
    keys, opened, other = QueueKeys("glide", "q"), JobRef("q", "1"), JobRef("q", "2")
    first = await watch.approvals(["q"], shown=[opened, other])
    before = (await costs(connection))["hget"]

    second = await watch.approvals(["q"], shown=[opened, other])

    assert [one.truncated for one in first.items] == [True, True]
    assert second.items == first.items
    # Progress of both, and the payload of the opened one.
    assert (await costs(connection))["hget"] - before == 3
    for job_id in "12":
        await connection.command("HSET", keys.job(job_id), "data", '"' + "y" * 100_000 + '"')
    third = await watch.approvals(["q"], shown=[opened, other])
    assert third.items[0].mark != first.items[0].mark
    assert third.items[1].mark == first.items[1].mark
    # Opened, its change is seen; and who asks once is told the truth of all.
    fourth = await watch.approvals(["q"], shown=[other])
    assert fourth.items[1].mark != first.items[1].mark


async def test_new_jobs_with_long_payloads_are_read_a_few_at_a_time(
    connection: Connection, watch: Watch
) -> None:
    await suspend(connection, "q", {str(at): at for at in range(1, 9)}, data='"' + "x" * 1_000_000 + '"')

    first = await watch.approvals(["q"], shown=())
    second = await watch.approvals(["q"], shown=())

    assert (len(first.items), first.total) == (4, 8)
    assert ids(second) == [f"q:{at}" for at in range(1, 9)]
    async with Watch(connection) as other:
        assert len((await other.approvals(["q"])).items) == 8


async def test_a_draft_of_large_chunks_is_not_read_whole(connection: Connection, watch: Watch) -> None:
    await suspend(connection, "q", {"1": 1})
    stream = QueueKeys("glide", "q").jstream("1")
    chunk = ["type", "content", "content", "x" * 200_000]
    await connection.pipeline([["XADD", stream, f"{at}-0", *chunk] for at in range(1, 41)])
    told = (await connection.command("INFO", "stats")).decode()
    before = int(told.split("total_net_output_bytes:")[1].split()[0])

    inbox = await watch.approvals(["q"], payload_limit=100)

    told = (await connection.command("INFO", "stats")).decode()
    assert inbox.items[0].draft == "x" * 100
    assert inbox.items[0].hidden == ("draft after 100 bytes", "its stream after 4 entries")
    assert int(told.split("total_net_output_bytes:")[1].split()[0]) - before < 2_000_000


async def test_a_job_that_waits_in_a_quiet_queue_is_told_at_once(connection: Connection) -> None:
    """A console reads hidden queues rarely: with hundreds of them a badge must not wait for their turn."""
    names = [f"q{number:03}" for number in range(300)]
    now = 0

    async with Watch(connection, calls_per_s=5_000) as watch:
        fleet = QueueRows(names, lambda: now)
        await fleet.read(watch, names)
        await suspend(connection, "q123", {"1": 5_000})
        now += 5_000
        before = connection.stats.commands
        asking = await watch.asking(fleet.quiet())
        found = connection.stats.commands - before
        await fleet.read(watch, asking)
        before = connection.stats.commands
        again = await watch.asking(fleet.quiet())

    assert asking == ["q123"]
    assert found < 60
    assert sum(row.suspended or 0 for row in fleet.rows) == 1
    assert again == []
    assert connection.stats.commands - before == 1


@pytest.mark.parametrize("field", ["name", "suspendReason", "suspendTimeout", "processedOn"])
@pytest.mark.parametrize("who", ["owner", "viewer"])
async def test_a_list_shows_what_a_job_is_called_now_with_the_hash_that_fits_it(
    connection: Connection, server_url: str, who: str, field: str
) -> None:
    keys, queue = QueueKeys("glide", "q"), Queue("q", connection)
    await suspend(connection, "q", {"1": 5_000})
    await connection.command("HSET", keys.job("1"), "processedOn", "900", "roundFrom", "900:5-0")
    await connection.command("XADD", keys.jstream("1"), "3-0", "t", "an earlier draft")
    url = server_url if who == "owner" else await viewer_url(connection, server_url)
    async with connect(url) as opened, Watch(opened, calls_per_s=5_000) as watch:
        [before] = (await watch.approvals(["q"])).items

        await connection.command("HSET", keys.job("1"), field, "4000")

        [after] = (await watch.approvals(["q"])).items
    whole = await queue.review("1")
    assert before.mark != after.mark or field == "suspendTimeout"
    assert (after.name, after.reason, after.timeout_ms, after.draft, after.review_hash) == (
        whole.name,
        whole.reason,
        whole.timeout_ms,
        whole.draft,
        whole.review_hash,
    )
