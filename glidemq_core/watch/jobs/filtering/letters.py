"""Dead letters that a filter takes: looked for page by page among all there are, and kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from glidemq_core.filters.failures import letter_fits
from glidemq_core.filters.language import Expression
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.records.failures import DeadLetter, Letters
from glidemq_core.wire.entry_ids import parse_id
from glidemq_core.wire.replies import entries, failed, integer

from ..letters import Listed, letter_holders, read_listed
from ..sources import from_stream
from .filter import unhurried
from .newest import MergedSources
from .paged import PagedScan
from .scan import PAGE

#: Letters found before of which one refresh asks whether they are still there.
_CHECKED: Final = 500


class LetterScan(PagedScan):
    """Looks through the dead letters of queues, the newest first."""

    def __init__(self, reader: Reader, queues: Sequence[str], where: Expression[DeadLetter]) -> None:
        """Begin; nothing is read yet.

        Args:
            where: the letters that are wanted.
        """
        super().__init__(reader, queues)
        self._where = where
        self._found: dict[Listed, DeadLetter] = {}
        #: Id of the newest entry of each queue of letters that was looked at.
        self._newest: dict[str, str] = {}

    @property
    def matches(self) -> int:
        """How many were found."""
        return len(self._found)

    @property
    def rows(self) -> int:
        """How many rows a list of them has."""
        return len(self._found)

    @property
    def letters(self) -> Letters:
        """What was found, the newest first."""
        newest = sorted(self._found, key=lambda one: parse_id(one[1]), reverse=True)
        return Letters(
            letters=tuple(self._found[one] for one in newest),
            total=self.total or 0,
            complete=self._is_whole and not self.has_more,
            at=self._reader.now(),
        )

    async def look(self, most: int = PAGE) -> None:
        """Look at the next entries, at most so many."""
        if self._sources is None:
            self._sources = await self._open()
        taken = await self._sources.take(most)
        await self._test([(JobRef(holder, one.id), str(one.position)) for holder, one in taken])

    async def _open(self) -> MergedSources:
        reader = self._reader
        holders = await letter_holders(reader, self._queues)
        await self._count(holders)
        newest = await reader.read(
            [("XREVRANGE", reader.keys(name).stream, "+", "-", "COUNT", 1) for name in holders]
        )
        for name, reply in zip(holders, newest, strict=True):
            listed = [] if failed(reply) else entries(reply)
            self._newest[name] = listed[0][0] if listed else "0-0"
        # What comes after these is found by a refresh.
        return MergedSources(
            {
                name: from_stream(reader, reader.keys(name).stream, "-", last, True)
                for name, last in self._newest.items()
                if last != "0-0"
            }
        )

    async def _count(self, holders: Sequence[str]) -> None:
        counts = await self._reader.read([("XLEN", self._reader.keys(name).stream) for name in holders])
        self._is_whole = not any(map(failed, counts))
        self.total = sum(integer(count) for count in counts if not failed(count))

    async def _test(self, wanted: Sequence[Listed]) -> None:
        """Look at entries, keep the letters that the filter takes."""
        read = await read_listed(self._reader, wanted)
        now = self._reader.now()
        async for one, letter in unhurried(read.items()):
            if letter_fits(self._where, letter, now):
                self._found[one] = letter
        self.looked += len(wanted)

    async def refresh(self) -> None:
        """Look at new entries, and take out letters that are gone."""
        if self._sources is None:
            return
        reader, holders = self._reader, list(self._newest)
        await self._count(holders)
        replies = await reader.read(
            [
                ("XRANGE", reader.keys(name).stream, f"({self._newest[name]}", "+", "COUNT", PAGE)
                for name in holders
            ]
        )
        fresh: list[Listed] = []
        for name, reply in zip(holders, replies, strict=True):
            listed = [] if failed(reply) else entries(reply)
            fresh += [
                (JobRef(name, job_id), entry)
                for entry, fields in listed
                if (job_id := dict(fields).get("jobId"))
            ]
            self._newest[name] = listed[-1][0] if listed else self._newest[name]
        await self._test(fresh)
        await self._check()

    async def _check(self) -> None:
        """Take out letters that were replayed or discarded, some of them in turn."""
        checked = self._next_turn(list(self._found), _CHECKED)
        replies = await self._reader.read(
            [
                ("XRANGE", self._reader.keys(ref.queue).stream, entry, entry, "COUNT", 1)
                for ref, entry in checked
            ]
        )
        for one, reply in zip(checked, replies, strict=True):
            if not failed(reply) and not entries(reply):
                del self._found[one]
