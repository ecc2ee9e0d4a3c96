"""Scans for the jobs that a filter takes: what they find, how far they look, what they cost."""

from __future__ import annotations

import json
import time

import pytest
from kits.watch import add, calls, fill, quick_watch  # noqa: F401

from glidemq_core.errors import FilterSyntaxError, InvalidOptionError
from glidemq_core.records import JobPage
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys

pytestmark = pytest.mark.leaves_records
HOUR = 3_600_000


async def ended(connection: Connection, state: str, number: int, *, every_ms: int = 1) -> None:
    """Add jobs that have ended one after the other, every tenth with a timeout; they were made when they ended."""
    keys, now = QueueKeys("glide", "q"), connection.now_ms()
    for first in range(0, number, 1_000):
        batch: list[list[str]] = []
        for at in range(first, min(first + 1_000, number)):
            reason = "timeout after 30 s" if at % 10 == 0 else "refused"
            when = str(now - (number - at) * every_ms)
            job = f"{state[0]}{at}"
            fields = ["name", "n", "state", state, "timestamp", when, "failedReason", reason, "data", "{}"]
            batch.append(["HSET", keys.job(job), *fields])
            batch.append(["ZADD", getattr(keys, state), when, job])
        await connection.pipeline(batch)


async def pages(watch: Watch, where: str, **options: object) -> list[JobPage]:
    return [page async for page in watch.scan_jobs("q", where, **options)]  # type: ignore[arg-type]


def ids(found: list[JobPage]) -> list[str]:
    return [row.id for page in found for row in page.rows]


async def test_a_scan_finds_every_match_of_five_thousand_newest_first(
    connection: Connection, watch: Watch
) -> None:
    await ended(connection, "failed", 5_000)
    found = await pages(watch, "error:timeout", state="failed")
    assert ids(found) == [f"f{number}" for number in range(4_990, -1, -10)]
    assert [page.looked for page in found] == [500] * 10
    assert {page.total for page in found} == {5_000}
    assert found[-1].next is None


async def test_a_scan_costs_a_few_commands_a_page(connection: Connection, watch: Watch) -> None:
    await ended(connection, "failed", 5_000)
    await pages(watch, "error:timeout", state="failed")
    before = await calls(connection)
    await pages(watch, "error:timeout", state="failed")
    cost = {name: count - before.get(name, 0) for name, count in (await calls(connection)).items()}
    assert cost["zrange"] == 10
    assert cost["zrank"] == 9
    assert cost["hmget"] == 5_000
    assert cost["fcall_ro"] == 50
    assert cost.get("hget", 0) == cost.get("scan", 0) == 0


async def test_a_scan_stops_where_it_is_told_and_goes_on_there(connection: Connection, watch: Watch) -> None:
    await ended(connection, "failed", 2_000)
    first = await pages(watch, "error:timeout", state="failed", limit=60)
    assert ids(first) == [f"f{number}" for number in range(1_990, 1_399, -10)][:60]
    assert sum(page.looked for page in first) == 600
    rest = await pages(watch, "error:timeout", state="failed", cursor=first[-1].next)
    assert ids(first) + ids(rest) == [f"f{number}" for number in range(1_990, -1, -10)]
    short = await pages(watch, "error:nothing", state="failed", most=700)
    assert [page.looked for page in short] == [500, 200]
    assert short[-1].next is not None


async def test_a_scan_of_all_states_reads_work_first_and_goes_on_across_them(
    connection: Connection, watch: Watch
) -> None:
    await fill(connection, "q", 30)
    await ended(connection, "failed", 40)
    await ended(connection, "completed", 700)
    found = await pages(watch, "n", limit=50)
    assert [row.state for page in found for row in page.rows] == ["waiting"] * 30 + ["failed"] * 20
    assert found[0].total == 770
    rest = await pages(watch, "n", cursor=found[-1].next)
    assert [row.state for page in rest for row in page.rows] == ["failed"] * 20 + ["completed"] * 700


async def test_states_select_on_the_server(connection: Connection, watch: Watch) -> None:
    await fill(connection, "q", 30)
    await ended(connection, "failed", 4)
    await ended(connection, "completed", 700)
    for where, states, total in (
        ("state:failed", {"failed"}, 4),
        ("state:failed,waiting", {"failed", "waiting"}, 34),
        ("!state:completed,waiting", {"failed"}, 4),
        ("state:failed state:waiting", set(), None),
    ):
        found = await pages(watch, where)
        assert {row.state for page in found for row in page.rows} == states, where
        assert sum(page.looked for page in found) == (total or 0), where
    assert (await watch.jobs("q", "completed", where="state:failed")).rows == ()
    listed = await watch.jobs("q", where="state:failed")
    assert (len(listed.rows), listed.looked, listed.total) == (4, 4, 4)


