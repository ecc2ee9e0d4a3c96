"""A decision counts only for what was shown, takes effect whole or not at all, and the processor gets to know it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from conftest import eventually
from kits.suspension import activate, activated, field, signal_list, suspended

from glidemq_core.ai.suspension import suspend
from glidemq_core.doctor import examine, repair
from glidemq_core.errors import AuditError, PermissionDeniedError, ServerError
from glidemq_core.job import Job
from glidemq_core.jobs.audit import restart_audit
from glidemq_core.options.job import Actor
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

ALICE = Actor("alice", via="test")
LAST_ID = "18446744073709551615-18446744073709551615"
Q = Queue[Any, Any]


@pytest.fixture
def queue(connection: Connection) -> Q:
    return Queue("q", connection)


async def streamed(queue: Q, texts: list[str]) -> tuple[str, str]:
    """A suspended job with a draft in ids of its own; returns its id and the hash of the review."""
    scope = await queue.context()
    job_id, entry, started = await activated(queue)
    await write(queue, job_id, texts)
    await suspend(scope, job_id, entry, started, "check", 0)
    approval = await queue.review(job_id)
    assert approval.review_hash is not None
    return job_id, approval.review_hash


async def write(queue: Q, job_id: str, texts: list[str]) -> None:
    scope = await queue.context()
    key = scope.keys.jstream(job_id)
    for first in range(0, len(texts), 500):
        await scope.connection.pipeline(
            [
                ("XADD", key, f"{first + at + 1}-0", "t", text)
                for at, text in enumerate(texts[first : first + 500])
            ]
        )


async def undecided(queue: Q, job_id: str) -> bool:
    """Whether nothing has happened to a suspended job."""
    scope = await queue.context()
    return (
        await field(queue, job_id, "state") == "suspended"
        and await signal_list(queue, job_id) == []
        and await scope.connection.command("ZSCORE", scope.keys.suspended, job_id) is not None
    )


TEXTS = ["Dear ", "customer, ", "you get ", "10 dollars"]


async def rewritten(queue: Q, job_id: str, texts: list[str]) -> None:
    """Write the stream anew so that the server says of it what it said before."""
    scope = await queue.context()
    key, command = scope.keys.jstream(job_id), scope.connection.command
    before = await command("XINFO", "STREAM", key)
    await command("DEL", key)
    await write(queue, job_id, texts)
    await command(
        "XSETID",
        key,
        before[b"last-generated-id"],
        "ENTRIESADDED",
        before[b"entries-added"],
        "MAXDELETEDID",
        before[b"max-deleted-entry-id"],
    )


@pytest.mark.parametrize("at", ["1-0", "2-0", "4-0"])
async def test_a_draft_whose_entries_were_deleted_is_not_what_was_shown(queue: Q, at: str) -> None:
    job_id, shown = await streamed(queue, TEXTS)
    scope = await queue.context()
    await scope.connection.command("XDEL", scope.keys.jstream(job_id), at)

    assert (await queue.approve(job_id, actor=ALICE, expect=shown)).outcome == "changed"
    assert await undecided(queue, job_id)
    assert await queue.get_audit() == []


@pytest.mark.parametrize("at", range(4))
async def test_a_draft_that_was_rewritten_under_the_same_ids_is_not_what_was_shown(queue: Q, at: int) -> None:
    job_id, shown = await streamed(queue, TEXTS)
    await rewritten(queue, job_id, [*TEXTS[:at], "9,999 ", *TEXTS[at + 1 :]])

    assert (await queue.approve(job_id, actor=ALICE, expect=shown)).outcome == "changed"
    assert await undecided(queue, job_id)
    await rewritten(queue, job_id, TEXTS)
    assert (await queue.approve(job_id, actor=ALICE, expect=shown)).ok


async def decide_after(queue: Q, job_id: str, shown: str, between: Callable[[], Any]) -> str:
    """Decide while something happens between the reading of the facts and the deciding call."""
    scope = await queue.context()
    connection, call = scope.connection, scope.connection.call

    async def delayed(function: str, *words: Any) -> Any:
        if function == "decide":
            await between()
        return await call(function, *words)

    connection.call = delayed  # type: ignore[method-assign]
    try:
        return (await queue.approve(job_id, actor=ALICE, expect=shown)).outcome
    finally:
        connection.call = call  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "what", ["first entry", "last entry", "deleted", "added", "data", "name", "progress", "round"]
)
async def test_what_changes_after_the_facts_were_read_is_seen_in_the_deciding_call(
    queue: Q, what: str
) -> None:
    texts = [f"{n} " for n in range(5_000)]
    job_id, shown = await streamed(queue, texts)
    scope = await queue.context()
    key, stream = scope.keys.job(job_id), scope.keys.jstream(job_id)

    async def change() -> None:
        command = scope.connection.command
        if what == "first entry":
            await rewritten(queue, job_id, ["X ", *texts[1:]])
        elif what == "last entry":
            await rewritten(queue, job_id, [*texts[:-1], "4998 "])
        elif what == "deleted":
            await command("XDEL", stream, "2500-0")
        elif what == "added":
            await command("XADD", stream, "*", "t", "more")
        elif what == "round":
            started = await field(queue, job_id, "processedOn")
            await command("HSET", key, "roundFrom", f"{started}:1-0")
        else:
            await command("HSET", key, what, "17")

    assert await decide_after(queue, job_id, shown, change) == "changed"
    assert await undecided(queue, job_id)
    assert await queue.get_audit() == []


@pytest.mark.parametrize(
    "texts",
    [
        ["x"] * 5_001,
        ["y" * 1_000_000] * 5,
        ["z" * 600_000, "z", "z" * 600_000, "z"],
        ["", "é\u2028\x00\x1f", "}:12:"],
        ["w" * 524_000] * 2,
    ],
    ids=["many", "large", "mixed", "odd", "two"],
)
async def test_rounds_of_any_size_can_be_decided(queue: Q, texts: list[str]) -> None:
    job_id, shown = await streamed(queue, texts)

    decision = await queue.approve(job_id, actor=ALICE, expect=shown)

    assert (decision.ok, decision.outcome) == (True, "sent")


async def test_an_approval_of_another_round_does_not_count(queue: Q) -> None:
    job_id, shown = await streamed(queue, TEXTS)
    assert (await queue.approve(job_id, actor=ALICE, expect=shown)).ok
    scope = await queue.context()
    entry, started = await activate(scope, job_id)
    await suspend(scope, job_id, entry, started, "check", 0)

    again = await queue.approve(job_id, actor=ALICE, expect=shown)

    assert again.outcome == "changed"


async def test_a_decision_can_be_bound_to_the_suspension_alone(queue: Q) -> None:
    job_id, _, _ = await suspended(queue)
    info = await queue.get_suspend_info(job_id)
    assert info is not None
    scope = await queue.context()
    await scope.connection.command("HINCRBY", scope.keys.job(job_id), "suspendedAt", 1)
    at = info.suspended_at

    assert (
        await queue.reject(job_id, actor=ALICE, reason="no", expected_suspended_at=at)
    ).outcome == "changed"
    assert (
        await queue.approve(job_id, actor=ALICE, unseen=True, expected_suspended_at=at)
    ).outcome == "changed"
    await scope.connection.command("HINCRBY", scope.keys.job(job_id), "suspendedAt", -1)
    assert (await queue.approve(job_id, actor=ALICE, unseen=True, expected_suspended_at=at)).ok
    [entry] = await queue.get_audit()
    assert entry.detail == {"signal": "approve", "unseen": True}


async def test_an_unbound_approval_names_the_payload_that_was_there_when_it_was_made(queue: Q) -> None:
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    call, left = scope.connection.call, [1, 2]

    async def changing(function: str, *words: Any) -> Any:
        if function == "decide" and left:
            await scope.connection.command("HSET", scope.keys.job(job_id), "data", f"{left.pop()}")
        return await call(function, *words)

    scope.connection.call = changing  # type: ignore[method-assign]
    assert (await queue.approve(job_id, actor=ALICE)).ok
    [stored] = map(json.loads, await signal_list(queue, job_id))
    assert json.loads(stored["data"])["data_sha256"] == hashlib.sha256(b"1").hexdigest()
    assert len(await queue.get_audit()) == 1


async def test_a_lost_reply_repeated_says_that_the_same_person_has_decided(queue: Q) -> None:
    job_id, shown = await streamed(queue, TEXTS)
    first = await queue.approve(job_id, actor=ALICE, expect=shown)

    again = await queue.approve(job_id, actor=ALICE, expect=shown)

    assert (again.outcome, again.decided_by, again.decided_at) == ("not_suspended", "alice", first.at)
    assert len(await signal_list(queue, job_id)) == 1
    assert len(await queue.get_audit()) == 1


async def test_who_was_first_is_told_though_the_clock_of_the_worker_is_ahead(
    queue: Q, connection: Connection
) -> None:
    clock = connection.now_ms
    connection.now_ms = lambda: clock() + 4_000
    job_id, _, _ = await suspended(queue)
    connection.now_ms = clock
    assert (await queue.approve(job_id, actor=ALICE)).ok

    assert (await queue.reject(job_id, actor=Actor("bob"), reason="no")).decided_by == "alice"


async def test_twenty_approvers_at_once_make_one_decision(queue: Q) -> None:
    job_id, shown = await streamed(queue, TEXTS)

    decisions = await asyncio.gather(
        *(queue.approve(job_id, actor=Actor(f"user{n}"), expect=shown) for n in range(20))
    )

    assert sum(decision.ok for decision in decisions) == 1
    assert len(await signal_list(queue, job_id)) == len(await queue.get_audit()) == 1
    assert (await queue.verify_audit()).ok


# --- all or nothing ------------------------------------------------------------------------------------------


async def damage(queue: Q, how: str) -> None:
    """Make the audit such that nothing can be appended to it."""
    scope = await queue.context()
    key, command = scope.keys.audit, scope.connection.command
    if how == "foreign":
        await command("DEL", key)
        await command("SET", key, "not an audit")
    elif how == "exhausted":
        await command("XSETID", key, LAST_ID)
    elif how == "newest deleted":
        await command("XDEL", key, "3-0")
    elif how == "middle deleted":
        await command("XDEL", key, "2-0")
    elif how == "trimmed":
        await command("XTRIM", key, "MAXLEN", 0)
    else:
        entry = dict(map(tuple, (await command("XRANGE", key, "3-0", "3-0"))[b"3-0"]))[b"entry"]
        await command("DEL", key)
        text = "no json" if how == "unreadable" else entry.replace(b'"alice"', b'"eve"')
        for at, content in enumerate((entry, entry, text), 1):
            await command("XADD", key, f"{at}-0", "entry", content)


DAMAGES = [
    "foreign",
    "exhausted",
    "newest deleted",
    "middle deleted",
    "trimmed",
    "unreadable",
    "rewritten",
]


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_damaged_audit_blocks_decisions_and_nothing_is_half_done(queue: Q, how: str) -> None:
    job_id, _, _ = await suspended(queue)
    for _ in range(3):
        await queue.rate_limit_group("a", 10, actor=ALICE)
    await damage(queue, how)
    scope = await queue.context()
    before = await scope.connection.command("XLEN", scope.keys.stream)
    asked = [
        lambda: queue.approve(job_id, actor=ALICE),
        lambda: queue.reject(job_id, actor=ALICE, reason="no"),
        lambda: queue.signal(job_id, "go", actor=ALICE),
        lambda: queue.pause(actor=ALICE),
        lambda: queue.drain(actor=ALICE),
    ]

    for ask in asked:
        with pytest.raises(AuditError, match=r"audit is damaged .*: nothing was changed") as caught:
            await ask()
        assert "glidemq doctor" in (caught.value.hint or "")

    assert await undecided(queue, job_id)
    assert not await queue.is_paused()
    assert await scope.connection.command("XLEN", scope.keys.stream) == before
    # Who is not named needs no audit.
    assert await queue.signal(job_id, "go")


@pytest.mark.parametrize("how", [*DAMAGES, "rewritten in the middle"])
async def test_the_doctor_sets_a_damaged_audit_aside_and_the_new_one_names_its_last_hash(
    queue: Q, how: str
) -> None:
    job_id, _, _ = await suspended(queue)
    for _ in range(3):
        await queue.rate_limit_group("a", 10, actor=ALICE)
    scope = await queue.context()
    key, command = scope.keys.audit, scope.connection.command
    last = (await queue.get_audit(limit=1))[0].hash
    if how == "rewritten in the middle":
        texts = [text.replace('"alice"', '"eve"') if at == 1 else text async for at, text in numbered(queue)]
        await command("DEL", key)
        for at, text in enumerate(texts, 1):
            await command("XADD", key, f"{at}-0", "entry", text)
    else:
        await damage(queue, how)
    async with Watch(scope.connection) as watch:
        found = {check.id: check for check in await examine(scope.connection, watch, ["q"])}["audit"]
        assert (found.status, (found.detail or "")[:2]) == ("fail", "q:")
        mended = await repair(scope.connection, watch, ["q"], Actor("ops"))
        assert [(one.action, one.outcome) for one in mended if one.action == "restart_audit"] == [
            ("restart_audit", "restarted")
        ]
        assert {check.id: check for check in await examine(scope.connection, watch, ["q"])}[
            "audit"
        ].status == "ok"
        again = await repair(scope.connection, watch, ["q"], Actor("ops"))
        assert not [one for one in again if one.action == "restart_audit"]

    assert (await queue.approve(job_id, actor=ALICE)).ok
    second, first = await queue.get_audit()
    assert (first.seq, first.by, first.action, first.outcome) == (1, "ops", "restart_audit", "restarted")
    if how in ("exhausted", "middle deleted", "rewritten in the middle"):
        assert first.detail["last_hash"] == last
    assert await command("EXISTS", first.detail["set_aside"]) == 1
    assert (second.action, second.prev_hash) == ("approve", first.hash)
    assert (await queue.verify_audit()).ok


async def numbered(queue: Q) -> AsyncIterator[tuple[int, str]]:
    at = 0
    async for text in queue.export_audit():
        yield at, text
        at += 1


async def test_a_whole_audit_is_not_set_aside(queue: Q) -> None:
    await queue.pause(actor=ALICE)
    scope = await queue.context()

    for seen in ("", "2-0"):
        assert await restart_audit(scope, actor=ALICE, seen=seen) == ("sound", "")

    assert [entry.action for entry in await queue.get_audit()] == ["pause"]


@pytest.mark.parametrize("suffix", ["signals", "stream", "events", "suspended"])
async def test_a_foreign_key_in_the_way_of_a_decision_leaves_no_trace(queue: Q, suffix: str) -> None:
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    key = scope.keys.signals(job_id) if suffix == "signals" else getattr(scope.keys, suffix)
    await scope.connection.command("DEL", key)
    await scope.connection.command("SET", key, "foreign")

    for ask in (
        lambda: queue.approve(job_id, actor=ALICE),
        lambda: queue.signal(job_id, "go", actor=ALICE),
    ):
        with pytest.raises(ServerError, match=r"is a string, not a .*: nothing was changed"):
            await ask()

    assert await field(queue, job_id, "state") == "suspended"
    assert await queue.get_audit() == []


@pytest.mark.parametrize("suffix", ["stream", "events"])
async def test_a_stream_that_takes_no_entry_any_more_leaves_no_trace(queue: Q, suffix: str) -> None:
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    await scope.connection.command("XADD", getattr(scope.keys, suffix), LAST_ID, "a", "b")

    with pytest.raises(ServerError, match="can take no further entries"):
        await queue.approve(job_id, actor=ALICE)

    assert await undecided(queue, job_id)
    assert await queue.get_audit() == []


async def test_an_early_signal_is_kept_with_its_entry_or_not_at_all(queue: Q) -> None:
    job = await queue.add("n", {})
    assert job is not None
    scope = await queue.context()
    await scope.connection.command("SET", scope.keys.early_index, "foreign")

    with pytest.raises(ServerError, match="nothing was changed"):
        await queue.signal(job.id, "go", early=True, actor=ALICE)

    assert await scope.connection.command("EXISTS", scope.keys.early(job.id)) == 0
    assert await queue.get_audit() == []


async def test_a_user_who_may_not_write_the_audit_decides_nothing(queue: Q, server_url: str) -> None:
    from glidemq_core.server.connect import connect

    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    command = scope.connection.command
    # Everything but writing to the audit, which may be read.
    rights = ["on", ">pw", "+@all", "~glide:{q}:[b-z]*", "~glide:{q}", "~glide:{q}:a[a-tv-z]*"]
    await command("ACL", "SETUSER", "eve", *rights, "%R~glide:{q}:audit")
    try:
        url = server_url.replace("valkey://", "valkey://eve:pw@")
        async with connect(url) as connection:
            with pytest.raises(PermissionDeniedError, match="audit"):
                await Q("q", connection).approve(job_id, actor=ALICE)
    finally:
        await command("ACL", "DELUSER", "eve")
    assert await undecided(queue, job_id)


async def test_the_audit_names_the_user_of_the_server_beside_what_people_call_themselves(
    queue: Q, server_url: str
) -> None:
    from glidemq_core.server.connect import connect

    scope = await queue.context()
    command = scope.connection.command
    await command("ACL", "SETUSER", "ops", "on", ">pw", "+@all", "~*")
    await command("ACL", "SETUSER", "mute", "on", ">pw", "+@all", "-acl", "~*")
    try:
        for name in ("ops", "mute"):
            async with connect(server_url.replace("valkey://", f"valkey://{name}:pw@")) as connection:
                theirs = Q("q", connection)
                await theirs.pause(actor=ALICE)
                await theirs.resume(actor=ALICE)
    finally:
        await command("ACL", "DELUSER", "ops", "mute")
    assert [(entry.by, entry.user) for entry in await queue.get_audit()] == [
        *[("alice", None)] * 2,
        *[("alice", "ops")] * 2,
    ]
    assert (await queue.verify_audit()).ok


# --- what the processor knows ----------------------------------------------------------------------------------


async def decided(queue: Q, change: Callable[[str], Any]) -> list[Any]:
    """What a processor reads as decision after something was done to its suspended job."""
    seen: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        seen.append(job.decision)
        if len(seen) == 1:
            await job.suspend(reason="look")

    job = await queue.add("n", {"amount": 10})
    assert job is not None
    scope = await queue.context()
    async with Worker("q", process, scope.connection):
        await eventually(lambda: queue.get_suspend_info(job.id))
        await queue.pause()
        await change(job.id)
        await queue.resume()
        await eventually(job.is_completed)
    return seen


async def test_a_processor_reads_who_decided_what(queue: Q) -> None:
    async def approve(job_id: str) -> None:
        shown = await queue.review(job_id)
        assert (
            await queue.approve(job_id, actor=ALICE, comment="fine", expect=shown.review_hash)
        ).review_hash

    first, then = await decided(queue, approve)

    assert first is None
    assert (then.approved, then.by, then.comment, then.reason) == (True, "alice", "fine", None)
    assert (then.data, then.is_current) == ({"amount": 10}, True)
    [entry] = await queue.get_audit()
    assert (then.review_hash, then.at) == (entry.shown_hash, entry.at)


async def test_a_payload_that_was_changed_after_the_approval_is_not_current(queue: Q) -> None:
    async def swap(job_id: str) -> None:
        shown = await queue.review(job_id)
        assert (await queue.approve(job_id, actor=ALICE, expect=shown.review_hash)).ok
        scope = await queue.context()
        await scope.connection.command("HSET", scope.keys.job(job_id), "data", '{"amount":10000}')

    _, then = await decided(queue, swap)

    assert (then.approved, then.data, then.is_current) == (True, {"amount": 10_000}, False)


async def test_an_edited_payload_comes_with_the_decision(queue: Q) -> None:
    edited = {"amount": 7.5, "note": "é \ud800", "big": 1e22, "list": [1, None, True]}

    async def edit(job_id: str) -> None:
        assert (await queue.approve(job_id, actor=ALICE, data=edited)).ok
        scope = await queue.context()
        await scope.connection.command("HSET", scope.keys.job(job_id), "data", '{"amount":10000}')

    _, then = await decided(queue, edit)

    assert (then.data, then.is_current) == (edited, True)


async def test_a_rejection_says_why(queue: Q) -> None:
    async def reject(job_id: str) -> None:
        assert (await queue.reject(job_id, actor=ALICE, reason="too much")).ok

    _, then = await decided(queue, reject)

    assert (then.approved, then.reason, then.comment, then.is_current) == (
        False,
        "too much",
        "too much",
        True,
    )


@pytest.mark.parametrize("data", [None, "approve", {"approved": True, "action": "approve", "by": "eve"}])
async def test_a_bare_signal_is_no_decision(queue: Q, data: Any) -> None:
    async def bare(job_id: str) -> None:
        assert await queue.signal(job_id, "approve", data)

    _, then = await decided(queue, bare)

    assert then is None


async def test_a_decision_of_an_earlier_round_is_none_of_this_one(queue: Q) -> None:
    seen: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        seen.append(job.decision and job.decision.by)
        if len(seen) < 3:
            await job.suspend(reason="look")

    job = await queue.add("n", {})
    assert job is not None
    scope = await queue.context()
    async with Worker("q", process, scope.connection):
        await eventually(lambda: queue.get_suspend_info(job.id))
        assert (await queue.approve(job.id, actor=ALICE)).ok
        await eventually(lambda: len(seen) == 2)
        await eventually(lambda: queue.get_suspend_info(job.id))
        assert await queue.signal(job.id, "go")
        await eventually(job.is_completed)
    assert seen == [None, "alice", None]


@pytest.mark.parametrize("ahead", [-60_000, 0, 60_000])
async def test_a_job_that_a_node_worker_suspended_knows_its_decision_whatever_the_clocks_say(
    queue: Q, ahead: int
) -> None:
    job_id, entry, _ = await activated(queue)
    scope = await queue.context()
    keys, command = scope.keys, scope.connection.command
    earlier = json.dumps([{"name": "note", "data": "1", "receivedAt": scope.now_ms() + ahead}])
    at = scope.now_ms() + ahead
    await command("RPUSH", keys.signals(job_id), earlier[1:-1])
    await command("HSET", keys.job(job_id), "state", "suspended", "suspendedAt", at, "signals", earlier)
    await command("ZADD", keys.suspended, "9999999999999", job_id)
    await command("XACK", keys.stream, "workers", entry)
    await command("XDEL", keys.stream, entry)
    seen: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        seen.append((job.decision and job.decision.by, [signal.name for signal in job.signals]))

    assert (await queue.approve(job_id, actor=ALICE)).ok
    async with Worker("q", process, scope.connection):
        await eventually(lambda: bool(seen))

    assert seen == [("alice", ["note", "approve"])]


async def test_a_stranger_among_the_signals_does_not_hide_the_decision(queue: Q) -> None:
    job_id, entry, started = await activated(queue)
    scope = await queue.context()
    await scope.connection.command("RPUSH", scope.keys.signals(job_id), "5")
    await suspend(scope, job_id, entry, started, "look", 0)
    seen: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        seen.append(job.decision and job.decision.by)

    assert (await queue.approve(job_id, actor=ALICE)).ok
    async with Worker("q", process, scope.connection):
        await eventually(lambda: bool(seen))

    assert seen == ["alice"]


async def test_a_note_of_the_round_that_no_entry_can_have_counts_for_nothing(queue: Q) -> None:
    job_id, _ = await streamed(queue, TEXTS)
    scope = await queue.context()
    started = await field(queue, job_id, "processedOn")
    await scope.connection.command("HSET", scope.keys.job(job_id), "roundFrom", f"{started}:{'0' * 25}-1")

    shown = await queue.review(job_id)

    assert shown.draft == "".join(TEXTS)
    assert (await queue.approve(job_id, actor=ALICE, expect=shown.review_hash)).ok
