"""The columns of the list of limits: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.lists.queues import QueueLine
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Styled
from . import text as say

if TYPE_CHECKING:
    from glidemq_core.records import Rate

Of = Column[QueueLine]


def _share(rate: Rate) -> float | None:
    """How much of a cap is used."""
    return rate.used / rate.max if rate.used is not None and rate.max else None


COLUMNS = (
    Of("queue", "QUEUE", 10, lambda line, _: Styled(short(line.name, 256)), lambda line: line.name, rises=True,
       flexible=1),
    Of("rpm", "RPM", 22, lambda line, _: say.meter_cell(line.queue.rpm), lambda line: _share(line.queue.rpm),
       flexible=1),
    Of("rpm-spark", "LAST 15 MIN", say.ROW_SPARK,
       lambda line, _: say.history_cell(line.meters.rpm, line.queue.rpm), leaves=8),
    Of("rpm-resets", "RESETS", 6, lambda line, now: say.resets_cell(line.queue.rpm, now), right=True, leaves=5),
    Of("tpm", "TPM", 26, lambda line, _: say.meter_cell(line.queue.tpm), lambda line: _share(line.queue.tpm),
       flexible=1, leaves=1),
    Of("tpm-spark", "LAST 15 MIN", say.ROW_SPARK,
       lambda line, _: say.history_cell(line.meters.tpm, line.queue.tpm), leaves=7),
    Of("tpm-resets", "RESETS", 6, lambda line, now: say.resets_cell(line.queue.tpm, now), right=True, leaves=4),
    Of("slots", "RUN", 9, lambda line, now: say.slots_cell(line.queue, now), lambda line: line.queue.active,
       right=True, leaves=6),
    Of("waits", "WAIT", 6, lambda line, now: say.waits_cell(line.queue, now), lambda line: line.queue.waiting,
       right=True),
    Of("held", "", 23, lambda line, now: say.held_cell(line.queue, now), leaves=3),
)  # fmt: skip
