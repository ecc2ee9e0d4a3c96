"""Pages of jobs as the watch lists them: order, bounds, cost."""

from __future__ import annotations

import json

import pytest
from kits.watch import add, calls, fill, quick_watch  # noqa: F401
from kits.wire import replay

from glidemq_core import Queue
from glidemq_core.errors import InvalidOptionError
from glidemq_core.records import JobRef, to_json
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import PRIORITY_STEP, QueueKeys


async def test_rows_and_detail_of_a_recorded_suspension(connection: Connection, watch: Watch) -> None:
    recording = await replay(connection, "suspended")
    stored = recording["keys"]["glide:{suspended}:job:1"]["value"]
    [row] = (await watch.jobs("suspended", "suspended")).rows
    assert row.suspend is not None
    assert row.suspend.reason == stored["suspendReason"]
    assert row.suspend.review_hash is None
    detail = await watch.job("suspended", "1")
    assert detail is not None
    assert detail.suspend is not None
    inbox = await watch.approvals(["suspended"])
    assert inbox.total == 1
    assert inbox.items[0].review_hash == detail.suspend.review_hash
    assert inbox.items[0].data == json.loads(stored["data"])
    assert await watch.job("suspended", "nobody") is None
    assert await watch.find("1") == []
    await watch.snapshot(["suspended"])
    async with Watch(connection, queues=["suspended", "other"]) as named:
        assert await named.find("1") == [JobRef("suspended", "1")]


async def test_a_page_costs_the_same_whatever_the_number_of_jobs(
    connection: Connection, watch: Watch
) -> None:
    costs = []
    for queue, size in (("few", 60), ("many", 20_000)):
        await fill(connection, queue, size)
        before = await calls(connection)
        page = await watch.jobs(queue, "waiting")
        costs.append({name: count - before.get(name, 0) for name, count in (await calls(connection)).items()})
        assert [row.id for row in page.rows] == [str(size - i) for i in range(50)]
        assert page.total == size
    assert {n: c for n, c in costs[0].items() if c and n != "info"} == {
        n: c for n, c in costs[1].items() if c and n != "info"
    }


@pytest.mark.parametrize("newest", [True, False])
async def test_pages_of_the_stream_follow_one_another(
    connection: Connection, watch: Watch, newest: bool
) -> None:
    await fill(connection, "q", 130)
    seen: list[int] = []
    cursor = None
    while True:
        page = await watch.jobs("q", "waiting", cursor=cursor, newest=newest)
        seen += [int(row.id) for row in page.rows]
        if newest and len(seen) == 50:
            await fill(connection, "other", 1)
            await connection.command("XADD", QueueKeys("glide", "q").stream, "999-0", "jobId", "999")
        cursor = page.next
        if cursor is None:
            break
    assert seen == sorted(range(1, 131), reverse=newest)


