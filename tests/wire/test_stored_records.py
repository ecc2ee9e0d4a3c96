"""Records: the exact JSON of each, and what the package offers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import glidemq_core
from glidemq_core import records
from glidemq_core.options.fields import EPOCH, from_epoch_ms
from glidemq_core.options.job import Fallback, JobOptions, JobRef
from glidemq_core.records import (
    Approval,
    Attempt,
    AuditEntry,
    Check,
    Child,
    Concurrency,
    Decision,
    Flow,
    FlowBudget,
    FlowNode,
    Group,
    JobCounts,
    JobDetail,
    JobRow,
    Limits,
    MinuteUsage,
    OperationResult,
    QueueEvent,
    QueueSnapshot,
    Rate,
    Server,
    Signal,
    SignalResult,
    StreamChunk,
    SuspendInfo,
    TopUp,
    Totals,
    Usage,
    WorkerInfo,
    WorkerJob,
    to_json,
)
from glidemq_core.records.decoding import decode_chunk

GOLDEN = Path(__file__).parents[1] / "golden"
NOW = datetime(2026, 11, 24, 3, 30, 0, 123_000, tzinfo=UTC)
NOW_MS = 1_795_491_000_123
REF = JobRef("q", "1")

COUNTS = "waiting active delayed prioritized suspended waiting_children group_waiting completed failed"
SUSPEND = "reason suspended_ms timeout_ms deadline_ms review_hash"
TOTALS = "job_count tokens total_tokens costs total_cost cost_unit models"
USAGE = "model provider tokens total_tokens costs total_cost cost_unit latency_ms cached"
JOB_ROW = (
    "id queue name state priority attempts_made max_attempts delay_ms due_ms created_ms processed_ms finished_ms "
    "failed_reason progress parent fallback_index model total_tokens total_cost cost_unit suspend"
)
#: Objects of the JSON interface with all their keys.
SHAPES: list[tuple[Any, str]] = [
    (REF, "queue id"),
    (JobCounts(), COUNTS),
    (Rate(), "used max window_ms resets_ms source"),
    (
        QueueSnapshot(name="q"),
        f"name paused {COUNTS} oldest_waiting_ms completed_per_min failed_per_min avg_ms tokens_per_s cost_per_hour "
        "cost_unit rpm tpm global_concurrency workers dead_letter_queue",
    ),
    (JobRow(id="1", queue="q", name="n", state="waiting"), JOB_ROW),
    (
        JobDetail(id="1", queue="q", name="n", state="waiting"),
        f"{JOB_ROW} data data_bytes data_error truncated masked opts result cost expires_ms last_active_ms "
        "ordering_key ordering_seq lifo scheduler parents children children_total budget fallback usage tpm_tokens "
        "signals revoked stalled_count stream ledger logs logs_total",
    ),
    (SuspendInfo(suspended_at=NOW), SUSPEND),
    (Signal(name="s", data=None, received_at=NOW), "name data received_ms"),
    (Child(queue="q", id="1", name="n", state="active"), "queue id name state"),
    (Fallback("m"), "model provider metadata"),
    (Usage(), USAGE),
    (
        Attempt(attempt=1, started_at=NOW, outcome="failed"),
        f"attempt started_ms ended_ms outcome error error_type trace fallback_index worker {USAGE}",
    ),
    (
        Approval(queue="q", id="1", name="n", suspended_at=NOW),
        f"queue id name data data_bytes truncated draft progress signals usage budget waiting_behind "
        f"tool_calls chunks hidden data_error raw {SUSPEND}",
    ),
    (
        Decision(
            queue="q", id="1", action="approve", ok=True, outcome="sent", signal="approve", by="ann", at=NOW
        ),
        "queue id action ok outcome signal by at_ms review_hash state decided_by decided_ms audit_seq",
    ),
    (
        OperationResult(queue="q", action="pause", ok=True, outcome="paused"),
        "queue id action ok outcome count ids message",
    ),
    (Totals(), TOTALS),
    (MinuteUsage(at=NOW), f"at_ms {TOTALS}"),
    (
        FlowBudget(flow=REF),
        "flow max_total_tokens max_tokens token_weights max_total_cost max_costs cost_unit on_exceeded used_tokens "
        "used_cost used_tokens_by used_costs_by left_tokens left_cost exceeded parked tokens_per_min cost_per_hour "
        "runs_out_ms",
    ),
    (
        TopUp(preview=True, before=FlowBudget(flow=REF), after=FlowBudget(flow=REF), still_exceeded=False),
        "preview before after still_exceeded released",
    ),
    (Flow(root=REF, kind="tree", nodes=()), "root kind nodes counts removed usage budget truncated"),
    (
        FlowNode(queue="q", id="1", name="n", state="active"),
        "queue id name state depth parents parked attempts_made fallback_index model total_tokens total_cost "
        "created_ms processed_ms finished_ms failed_reason removed",
    ),
    (
        Limits(queue="q", global_concurrency=Concurrency(used=1)),
        "queue rpm tpm global_concurrency groups groups_total",
    ),
    (Concurrency(used=1), "used max"),
    (
        Group(key="k"),
        "key active max_concurrency waiting rate tokens capacity refill_per_s resume_ms",
    ),
    (
        WorkerInfo(queue="q", id="w", host="h", pid=1, started_at=NOW, age_ms=5),
        "queue id host pid started_ms age_ms active_jobs language version concurrency paused seen_ms jobs",
    ),
    (WorkerJob(id="1", name="n", started_at=NOW), "id name started_ms"),
    (QueueEvent(queue="q", id="1-0", at=NOW, event="added", gap=True), "queue id at_ms event job_id data"),
    (
        AuditEntry(
            seq=1,
            at=NOW,
            by="ann",
            via="api",
            host="h",
            action="pause",
            queue="q",
            outcome="paused",
            prev_hash="0",
            hash="1",
        ),
        "seq at_ms by via host action queue job_ids count outcome comment shown_hash detail prev_hash hash user",
    ),
    (Check(id="url", status="ok", summary="reachable"), "id status summary detail fix"),
    (Server(running=False, data_dir="/d"), "running url pid port version data_dir"),
    (StreamChunk("5-0", {}), "id t_ms type text fields"),
]


@pytest.mark.parametrize(("record", "keys"), SHAPES, ids=lambda value: type(value).__name__)
def test_json_has_exactly_the_keys_of_the_interface(record: Any, keys: str) -> None:
    assert sorted(to_json(record)) == sorted(keys.split())
    json.dumps(to_json(record), allow_nan=False)


def test_json_of_a_job_in_full() -> None:
    job = JobDetail(
        id="1",
        queue="q",
        name="n",
        state="suspended",
        created_at=NOW,
        parent=REF,
        suspend=SuspendInfo(reason="look", suspended_at=NOW, deadline_at=NOW),
        options=JobOptions(attempts=3, lock_duration=5_000),
        fallback=Fallback("m"),
        data={"at": (1, 2)},
        parents=(REF,),
        usage=Usage(model="m", tokens={"input": 1}),
        signals=(Signal(name="go", data={"x": None}, received_at=NOW),),
    )

    found = to_json(job)

    assert found["created_ms"] == NOW_MS
    assert found["parent"] == {"queue": "q", "id": "1"} == found["parents"][0]
    assert found["suspend"] == {
        "reason": "look",
        "suspended_ms": NOW_MS,
        "timeout_ms": None,
        "deadline_ms": NOW_MS,
        "review_hash": None,
    }
    assert found["opts"] == {"attempts": 3, "lockDuration": 5000}
    assert found["fallback"] == {"model": "m", "provider": None, "metadata": None}
    assert found["data"] is job.data  # a user's own value passes through
    assert found["signals"] == [{"name": "go", "data": {"x": None}, "received_ms": NOW_MS}]
    assert found["usage"]["tokens"] == {"input": 1}
    assert found["stream"] == {"entries": 0, "last_id": None}
    assert (found["ledger"], found["due_ms"], found["logs"]) == (None, None, [])


def test_deeply_nested_user_values_do_not_break_json() -> None:
    nested: Any = None
    for _ in range(5_000):
        nested = [nested]

    assert to_json(Signal(name="s", data=nested, received_at=NOW))["data"] is nested


def test_records_are_frozen_and_keyword_only() -> None:
    for name, cls in vars(records).items():
        if dataclasses.is_dataclass(cls) and name not in ("Fallback", "JobRef"):
            assert cls.__dataclass_params__.frozen, name
            assert all(field.kw_only for field in dataclasses.fields(cls)), name
            assert cls.__doc__
            assert not cls.__doc__.startswith(f"{name}("), name


def test_a_signal_result_is_true_only_if_the_job_was_resumed() -> None:
    assert SignalResult(outcome="resumed")
    assert not any(SignalResult(outcome=word) for word in ("kept", "changed", "not_suspended", "not_found"))


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"t": "Hello"}, "content", "Hello"),
        ({"t": "", "done": "1"}, "done", ""),
        ({"content": "last", "done": "1", "type": "content"}, "done", "last"),
        ({"done": "0", "t": "x"}, "content", "x"),
        ({"type": "token", "token": "x"}, "content", "x"),
        ({"type": "reasoning", "content": "hm"}, "reasoning", "hm"),
        ({"type": "tool_call", "name": "search", "args": "{}"}, "tool_call", ""),
        ({"delta": "d", "text": "t"}, "content", "t"),
        ({"content": "", "t": "x"}, "content", ""),
        ({"progress": "1"}, "data", ""),
        ({"type": "<b>odd</b>"}, "<b>odd</b>", ""),
        ({}, "data", ""),
    ],
)
def test_kind_and_text_of_a_chunk(fields: dict[str, str], kind: str, text: str) -> None:
    chunk = StreamChunk("1795467237612-3", fields)

    assert (chunk.type, chunk.text) == (kind, text)
    assert dict(chunk) == fields
    assert to_json(chunk) == {
        "id": "1795467237612-3",
        "t_ms": 1_795_467_237_612,
        "type": kind,
        "text": text,
        "fields": fields,
    }


def test_a_chunk_keeps_order_and_duplicates() -> None:
    chunk = decode_chunk(b"7-0", [[b"b", b"1"], [b"a", b"\xff"], [b"b", b"2"]])

    assert chunk.pairs == (("b", "1"), ("a", "�"), ("b", "2"))
    assert (chunk["b"], list(chunk), len(chunk)) == ("2", ["b", "a"], 2)
    assert chunk == {"b": "2", "a": "�"}
    assert chunk.at == from_epoch_ms(7)
    assert StreamChunk("odd", {}).at == EPOCH


def test_the_package_offers_what_its_table_says() -> None:
    for name in glidemq_core.__all__:
        assert getattr(glidemq_core, name) is not None
    assert set(glidemq_core.__all__) <= set(dir(glidemq_core))
    with pytest.raises(AttributeError):
        glidemq_core.Nope  # noqa: B018


def test_importing_the_package_loads_neither_driver_nor_screen() -> None:
    heavy = "[m for m in ('glide', 'textual', 'rich', 'typer') if m in sys.modules]"
    script = f"import sys, glidemq_core; print({heavy}); glidemq_core.JobOptions; print({heavy})"

    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert shown.stdout.split() == ["[]", "[]"]
