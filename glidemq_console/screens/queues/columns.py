"""The columns of the list of queues, for the screen and for `glidemq queues`: one line each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from ...model.lists.queues import QueueLine
from ...model.snapshot import age_ms, delayed_jobs, ready_jobs
from ...model.trouble import is_unserved
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.meters import sparkline_parts
from ...widgets.styled import Cell, Styled, dim
from ..limits.text import mini_meter

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot

Of = Column[QueueLine]
#: Sparkline cells beside the figure of done/min.
SPARK = 10


def number(value: float | None, token: str = "foreground", *, loud: bool = False) -> Cell:
    """A count; zeros and unknowns are dim."""
    quiet = not value
    return Styled(fmt.count(value), "dim" if quiet else token, "bold" if loud and not quiet else "")


def name(line: QueueLine, _now: int) -> Cell:
    return Styled(short(line.name, 256), "dim" if line.queue.paused else "foreground")


def paused(line: QueueLine, _now: int) -> Cell:
    return Styled(fmt.state_look("paused").glyph, "state-paused") if line.queue.paused else ""


def running(line: QueueLine, _now: int) -> Cell:
    return number(line.queue.active, "state-stalled" if line.queue.stalled else "foreground")


def cost(line: QueueLine, _now: int) -> Cell:
    per_hour = line.queue.cost_per_hour
    return Styled(
        fmt.money(per_hour, short(line.queue.cost_unit, 8) or None), "foreground" if per_hour else "dim"
    )


def oldest(line: QueueLine, now: int) -> Cell:
    return dim(fmt.passed(age_ms(line.queue.oldest_waiting_at, now)))


def workers(line: QueueLine, _now: int) -> Cell:
    return dim(line.workers or fmt.count(line.queue.workers))


def _oldest_key(line: QueueLine) -> float | None:
    """Longer ago is more."""
    at = line.queue.oldest_waiting_at
    return None if at is None else -at.timestamp()


def _figure(
    key: str,
    title: str,
    width: int,
    value: Callable[[QueueSnapshot], float | None],
    token: str = "foreground",
    *,
    loud: bool = False,
    leaves: int = 0,
) -> Column[QueueLine]:
    """Make the column of a count that it sorts by."""
    return Column(
        key,
        title,
        width,
        lambda line, _: number(value(line.queue), token, loud=loud),
        lambda line: value(line.queue),
        right=True,
        leaves=leaves,
    )


COLUMNS = (
    Of("queue", "QUEUE", 16, name, lambda line: line.name, rises=True, flexible=1),
    Of("paused", "", 1, paused),
    _figure("wait", "WAIT", 6, ready_jobs),
    Of("run", "RUN", 5, running, lambda line: line.queue.active, right=True),
    _figure("delay", "DELAY", 6, delayed_jobs),
    _figure("asked", "◆", 4, lambda queue: queue.suspended, "person", loud=True),
    _figure("fail", "FAIL", 5, lambda queue: queue.failed, "error"),
    _figure("done/min", "DONE/MIN", 8, lambda queue: queue.completed_per_min, leaves=1),
    Of("spark", "", SPARK, lambda line, _: sparkline_parts(line.done, SPARK), leaves=2),
    _figure("tok/s", "TOK/S", 6, lambda queue: queue.tokens_per_s, leaves=3),
    Of("$/h", "COST/H", 8, cost, lambda line: line.queue.cost_per_hour, right=True, leaves=4),
    Of("oldest", "OLDEST", 7, oldest, _oldest_key, right=True, leaves=5),
    Of("rpm", "RPM", 12, lambda line, _: mini_meter(line.queue.rpm), leaves=8),
    Of("tpm", "TPM", 12, lambda line, _: mini_meter(line.queue.tpm), leaves=7),
    Of("workers", "WORKERS", 12, workers, lambda line: line.queue.workers, leaves=6, flexible=1),
)


def ground_of(queue: QueueSnapshot, letters: Collection[str | None]) -> str:
    """The ground of a row: of a queue with stalled jobs, or with work and no worker; dead letters wait for a person."""
    if queue.stalled:
        return "error-background"
    return "warning-background" if is_unserved(queue) and queue.name not in letters else ""


def totals(lines: Sequence[QueueLine]) -> dict[str, Cell]:
    """What the queues add up to, by the key of the column; money only where all of it has one unit."""
    queues = [line.queue for line in lines]
    units = {queue.cost_unit for queue in queues if queue.cost_per_hour}
    sums: dict[str, Cell] = {
        key: Styled(fmt.count(sum(value(queue) or 0 for queue in queues)), "label")
        for key, value in _SUMMED.items()
    }
    if len(units) == 1:
        spent = sum(queue.cost_per_hour or 0 for queue in queues)
        sums["$/h"] = Styled(fmt.money(spent, short(units.pop(), 8) or None), "label")
    return {"queue": Styled(fmt.plural(len(queues), "queue"), "label"), **sums}


_SUMMED: dict[str, Callable[[QueueSnapshot], float | None]] = {
    "wait": ready_jobs,
    "run": lambda queue: queue.active,
    "delay": delayed_jobs,
    "asked": lambda queue: queue.suspended,
    "fail": lambda queue: queue.failed,
    "done/min": lambda queue: queue.completed_per_min,
    "tok/s": lambda queue: queue.tokens_per_s,
}
