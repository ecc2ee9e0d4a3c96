"""The columns of the list of workers: one line each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from ...model.snapshot import epoch_ms
from ...model.workers import WorkerRow
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Styled
from . import text as say

if TYPE_CHECKING:
    from glidemq_core.records import WorkerInfo

Of = Column[WorkerRow]


def _since(row: WorkerRow, since: Callable[[WorkerInfo], datetime | None]) -> int | None:
    """Longer ago is more."""
    at = since(row.worker) if row.worker is not None else None
    return None if at is None else -(epoch_ms(at) or 0)


def up(row: WorkerRow) -> int | None:
    return _since(row, lambda worker: worker.started_at)


def seen(row: WorkerRow) -> int | None:
    return _since(row, lambda worker: worker.seen_at)


COLUMNS = (
    Of("worker", "WORKER", 16, lambda row, _: say.who(row), lambda row: row.process or None, rises=True, flexible=1),
    Of("queue", "QUEUE", 12, lambda row, _: Styled(short(row.queue)), lambda row: row.queue, rises=True, flexible=1),
    Of("lang", "LANG", 4, lambda row, _: say.language(row), lambda row: row.language, rises=True, leaves=5),
    Of("up", "UP", 7, say.up, up, right=True, leaves=4),
    Of("run", "RUN", 7, lambda row, _: say.run(row), lambda row: row.jobs, right=True, leaves=1),
    Of("oldest", "OLDEST", 7, say.oldest, lambda row: row.oldest_ms and -row.oldest_ms, right=True, leaves=2),
    Of("seen", "SEEN", 6, say.seen, seen, right=True, leaves=3),
    # Wide enough for what becomes of the jobs of a dead worker.
    Of("does", "DOES", 23, say.does, flexible=7),
)  # fmt: skip
