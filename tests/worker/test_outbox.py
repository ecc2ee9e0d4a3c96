"""Letters to parents and budgets of other queues: in order, each target by itself, and never lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from kits.bench import Bench
from kits.worker import P, never, quick

from glidemq_core.doctor import examine, repair
from glidemq_core.errors import (
    CallTimeoutError,
    GlideMQError,
    PermissionDeniedError,
    ServerError,
    ServerUnavailableError,
)
from glidemq_core.options.job import Actor
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker.outbox import MOST_REFUSALS, RETRY_AFTER_MS, Outbox

FAILED = f"{P}:outbox-failed"
# Strangers' keys, and parents of which only what a letter touches is there.
pytestmark = pytest.mark.leaves_records
ROOT = "glide:{there}"


async def post(bench: Bench, *members: str, to: str = ROOT, parent: str = "1") -> None:
    for member in members:
        letter = json.dumps({"to": to, "parent": parent, "member": member})
        await bench.command("RPUSH", f"{P}:outbox", letter)


async def parent(bench: Bench, job_id: str = "1", root: str = ROOT) -> None:
    await bench.command("HSET", f"{root}:job:{job_id}", "state", "waiting-children", "name", "n")
    await bench.command("SADD", f"{root}:deps:{job_id}", "a", "b", "c", "never")


async def rounds(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        outbox._paused.clear()  # as if a second had passed
        await outbox.deliver()


def heard() -> tuple[list[BaseException], Any]:
    errors: list[BaseException] = []
    return errors, errors.append


async def test_a_target_that_refuses_keeps_no_other_waiting(bench: Bench) -> None:
    await parent(bench)
    await bench.command("SET", f"{ROOT}:job:bad", "something else")
    await post(bench, *"ab", parent="bad")
    await post(bench, *"abc")
    errors, tell = heard()
    assert await Outbox(bench.scope, tell).deliver()
    assert await bench.command("HGET", f"{ROOT}:job:1", "depsCompleted") == b"3"
    left = [json.loads(letter) for letter in await bench.command("LRANGE", f"{P}:outbox", 0, -1)]
    assert [(letter["parent"], letter["member"], letter.get("refused")) for letter in left] == [
        ("bad", "a", 1),
        ("bad", "b", None),
    ]
    assert len(errors) == 1


async def test_a_letter_is_set_aside_at_the_tenth_refusal_with_its_reason(bench: Bench) -> None:
    await bench.command("SET", f"{ROOT}:job:1", "something else")
    await post(bench, "a")
    outbox = Outbox(bench.scope, heard()[1])
    await rounds(outbox, MOST_REFUSALS - 1)
    assert await bench.command("ZCARD", FAILED) == 0
    await rounds(outbox, 1)
    [text] = await bench.command("ZRANGE", FAILED, 0, -1)
    letter = json.loads(text)
    assert (letter["to"], letter["parent"], letter["member"]) == (ROOT, "1", "a")
    assert "WRONGTYPE" in letter["reason"]
    assert await bench.command("EXISTS", f"{P}:outbox") == 0

    # Not before an hour has passed, then once; the time it was first set aside stays.
    assert await outbox.retry(bench.scope.now_ms() - RETRY_AFTER_MS) == 0
    since = letter["since"]
    assert await outbox.retry(since + RETRY_AFTER_MS) == 1
    await rounds(outbox, 1)
    [text] = await bench.command("ZRANGE", FAILED, 0, -1)
    assert json.loads(text)["since"] == since

    await bench.command("DEL", f"{ROOT}:job:1")
    await parent(bench)
    assert await outbox.retry(since + RETRY_AFTER_MS) == 1
    await rounds(outbox, 1)
    assert await bench.command("EXISTS", FAILED, f"{P}:outbox") == 0
    assert await bench.command("HGET", f"{ROOT}:job:1", "depsCompleted") == b"1"


@pytest.mark.parametrize(
    "error",
    [
        ServerUnavailableError("gone"),
        CallTimeoutError("slow", command="FCALL", timeout_ms=1),
        *(
            ServerError("x", command="FCALL", code=code)
            for code in ("MOVED", "CLUSTERDOWN", "OOM", "READONLY", "LOADING")
        ),
    ],
)
async def test_a_target_out_of_reach_is_never_given_up(bench: Bench, error: GlideMQError) -> None:
    await parent(bench)
    call, connection = bench.connection.call, bench.connection

    async def broken(function: str, *args: Any) -> Any:
        if function == "child_done" and args[0] == ROOT:
            raise error
        return await call(function, *args)

    await parent(bench, root="glide:{near}")
    await post(bench, "a")
    await post(bench, "a", to="glide:{near}")
    connection.call = broken  # type: ignore[method-assign]
    outbox = Outbox(bench.scope, heard()[1])
    await rounds(outbox, MOST_REFUSALS + 5)
    assert await bench.command("EXISTS", FAILED) == 0
    assert await bench.command("HGET", "glide:{near}:job:1", "depsCompleted") == b"1"
    connection.call = call  # type: ignore[method-assign]
    await rounds(outbox, 1)
    assert await bench.command("LLEN", f"{P}:outbox") == 0


async def test_a_forbidden_queue_is_a_refusal(bench: Bench) -> None:
    call = bench.connection.call

    async def forbidden(function: str, *args: Any) -> Any:
        if function == "budget_book":
            raise PermissionDeniedError("no", reason="acl", command="FCALL")
        return await call(function, *args)

    await bench.command(
        "RPUSH",
        f"{P}:outbox",
        json.dumps({"to": ROOT, "budget": "1", "spend": {"totalTokens": "5"}, "mark": "m:1"}),
    )
    bench.connection.call = forbidden  # type: ignore[method-assign]
    await rounds(Outbox(bench.scope, heard()[1]), MOST_REFUSALS)
    assert await bench.command("ZCARD", FAILED) == 1


@pytest.mark.parametrize("letter", ["no json", "{}", "[]", "1", '{"to":1}', "\xff", "[" * 5_000])
async def test_what_is_no_letter_is_set_aside_at_once(bench: Bench, letter: str) -> None:
    await parent(bench)
    await bench.command("RPUSH", f"{P}:outbox", letter)
    await post(bench, "a")
    assert not await Outbox(bench.scope, heard()[1]).deliver()
    assert await bench.command("ZCARD", FAILED) == 1
    assert await bench.command("HGET", f"{ROOT}:job:1", "depsCompleted") == b"1"


async def test_letters_behind_a_long_queue_of_refused_ones_arrive(bench: Bench) -> None:
    await bench.command("SET", f"{ROOT}:job:bad", "something else")
    letters = [json.dumps({"to": ROOT, "parent": "bad", "member": str(n)}) for n in range(5_000)]
    await bench.command("RPUSH", f"{P}:outbox", *letters)
    await parent(bench)
    await post(bench, *"abc")
    await rounds(Outbox(bench.scope, heard()[1]), 2)
    assert await bench.command("HGET", f"{ROOT}:job:1", "depsCompleted") == b"3"


@settings(max_examples=25)
@given(
    plan=st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc")), max_size=12),
    bad=st.sets(st.integers(0, 2)),
    count=st.integers(1, 3),
)
async def test_letters_of_each_target_arrive_in_their_order(
    server_url: str, plan: list[tuple[int, str]], bad: set[int], count: int
) -> None:
    async with connect(server_url) as connection:
        await connection.command("FLUSHALL")
        bench = Bench(connection, "q")
        bench.scope = await bench.queue.context()
        for target, member in plan:
            await post(bench, member, parent=str(target))
        call, arrived = connection.call, []

        async def picky(function: str, *args: Any) -> Any:
            if function != "child_done":
                return await call(function, *args)
            if int(args[1]) in bad:
                raise ServerError("WRONGTYPE", command="FCALL", code="WRONGTYPE")
            arrived.append((int(args[1]), args[2]))
            return [b"known"]

        connection.call = picky  # type: ignore[method-assign]
        outbox = Outbox(bench.scope, heard()[1])
        await rounds(outbox, count)
        for target in range(3):
            wanted = [item for item in plan if item[0] == target and target not in bad]
            assert [item for item in arrived if item[0] == target] == wanted
        bad.clear()
        await rounds(outbox, 1)
        for target in range(3):
            assert [item for item in arrived if item[0] == target] == [
                item for item in plan if item[0] == target
            ]


async def test_two_workers_deliver_the_same_letters_without_harm(
    bench: Bench, connection: Connection
) -> None:
    await parent(bench)
    await bench.command("SET", f"{ROOT}:job:bad", "something else")
    await post(bench, *"abc")
    await post(bench, "a", parent="bad")
    first, second = (Outbox(bench.scope, heard()[1]) for _ in range(2))
    await rounds(first, 5)
    await rounds(second, 4)
    assert await bench.command("HGET", f"{ROOT}:job:1", "depsCompleted") == b"3"
    [left] = await bench.command("LRANGE", f"{P}:outbox", 0, -1)
    assert json.loads(left)["refused"] == 9
    stale = json.dumps({"to": ROOT, "parent": "bad", "member": "a", "refused": 3})
    words = (bench.scope.now_ms(), stale, MOST_REFUSALS, "late")
    assert await bench.scope.call("outbox_refused", *words) == [b"gone"]


async def test_the_doctor_shows_refused_letters_and_retries_them(bench: Bench) -> None:
    await bench.command("SET", f"{ROOT}:job:1", "something else")
    await post(bench, *"ab")
    await rounds(Outbox(bench.scope, heard()[1]), 2 * MOST_REFUSALS)
    assert await bench.command("ZCARD", FAILED) == 2

    async def check() -> Any:
        found = await examine(bench.connection, Watch(bench.connection), ["q"])
        return {each.id: each for each in found}["outbox"]

    found = await check()
    assert found.status == "warn"
    assert f"q: message for job 1 of {ROOT} refused: " in found.detail
    assert "WRONGTYPE" in found.detail
    assert "doctor --repair" in found.fix

    async def mend() -> Any:
        results = await repair(bench.connection, Watch(bench.connection), ["q"], Actor("ada"))
        return next((each for each in results if each.action == "retry_letters"), None)

    await bench.command("DEL", f"{ROOT}:job:1")
    await parent(bench)
    result = await mend()
    assert (result.ok, result.outcome, result.count) == (True, "delivered", 2)
    assert await bench.command("HGET", f"{ROOT}:job:1", "depsCompleted") == b"2"
    assert (await check()).status == "ok"
    assert await mend() is None
    [entry] = await bench.queue.get_audit()
    assert (entry.by, entry.action, entry.count) == ("ada", "retry_letters", 2)


async def test_a_repair_of_letters_that_are_still_refused_ends_and_says_so(bench: Bench) -> None:
    await bench.command("SET", f"{ROOT}:job:1", "something else")
    await post(bench, *"ab")
    await rounds(Outbox(bench.scope, heard()[1]), 2 * MOST_REFUSALS)
    results = await repair(bench.connection, Watch(bench.connection), ["q"], Actor("ada"))
    [result] = [each for each in results if each.action == "retry_letters"]
    assert (result.ok, result.outcome) == (False, "refused")
    assert "WRONGTYPE" in (result.message or "")


async def test_a_worker_sets_aside_and_goes_on_with_the_others(bench: Bench) -> None:
    await parent(bench)
    await bench.command("SET", f"{ROOT}:job:bad", "something else")
    await post(bench, "a", parent="bad")
    await post(bench, *"abc")
    async with quick(never, bench.connection):
        await eventually(lambda: _is(bench, f"{ROOT}:job:1", b"3"))
        await eventually(lambda: bench.command("ZCARD", FAILED), timeout=30)
        assert await bench.command("LLEN", f"{P}:outbox") == 0


@pytest.mark.parametrize(
    "key", ["outbox-failed", "list-runs", "suspended", "crew", "schedulers", "flow-parts"]
)
async def test_letters_arrive_whatever_another_record_of_the_queue_is(bench: Bench, key: str) -> None:
    await parent(bench)
    await bench.command("SET", f"{P}:{key}", "something else")
    await post(bench, "a")
    async with quick(never, bench.connection, stalled_interval=200):
        await eventually(lambda: _is(bench, f"{ROOT}:job:1", b"1"))
        await eventually(lambda: _is_told(bench))
    await bench.command("DEL", f"{P}:{key}")


async def _is_told(bench: Bench) -> bool:
    return not await bench.command("LLEN", f"{P}:outbox")


async def _is(bench: Bench, key: str, wanted: bytes) -> bool:
    return bool(await bench.command("HGET", key, "depsCompleted") == wanted)
