"""Scans for the failures and dead letters that a filter takes: all there are, their cost, what is gone meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from kits.failures import fail, leave
from kits.watch import calls, quick_watch  # noqa: F401

from glidemq_core.errors import FilterSyntaxError, InvalidOptionError
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.watch.jobs.filtering.newest import MergedSources
from glidemq_core.watch.jobs.sources import Candidate, IdSource, Position
from glidemq_core.wire.keys import QueueKeys
from glidemq_core.wire.replies import entries

pytestmark = pytest.mark.leaves_records


async def test_every_failure_is_looked_at_in_pages_the_newest_first(
    connection: Connection, watch: Watch
) -> None:
    await fail(connection, "mail", 3_000)
    await fail(connection, "chat", 40)
    scan = await watch.scan_failures("error:timeout", ["mail", "chat", "none"], since="1h")
    assert (scan.looked, scan.total, scan.has_more, scan.matches) == (0, None, True, 0)
    await scan.look()
    assert (scan.looked, scan.total) == (500, 3_040)
    assert {group.queue for group in scan.failures.groups} == {"mail", "chat"}
    assert not scan.failures.complete
    while scan.has_more:
        await scan.look()
    found = scan.failures
    assert (scan.looked, scan.matches, found.jobs_read, found.complete) == (3_040, 304, 3_040, True)
    first, second = found.groups
    assert (first.queue, first.count, first.message, second.queue, second.count) == (
        "mail",
        300,
        "timeout after # s",
        "chat",
        4,
    )
    assert [ref.id for ref in first.sample[:3]] == ["f2990", "f2980", "f2970"]
    assert [ref.id for ref in scan.members()[first.key]] == [f"f{at}" for at in range(2_990, -1, -10)]
    assert scan.rows == 2


async def test_a_page_of_failures_costs_a_few_commands(connection: Connection, watch: Watch) -> None:
    await fail(connection, "mail", 2_000)
    scan = await watch.scan_failures("error:timeout", ["mail"])
    await scan.look()
    before, rounds = await calls(connection), connection.stats.commands
    await scan.look()
    after = await calls(connection)
    assert {name: after[name] - before.get(name, 0) for name in ("zrange", "zcount")} == {
        "zrange": 1,
        "zcount": 4,
    }
    assert connection.stats.commands - rounds < 1_020


async def test_only_failures_of_the_time_are_looked_at(connection: Connection, watch: Watch) -> None:
    await fail(connection, "mail", 10, every_ms=600_000)
    scan = await watch.scan_failures("", ["mail"], since="30m")
    await scan.look()
    assert (scan.looked, scan.total, scan.has_more) == (3, 3, False)


async def test_what_fails_comes_in_and_what_was_retried_or_is_too_old_goes(
    connection: Connection, watch: Watch
) -> None:
    await fail(connection, "mail", 20)
    scan = await watch.scan_failures("error:timeout", ["mail"], since="1h")
    await scan.look()
    assert scan.matches == 2
    keys = QueueKeys("glide", "mail")
    await connection.command("ZREM", keys.failed, "f0")
    await connection.command("HSET", keys.job("f0"), "state", "waiting")
    await fail(connection, "mail", 31, first=20)
    await fail(connection, "chat", 1)
    await scan.refresh(["mail", "chat"])
    members = {ref.queue: ref.id for refs in scan.members().values() for ref in refs}
    assert sorted(str(ref) for refs in scan.members().values() for ref in refs) == [
        "chat:f0",
        "mail:f10",
        "mail:f20",
        "mail:f30",
    ]
    assert members["chat"] == "f0"
    assert [group.count for group in scan.failures.groups] == [3, 1]
    looked = scan.looked
    await scan.refresh(["mail", "chat"])
    assert (scan.looked, scan.matches) == (looked, 4)

    # One fails again: it is another failure now.
    await connection.command("ZADD", keys.failed, connection.now_ms() + 1, "f10")
    await scan.refresh(["mail", "chat"])
    assert sorted(ref.id for refs in scan.members().values() for ref in refs if ref.queue == "mail") == [
        "f10",
        "f20",
        "f30",
    ]
    long_ago = connection.now_ms() - 7_200_000
    await connection.command("ZADD", keys.failed, long_ago, "f20", long_ago, "f30")
    await scan.refresh(["mail", "chat"])
    assert {ref.queue for refs in scan.members().values() for ref in refs if ref.id != "f10"} == {"chat"}


async def test_a_queue_of_another_type_is_left_out_and_told(connection: Connection, watch: Watch) -> None:
    await fail(connection, "mail", 10)
    await connection.command("SET", QueueKeys("glide", "hurt").failed, "no set")
    scan = await watch.scan_failures("error:timeout", ["hurt", "mail"])
    await scan.look()
    assert (scan.matches, scan.has_more, scan.failures.complete) == (1, False, False)
    await scan.refresh(["hurt", "mail"])
    assert scan.matches == 1


async def test_every_letter_is_looked_at_the_newest_first(connection: Connection, watch: Watch) -> None:
    await leave(connection, "mail", 2_500)
    await leave(connection, "chat", 30)
    scan = await watch.scan_letters("error:timeout user=0 tries<3", ["mail", "chat", "none"])
    while scan.has_more:
        await scan.look()
    wanted = [at for at in range(2_499, -1, -1) if at % 10 == 0 and at % 7 == 0 and at % 3 < 2]
    found = scan.letters
    assert [one.id for one in found.letters if one.queue == "mail-dead"] == [f"l{at}" for at in wanted]
    assert {one.origin.queue for one in found.letters if one.origin is not None} == {"mail", "chat"}
    assert (scan.looked, scan.total, found.total, found.complete) == (2_530, 2_530, 2_530, True)
    assert scan.matches == scan.rows == len(found.letters)
    ages = [one.failed_at for one in found.letters]
    assert ages == sorted(ages, reverse=True)  # type: ignore[type-var]


async def test_letters_that_come_and_go_are_followed(connection: Connection, watch: Watch) -> None:
    await leave(connection, "mail", 20)
    scan = await watch.scan_letters("error:timeout", ["mail"])
    await scan.look()
    assert [one.id for one in scan.letters.letters] == ["l10", "l0"]
    dead = QueueKeys("glide", "mail-dead")
    # Entries have the times of their letters.
    await asyncio.sleep(0.02)
    await leave(connection, "mail", 31, first=20)
    await scan.refresh()
    assert [one.id for one in scan.letters.letters] == ["l30", "l20", "l10", "l0"]
    [(first, _)] = entries(await connection.command("XRANGE", dead.stream, "-", "+", "COUNT", 1))
    await connection.command("XDEL", dead.stream, first)
    await scan.refresh()
    assert [one.id for one in scan.letters.letters] == ["l30", "l20", "l10"]
    assert (scan.total, scan.looked) == (30, 31)


async def test_letters_of_an_empty_queue_are_found_once_there_are_some(
    connection: Connection, watch: Watch
) -> None:
    await connection.command("HSET", QueueKeys("glide", "mail").meta, "deadLetterQueueName", "mail-dead")
    scan = await watch.scan_letters("timeout", ["mail"])
    await scan.look()
    assert (scan.looked, scan.has_more, scan.total) == (0, False, 0)
    await leave(connection, "mail", 1)
    await scan.refresh()
    assert [one.id for one in scan.letters.letters] == ["l0"]


async def test_what_is_no_filter_or_no_time_is_refused(watch: Watch) -> None:
    with pytest.raises(FilterSyntaxError, match="failures have no state"):
        await watch.scan_failures("state:failed")
    with pytest.raises(FilterSyntaxError, match="dead letters have no cost"):
        await watch.scan_letters("cost>1")
    with pytest.raises(InvalidOptionError):
        await watch.scan_failures("x", since="soon")


# --- several sources as one --------------------------------------------------------------------------------


def numbers(*values: int, asked: list[tuple[int, Position]]) -> IdSource:
    async def take(count: int, after: Position) -> list[Candidate]:
        asked.append((count, after))
        begin = 0 if after is None else values.index(after) + 1
        return [Candidate(str(one), (-one,), one) for one in values[begin : begin + count]]

    return take


async def test_sources_are_taken_in_order_and_asked_for_no_more_than_is_needed() -> None:
    asked: list[tuple[int, Position]] = []
    many = range(10_000, 0, -2)
    sources = {
        "many": numbers(*many, asked=asked),
        **{f"q{n}": numbers(n, asked=[]) for n in range(1, 99, 2)},
    }
    merged = MergedSources(sources)
    assert merged.has_more
    first = [one.id for _, one in await merged.take(500)]
    assert first == [str(one) for one in many[:500]]
    assert [count for count, _ in asked] == [20, 40, 80, 160, 320]
    rest: list[str] = []
    while merged.has_more:
        rest += [one.id for _, one in await merged.take(500)]
    assert [*first, *rest] == sorted((str(one) for one in [*many, *range(1, 99, 2)]), key=int, reverse=True)
    assert max(count for count, _ in asked) == 500
    assert await merged.take(5) == []


async def test_no_sources_have_nothing() -> None:
    merged = MergedSources({})
    assert await merged.take(5) == []
    assert not merged.has_more
