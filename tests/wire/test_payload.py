"""Payloads and numbers: what is stored, what is read back, and what is too much."""

from __future__ import annotations

import base64
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidemq_core.errors import InvalidOptionError, PayloadTooLargeError, SerializationError
from glidemq_core.wire.numbers import number_text, parse_number, to_int
from glidemq_core.wire.payload import (
    MAX_PAYLOAD_BYTES,
    check_size,
    decode_data,
    decode_progress,
    decode_result,
    encode_data,
    encode_json,
    encode_progress,
    encode_result,
    json_list,
    unpack,
)
from glidemq_core.wire.replies import as_text
from glidemq_core.wire.serializer import JSON_SERIALIZER

GOLDEN = Path(__file__).parents[1] / "golden"
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Reversing:
    """A serializer that is not JSON."""

    def serialize(self, value: Any) -> str:
        return str(value)[::-1]

    def deserialize(self, text: str) -> Any:
        return text[::-1]


class Broken:
    def serialize(self, value: Any) -> Any:
        return b"bytes"

    def deserialize(self, text: str) -> Any:
        raise KeyError


def packed(text: bytes) -> str:
    return "gz:" + base64.b64encode(gzip.compress(text, mtime=0)).decode()


@given(json_values, st.sampled_from(["none", "gzip"]))
def test_data_survives_storing(value: Any, compression: str) -> None:
    stored = encode_data(value, JSON_SERIALIZER, compression=compression)

    assert stored.startswith("gz:") == (compression == "gzip")
    assert decode_data(stored.encode(), JSON_SERIALIZER) == (value, None)


def test_compressed_data_of_node_is_read() -> None:
    keys = json.loads((GOLDEN / "add_gzip.json").read_text())["keys"]
    stored = [entry["value"]["data"] for key, entry in keys.items() if ":job:" in key]

    assert any(data.startswith("gz:") for data in stored)
    assert all(decode_data(data, JSON_SERIALIZER).error is None for data in stored)


def test_the_size_limit_is_in_bytes_before_compression() -> None:
    fits = "x" * (MAX_PAYLOAD_BYTES - 2)

    assert encode_data(fits, JSON_SERIALIZER) == f'"{fits}"'
    for value in (fits + "x", "é" * (MAX_PAYLOAD_BYTES // 2)):
        with pytest.raises(PayloadTooLargeError) as caught:
            encode_data(value, JSON_SERIALIZER, compression="gzip")
        assert caught.value.limit_bytes == MAX_PAYLOAD_BYTES < caught.value.size_bytes
        assert caught.value.what == "data"
        assert isinstance(caught.value, InvalidOptionError)
    with pytest.raises(PayloadTooLargeError):
        encode_result(fits + "x", JSON_SERIALIZER)
    with pytest.raises(PayloadTooLargeError):
        check_size("x" * (MAX_PAYLOAD_BYTES + 1), "log line")


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, object(), {1, 2}, b"bytes", "\ud800", {"a": [math.nan]}],
    ids=lambda value: repr(value)[:16],
)
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    for encode in (encode_data, encode_result):
        with pytest.raises(SerializationError) as caught:
            encode(value, JSON_SERIALIZER, job_id="7")
        assert "\n" not in str(caught.value)
        assert value == "\ud800" or "serializer=" in (caught.value.hint or "")
    with pytest.raises(SerializationError):
        encode_data(value, JSON_SERIALIZER, compression="gzip")


def test_values_that_contain_themselves_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(SerializationError):
        encode_data(endless, JSON_SERIALIZER)
    with pytest.raises(SerializationError):
        encode_json(endless, "progress")


def test_a_serializer_must_return_text() -> None:
    with pytest.raises(SerializationError, match="bytes"):
        encode_data(1, Broken())
    assert decode_data("x", Broken()) == ({}, "data: KeyError")
    assert decode_result("x", Broken()) == (None, "result: KeyError")


def test_missing_payloads() -> None:
    assert decode_data(None, JSON_SERIALIZER) == ({}, None)
    assert decode_data(b"", JSON_SERIALIZER) == ({}, None)
    assert decode_result(None, JSON_SERIALIZER) == (None, None)
    assert decode_result(b"null", Reversing()) == (None, None)
    assert encode_result(None, Reversing()) == "null"
    assert decode_result(encode_result("abc", Reversing()), Reversing()) == ("abc", None)


