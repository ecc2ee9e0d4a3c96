"""Whatever happens between the look and the decision: it counts exactly if the job is what was shown."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kits.suspension import activated, signal_list

from glidemq_core import Actor, Connection, Queue
from glidemq_core.ai.suspension import suspend

EXAMPLES = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
WORDS = st.sampled_from(["a", "bb", "é", "1:x", "", "\x00", "long " * 400])
CHUNK = st.lists(st.tuples(st.sampled_from(["t", "content", "type", "x"]), WORDS), min_size=1, max_size=3)
#: Fields that a decision is bound to, and others that it is not.
BOUND = ("name", "data", "progress", "suspendReason", "suspendedAt")
OTHERS = ("usage:model", "lastActive", "priority", "opts")

CHANGE = st.one_of(
    st.tuples(st.just("set"), st.sampled_from([*BOUND, *OTHERS]), WORDS),
    st.tuples(st.just("add"), CHUNK),
    st.tuples(st.just("delete"), st.integers(0, 7)),
    st.tuples(st.just("rewrite"), st.integers(0, 7), WORDS),
    st.tuples(st.just("trim"), st.integers(0, 8)),
    st.tuples(st.just("round"), st.integers(0, 7)),
)


async def state_of(connection: Connection, key: str, stream: str) -> Any:
    """What a decision is bound to, read plainly; where the round begins in it.

    An empty field is shown as one that is missing.
    """
    fields = [field or b"" for field in await connection.command("HMGET", key, *BOUND, "roundFrom")]
    entries = await connection.command("XRANGE", stream, "-", "+")
    return fields, [(entry_id, pairs) for entry_id, pairs in entries.items()]


async def write(connection: Connection, stream: str, entries: list[tuple[bytes, list[list[bytes]]]]) -> None:
    for entry_id, pairs in entries:
        await connection.command("XADD", stream, entry_id, *(word for pair in pairs for word in pair))


async def apply(connection: Connection, key: str, stream: str, started: str, change: Any) -> None:
    """Make one change as anybody with access to the server can."""
    kind, *values = change
    entries = list((await connection.command("XRANGE", stream, "-", "+")).items())
    if kind == "set":
        await connection.command("HSET", key, *values)
    elif kind == "add":
        await connection.command("XADD", stream, "*", *(word for pair in values[0] for word in pair))
    elif kind == "trim":
        await connection.command("XTRIM", stream, "MAXLEN", values[0])
    elif kind == "round":
        at = entries[values[0]][0].decode() if values[0] < len(entries) else "0-0"
        await connection.command("HSET", key, "roundFrom", f"{started}:{at}")
    elif values[0] < len(entries):
        entry_id = entries[values[0]][0]
        if kind == "delete":
            await connection.command("XDEL", stream, entry_id)
            return
        # The same ids with another text, and the counters of the stream as they were.
        before = await connection.command("XINFO", "STREAM", stream)
        changed = [
            (i, [[p[0], values[1].encode()] for p in ps] if i == entry_id else ps) for i, ps in entries
        ]
        await connection.command("DEL", stream)
        await write(connection, stream, changed)
        await connection.command(
            "XSETID",
            stream,
            before[b"last-generated-id"],
            "ENTRIESADDED",
            before[b"entries-added"],
            "MAXDELETEDID",
            before[b"max-deleted-entry-id"],
        )


@EXAMPLES
@given(chunks=st.lists(CHUNK, max_size=8), changes=st.lists(CHANGE, max_size=4), start=st.integers(0, 8))
async def test_a_decision_counts_exactly_if_the_job_is_what_was_shown(
    connection: Connection, chunks: list[list[tuple[str, str]]], changes: list[Any], start: int
) -> None:
    await connection.command("FLUSHALL")
    queue = Queue[Any, Any]("q", connection)
    scope = await queue.context()
    job_id, entry, started = await activated(queue)
    key, stream = scope.keys.job(job_id), scope.keys.jstream(job_id)
    for number, chunk in enumerate(chunks, 1):
        await connection.command("XADD", stream, f"{number}-0", *(word for pair in chunk for word in pair))
    await connection.command("HSET", key, "roundFrom", f"{started}:{min(start, len(chunks))}-0")
    await suspend(scope, job_id, entry, started, "look", 0)
    shown = (await queue.get_suspend_info(job_id)).review_hash  # type: ignore[union-attr]
    before = await state_of(connection, key, stream)

    for change in changes:
        await apply(connection, key, stream, started, change)
    after = await state_of(connection, key, stream)
    decision = await queue.approve(job_id, actor=Actor("ann"), expect=shown)

    def round_of(state: Any) -> Any:
        fields, entries = state
        at = int(fields[-1].decode().rpartition(":")[2].partition("-")[0])
        return fields[:-1], [pair for pair in entries if int(pair[0].partition(b"-")[0]) > at]

    if decision.ok:
        assert round_of(before) == round_of(after)
    elif before == after and all(change[0] == "set" for change in changes):
        raise AssertionError(f"nothing has changed, and it was {decision.outcome}")
    assert len(await signal_list(queue, job_id)) == len(await queue.get_audit()) == int(decision.ok)
