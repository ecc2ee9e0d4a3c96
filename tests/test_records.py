"""Records: the exact JSON of each, and what is read from the hashes of every recording."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import glidemq_core
from glidemq_core import decoding, records
from glidemq_core.decoding import (
    decode_chunk,
    decode_new_signals,
    decode_options,
    decode_parents,
    decode_signals,
    decode_suspend,
    decode_usage,
    hash_fields,
    instant,
    picked_fields,
    usage_fields,
    usage_from_json,
    usage_json,
)
from glidemq_core.option_fields import EPOCH, from_epoch_ms
from glidemq_core.options import Fallback, JobOptions, JobRef
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

GOLDEN = Path(__file__).parent / "golden"
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
        f"attempt started_ms ended_ms outcome error fallback_index worker {USAGE}",
    ),
    (
        Approval(queue="q", id="1", name="n", suspended_at=NOW),
        f"queue id name data data_bytes truncated draft progress signals usage budget waiting_behind {SUSPEND}",
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
    (Flow(root=REF, kind="tree", nodes=()), "root kind nodes counts usage budget truncated"),
    (
        FlowNode(queue="q", id="1", name="n", state="active"),
        "queue id name state depth parents parked attempts_made fallback_index model total_tokens total_cost "
        "created_ms processed_ms finished_ms failed_reason",
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
        "seq at_ms by via host action queue job_ids count outcome comment shown_hash detail prev_hash hash",
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
    for name in records.__all__:
        cls = getattr(records, name)
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


def recorded_hashes() -> Iterator[Any]:
    """Every job hash of every recording, with raw values."""
    for path in sorted(GOLDEN.glob("*.json")):
        for key, entry in json.loads(path.read_text(encoding="utf-8"))["keys"].items():
            if ":job:" in key and entry["type"] == "hash":
                raw = {
                    name: base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()
                    for name, value in entry["value"].items()
                }
                yield pytest.param(raw, id=f"{path.stem}-{key.rpartition(':')[2]}")


def recorded(name: str, job_id: str = "1") -> dict[str, bytes]:
    return next(p.values[0] for p in recorded_hashes() if p.id == f"{name}-{job_id}")


def results(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))["results"]


@pytest.mark.parametrize("fields", recorded_hashes())
def test_every_recorded_job_is_read(fields: dict[str, bytes]) -> None:
    usage = decode_usage(fields)

    assert (usage is not None) == any(name.startswith("usage:") for name in fields)
    assert len(decode_signals(fields.get("signals"))) == fields.get("signals", b"").count(b'"receivedAt"')
    assert (decode_suspend(fields, None) is not None) == (fields.get("state") == b"suspended")
    assert decode_options(fields).to_json() == json.loads(fields["opts"])
    assert bool(decode_parents(fields)) == ("parentId" in fields or "parentIds" in fields)
    assert instant(fields["timestamp"]) is not None
    if usage is not None:
        stored = {
            name: fields[name] for name in fields if name.startswith("usage:") and name != "usage:bucketTs"
        }
        assert usage_fields(usage).keys() == stored.keys()


@pytest.mark.parametrize("job_id", ["1", "2", "3"])
def test_usage_reads_as_node_answers_it(job_id: str) -> None:
    answer = results("usage")[int(job_id) - 1]

    usage = decode_usage(recorded("usage", job_id))

    assert usage is not None
    assert usage_json(usage) == answer
    assert usage_from_json(answer) == usage
    assert decode_usage(usage_fields(usage)) == usage


def test_numbers_of_usage_are_not_cut() -> None:
    usage = decode_usage(
        {"usage:totalTokens": b"1.75", "usage:totalCost": b"1e-7", "usage:latencyMs": b"NaN"}
    )

    assert usage == Usage(total_tokens=1.75, total_cost=1e-7)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"usage:model": b"", "usage:tokens": b"{}", "usage:latencyMs": b"NaN"},
        {"usage:tokens": b"[1]", "usage:costs": b"{", "usage:cached": b"yes"},
        {"usage:tokens": b'{"a":"1","b":true,"c":null,"d":1e999}'},
    ],
)
def test_no_usage(fields: dict[str, bytes]) -> None:
    assert decode_usage(fields) is None


def test_latency_alone_is_usage() -> None:
    assert decode_usage({"usage:latencyMs": b"0"}) == Usage(latency_ms=0)
    assert decode_usage({"usage:cached": b"0"}) == Usage(cached=False)


def test_a_suspension_reads_as_node_answers_it() -> None:
    answer = results("suspended")[0]

    info = decode_suspend(recorded("suspended"), b"1795470840332")

    assert info == SuspendInfo(
        reason=answer["reason"],
        suspended_at=from_epoch_ms(answer["suspendedAt"]),
        timeout_ms=answer["timeout"],
        deadline_at=from_epoch_ms(answer["suspendedAt"] + answer["timeout"]),
    )
    endless = decode_suspend(recorded("suspended_no_timeout"), 9_999_999_999_999.0)
    assert endless is not None
    assert (endless.reason, endless.timeout_ms, endless.deadline_at) == (None, None, None)
    assert decode_suspend(recorded("signalled_completed"), None) is None


@pytest.mark.parametrize(
    ("timeout", "deadline", "shown"),
    [
        (b"1000", b"2000", True),
        (b"0.5", b"1000.5", True),
        (None, b"9999999999999", True),
        (None, b"inf", True),
        (b"inf", b"inf", True),
        (b"1e+15", 1e15 + 1000, True),
        (b"1000", b"9999999999999", False),
        (b"1000", b"5000", False),
        (None, b"5000", False),
    ],
)
def test_reason_and_timeout_of_an_earlier_suspension_are_not_shown(
    timeout: bytes | None, deadline: bytes | float, shown: bool
) -> None:
    fields = {"state": b"suspended", "suspendedAt": b"1000", "suspendReason": b"first"}
    if timeout is not None:
        fields["suspendTimeout"] = timeout

    info = decode_suspend(fields, deadline)

    assert info is not None
    assert (info.reason == "first") is shown
    if not shown:
        assert info.timeout_ms is None


def test_signal_data_is_decoded_once() -> None:
    stored = json.dumps(
        [
            {"name": "object", "data": '{"a":"1"}', "receivedAt": 5},
            {"name": "null", "data": "null", "receivedAt": 6.0},
            {"name": "none", "data": "", "receivedAt": 7},
            {"name": "words", "data": "NaN", "receivedAt": 8},
            {"name": "twice", "data": '"{}"', "receivedAt": 9},
            {"data": [1], "receivedAt": "soon"},
            "junk",
        ]
    )

    signals = decode_signals(stored)

    assert [signal.data for signal in signals] == [{"a": "1"}, None, "", "NaN", "{}", [1]]
    assert [signal.name for signal in signals][-1] == ""
    assert (signals[0].received_at, signals[-1].received_at) == (from_epoch_ms(5), EPOCH)
    assert decode_signals(b"{") == decode_signals(None) == []


def test_new_signals_are_those_since_the_latest_suspension() -> None:
    signals = json.dumps(
        [{"name": n, "data": "", "receivedAt": at} for n, at in (("a", 5), ("b", 9), ("c", 20))]
    )
    fields = {"signals": signals.encode(), "suspendedAt": b"20"}

    def names(**more: bytes) -> list[str]:
        return [signal.name for signal in decode_new_signals({**fields, **more})]

    assert names() == ["c"]
    assert names(suspendBase=b"20:1") == ["b", "c"]
    assert names(suspendBase=b"10:1") == ["c"]  # noted by an earlier suspension
    assert [s.name for s in decode_new_signals({"signals": signals.encode()})] == ["a", "b", "c"]


def test_parents_of_trees_and_dags() -> None:
    assert decode_parents({"parentId": b"1", "parentQueue": b"q"}) == (REF,)
    assert decode_parents({"parentIds": b'["1","2"]', "parentQueues": b'["q","r"]'}) == (
        REF,
        JobRef("r", "2"),
    )
    assert decode_parents({"parentIds": b"{", "parentId": b"1"}) == ()


def test_hashes_in_either_protocol() -> None:
    fields = {"state": b"active", "embedding": b"\xff\x00"}

    assert hash_fields([b"state", b"active", b"embedding", b"\xff\x00"]) == fields
    assert hash_fields({b"state": b"active", b"embedding": b"\xff\x00"}) == fields
    assert hash_fields(None) == hash_fields([]) == {}
    assert picked_fields(("state", "data"), (b"active", None)) == {"state": b"active"}


@pytest.mark.parametrize("stored", [None, b"", b"0", b"NaN", b"9" * 300, b"1e300", b"-1e300", b"soon"])
def test_what_is_no_time(stored: bytes | None) -> None:
    assert instant(stored) is None


FIELD_NAMES = [
    *decoding.USAGE_FIELDS.values(),
    *decoding.SUSPEND_FIELDS,
    "suspendBase",
    "parentIds",
    "parentQueues",
    "opts",
]


@given(
    st.dictionaries(
        st.sampled_from(FIELD_NAMES),
        st.binary()
        | st.text().map(lambda t: t.encode("utf-8", "replace"))
        | st.sampled_from([b"[{}]", b"[null]", b"1e308"]),
    ),
    st.none() | st.floats() | st.binary(),
)
def test_no_hash_makes_reading_raise(fields: dict[str, bytes], deadline: float | bytes | None) -> None:
    decode_usage(fields)
    decode_suspend({**fields, "state": b"suspended"}, deadline)
    decode_new_signals(fields)
    decode_parents(fields)
    decode_options(fields)


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