@pytest.mark.parametrize(
    "stored",
    [
        b"{",
        b"\xff\xfe",
        b"gz:",
        b"gz:!!!",
        b"gz:AAAA",
        b"gz:" + base64.b64encode(gzip.compress(b"x" * 1000, mtime=0)[:-12]),
        packed(b"{").encode(),
        "[" * 100_000,
        packed(b" " * (MAX_PAYLOAD_BYTES + 1)),
        "gz:" + base64.b64encode(gzip.compress(b"1", mtime=0) + b"rest").decode(),
        "gz:" + base64.b64encode(gzip.compress(b" " * 700_000, mtime=0) * 2).decode(),
    ],
    ids=lambda stored: str(stored)[:16],
)
def test_unreadable_data_reads_as_empty_and_says_why(stored: bytes | str) -> None:
    value, error = decode_data(stored, JSON_SERIALIZER)

    assert value == {}
    assert error


def test_a_gzip_bomb_is_cut_off_at_the_limit() -> None:
    with pytest.raises(SerializationError, match="more than 1048576 bytes"):
        unpack(packed(bytes(50_000_000)))


def test_gzip_of_several_members() -> None:
    two = base64.b64encode(gzip.compress(b'{"a"') + gzip.compress(b":1}")).decode()

    assert unpack("gz:" + two) == '{"a":1}'
    assert unpack(packed(b" " * MAX_PAYLOAD_BYTES)) == " " * MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (100, "100"),
        (0.5, "0.5"),
        (1e-7, "0.0000001"),
        (2.0, "2"),
        (True, "true"),
        ("half", '"half"'),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_progress_is_number_text_or_json(value: Any, stored: str) -> None:
    assert encode_progress(value) == stored
    assert decode_progress(stored.encode()) == value


def test_odd_progress() -> None:
    assert decode_progress(None) == decode_progress(b"") == 0
    assert decode_progress(b"1e3") == 1000
    assert decode_progress(b"half way") == "half way"
    assert decode_progress(b"NaN") == "NaN"
    assert decode_progress(b"null") is None
    for value in (math.nan, math.inf, object(), 1j):
        with pytest.raises(SerializationError):
            encode_progress(value)
    with pytest.raises(PayloadTooLargeError):
        encode_progress("x" * MAX_PAYLOAD_BYTES)


@given(st.text() | st.binary())
def test_reading_never_raises(stored: str | bytes) -> None:
    decode_data(stored, JSON_SERIALIZER)
    decode_data("gz:" + as_text(stored), JSON_SERIALIZER)
    decode_result(stored, JSON_SERIALIZER)
    decode_progress(stored)
    json_list(stored)
    to_int(stored)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30))
def test_numbers_are_written_without_exponent(value: float) -> None:
    text = number_text(value)

    assert set(text) <= set("-0123456789.")
    assert float(text) == float(value)
    assert parse_number(text) == float(value)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"1795467237611", 1_795_467_237_611),
        ("1e+21", 1e21),
        ("1e-7", 1e-7),
        ("0.60000000000000008", 0.6000000000000001),
        (" 7 ", 7),
        (".5", 0.5),
        ("5.", 5),
        ("-0", 0),
        ("1.0", 1),
    ],
)
def test_number_texts_of_node(text: bytes | str, number: float) -> None:
    assert parse_number(text) == number
    assert type(parse_number(text)) is type(number)


@pytest.mark.parametrize(
    "text", [None, b"", "NaN", "Infinity", "inf", "-inf", "1_000", "٣", "0x10", "1e400", "9" * 5000, b"\xff"]
)
def test_what_is_no_number(text: bytes | str | None) -> None:
    assert parse_number(text) is None
    assert to_int(text) == 0
    assert to_int(text, 5) == 5


def test_counters_are_cut_to_whole_numbers() -> None:
    assert (to_int(b"1.75"), to_int("-2.5"), to_int("1e3")) == (1, -2, 1000)


def test_no_number_for_nan() -> None:
    with pytest.raises(ValueError, match="finite"):
        number_text(math.nan)
