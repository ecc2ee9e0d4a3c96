"""Recordings of the real system: load one, put it on a server, and compare what we wrote with it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from golden.load import commands

from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import PRIORITY_STEP

GOLDEN = Path(__file__).parents[1] / "golden"

#: Keys and job fields of our own that a recording of Node's cannot hold.
OWN_KEYS = (
    "*:list-runs",
    "*:ledger:*",
    "*:steps:*",
    "*:part:*",
    "*:crew",
    "*:limits",
    "*:audit",
    "*:early:*",
    "*:early-index",
    "*:outbox",
    "*:vindex:*",
    "*:vectors:*",
    "*:vec:*",
    "*:dedup-due",
    "*:ordering-due",
    "*:replayed:*",
    "*:turn:*",
    "*:deliveries:*",
    "*:budgets",
)
OWN_FIELDS = frozenset(
    {"budgetPausedAt", "budgetBooked", "roundFrom", "suspendBase", "usageMark", "logMark", "steps"}
)

_TIME = re.compile(r"(?<!\d)1[6-9]\d{11}(?!\d)")
_WORKER = re.compile(r"worker-\d+-[0-9a-f]{8}")


def recording(name: str) -> dict[str, Any]:
    """Return a recording by its name (file name without `.json`)."""
    loaded: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    return loaded


async def replay(connection: Connection, name: str) -> dict[str, Any]:
    """Put a recording on the server and return it."""
    loaded = recording(name)
    for command in commands(loaded):
        await connection.command(*command)
    return loaded


async def dump(connection: Connection, pattern: str = "*") -> dict[str, Any]:
    """Read every key that matches, in the shape of a recording's `keys`."""
    found: dict[str, Any] = {}
    cursor = "0"
    while True:
        reply = await connection.command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        for key in reply[1]:
            kind = (await connection.command("TYPE", key)).decode()
            value = await _value(connection, key, kind) if kind != "none" else None
            # What expired since it was listed is not there.
            if value is not None:
                found[key.decode()] = {"type": kind, **value}
        cursor = reply[0].decode()
        if cursor == "0":
            return found


async def _value(connection: Connection, key: bytes, kind: str) -> dict[str, Any] | None:
    if kind == "string":
        raw = await connection.command("GET", key)
        return None if raw is None else {"value": _text(raw)}
    if kind == "hash":
        pairs = await connection.command("HGETALL", key)
        return {"value": {_text(name): _text(value) for name, value in pairs.items()}}
    if kind == "list":
        return {"value": [_text(item) for item in await connection.command("LRANGE", key, 0, -1)]}
    if kind == "set":
        return {"value": [_text(item) for item in await connection.command("SMEMBERS", key)]}
    if kind == "zset":
        pairs = await connection.command("ZRANGE", key, 0, -1, "WITHSCORES")
        items = pairs.items() if isinstance(pairs, dict) else pairs
        return {"value": [[_text(member), f"{float(score):.0f}"] for member, score in items]}
    entries = await connection.command("XRANGE", key, "-", "+") or {}
    value = [
        {"id": _text(entry_id), "fields": {_text(name): _text(item) for name, item in pairs}}
        for entry_id, pairs in entries.items()
    ]
    groups = []
    for group in await connection.command("XINFO", "GROUPS", key):
        name = _text(group[b"name"])
        pending = await connection.command("XPENDING", key, name, "-", "+", 10_000)
        groups.append({"name": name, "pending_entries": [[_text(item[0])] for item in pending]})
    return {"value": value, "groups": groups}


def _text(raw: bytes) -> Any:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def assert_same_records(
    recorded: dict[str, Any], actual: dict[str, Any], *, ignore: Iterable[str] = ()
) -> None:
    """Assert that two `keys` sections (or a recording and a dump) say the same, apart from ids and clocks.

    Times, entry ids, worker names, durations of metrics and our own additions do not count; JSON text counts
    by its value. `ignore` are patterns of further key names.
    """
    hidden = (*OWN_KEYS, *ignore)
    ours = _normal(actual.get("keys", actual), hidden)
    theirs = _normal(recorded.get("keys", recorded), hidden)
    differing = [
        f"{key}\n  recorded: {theirs.get(key)}\n  written:  {ours.get(key)}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    assert not differing, "\n".join(differing)


def _normal(keys: dict[str, Any], hidden: tuple[str, ...]) -> dict[str, Any]:
    return {
        _clockless(key): _normal_entry(key, entry)
        for key, entry in sorted(keys.items())
        if not any(fnmatchcase(key, pattern) for pattern in hidden)
    }


def _normal_entry(key: str, entry: dict[str, Any]) -> tuple[str, Any]:
    kind, value = entry["type"], entry["value"]
    if kind == "hash":
        fields = {_clockless(name): _scalar(item) for name, item in value.items() if name not in OWN_FIELDS}
        if ":metrics:" in key:
            fields = {name: "<ms>" if name.endswith(":d") else item for name, item in fields.items()}
        return kind, fields
    if kind == "zset":
        return kind, {member: _score(float(score)) for member, score in value}
    if kind == "set":
        return kind, sorted(map(_scalar, value), key=str)
    if kind == "list":
        return kind, [_scalar(item) for item in value]
    if kind == "stream":
        entries = [{name: _scalar(item) for name, item in each["fields"].items()} for each in value]
        job_of = {each["id"]: each["fields"].get("jobId") for each in value}
        pending = {
            group["name"]: sorted(str(job_of.get(item[0])) for item in group["pending_entries"])
            for group in entry["groups"]
        }
        return kind, (entries, pending)
    return kind, _worker(value) if ":w:" in key else _scalar(value)


def _worker(text: str) -> Any:
    """A registration: which keys of Node's it has; host and times differ."""
    return sorted(set(json.loads(text)) & {"addr", "pid", "startedAt", "activeJobs"})


def _scalar(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value[:1] in "{[":
        try:
            return _clockless_json(json.loads(value))
        except ValueError:
            pass
    return _clockless(value)


def _clockless_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clockless_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clockless_json(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and _TIME.fullmatch(str(value)):
        return "<time>"
    return _clockless(value) if isinstance(value, str) else value


def _clockless(text: str) -> str:
    return _TIME.sub("<time>", _WORKER.sub("<worker>", text))


def _score(score: float) -> Any:
    """Priority and due time of a score; a time is only a time."""
    priority, due = divmod(int(score), PRIORITY_STEP)
    return (priority, "<time>" if _TIME.fullmatch(str(due)) else due)
