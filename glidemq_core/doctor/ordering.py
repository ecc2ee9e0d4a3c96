"""Check of ordering keys: a key whose next number no job holds starts no job any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..reading.reader import Reader
from ..reading.scan import scan_steps
from ..records import Check
from ..watch import Watch
from ..wire.numbers import to_int
from ..wire.replies import entries, failed, integer, number, pairs, text
from .findings import plural, verdict

#: Ordering keys that are checked in each queue, and jobs of each place that may hold the next number.
_KEYS = 200
_JOBS = 1_000
#: Steps over the parents of flows, which keep their number while they wait for children.
_STEPS = 5


async def ordering_keys(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find keys whose next number is held by no job."""
    found, unsure, looked = [], 0, 0
    for name in names:
        suspects, seen = await _waiting(reader, name)
        looked += seen
        if not suspects:
            continue
        held = await _held(reader, name)
        if held is None:
            unsure += len(suspects)
            continue
        found += [
            (name, key, following)
            for key, following in suspects.items()
            if following not in held.get(key, ())
        ]
    good = f"{plural(looked, 'ordering key')}, none is blocked"
    if unsure and not found:
        summary = f"{plural(unsure, 'ordering key')} not checked: too many jobs"
        return Check(id="ordering_keys", status="skip", summary=summary)
    fix = None
    if found:
        keys = reader.keys(found[0][0])
        skip = f"HSET '{keys.group(found[0][1])}' skip:{found[0][2]} 1"
        fix = f"skip the number: valkey-cli {skip}, then ZADD '{keys.ratelimited}' 0 '{found[0][1]}'"
    return verdict(
        "ordering_keys",
        [f"{name}: key '{key}' waits for number {at}, which no job has" for name, key, at in found],
        good=good,
        bad="jobs of an ordering key will never start",
        status="fail",
        fix=fix,
    )


async def _waiting(reader: Reader, name: str) -> tuple[dict[str, int], int]:
    """Return keys whose parked jobs all come after the next number, with that; and how many keys were checked."""
    keys = reader.keys(name)
    page = await reader.read_one("HSCAN", keys.ordering, 0, "COUNT", _KEYS)
    listed = [] if failed(page) else [text(key) or "" for key, _ in pairs(page[1])][:_KEYS]
    answers = await reader.read_each(
        listed,
        lambda key: [
            ("ZRANGE", keys.groupq(key), 0, 0, "WITHSCORES"),
            ("HGET", keys.group(key), "nextSeq"),
        ],
    )
    found = {}
    for key, (first, following) in zip(listed, answers, strict=True):
        lowest = pairs(first)
        after = 0 if failed(following) else to_int(following)
        if lowest and after > 0 and (number(lowest[0][1]) or 0) > after:
            found[key] = after
    if not found:
        return {}, len(listed)
    markers = await reader.read([("HEXISTS", keys.group(key), f"skip:{at}") for key, at in found.items()])
    # A number that is marked so is skipped when the key is looked at next.
    left = {key: at for (key, at), marked in zip(found.items(), markers, strict=True) if not integer(marked)}
    return left, len(listed)


async def _held(reader: Reader, name: str) -> dict[str, set[int]] | None:
    """Return by key the numbers of jobs that are still to start; None where there are too many jobs."""
    keys = reader.keys(name)
    stream, scheduled, lifo, priority = await reader.read(
        [
            ("XRANGE", keys.stream, "-", "+", "COUNT", _JOBS),
            ("ZRANGE", keys.scheduled, 0, _JOBS - 1),
            ("LRANGE", keys.lifo, 0, _JOBS - 1),
            ("LRANGE", keys.priority, 0, _JOBS - 1),
        ]
    )
    ids = [dict(fields).get("jobId") or "" for _, fields in entries(None if failed(stream) else stream)]
    parts: list[Sequence[Any]] = [ids]
    parts += [[] if failed(part) else list(part) for part in (scheduled, lifo, priority)]
    if any(len(part) >= _JOBS for part in parts):
        return None
    candidates = {text(job_id) or "" for part in parts for job_id in part}
    complete = False
    async for cursor, found in scan_steps(reader, name, "deps:*", _STEPS):
        candidates |= {key[len(keys.deps("")) :] for key in found}
        complete = cursor == "0"
    if not complete:
        return None
    answers = await reader.read(
        [("HMGET", keys.job(job_id), "groupKey", "orderingSeq") for job_id in sorted(candidates)]
    )
    held: dict[str, set[int]] = {}
    for answer in answers:
        if not failed(answer) and answer and answer[0] is not None:
            held.setdefault(text(answer[0]) or "", set()).add(to_int(answer[1]))
    return held
