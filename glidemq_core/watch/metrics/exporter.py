"""Figures of queues as Prometheus reads them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ..session import WatchSession
from ..watch import Watch
from .exposition import Family, render
from .gauges import Gauges, QueueGauges, read_gauges
from .minutes import MINUTE_MS, Counters, Tally, read_minutes

#: An answer is given again for so long, s: two scrapers at once cost one reading.
_FRESH_S = 1.0


class Exporter:
    """Reads figures of queues, at a cost that does not grow with the number of their jobs.

    Args:
        watch: what reads them; `Watch.discover` adds queues that it does not know.
        names: only these queues; None: all that the watch knows.
        counting: counters that go on from one reading to the next, from 0 at the first; else the last full minute.
    """

    def __init__(self, watch: Watch, names: Sequence[str] | None = None, *, counting: bool = True) -> None:
        self._watch = watch
        self._names = names
        self._counting = counting
        self._counters: Counters | None = None
        self._reading = asyncio.Lock()
        self._last: tuple[float, str] = (-_FRESH_S, "")

    async def read(self) -> str:
        """Return the text of Prometheus' format, version 0.0.4. Raises what speaks of the server."""
        async with self._reading:
            at, shown = self._last
            if time.monotonic() - at >= _FRESH_S:
                shown = await self._read()
                self._last = (time.monotonic(), shown)
            return shown

    async def _read(self) -> str:
        session = await self._watch._open()
        if self._names is None:
            await session.queues.known()
        names = await session.names(self._names)
        gauges = await read_gauges(session, names)
        families = [_up(True), *_queue_families(gauges, session.reader.now_ms())]
        if self._counting:
            if self._counters is None:
                self._counters = Counters(session.reader)
            families += _tallies(await self._counters.read(names), _COUNTED)
        else:
            families += _tallies(await _last_minute(session, names), _LAST_MINUTE)
        return render(families)


def unreachable() -> str:
    """Return what is scraped while the server cannot be read."""
    return render([_up(False)])


def _up(is_up: bool) -> Family:
    family = Family("glidemq_up", "gauge", "1 if the queues could be read, else 0.")
    family.add(int(is_up))
    return family


async def _last_minute(session: WatchSession, names: Sequence[str]) -> dict[str, tuple[Tally, str | None]]:
    minute = session.reader.now_ms() // MINUTE_MS * MINUTE_MS - MINUTE_MS
    found = await read_minutes(session.reader, [(name, [minute]) for name in names])
    return {name: (one.minutes[minute], one.cost_unit) for name, one in zip(names, found, strict=True)}


#: By field of a tally: name of the metric, its help.
_COUNTED: Mapping[str, tuple[str, str]] = {
    "completed": ("glidemq_jobs_completed_total", "Jobs that have completed."),
    "failed": ("glidemq_jobs_failed_total", "Jobs that have failed for good."),
    "run_ms": (
        "glidemq_jobs_run_seconds_total",
        "Run time of the jobs that have ended, of their last attempt.",
    ),
    "tokens": ("glidemq_tokens_total", "Tokens that jobs have reported."),
    "cost": ("glidemq_cost_total", "Cost that jobs have reported, in the unit of the label."),
    "reports": ("glidemq_usage_reports_total", "Jobs that have reported usage."),
}
_LAST_MINUTE: Mapping[str, tuple[str, str]] = {
    "completed": ("glidemq_last_minute_jobs_completed", "Jobs that completed in the last full minute."),
    "failed": ("glidemq_last_minute_jobs_failed", "Jobs that failed for good in the last full minute."),
    "run_ms": (
        "glidemq_last_minute_jobs_run_seconds",
        "Run time of the jobs that ended in the last full minute.",
    ),
    "tokens": ("glidemq_last_minute_tokens", "Tokens that jobs reported in the last full minute."),
    "cost": (
        "glidemq_last_minute_cost",
        "Cost that jobs reported in the last full minute, in the unit of the label.",
    ),
    "reports": ("glidemq_last_minute_usage_reports", "Jobs that reported usage in the last full minute."),
}


def _tallies(
    tallies: Mapping[str, tuple[Tally, str | None]], named: Mapping[str, tuple[str, str]]
) -> list[Family]:
    kind: Literal["counter", "gauge"] = "counter" if named is _COUNTED else "gauge"
    families = {amount: Family(name, kind, text) for amount, (name, text) in named.items()}
    for queue, (tally, unit) in tallies.items():
        for amount, family in families.items():
            value = getattr(tally, amount)
            if amount == "cost":
                family.add(value, queue=queue, unit=unit or "")
            else:
                family.add(value / 1_000 if amount == "run_ms" else value, queue=queue)
    return list(families.values())


def _queue_families(gauges: Gauges, now_ms: int) -> Iterable[Family]:
    return [
        _jobs(gauges.queues),
        *_plain(gauges.queues, now_ms),
        *_budget_families(gauges.queues),
        _dead_letters(gauges.dead_letters),
    ]


def _jobs(queues: Iterable[QueueGauges]) -> Family:
    family = Family(
        "glidemq_jobs", "gauge", "Jobs by state; delayed without those that only wait for their turn."
    )
    for one in queues:
        counts = one.snapshot
        for state, value in (
            ("waiting", counts.waiting),
            ("active", counts.active),
            ("delayed", max(0, counts.delayed - (counts.prioritized or 0))),
            ("prioritized", counts.prioritized),
            ("group-waiting", counts.group_waiting),
            ("suspended", counts.suspended),
            ("completed", counts.completed),
            ("failed", counts.failed),
        ):
            family.add(value, queue=counts.name, state=state)
    return family