async def test_ages_select_on_the_server_where_a_set_is_scored_by_time(
    connection: Connection, watch: Watch
) -> None:
    await ended(connection, "failed", 600, every_ms=60_000)
    found = await pages(watch, "age<1h", state="failed")
    assert len(ids(found)) == 59
    assert sum(page.looked for page in found) < 65
    assert len(ids(await pages(watch, "age>=1h", state="failed"))) == 541
    assert len(ids(await pages(watch, "age>1h age<2h,3h", state="failed"))) == 120
    assert sum(page.looked for page in await pages(watch, "!age<1h", state="failed")) == 600


async def test_stalled_jobs_are_found_by_that_word(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    await connection.command("XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM")
    now = connection.now_ms()
    for job, seen in (("1", now), ("2", now - 10 * HOUR)):
        beat = {"processedOn": str(seen), "lastActive": str(seen)}
        await add(connection, keys, job, state="active", timestamp=str(now), **beat)
        await connection.command("XADD", keys.stream, "*", "jobId", job, "name", "n")
    await connection.command("XREADGROUP", "GROUP", "workers", "w", "COUNT", 2, "STREAMS", keys.stream, ">")
    assert ids(await pages(watch, "state:stalled")) == ["2"]
    assert sorted(ids(await pages(watch, "state:active"))) == ["1", "2"]
    assert ids(await pages(watch, "state:active !state:stalled")) == ["1"]
    assert sorted(ids(await pages(watch, "state:active,stalled"))) == ["1", "2"]


async def test_payloads_are_read_of_what_else_matches(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    payloads = [
        {"tier": "gold"},
        {"tier": "gold", "n": 1},
        {"tier": "tin"},
        {"tier": "gold", "x": "y" * 70_000},
    ]
    for number, payload in enumerate(payloads, 1):
        await add(
            connection, keys, str(number), data=json.dumps(payload), name="n" if number != 2 else "other"
        )
        await connection.command("XADD", keys.stream, f"{number}-0", "jobId", number, "name", "n")
    assert ids(await pages(watch, "tier=gold")) == ["2", "1"]
    assert ids(await pages(watch, 'tier="gold" name:n')) == ["1"]
    # One that is too long to be read is in neither.
    assert ids(await pages(watch, "!tier=gold")) == ["3"]
    before = await calls(connection)
    assert ids(await pages(watch, "tier=gold name:other")) == ["2"]
    after = await calls(connection)
    assert after["hget"] - before["hget"] == 1


async def test_a_page_of_a_list_says_how_far_it_looked(connection: Connection, watch: Watch) -> None:
    await ended(connection, "failed", 1_500)
    page = await watch.jobs("q", "failed", where="error:timeout", limit=1_000)
    assert (len(page.rows), page.looked, page.total) == (100, 1_000, 1_500)
    assert page.next is not None
    rest = await watch.jobs("q", "failed", where="error:timeout", limit=1_000, cursor=page.next)
    assert (len(rest.rows), rest.looked, rest.next) == (50, 500, None)
    short = await watch.jobs("q", "failed", where="error:timeout", limit=3)
    assert (len(short.rows), short.looked) == (3, 30)


async def test_parents_are_found_by_a_walk_at_the_end(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "q")
    await add(connection, keys, "p", state="waiting-children", name="parent")
    await connection.command("SADD", keys.deps("p"), "glide:{q}:job:1")
    assert ids(await pages(watch, "name:parent")) == ["p"]
    [page] = await pages(watch, "name:parent", state="waiting-children")
    assert (page.looked, page.total, page.next) == (1, None, None)


async def test_pages_keep_a_distance(connection: Connection, watch: Watch) -> None:
    await ended(connection, "failed", 1_500)
    begun = time.monotonic()
    assert len(await pages(watch, "nothing", state="failed", pages_per_s=10)) == 3
    assert time.monotonic() - begun >= 0.2


async def test_what_is_no_scan_is_refused(connection: Connection, watch: Watch) -> None:
    await ended(connection, "failed", 600)
    with pytest.raises(FilterSyntaxError, match="at character 8"):
        await pages(watch, "a foo  b:c")
    for options in ({"state": "gone"}, {"cursor": "???"}, {"limit": 0}, {"most": 0}):
        with pytest.raises(InvalidOptionError):
            await pages(watch, "n", **options)
    [page] = await pages(watch, "n", state="failed", most=10)
    with pytest.raises(InvalidOptionError, match="cursor"):
        await pages(watch, "n", state="completed", cursor=page.next)
    with pytest.raises(InvalidOptionError, match="cursor"):
        await pages(watch, "n", state="failed", newest=False, cursor=page.next)