async def test_waiting_merges_stream_and_both_lists(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    for number, place in enumerate(("s", "l", "p", "l", "s", "p"), 1):
        await add(connection, keys, str(number), timestamp=str(number * 100))
        if place == "s":
            await connection.command("XADD", keys.stream, f"{number * 100}-0", "jobId", number, "name", "n")
        else:
            await connection.command(
                *(("RPUSH", keys.lifo) if place == "l" else ("LPUSH", keys.priority)), number
            )
    for newest in (True, False):
        seen: list[str] = []
        cursor = None
        while True:
            page = await watch.jobs("q", "waiting", limit=1, cursor=cursor, newest=newest)
            seen += [row.id for row in page.rows]
            cursor = page.next
            if cursor is None:
                break
        assert seen == [str(n) for n in (range(6, 0, -1) if newest else range(1, 7))]
    assert page.total == 6


async def test_a_list_that_moves_is_not_repeated(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    for number in range(1, 8):
        await add(connection, keys, str(number), timestamp=str(number))
        await connection.command("LPUSH", keys.priority, number)
    first = await watch.jobs("q", "waiting", limit=3)
    assert [row.id for row in first.rows] == ["7", "6", "5"]
    await add(connection, keys, "8", timestamp="8")
    await connection.command("LPUSH", keys.priority, 8)
    await connection.command("RPOP", keys.priority)
    rest = await watch.jobs("q", "waiting", limit=9, cursor=first.next)
    assert [row.id for row in rest.rows] == ["4", "3", "2"]


async def test_a_sorted_set_that_moves_is_not_repeated(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    for number in range(1, 8):
        await add(connection, keys, str(number), state="completed")
        await connection.command("ZADD", keys.completed, 5_000, number)
    first = await watch.jobs("q", "completed", limit=3)
    assert [row.id for row in first.rows] == ["7", "6", "5"]
    await connection.command("ZREM", keys.completed, "5")
    await add(connection, keys, "9", state="completed")
    await connection.command("ZADD", keys.completed, 9_000, 9)
    rest = await watch.jobs("q", "completed", limit=9, cursor=first.next)
    assert [row.id for row in rest.rows] == ["4", "3", "2", "1"]


async def test_delayed_is_soonest_first_across_priorities(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    scheduled = {"a": 3_000, "b": PRIORITY_STEP + 1_000, "c": 2 * PRIORITY_STEP + 2_000, "d": PRIORITY_STEP}
    for job_id, score in scheduled.items():
        await add(connection, keys, job_id, state="prioritized" if job_id == "d" else "delayed")
        await connection.command("ZADD", keys.scheduled, score, job_id)
    delayed = await watch.jobs("q", "delayed")
    assert [(row.id, to_json(row)["due_ms"]) for row in delayed.rows] == [
        ("b", 1_000),
        ("c", 2_000),
        ("a", 3_000),
    ]
    assert delayed.total == 3
    prioritized = await watch.jobs("q", "prioritized")
    assert [(row.id, row.due_at) for row in prioritized.rows] == [("d", None)]
    [queue] = (await watch.snapshot(["q"])).queues
    assert (queue.delayed, queue.prioritized) == (4, 1)


async def test_what_needs_a_scan_is_not_scanned_for_again(connection: Connection, watch: Watch) -> None:
    await replay(connection, "flow_waiting")
    await replay(connection, "active_lifo")
    first = [await watch.jobs("flow_waiting"), await watch.jobs("active_lifo")]
    assert [row.state for row in first[0].rows].count("waiting-children") == 1
    assert [row.state for row in first[1].rows].count("active") == 1
    before = (await calls(connection)).get("scan", 0)
    again = [await watch.jobs("flow_waiting"), await watch.jobs("active_lifo")]
    assert [page.rows for page in again] == [page.rows for page in first]
    assert (await calls(connection)).get("scan", 0) == before


async def test_filters_work_within_bounds_and_say_so(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    for number in range(1, 1_202):
        wanted = number == 1
        await add(
            connection,
            keys,
            str(number),
            name="rare" if wanted else "common",
            data=json.dumps({"tier": 1 if wanted else True}),
        )
        await connection.command("XADD", keys.stream, f"{number}-0", "jobId", number, "name", "n")
    for filters in ({"name": "rare"}, {"data": {"tier": 1}}):
        page = await watch.jobs("q", "waiting", **filters)  # type: ignore[arg-type]
        assert page.rows == ()
        assert page.next is not None
        page = await watch.jobs("q", "waiting", cursor=page.next, **filters)  # type: ignore[arg-type]
        assert [row.id for row in page.rows] == ["1"]
        assert page.next is None


async def test_bad_questions_are_refused(watch: Watch) -> None:
    with pytest.raises(InvalidOptionError, match="state"):
        await watch.jobs("q", "lost")
    with pytest.raises(InvalidOptionError, match="cursor"):
        await watch.jobs("q", "waiting", cursor="§§")
    page = await watch.jobs("q", "failed")
    assert (page.rows, page.next, page.total) == ((), None, 0)
    with pytest.raises(InvalidOptionError, match="limit"):
        await watch.jobs("q", limit=0)
    with pytest.raises(InvalidOptionError):
        Watch(None, calls_per_s=0)


async def test_untrusted_text_is_replaced_and_cut(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    await add(connection, keys, "1", state="failed")
    await connection.command("HSET", keys.job("1"), "name", b"\xff\xfe", "failedReason", "x" * 1_000_000)
    await connection.command("HSET", keys.job("1"), "data", json.dumps("y" * 500_000))
    await connection.command("ZADD", keys.failed, 1, "1")
    [row] = (await watch.jobs("q", "failed")).rows
    assert row.name == "\ufffd\ufffd"
    assert row.failed_reason is not None
    assert len(row.failed_reason) == 4_096
    detail = await watch.job("q", "1")
    assert detail is not None
    assert (detail.truncated, detail.data, detail.data_bytes) == (True, None, 500_002)
    whole = await watch.job("q", "1", payload_limit=1_000_000)
    assert whole is not None
    assert whole.data == "y" * 500_000


async def test_a_list_copies_few_reasons_of_a_megabyte(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    for number in range(5):
        size = 1_000_000 if number else 20
        await add(connection, keys, str(number), state="failed", failedReason="x" * size, progress="5")
        await connection.command("ZADD", keys.failed, number, str(number))

    rows = (await watch.jobs("q", "failed")).rows

    reasons = [row.failed_reason for row in rows]
    assert reasons == ["x" * 4_096] * 2 + ["(1000000 bytes: open the job to read it)"] * 2 + ["x" * 20]
    assert {(row.name, row.progress) for row in rows} == {("answer", 5)}
    opened = await watch.job("q", "1")
    assert opened is not None
    assert opened.failed_reason == "x" * 1_000_000


async def test_a_page_of_lists_costs_no_command_a_job(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    for number in range(60):
        await add(connection, keys, str(number), timestamp=str(1_000 + number))
        await connection.command("RPUSH", keys.lifo if number % 2 else keys.priority, str(number))
    await watch.jobs("q", "waiting")
    before = connection.stats.commands

    page = await watch.jobs("q", "waiting")

    assert len(page.rows) == 50
    assert connection.stats.commands - before < 15


async def test_many_rows_are_read_by_calls_of_a_hundred(connection: Connection, watch: Watch) -> None:
    await fill(connection, "q", 250)
    await watch.jobs("q", "waiting")
    before = connection.stats.commands

    page = await watch.jobs("q", "waiting", limit=250)

    assert [row.id for row in page.rows] == [str(number) for number in range(250, 0, -1)]
    assert connection.stats.commands - before == 4 + 1 + 2 + 3


async def test_rows_by_reference_say_when_as_those_of_a_list_do(connection: Connection, watch: Watch) -> None:
    await replay(connection, "suspended")
    async with Queue("suspended", connection) as queue:
        await queue.add("later", delay=60_000)
        await queue.add("ahead", priority=7)
        await queue.add("both", delay=90_000, priority=2)
    listed = [
        row
        for state in ("suspended", "delayed", "prioritized")
        for row in (await watch.jobs("suspended", state)).rows
    ]
    assert len(listed) == 4
    assert listed[0].suspend is not None
    assert [row.due_at is None for row in listed[1:3]] == [False, False]

    assert await watch.rows([row.ref for row in listed]) == {row.ref: row for row in listed}