def _plain(queues: Iterable[QueueGauges], now_ms: int) -> list[Family]:
    """Metrics whose only label is the queue."""
    described = {
        "glidemq_oldest_waiting_age_seconds": "Age of the job that has waited longest, 0 when none waits.",
        "glidemq_queue_paused": "1 if the queue is paused, else 0.",
        "glidemq_stalled_jobs": "Active jobs whose heartbeat is overdue, among the 50 that have run longest.",
        "glidemq_workers": "Live workers that have taken a job.",
        "glidemq_suspended_deadline_timestamp_seconds": "Soonest deadline of a suspended job, none without one.",
        "glidemq_rpm_used": "Starts in the window of the rate limit.",
        "glidemq_rpm_limit": "Starts that the window of the rate limit allows.",
        "glidemq_rpm_window_seconds": "Length of the window of the rate limit.",
        "glidemq_tpm_used": "Tokens in the window of the token limit.",
        "glidemq_tpm_limit": "Tokens that the window of the token limit allows.",
        "glidemq_tpm_window_seconds": "Length of the window of the token limit.",
        "glidemq_concurrency_limit": "Jobs of the queue that may run at once, none without a limit.",
        "glidemq_schedulers": "Schedulers.",
        "glidemq_schedulers_missed_runs": "Runs of schedulers that are due and that nobody makes, at most 100 each.",
        "glidemq_unreadable_keys": "Keys of the queue that are of another type; what they hold is missing here.",
    }
    families = {name: Family(name, "gauge", text) for name, text in described.items()}
    for one in queues:
        for name, value in _figures(one, now_ms).items():
            families[name].add(value, queue=one.snapshot.name)
    return list(families.values())


def _figures(one: QueueGauges, now_ms: int) -> dict[str, float | None]:
    snapshot = one.snapshot
    oldest = snapshot.oldest_waiting_at
    rpm, tpm = snapshot.rpm, snapshot.tpm
    return {
        "glidemq_oldest_waiting_age_seconds": (
            max(0.0, now_ms / 1_000 - oldest.timestamp()) if oldest is not None else 0.0
        ),
        "glidemq_queue_paused": int(snapshot.paused),
        "glidemq_stalled_jobs": snapshot.stalled,
        "glidemq_workers": one.workers,
        "glidemq_suspended_deadline_timestamp_seconds": _seconds(one.deadline_ms),
        "glidemq_rpm_used": rpm.used,
        "glidemq_rpm_limit": rpm.max,
        "glidemq_rpm_window_seconds": _seconds(rpm.window_ms),
        "glidemq_tpm_used": tpm.used,
        "glidemq_tpm_limit": tpm.max,
        "glidemq_tpm_window_seconds": _seconds(tpm.window_ms),
        "glidemq_concurrency_limit": snapshot.global_concurrency,
        "glidemq_schedulers": one.schedulers,
        "glidemq_schedulers_missed_runs": one.missed,
        "glidemq_unreadable_keys": len(snapshot.unreadable),
    }


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1_000


def _budget_families(queues: Iterable[QueueGauges]) -> list[Family]:
    open_, exceeded, parked, tokens, tokens_left, cost, cost_left, least = (
        Family(name, "gauge", text)
        for name, text in (
            ("glidemq_budgets", "Open budgets of flows, of the newest 100."),
            ("glidemq_budgets_exceeded", "Open budgets that are used up."),
            ("glidemq_budget_parked_jobs", "Jobs that open budgets have parked."),
            ("glidemq_budget_used_tokens", "Tokens booked in open budgets."),
            ("glidemq_budget_left_tokens", "Tokens left in the open budgets that have a cap of tokens."),
            ("glidemq_budget_used_cost", "Cost booked in open budgets, in the unit of the label."),
            ("glidemq_budget_left_cost", "Cost left in the open budgets that have a cap of cost."),
            (
                "glidemq_budget_least_left_ratio",
                "Share that is left of the open budget nearest to its cap, 0 to 1.",
            ),
        )
    )
    for one in queues:
        queue, budgets = one.snapshot.name, one.budgets
        open_.add(budgets.flows, queue=queue)
        exceeded.add(budgets.exceeded, queue=queue)
        parked.add(budgets.parked, queue=queue)
        if budgets.flows:
            tokens.add(budgets.used_tokens, queue=queue)
            tokens_left.add(budgets.left_tokens, queue=queue)
            least.add(budgets.least_left, queue=queue)
        for family, amounts in ((cost, budgets.used_cost), (cost_left, budgets.left_cost)):
            for unit, amount in amounts.items():
                family.add(amount, queue=queue, unit=unit)
    return [open_, exceeded, parked, tokens, tokens_left, cost, cost_left, least]


def _dead_letters(counts: Mapping[str, int]) -> Family:
    family = Family(
        "glidemq_dead_letters", "gauge", "Letters in a queue that holds the dead letters of others."
    )
    for queue, count in counts.items():
        family.add(count, queue=queue)
    return family
