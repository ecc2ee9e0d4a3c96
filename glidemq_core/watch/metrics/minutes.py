"""Jobs that ended and what they used, by the minutes that the wire keeps for a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from glidemq_core.reading.reader import Command, Reader
from glidemq_core.wire.keys import QueueKeys
from glidemq_core.wire.replies import failed, items, number, text

MINUTE_MS = 60_000
#: Minutes before the running one that are read again: ends are stamped by the workers' clocks, and may come late.
_LATE = 5
#: The wire keeps minutes for a day.
_KEPT = 24 * 60
_USAGE = ("totalTokens", "totalCost", "jobCount", "costUnit")


@dataclass(slots=True)
class Tally:
    """What ended and was used, in one minute or since a start."""

    completed: float = 0
    failed: float = 0
    run_ms: float = 0
    tokens: float = 0
    cost: float = 0
    reports: float = 0

    AMOUNTS = ("completed", "failed", "run_ms", "tokens", "cost", "reports")

    def add(self, other: Tally, sign: int = 1) -> None:
        for name in self.AMOUNTS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))

    def rise_to(self, other: Tally) -> None:
        """Take over what is larger: a counter never falls."""
        for name in self.AMOUNTS:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))


@dataclass(slots=True)
class QueueMinutes:
    """What was read of a queue: a tally a minute (epoch ms of its start), and the unit of its costs."""

    minutes: dict[int, Tally]
    cost_unit: str | None = None


async def read_minutes(reader: Reader, wanted: Iterable[tuple[str, Sequence[int]]]) -> list[QueueMinutes]:
    """Read some minutes each of some queues; what cannot be read counts as nothing."""
    asked = [(reader.keys(name), minutes) for name, minutes in wanted]
    answers = await reader.read_each(asked, lambda pair: _commands(*pair))
    return [_decoded(minutes, replies) for (_, minutes), replies in zip(asked, answers, strict=True)]


def _commands(keys: QueueKeys, minutes: Sequence[int]) -> list[Command]:
    fields = [f"m:{minute}:{part}" for minute in minutes for part in "cd"]
    return [
        ("HMGET", keys.metrics("completed"), *fields),
        ("HMGET", keys.metrics("failed"), *fields),
        *(("HMGET", keys.usage(minute), *_USAGE) for minute in minutes),
    ]


def _decoded(minutes: Sequence[int], replies: Sequence[object]) -> QueueMinutes:
    rows = [[] if failed(reply) else items(reply) for reply in replies]
    done, lost, *usage = rows
    found = QueueMinutes({})
    for index, minute in enumerate(minutes):
        tokens, cost, reports, unit = usage[index] or [None] * len(_USAGE)
        found.minutes[minute] = Tally(
            completed=_amount(done, 2 * index),
            failed=_amount(lost, 2 * index),
            run_ms=_amount(done, 2 * index + 1) + _amount(lost, 2 * index + 1),
            tokens=max(0.0, number(tokens) or 0.0),
            cost=max(0.0, number(cost) or 0.0),
            reports=max(0.0, number(reports) or 0.0),
        )
        found.cost_unit = text(unit) or found.cost_unit
    return found


def _amount(row: Sequence[object], index: int) -> float:
    return max(0.0, number(row[index]) or 0.0) if index < len(row) else 0.0


@dataclass(slots=True)
class _Counted:
    """Counters of one queue: as shown, as the minutes add up to, and the minutes last read."""

    shown: Tally = field(default_factory=Tally)
    sum: Tally = field(default_factory=Tally)
    minutes: dict[int, Tally] = field(default_factory=dict)
    cost_unit: str | None = None


class Counters:
    """Counters that start at 0 with the first reading, and go on from one reading to the next.

    The wire has no lasting counters: sets of ended jobs shrink, minutes go after a day. Each reading adds what the
    minutes have got since the one before; a day may lie between two. Of a queue that appears later the latest minutes
    count, but for those before the first reading.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._counted: dict[str, _Counted] = {}
        #: The minute of the first reading; queues that were read before.
        self._since: int | None = None
        self._seen: set[str] = set()

    async def read(self, names: Sequence[str]) -> dict[str, tuple[Tally, str | None]]:
        """Return the counters of queues and the unit of their costs."""
        current = self._reader.now_ms() // MINUTE_MS * MINUTE_MS
        wanted = [(name, self._minutes(name, current)) for name in names]
        for (name, _), found in zip(wanted, await read_minutes(self._reader, wanted), strict=True):
            counted = self._counted.get(name)
            if counted is None:
                counted = self._counted[name] = _Counted(minutes=self._before(name, found.minutes))
            for minute, tally in found.minutes.items():
                counted.sum.add(tally)
                counted.sum.add(counted.minutes.get(minute, Tally()), -1)
            counted.shown.rise_to(counted.sum)
            counted.minutes = found.minutes
            counted.cost_unit = found.cost_unit or counted.cost_unit
        self._counted = {name: self._counted[name] for name in names}
        self._since = current if self._since is None else self._since
        self._seen.update(names)
        return {name: (counted.shown, counted.cost_unit) for name, counted in self._counted.items()}

    def _before(self, name: str, minutes: dict[int, Tally]) -> dict[int, Tally]:
        """Of a queue that is new here, what is not to be counted."""
        since = self._since
        if since is None or name in self._seen:
            return minutes
        return {minute: tally for minute, tally in minutes.items() if minute <= since}

    def _minutes(self, name: str, current: int) -> list[int]:
        """Minutes to read: the running one, those that may still change, and all since the last reading."""
        counted = self._counted.get(name)
        newest = max(counted.minutes) if counted is not None else current
        first = max(min(newest, current) - _LATE * MINUTE_MS, current - (_KEPT - 1) * MINUTE_MS)
        # One minute ahead: the clock of a worker may be.
        return list(range(first, current + 2 * MINUTE_MS, MINUTE_MS))
