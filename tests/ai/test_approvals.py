"""Deciding about suspended jobs: what an approver is shown, and what a decision binds."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest
from conftest import eventually
from kits.suspension import activate, activated, field, signal_list, suspended

from glidemq_core.ai.rounds import entry_text
from glidemq_core.ai.streams.chunks import append_chunk
from glidemq_core.ai.suspension import suspend
from glidemq_core.errors import InvalidOptionError, JobNotFoundError, JobStateError, PermissionDeniedError
from glidemq_core.jobs.deadlines import sweep_suspended
from glidemq_core.options.job import Actor
from glidemq_core.queue import Queue
from glidemq_core.records.base import to_json
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker

ALICE = Actor("alice", via="test")
BOB = Actor("bob", via="test")


@pytest.fixture
def queue(connection: Connection) -> Queue:
    return Queue("q", connection)


async def streamed(queue: Queue) -> tuple[str, str]:
    """A suspended job with a draft from this run and an older one; returns its id and the hash of the review."""
    scope = await queue.context()
    job_id, entry, started = await activated(queue)
    key = scope.keys.jstream(job_id)
    await scope.connection.command("XADD", key, "1000-0", "type", "content", "content", "old run")
    await scope.connection.command("HSET", scope.keys.job(job_id), "roundFrom", f"{started}:1000-0")
    for chunk in (
        {"type": "reasoning", "content": "hm"},
        {"type": "content", "content": "Dear "},
        {"t": "sir"},
        {"type": "tool_call", "name": "search"},
        {"t": "!", "done": "1"},
    ):
        await append_chunk(scope, job_id, chunk)
    await suspend(scope, job_id, entry, started, "check", 60_000)
    approval = await queue.review(job_id)
    assert approval.review_hash is not None
    return job_id, approval.review_hash


async def test_a_review_holds_what_an_approver_must_see(queue: Queue) -> None:
    job_id, shown = await streamed(queue)

    approval = await queue.review(job_id)

    assert approval.data == {"draft": "hello"}
    assert approval.draft == "Dear sir!"
    assert [call.name for call in approval.tool_calls] == ["search"]
    assert to_json(approval)["tool_calls"] == [{"name": "search", "args": "", "bytes": 23, "cut": False}]
    assert approval.chunks == {"reasoning": 1, "content": 2, "tool_call": 1, "done": 1}
    assert (approval.reason, approval.timeout_ms) == ("check", 60_000)
    assert approval.data_bytes == len('{"draft":"hello"}')
    assert not approval.truncated
    scope = await queue.context()
    entries = await scope.connection.command("XRANGE", scope.keys.jstream(job_id), "(1000-0", "+")
    texts = [entry_text(entry_id, pairs) for entry_id, pairs in entries.items()]
    facts = {
        "queue": "q",
        "id": job_id,
        "name": "moderate",
        "suspendedAt": await field(queue, job_id, "suspendedAt"),
        "suspendReason": "check",
        "data": '{"draft":"hello"}',
        "progress": "",
        "stream": {
            "last": [*entries][-1].decode(),
            "entries": 5,
            "sha256": hashlib.sha256(b"".join(texts)).hexdigest(),
        },
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert shown == approval.review_hash == hashlib.sha256(canonical.encode()).hexdigest()


async def test_a_review_over_the_limit_leaves_the_data_out_and_binds_nothing(queue: Queue) -> None:
    job_id, _ = await streamed(queue)

    small = await queue.review(job_id, payload_limit=5)

    assert (small.data, small.truncated, small.review_hash) == (None, True, None)


async def test_only_suspended_jobs_can_be_reviewed(queue: Queue) -> None:
    job = await queue.add("n", {})
    assert job is not None
    with pytest.raises(JobStateError) as caught:
        await queue.review(job.id)
    assert (caught.value.state, caught.value.needed) == ("waiting", "suspended")
    with pytest.raises(JobNotFoundError):
        await queue.review("999")


async def test_an_approval_resumes_the_job_and_leaves_an_audit_entry(queue: Queue) -> None:
    job_id, shown = await streamed(queue)

    decision = await queue.approve(job_id, actor=ALICE, comment="fine", data={"text": "edited"}, expect=shown)

    assert (decision.ok, decision.outcome, decision.state) == (True, "sent", "waiting")
    assert (decision.action, decision.signal, decision.by) == ("approve", "approve", "alice")
    assert decision.review_hash == shown
    [stored] = map(json.loads, await signal_list(queue, job_id))
    data = json.loads(stored["data"])
    assert stored["name"] == "approve"
    assert data.pop("at") == stored["receivedAt"]
    assert data == {
        "approved": True,
        "action": "approve",
        "by": "alice",
        "reviewer": "alice",
        "comment": "fine",
        "data": {"text": "edited"},
        "review_hash": shown,
        "data_sha256": hashlib.sha256(b'{"text":"edited"}').hexdigest(),
    }
    [entry] = await queue.get_audit()
    assert (entry.seq, entry.action, entry.outcome, entry.by) == (
        decision.audit_seq,
        "approve",
        "sent",
        "alice",
    )
    assert (entry.job_ids, entry.shown_hash, entry.comment, entry.user) == (
        (job_id,),
        shown,
        "fine",
        "default",
    )
    assert (await queue.verify_audit()).ok


async def test_a_rejection_carries_its_reason_twice(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue)

    assert (await queue.reject(job_id, actor=BOB, reason="too rude")).ok

    [stored] = map(json.loads, await signal_list(queue, job_id))
    data = json.loads(stored["data"])
    assert (stored["name"], data["approved"], data["action"]) == ("reject", False, "reject")
    assert data["reason"] == data["comment"] == "too rude"


async def test_of_two_approvers_exactly_one_decides_and_the_other_learns_who(queue: Queue) -> None:
    for _ in range(10):
        job_id, shown = await streamed(queue)

        decisions = await asyncio.gather(
            queue.approve(job_id, actor=ALICE, expect=shown),
            queue.reject(job_id, actor=BOB, reason="no", expect=shown),
        )

        won, lost = sorted(decisions, key=lambda decision: not decision.ok)
        assert (won.outcome, lost.outcome) == ("sent", "not_suspended")
        assert (lost.decided_by, lost.state) == (won.by, "waiting")
        assert lost.decided_at == won.at
        assert len(await signal_list(queue, job_id)) == 1
        await activate(await queue.context(), job_id)


@pytest.mark.parametrize("what", ["stream", "data", "progress", "name", "reason", "suspension", "hash"])
async def test_a_decision_counts_only_for_what_was_shown(queue: Queue, what: str) -> None:
    job_id, shown = await streamed(queue)
    scope = await queue.context()
    key = scope.keys.job(job_id)
    if what == "stream":
        await append_chunk(scope, job_id, {"t": "more"})
    elif what == "hash":
        shown = "0" * 64
    else:
        name = {"reason": "suspendReason", "suspension": "suspendedAt"}.get(what, what)
        await scope.connection.command("HSET", key, name, "17")

    decision = await queue.approve(job_id, actor=ALICE, expect=shown)

    assert (decision.ok, decision.outcome) == (False, "changed")
    assert await field(queue, job_id, "state") == "suspended"
    assert await signal_list(queue, job_id) == []
    assert await queue.get_audit() == []


async def test_a_decision_about_a_job_that_is_gone_or_timed_out_says_so(queue: Queue) -> None:
    gone = await queue.approve("77", actor=ALICE, expect="0" * 64)
    job_id, _, _ = await suspended(queue, timeout=1)
    scope = await queue.context()
    await scope.connection.command("ZADD", scope.keys.suspended, 1, job_id)
    await sweep_suspended(scope)
    late = await queue.approve(job_id, actor=ALICE)

    assert (gone.outcome, gone.state) == ("not_found", None)
    assert (late.outcome, late.state, late.decided_by) == ("not_suspended", "failed", None)


async def test_decisions_without_a_name_or_a_reason_are_refused(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue)
    with pytest.raises(InvalidOptionError):
        await queue.approve(job_id, actor=None)  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError):
        await queue.reject(job_id, actor=BOB, reason="  ")
    assert await field(queue, job_id, "state") == "suspended"


async def test_a_read_only_viewer_reviews_but_cannot_decide(queue: Queue, server_url: str) -> None:
    job_id, shown = await streamed(queue)
    async with connect(server_url, read_only=True) as viewer:
        looking = Queue("q", viewer)
        assert (await looking.review(job_id)).review_hash == shown
        with pytest.raises(PermissionDeniedError):
            await looking.approve(job_id, actor=ALICE, expect=shown)
        with pytest.raises(PermissionDeniedError):
            await looking.signal(job_id, "go")
    assert await field(queue, job_id, "state") == "suspended"


async def test_an_approved_job_goes_on_in_its_worker_and_the_ledger_knows_both_runs(queue: Queue) -> None:
    async def process(job: Any) -> Any:
        if not job.signals:
            await asyncio.gather(*(job.stream_chunk("content", f"{n} ") for n in range(50)))
            await job.report_usage(model="m", tokens={"output": 50})
            await job.suspend(reason="review", timeout=60_000)
        await job.report_usage(model="m", tokens={"output": 1})
        return job.signals[-1].data["by"]

    job = await queue.add("moderate", {})
    assert job is not None
    scope = await queue.context()
    async with Worker("q", process, scope.connection):
        info = await eventually(lambda: queue.get_suspend_info(job.id))
        approval = await queue.review(job.id)
        assert info.review_hash == approval.review_hash
        assert approval.draft == "".join(f"{n} " for n in range(50))
        assert approval.usage is not None
        assert (await queue.approve(job.id, actor=ALICE, expect=approval.review_hash)).ok
        await eventually(job.is_completed)

    await job.refresh()
    assert job.result == "alice"
    attempts = await queue.get_ledger(job.id)
    assert attempts is not None
    assert [(a.outcome, a.total_tokens) for a in attempts] == [("suspended", 50), ("completed", 1)]
    assert attempts[0].worker
    assert (await queue.get_flow_usage(job.id, ledger=True)).total_tokens == 51
