"""Checks and repair of ordering keys: whose next number no job holds, or that count more slots than jobs hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..jobs.audit import audit_blob
from ..options.job import Actor
from ..reading.reader import Reader
from ..reading.scan import scan_steps
from ..records import Check, OperationResult
from ..watch import Watch
from ..wire.numbers import to_int
from ..wire.replies import entries, failed, integer, items, number, pairs, text
from .findings import plural, result, verdict
from .walk import StartedJob, walk_jobs

#: Ordering keys that are checked in each queue, and jobs of each place that may hold the next number.
_KEYS = 200
_JOBS = 1_000
#: Steps over the parents of flows, which keep their number while they wait for children.
_STEPS = 5
#: Pages of ordering keys whose slots are counted in each queue, and keys of each.
_KEY_PAGES, _PAGE_KEYS = 10, 1_000
#: States in which a job that has started keeps its slot.
_KEEPING = frozenset(("waiting", "delayed", "prioritized", "suspended", "waiting-children"))


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
    ids = [dict(fields).get("jobId") or "" for _, fields in entries(stream)]
    parts: list[Sequence[Any]] = [ids, *map(items, (scheduled, lifo, priority))]
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


@dataclass(frozen=True, slots=True)
class _Group:
    """A key that counts more running jobs than there are: its record, and how many jobs hold a slot."""

    queue: str
    key: str
    active: str
    next_seq: str
    holders: int


async def ordering_slots(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find keys that count slots which no job holds; a key without a free slot starts no job."""
    found, complete = await _find_surplus(reader, names)
    if not complete:
        return Check(id="ordering_slots", status="skip", summary="too many jobs or keys to count their slots")
    return verdict(
        "ordering_slots",
        [f"{one.queue}: key '{one.key}' counts {one.active} running, {one.holders} are" for one in found],
        good="every counted slot of an ordering key is held by a job",
        bad=f"{plural(len(found), 'ordering key')} with slots that no job holds",
        status="fail",
        fix="glidemq doctor --repair frees them",
    )


async def free_slots(_: Watch, reader: Reader, names: Sequence[str], actor: Actor) -> list[OperationResult]:
    """Correct the counts of such keys, which starts their parked jobs."""
    found, _complete = await _find_surplus(reader, names)
    results = []
    for group in found:
        context, now_ms = reader.context(group.queue), reader.now_ms()
        detail = {"key": group.key, "was": to_int(group.active), "held": group.holders}
        blob = await audit_blob(context, actor, "free_slots", [], now_ms, detail=detail)
        status, *_sent = await context.call(
            "mend_slots", now_ms, group.key, group.active, group.next_seq, group.holders, blob
        )
        freed = to_int(group.active) - group.holders
        count, message = freed if status == b"mended" else None, f"key '{group.key}'"
        results.append(result("free_slots", group.queue, status.decode(), count=count, message=message))
    return results


async def _find_surplus(reader: Reader, names: Sequence[str]) -> tuple[list[_Group], bool]:
    """Return keys with a surplus, and whether everything could be checked.

    A start moves `nextSeq` and an end moves `active`: where neither has changed meanwhile, the count was right.
    """
    before: dict[tuple[str, str], tuple[str, str]] = {}
    complete = True
    for name in names:
        listed, whole = await _all_keys(reader, name)
        complete = complete and whole
        before |= {(name, key): counts for key, counts in (await _counts(reader, name, listed)).items()}
    suspects = {place: counts for place, counts in before.items() if to_int(counts[0]) > 0}
    if not suspects:
        return [], complete
    walk = await walk_jobs(reader, list(dict.fromkeys(name for name, _ in suspects)))
    if not walk.complete:
        return [], False
    places = (((job.queue, job.group), job) for job in walk.jobs)
    holders = Counter(
        place for place, job in places if place in suspects and _holds(job, to_int(suspects[place][1]))
    )
    surplus = {place: counts for place, counts in suspects.items() if to_int(counts[0]) > holders[place]}
    found = []
    for name in dict.fromkeys(name for name, _ in surplus):
        now = await _counts(reader, name, [key for queue, key in surplus if queue == name])
        found += [
            _Group(name, key, *counts, holders[name, key])
            for key, counts in now.items()
            if counts == surplus[name, key]
        ]
    return found, complete


def _holds(job: StartedJob, next_seq: int) -> bool:
    if job.state == "active":
        return True
    return job.state in _KEEPING and 0 < job.seq < next_seq and not job.retried


async def _all_keys(reader: Reader, name: str) -> tuple[list[str], bool]:
    """Return ordering keys of a queue, and whether these are all."""
    found: list[str] = []
    cursor = "0"
    for _ in range(_KEY_PAGES):
        page = await reader.read_one("HSCAN", reader.keys(name).ordering, cursor, "COUNT", _PAGE_KEYS)
        if failed(page):
            return found, True
        found += [text(key) or "" for key, _ in pairs(page[1])]
        cursor = text(page[0]) or "0"
        if cursor == "0":
            return found, True
    return found, False


async def _counts(reader: Reader, name: str, listed: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Read `active` and `nextSeq` of keys."""
    answers = await reader.read(
        [("HMGET", reader.keys(name).group(key), "active", "nextSeq") for key in listed]
    )
    return {
        key: (text(answer[0]) or "", text(answer[1]) or "")
        for key, answer in zip(listed, answers, strict=True)
        if not failed(answer)
    }
