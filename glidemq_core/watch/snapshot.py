"""One queue at a glance: read by our function or by plain commands, and decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glidemq_core.reading.counts import SnapshotReply, priority_bands
from glidemq_core.reading.reader import Reader
from glidemq_core.reading.running import find_overdue, group_facts, longest_running
from glidemq_core.records import QueueSnapshot, Rate
from glidemq_core.records.decoding import instant
from glidemq_core.records.outcomes import RateSource
from glidemq_core.schedules.entry import decode_schedulers
from glidemq_core.wire.keys import NO_DEADLINE, QueueKeys
from glidemq_core.wire.replies import entries, failed, integer, number, pairs, sliced, text
from glidemq_core.wire.strict_json import parse_json

#: Full minutes, before the running one, over which rates are means.
MINUTES = 5
#: Ordering keys up to which their parked jobs are counted; the function knows the same number.
MANY = 64
#: Running jobs whose heartbeat is checked, those that have run longest; the function knows the same number.
LOOKED_AT = 50
HOUR_MS = 3_600_000
_META = ("paused", "globalConcurrency", "rateLimitMax", "rateLimitDuration", "deadLetterQueueName")
_USAGE = ("totalTokens", "totalCost", "costUnit")


async def snapshots(reader: Reader, names: Sequence[str], windows: Mapping[str, int]) -> list[QueueSnapshot]:
    """Read all given queues; `windows`: TPM durations (ms) learned otherwise. Never raises for one queue."""
    now = reader.now_ms()
    queues = [reader.keys(name) for name in names]
    calls = [(keys.root, (now, MINUTES, windows.get(keys.queue, ""))) for keys in queues]
    replies = await reader.call_each("snapshot", calls)
    if replies is None:
        facts = await asyncio.gather(*(_plain(reader, keys, now, windows.get(keys.queue)) for keys in queues))
    else:
        facts = [
            SnapshotReply(bad=[str(reply)]) if failed(reply) else SnapshotReply(*reply[1:])
            for reply in replies
        ]
    return [_read(name, item, now) for name, item in zip(names, facts, strict=True)]


def _minutes(now: int) -> list[int]:
    current = now - now % 60_000
    return [current - i * 60_000 for i in range(1, MINUTES + 1)]


async def _plain(reader: Reader, keys: QueueKeys, now: int, window: int | None) -> SnapshotReply:
    """Read the same by plain commands, for users who may not call functions."""
    fields = [f"m:{minute}:{kind}" for minute in _minutes(now) for kind in "cd"]
    commands = {
        "xlen": ("XLEN", keys.stream),
        "lifo": ("LLEN", keys.lifo),
        "priority": ("LLEN", keys.priority),
        "list_active": ("GET", keys.list_active),
        "scheduled": ("ZCARD", keys.scheduled),
        "suspended": ("ZCARD", keys.suspended),
        "completed": ("ZCARD", keys.completed),
        "failed": ("ZCARD", keys.failed),
        "failed_1h": ("ZCOUNT", keys.failed, now - HOUR_MS, "+inf"),
        "parked": ("SCARD", keys.parked),
        "next_timeout": ("ZRANGE", keys.suspended, 0, 0, "WITHSCORES"),
        "meta": ("HMGET", keys.meta, *_META),
        "rate": ("HMGET", keys.rate, "windowStart", "count"),
        "done": ("HMGET", keys.metrics("completed"), *fields),
        "lost": ("HMGET", keys.metrics("failed"), *fields),
    }
    replies = await reader.read(
        [
            *commands.values(),
            ("XINFO", "GROUPS", keys.stream),
            ("HSCAN", keys.limits, 0, "COUNT", 1000),
            *(("HMGET", keys.usage(minute), *_USAGE) for minute in _minutes(now)),
        ]
    )
    bad = [str(reply) for reply in replies if failed(reply) and "no such key" not in str(reply).lower()]
    found = [None if failed(reply) else reply for reply in replies]
    groups, published, *usage = found[len(commands) :]
    pending, delivered = group_facts(groups)
    limits = pairs(published[1]) if published else []
    (bands, complete), missed, parked, oldest, tokens, stalled = await asyncio.gather(
        priority_bands(reader, keys.scheduled),
        _missed(reader, keys, now),
        _parked(reader, keys),
        _oldest(reader, keys, delivered),
        _tokens(reader, keys, limits, now, window),
        _stalled(reader, keys.queue, delivered),
    )
    return SnapshotReply(
        **dict(zip(commands, found, strict=False)),
        pending=pending,
        prioritized=sum(bands.values()) if complete else None,
        group_waiting=parked,
        oldest=oldest,
        limits=[part for pair in limits for part in pair],
        tokens=tokens,
        usage=[value for row in usage for value in row or [None] * len(_USAGE)],
        stalled=stalled,
        bad=bad,
        missed=missed,
    )


async def _missed(reader: Reader, keys: QueueKeys, now: int) -> int | None:
    """Count the schedulers with a run that nobody made in time, among few."""
    many = await reader.read_one("HLEN", keys.schedulers)
    if failed(many) or integer(many) > MANY:
        return None
    reply = await reader.read_one("HGETALL", keys.schedulers) if many else []
    return sum(1 for entry in decode_schedulers(reply, now).values() if entry.missed)


async def _parked(reader: Reader, keys: QueueKeys) -> int | None:
    groups = await reader.read_one("HLEN", keys.ordering)
    if failed(groups) or groups > MANY:
        return None
    names = await reader.read_one("HKEYS", keys.ordering) if groups else []
    counts = await reader.read([("ZCARD", keys.groupq(text(name) or "")) for name in names])
    return sum(map(integer, counts))


async def _oldest(reader: Reader, keys: QueueKeys, delivered: str) -> int | None:
    first, priority, lifo = await reader.read(
        [
            ("XRANGE", keys.stream, f"({delivered}", "+", "COUNT", 1),
            ("LINDEX", keys.priority, -1),
            ("LINDEX", keys.lifo, 0),
        ]
    )
    ids = [*(dict(fields).get("jobId") for _, fields in entries(first)), text(priority), text(lifo)]
    times = await reader.read([("HGET", keys.job(job_id), "timestamp") for job_id in ids if job_id])
    return min((at for at in map(integer, times) if at), default=None)


async def _stalled(reader: Reader, queue: str, delivered: str) -> int:
    ids = await longest_running(reader, queue, delivered, LOOKED_AT)
    return len(await find_overdue(reader, queue, ids))


async def _tokens(
    reader: Reader, keys: QueueKeys, limits: Sequence[tuple[Any, Any]], now: int, window: int | None
) -> list[Any]:
    found = [limit.tpm_ms for limit in _published(limits, now) if limit.tpm_ms > 0]
    durations = list(dict.fromkeys([*found, *([window] if window else [])]))[:8]
    used = await reader.read([("GET", keys.tpm(now // duration)) for duration in durations])
    return [part for pair in zip(durations, used, strict=True) for part in pair]


@dataclass(frozen=True, slots=True)
class Published:
    """Limits of one live worker, as it published them."""

    rpm_max: float | None
    rpm_ms: int
    tpm_max: float | None
    tpm_ms: int
    tpm_scope: str


def _published(limits: Sequence[tuple[Any, Any]], now: int) -> list[Published]:
    found = []
    for _, value in limits:
        try:
            item = parse_json(value)
            if item["until"] < now:
                continue
            rpm, tpm = item.get("rpm") or {}, item.get("tpm") or {}
            found.append(
                Published(
                    rpm_max=number(rpm.get("max")),
                    rpm_ms=integer(rpm.get("duration")),
                    tpm_max=number(tpm.get("maxTokens")),
                    tpm_ms=integer(tpm.get("duration")),
                    tpm_scope=str(tpm.get("scope", "both")),
                )
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def _read(name: str, facts: SnapshotReply, now: int) -> QueueSnapshot:
    meta = [text(value) for value in facts.meta or [None] * len(_META)]
    limits = _published(pairs(facts.limits), now)
    done = _sum_minutes(facts.done)
    lost = _sum_minutes(facts.lost)
    usage = sliced(facts.usage or (), 3)
    concurrency = integer(meta[1])
    units = [unit for unit in (text(row[2]) for row in usage) if unit]
    return QueueSnapshot(
        **facts.counts(),
        name=name,
        paused=meta[0] == "1",
        oldest_waiting_at=instant(facts.oldest),
        completed_per_min=done[0] / MINUTES,
        failed_per_min=lost[0] / MINUTES,
        avg_ms=done[1] / done[0] if done[0] else None,
        tokens_per_s=sum(max(0.0, number(row[0]) or 0.0) for row in usage) / (MINUTES * 60),
        cost_per_hour=sum(max(0.0, number(row[1]) or 0.0) for row in usage) * 60 / MINUTES,
        cost_unit=units[0] if units else None,
        rpm=_rpm(meta, facts.rate, limits, now),
        tpm=_tpm(pairs(facts.tokens), limits, now),
        global_concurrency=concurrency if concurrency > 0 else None,
        workers=None,
        dead_letter_queue=meta[4] or None,
        unreadable=tuple(dict.fromkeys(text(suffix) or "" for suffix in facts.bad or ())),
        stalled=_known(facts.stalled),
        failed_1h=_known(facts.failed_1h),
        parked=_known(facts.parked),
        missed=_known(facts.missed),
        next_timeout_at=_next_timeout(facts.next_timeout),
    )


def _next_timeout(first: Any) -> datetime | None:
    """Decode the first member of the suspended jobs and its score; None when none of them times out."""
    at = next((integer(score) for _, score in pairs(first or ())), NO_DEADLINE)
    return instant(at) if 0 < at < NO_DEADLINE else None


def _known(count: Any) -> int | None:
    return None if count is None or count is False else integer(count)


def _sum_minutes(values: Any) -> tuple[int, float]:
    row = [max(0.0, number(value) or 0.0) for value in values or ()]
    return int(sum(row[::2])), sum(row[1::2])


def _rpm(meta: Sequence[str | None], rate: Any, limits: Sequence[Published], now: int) -> Rate:
    """Decode used starts of the window; the cap is the queue's, else the smallest that a worker published."""
    cap: float | None = number(meta[2])
    window = integer(meta[3])
    source: RateSource = "queue"
    if not cap or cap <= 0 or window <= 0:
        own = [(limit.rpm_max, limit.rpm_ms) for limit in limits if limit.rpm_max and limit.rpm_ms > 0]
        (cap, window), source = min(own, default=(None, 0)), "worker"
    begun, count = (integer(value) for value in rate) if rate else (0, 0)
    if not window:
        # The length of the window is unknown: the count is shown while a usual one would last.
        recent = begun and 0 <= now - begun < 60_000
        return Rate(used=count if recent else None)
    running = bool(begun) and now - begun < window
    return Rate(
        used=count if running else 0,
        max=cap,
        window_ms=window,
        resets_at=instant(begun + window) if running else None,
        source=source,
    )


def _tpm(counters: Sequence[tuple[Any, Any]], limits: Sequence[Published], now: int) -> Rate:
    """Choose the shared counter nearest to its cap; without a published cap the counter alone."""
    rates: list[tuple[float, Rate]] = []
    for duration, value in counters:
        window = integer(duration)
        mine = [limit for limit in limits if limit.tpm_ms == window]
        caps = [limit.tpm_max for limit in mine if limit.tpm_scope != "worker" and limit.tpm_max]
        if window <= 0 or (mine and not caps):
            continue  # unknown, or counted in the workers' memory only
        used, cap = max(0.0, number(value) or 0.0), min(caps, default=None)
        rate = Rate(
            used=used,
            max=cap,
            window_ms=window,
            resets_at=instant((now // window + 1) * window),
            source="worker" if caps else None,
        )
        rates.append((used / cap if cap else -1.0, rate))
    return max(rates, key=lambda item: item[0], default=(0.0, Rate()))[1]
