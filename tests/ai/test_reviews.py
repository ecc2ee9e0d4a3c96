"""What an approver is shown: nothing that the decision covers is missing without a word."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from conftest import eventually
from kits.suspension import activated, suspended

from glidemq_core.ai.suspension import suspend
from glidemq_core.job import Job
from glidemq_core.options.job import Actor, Backoff
from glidemq_core.queue import Queue
from glidemq_core.records import Approval
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

ALICE = Actor("alice", via="test")


@pytest.fixture
def queue(connection: Connection) -> Queue[Any, Any]:
    return Queue("q", connection)


async def asks_after(queue: Queue[Any, Any], chunks: list[dict[str, str]]) -> str:
    """A suspended job that streamed the given chunks."""
    scope = await queue.context()
    job_id, entry, started = await activated(queue)
    key = scope.keys.jstream(job_id)
    for first in range(0, len(chunks), 500):
        await scope.connection.pipeline(
            [
                ("XADD", key, "*", *(word for pair in chunk.items() for word in pair))
                for chunk in chunks[first : first + 500]
            ]
        )
    await suspend(scope, job_id, entry, started, "check", 0)
    return job_id


async def listed(connection: Connection, payload_limit: int = 4_096) -> Approval:
    async with Watch(connection) as watch:
        inbox = await watch.approvals(["q"], payload_limit=payload_limit)
    return inbox.items[0]


def call(name: str, args: str) -> dict[str, str]:
    return {"type": "tool_call", "name": name, "args": args}


async def test_a_draft_behind_2100_reasoning_chunks_is_shown_in_list_and_review(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    thoughts = [{"type": "reasoning", "content": f"thought {n}"} for n in range(2_100)]
    job_id = await asks_after(queue, [*thoughts, {"type": "content", "content": "Dear customer"}])

    for shown in (await queue.review(job_id), await listed(connection)):
        assert shown.draft == "Dear customer"
        assert shown.chunks == {"reasoning": 2_100, "content": 1}
        assert (shown.hidden, shown.unshown) == ((), None)
        assert shown.review_hash is not None


async def test_a_stream_that_a_list_does_not_read_to_its_end_says_so_and_has_no_hash(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    thoughts = [{"type": "reasoning", "content": "t" * 10_000} for n in range(100)]
    job_id = await asks_after(queue, [*thoughts, {"type": "content", "content": "Dear customer"}])

    shown = await listed(connection)

    assert (shown.draft, shown.review_hash) == (None, None)
    assert [words.startswith("its stream after ") for words in shown.hidden] == [True]
    whole = await queue.review(job_id)
    assert (whole.draft, whole.hidden, whole.mark) == ("Dear customer", (), shown.mark)
    assert whole.review_hash is not None


async def test_of_forty_tool_calls_the_list_names_those_it_leaves_out(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    job_id = await asks_after(queue, [call("delete", json.dumps({"n": n})) for n in range(40)])

    shown = await listed(connection)

    assert [one.args for one in shown.tool_calls] == [json.dumps({"n": n}) for n in range(20, 40)]
    assert (shown.hidden, shown.review_hash) == (("20 earlier tool calls",), None)
    assert shown.unshown == "not shown: 20 earlier tool calls"
    whole = await queue.review(job_id)
    assert len(whole.tool_calls) == whole.chunks["tool_call"] == 40
    assert (whole.hidden, whole.unshown) == ((), None)


async def test_a_tool_call_of_17_kb_is_named_and_shown_whole_on_demand(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    args = json.dumps({"script": "x" * 17_000})
    job_id = await asks_after(queue, [call("run", args)])

    shown = await listed(connection)

    [cut] = shown.tool_calls
    assert (cut.name, cut.cut, len(cut.args)) == ("run", True, 16_384)
    assert cut.bytes > 17_000
    assert (shown.hidden, shown.review_hash) == (("1 tool call of 17 kB",), None)
    [whole] = (await queue.review(job_id)).tool_calls
    assert (whole.args, whole.cut) == (args, False)


async def test_arguments_of_a_tool_call_are_shown_in_whatever_fields_they_stand(
    queue: Queue[Any, Any],
) -> None:
    job_id = await asks_after(
        queue,
        [
            {"type": "tool_call", "name": "rm", "arguments": '{"path":"/"}'},
            {"type": "tool_call", "content": 'search {"q":"x"}'},
            {"type": "tool_call", "name": "pay", "args": "{}", "amount": "999999"},
            {"type": "tool_call", "name": "ls"},
            {"type": "tool_call", "name": "wipe", "args": "{}", "done": "1"},
        ],
    )

    shown = (await queue.review(job_id)).tool_calls

    assert [(one.name, one.args) for one in shown] == [
        ("rm", '{"path":"/"}'),
        ("", 'search {"q":"x"}'),
        ("pay", '{"args":"{}","amount":"999999"}'),
        ("ls", ""),
        ("wipe", '{"args":"{}","done":"1"}'),
    ]


async def test_a_long_draft_is_cut_in_the_list_and_says_where(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    job_id = await asks_after(queue, [{"type": "content", "content": "é" * 40_000}])

    shown = await listed(connection, 65_536)

    assert shown.draft == "é" * 32_768
    assert shown.hidden[0] == "draft after 66 kB"
    assert (await queue.review(job_id)).draft == "é" * 40_000


BROKEN = [
    ("[" + "9" * 5_000 + "]", "4300 digits"),
    ("[" * 1_500 + "]" * 1_500, "nested"),
    ("[" * 300 + "]" * 300, "nested more than 200 levels"),
    ("gz:" + base64.b64encode(gzip.compress(b'{"a":12}')).decode().rstrip("="), "broken compressed data"),
    ("gz:AAAA", "broken compressed data"),
    # Python skips such characters, Node reads them as `+` and `/`: other bytes, and another payload.
    ("gz:" + base64.b64encode(gzip.compress(b"5")).decode() + "-_-_", "broken compressed data"),
    ("gz:-" + base64.b64encode(gzip.compress(b"5")).decode(), "broken compressed data"),
    ("\x93\x01\x02", "Expecting value"),
    ('{"amount": NaN}', "NaN"),
    ('{"amount": 1e999}', "1e999"),
    (b'{"name":"\xff\xfe"}', "utf-8"),
]


@pytest.mark.parametrize(
    ("stored", "why"), BROKEN, ids=[f"{number}-{why[:6]}" for number, (_, why) in enumerate(BROKEN)]
)
async def test_a_payload_that_cannot_be_read_is_shown_as_text_and_never_as_empty(
    queue: Queue[Any, Any], connection: Connection, stored: str | bytes, why: str
) -> None:
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    await scope.connection.command("HSET", scope.keys.job(job_id), "data", stored)

    for shown in (await queue.review(job_id), await listed(connection, 10_000)):
        assert why in (shown.data_error or "")
        assert (shown.data, shown.review_hash, shown.unshown) == (None, None, "its payload cannot be read")
        text = stored.decode("utf-8", "replace") if isinstance(stored, bytes) else stored
        assert shown.raw == text


class Reversed:
    """A serializer that others cannot read."""

    def serialize(self, value: Any) -> str:
        return json.dumps(value)[::-1]

    def deserialize(self, text: str) -> Any:
        return json.loads(text[::-1])


async def test_a_payload_of_another_serializer_is_read_by_its_own_queue_only(connection: Connection) -> None:
    own = Queue[Any, Any]("q", connection, serializer=Reversed())
    job_id, _, _ = await suspended(own)

    theirs = await Queue[Any, Any]("q", connection).review(job_id)

    assert (theirs.data, theirs.review_hash) == (None, None)
    assert theirs.raw == '}"olleh" :"tfard"{'
    shown = await own.review(job_id)
    assert (shown.data, shown.data_error) == ({"draft": "hello"}, None)
    assert (await own.approve(job_id, actor=ALICE, expect=shown.review_hash)).ok


async def test_signals_of_forty_megabytes_are_named_instead_of_decoded(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    signals = json.dumps([{"name": "x", "data": '"' + "y" * 1_000_000 + '"', "receivedAt": 1}] * 5)
    await scope.connection.command("HSET", scope.keys.job(job_id), "signals", signals)

    for shown in (await queue.review(job_id), await listed(connection)):
        assert (shown.signals, shown.hidden) == ((), ("its signals of 5 MB",))


async def test_long_progress_is_named_in_the_list_and_shown_in_the_review(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    await scope.connection.command("HSET", scope.keys.job(job_id), "progress", json.dumps("p" * 70_000))

    shown = await listed(connection)

    assert (shown.progress, shown.hidden) == (None, ("progress of 70 kB",))
    assert (await queue.review(job_id)).progress == "p" * 70_000


async def test_a_foreign_key_in_the_place_of_the_stream_holds_the_decision(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    await connection.command("SET", scope.keys.jstream(job_id), "not a stream")

    shown = await listed(connection)

    assert (shown.hidden, shown.review_hash) == (("its stream, which cannot be read",), None)


@pytest.mark.parametrize("ahead", [4_000, -4_000])
async def test_the_draft_of_a_worker_whose_clock_is_off_is_shown_whole_and_no_older_one(
    queue: Queue[Any, Any], connection: Connection, ahead: int
) -> None:
    """Its first seconds are not lost, and what earlier rounds streamed is not shown."""

    async def process(job: Job[Any, Any]) -> str:
        round_ = f"attempt {job.attempts_made}, decided {len(job.signals)}"
        await job.stream_chunk("content", round_)
        if job.attempts_made == 0:
            raise ValueError("once more")
        if len(job.signals) < 2:
            await job.suspend(reason="look")
        return "done"

    clock = connection.now_ms
    connection.now_ms = lambda: clock() + ahead
    job = await queue.add("n", {}, attempts=2, backoff=Backoff("fixed", 1))
    assert job is not None
    async with Worker("q", process, connection, promotion_interval=20):
        for decided in range(2):
            await eventually(lambda: queue.get_suspend_info(job.id))
            shown = await queue.review(job.id)
            assert shown.draft == f"attempt 1, decided {decided}"
            assert (await listed(connection)).draft == shown.draft
            assert (await queue.approve(job.id, actor=ALICE, expect=shown.review_hash)).ok
        await eventually(job.is_completed)


async def test_the_first_run_of_a_job_notes_nothing_and_a_note_of_another_run_counts_for_nothing(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    job_id = await asks_after(queue, [{"type": "content", "content": "seen"}])
    scope = await queue.context()
    key = scope.keys.job(job_id)
    started = await connection.command("HGET", key, "processedOn")
    assert await connection.command("HEXISTS", key, "roundFrom") == 0
    last = (await connection.command("XINFO", "STREAM", scope.keys.jstream(job_id)))[b"last-generated-id"]

    for note in (b"12345:" + last, started + b":*", started, b":" + last, b"", last):
        await connection.command("HSET", key, "roundFrom", note)
        assert (await queue.review(job_id)).draft == "seen"
    await connection.command("HSET", key, "roundFrom", started + b":" + last)
    assert (await queue.review(job_id)).draft is None


async def test_a_reason_is_shown_though_the_deadline_was_moved(
    queue: Queue[Any, Any], connection: Connection
) -> None:
    job_id, _, _ = await suspended(queue, reason="pays 1,000,000", timeout=60_000)
    scope = await queue.context()

    await connection.command("ZADD", scope.keys.suspended, "XX", "9999999999999", job_id)

    assert (await queue.review(job_id)).reason == "pays 1,000,000"
    assert (await listed(connection, 10_000)).reason == "pays 1,000,000"
