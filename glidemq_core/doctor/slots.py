"""Check and repair of ordering keys that count more slots than jobs hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..jobs.audit import audit_blob
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..watch import Watch
from ..wire.numbers import to_int
from ..wire.replies import failed, pairs, text
from .findings import plural, result, verdict
from .walk import StartedJob, walk_jobs

#: Pages of ordering keys that are read of each queue, and keys of each.
_STEPS = 10
_PAGE = 1_000
#: States in which a job that has started keeps its slot.
_KEEPING = frozenset(("waiting", "delayed", "prioritized", "suspended", "waiting-children"))


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
    found, complete = await _find(reader, names)
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
    found, _complete = await _find(reader, names)
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


async def _find(reader: Reader, names: Sequence[str]) -> tuple[list[_Group], bool]:
    """Return keys with a surplus, and whether everything could be checked.

    A start moves `nextSeq` and an end moves `active`: where neither has changed meanwhile, the count was right.
    """
    before: dict[tuple[str, str], tuple[str, str]] = {}
    complete = True
    for name in names:
        listed, whole = await _keys(reader, name)
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


async def _keys(reader: Reader, name: str) -> tuple[list[str], bool]:
    """Return ordering keys of a queue, and whether these are all."""
    found: list[str] = []
    cursor = "0"
    for _ in range(_STEPS):
        page = await reader.read_one("HSCAN", reader.keys(name).ordering, cursor, "COUNT", _PAGE)
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
