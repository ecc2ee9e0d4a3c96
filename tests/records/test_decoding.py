"""What is read from the hashes of every recording, and from spoilt ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kits.wire import GOLDEN

from glidemq_core.options.fields import EPOCH, from_epoch_ms
from glidemq_core.options.job import JobRef
from glidemq_core.records import SuspendInfo, Usage, decoding
from glidemq_core.records.decoding import (
    decode_new_signals,
    decode_options,
    decode_parents,
    decode_signals,
    decode_suspend,
    instant,
)
from glidemq_core.records.usage import (
    STORED_USAGE,
    decode_usage,
    usage_fields,
    usage_from_json,
    usage_json,
)
from glidemq_core.wire.replies import hash_fields, picked_fields


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
    assert decode_parents({"parentId": b"1", "parentQueue": b"q"}) == (JobRef("q", "1"),)
    assert decode_parents({"parentIds": b'["1","2"]', "parentQueues": b'["q","r"]'}) == (
        JobRef("q", "1"),
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
    *STORED_USAGE,
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
