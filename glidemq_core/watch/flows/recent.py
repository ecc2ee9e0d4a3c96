"""Jobs of recent events of many queues: the queues that matter are read every time, the others in turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.wire.keys import QueueKeys
from glidemq_core.wire.replies import entries, failed, sliced, text

#: Queues whose events one call reads at most, and how many of those in turn where nothing seems to happen.
_QUEUES, _IN_TURN = 32, 4
#: Events of a queue that are read at first and later, and bytes of them.
_FIRST_EVENTS, _EVENTS, _EVENT_BYTES = 50, 200, 262_144
#: Counters of queues that one command reads.
_COUNTERS = 512


class RecentJobs:
    """Reads events from where it stopped; one command tells in which of hundreds of queues jobs were added since."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        #: Id of the last event read of each queue, "" where there was none.
        self._last_read: dict[str, str] = {}
        #: Last job id of each queue, and queues where it has changed since their events were read.
        self._counters: dict[str, str | None] = {}
        self._changed: dict[str, None] = {}
        self._turn = 0

    async def jobs(self, names: Sequence[str], first: Collection[str]) -> list[JobRef]:
        """Return the jobs of new events, the latest of each queue first; `first`: queues that are read every time."""
        turn = await self._choose(names, first)
        queues = [
            (self._reader.keys(name), self._last_read.get(name, ""), self._count(name)) for name in turn
        ]
        replies = await self._reader.call_each(
            "recent_jobs", [(keys.root, (last, count, _EVENT_BYTES)) for keys, last, count in queues]
        )
        if replies is None:
            found = await self._plain(queues)
        else:
            answers = [("", "") if failed(reply) else reply for reply in replies]
            found = [
                (text(newest) or "", [text(job_id) or "" for job_id in ids]) for _, newest, *ids in answers
            ]
        jobs: dict[JobRef, None] = {}
        for name, (newest, ids) in zip(turn, found, strict=True):
            self._last_read[name] = newest or self._last_read.get(name, "")
            self._changed.pop(name, None)
            jobs |= dict.fromkeys(JobRef(name, job_id) for job_id in ids)
        return list(jobs)

    def _count(self, name: str) -> int:
        return _EVENTS if self._last_read.get(name) else _FIRST_EVENTS

    async def _choose(self, names: Sequence[str], first: Collection[str]) -> list[str]:
        counted = await self._read_counters(names)
        turned = [*names[self._turn % max(1, len(names)) :], *names[: self._turn % max(1, len(names))]]
        chosen = dict.fromkeys([name for name in turned if name in first][: _QUEUES // 2])
        chosen |= dict.fromkeys(name for name in turned if name in self._changed)
        chosen |= dict.fromkeys(name for name in turned if name not in self._last_read)
        others = [name for name in turned if name not in chosen]
        chosen |= dict.fromkeys(others[: _IN_TURN if counted else _QUEUES])
        picked = list(chosen)[:_QUEUES]
        self._turn += len([name for name in picked if name in others]) or 1
        return picked

    async def _read_counters(self, names: Sequence[str]) -> bool:
        """Note the queues that have got jobs; False where that would take more than a few commands."""
        if self._reader.connection.is_cluster:
            return False
        parts = sliced(list(names), _COUNTERS)
        answers = await self._reader.read(
            [("MGET", *(self._reader.keys(n).id for n in part)) for part in parts]
        )
        if any(failed(answer) for answer in answers):
            return False
        for part, answer in zip(parts, answers, strict=True):
            for name, value in zip(part, map(text, answer), strict=True):
                if self._counters.get(name, value) != value:
                    self._changed[name] = None
                self._counters[name] = value
        return True

    async def _plain(self, queues: Sequence[tuple[QueueKeys, str, int]]) -> list[tuple[str, list[str]]]:
        """Read the same by plain commands, for users who may not call functions."""
        found = []
        for reply in await self._reader.read(
            ("XREVRANGE", keys.events, "+", f"({last}" if last else "-", "COUNT", count)
            for keys, last, count in queues
        ):
            events = entries(reply)
            ids = [job_id for _, fields in events if (job_id := dict(fields).get("jobId"))]
            found.append((events[0][0] if events else "", ids))
        return found
