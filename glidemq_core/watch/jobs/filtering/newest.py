"""Several sources of jobs as one, in order: each is read further only when what was taken of it is used up."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Mapping, Sequence

from ..sources import Candidate, IdSource, Order

#: Jobs that are taken of a source at first, at least, and at most in one go.
_LEAST, _MOST = 8, 500


class MergedSources:
    """Gives the jobs of all sources in order. The first jobs of all of them are taken together."""

    def __init__(self, sources: Mapping[str, IdSource]) -> None:
        self._sources = dict(sources)
        self._taken: dict[str, deque[Candidate]] = {name: deque() for name in sources}
        #: How many are taken of a source the next time: those that give most are asked for most.
        self._counts = dict.fromkeys(sources, max(_LEAST, min(_MOST, 2 * _MOST // max(1, len(sources)))))
        self._positions: dict[str, object] = dict.fromkeys(sources)
        #: The next job of each source, by its order.
        self._heads: list[tuple[Order, str]] = []
        self._has_begun = False

    @property
    def has_more(self) -> bool:
        """Whether there may be more."""
        return not self._has_begun or bool(self._heads)

    async def take(self, count: int) -> list[tuple[str, Candidate]]:
        """Take the next jobs with the names of their sources, fewer than `count` at the end only."""
        if not self._has_begun:
            self._has_begun = True
            await self._fill(list(self._sources))
        taken: list[tuple[str, Candidate]] = []
        while self._heads and len(taken) < count:
            _, name = heapq.heappop(self._heads)
            taken.append((name, self._taken[name].popleft()))
            if self._taken[name]:
                self._push(name)
            elif name in self._sources:
                await self._fill([name])
        return taken

    async def _fill(self, names: Sequence[str]) -> None:
        """Read sources further; one that has no more is not asked again."""
        found = await asyncio.gather(
            *(self._sources[name](self._counts[name], self._positions[name]) for name in names)
        )
        for name, candidates in zip(names, found, strict=True):
            if len(candidates) < self._counts[name]:
                del self._sources[name]
            self._counts[name] = min(_MOST, 2 * self._counts[name])
            if candidates:
                self._positions[name] = candidates[-1].position
                self._taken[name].extend(candidates)
                self._push(name)

    def _push(self, name: str) -> None:
        heapq.heappush(self._heads, (self._taken[name][0].order, name))
