"""The ledger of a job: what each attempt used and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, get_args

from ...options.fields import EPOCH, from_epoch_ms
from ...records import Attempt, Usage
from ...records.decoding import json_text
from ...records.outcomes import AttemptOutcome
from ...records.usage import usage_from_json
from ...server.context import QueueContext
from ...wire.replies import as_text, integer
from ...wire.strict_json import parse_json

_OUTCOMES: Final[tuple[AttemptOutcome, ...]] = get_args(AttemptOutcome)


@dataclass(slots=True)
class Run:
    """An attempt while it is put together from its entries; without an end its `outcome` is None."""

    attempt: int
    fallback: int
    worker: str | None
    started: float
    ended: float | None = None
    outcome: AttemptOutcome | None = None
    error: str | None = None
    error_type: str | None = None
    trace: str | None = None
    usage: Usage | None = None

    def fits(self, entry: dict[str, Any]) -> bool:
        """Tell whether an entry belongs to this run; reports from outside a worker name no worker."""
        same = (integer(entry.get("attempt")), integer(entry.get("fallback"))) == (
            self.attempt,
            self.fallback,
        )
        return same and (self.worker is None or entry.get("worker") in (None, self.worker))

    def record(self) -> Attempt:
        return Attempt(
            attempt=self.attempt,
            started_at=from_epoch_ms(self.started) or EPOCH,
            ended_at=None if self.ended is None else from_epoch_ms(self.ended),
            outcome=self.outcome or "lost",
            error=self.error,
            error_type=self.error_type,
            trace=self.trace,
            fallback_index=self.fallback,
            worker=self.worker,
            **(vars(self.usage) if self.usage else {}),
        )


def runs_of(entries: Iterable[bytes | str]) -> list[Run]:
    """Put runs together, oldest first; a run without an end was lost if another one follows."""
    runs: list[Run] = []
    for stored in entries:
        try:
            entry = parse_json(stored)
        except ValueError:
            continue
        if not isinstance(entry, dict) or entry.get("k") not in ("usage", "end"):
            continue
        current = runs[-1] if runs else None
        is_open = current is not None and current.outcome is None
        is_late = entry["k"] == "usage" and entry.get("worker") is None
        if current is None or not current.fits(entry) or not (is_open or is_late):
            if current is not None and is_open:
                current.outcome = "lost"
            current = Run(
                attempt=integer(entry.get("attempt")),
                fallback=integer(entry.get("fallback")),
                worker=json_text(entry.get("worker")),
                started=integer(entry.get("at")),
            )
            runs.append(current)
        current.worker = current.worker or json_text(entry.get("worker"))
        if entry["k"] == "usage":
            current.usage = usage_from_json(entry.get("usage"))
        else:
            current.started = integer(entry.get("started")) or current.started
            current.ended = integer(entry.get("at"))
            current.outcome = next((one for one in _OUTCOMES if one == entry.get("outcome")), "lost")
            current.error = json_text(entry.get("error"))
            current.error_type = json_text(entry.get("error_type"))
            current.trace = json_text(entry.get("trace"))
    return runs


async def get_ledger(context: QueueContext, job_id: str) -> list[Attempt] | None:
    """Read the attempts that have ended, oldest first; None if there is no ledger."""
    entries, state = await context.gather(
        ("LRANGE", context.keys.ledger(job_id), 0, -1), ("HGET", context.keys.job(job_id), "state")
    )
    return attempts_of(entries, as_text(state)) if entries else None


def attempts_of(entries: Iterable[bytes | str], state: str) -> list[Attempt]:
    """Turn ledger entries into attempts that have ended; the run of an active job is left out."""
    runs = runs_of(entries)
    if runs and runs[-1].outcome is None:
        if state == "active":
            runs.pop()
        elif state in ("completed", "failed"):
            # Ended by a Node worker, which keeps no ledger.
            runs[-1].outcome = "completed" if state == "completed" else "failed"
    return [run.record() for run in runs]
