"""Create a flow that one call cannot hold, or that spans slots, in parts: nothing runs before all jobs are written.

Ids are reserved, then every job is written with all its links and the budget, but waiting and in no structure; then
the jobs that can run are released, part by part. Parts may be repeated: each job carries the flow's token. A failure
before the first release removes everything; afterwards the flow can only be finished. All that this takes is on the
server, so that `recover_flows` can do it when the producer is gone.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..errors import CallTimeoutError, GlideMQError, ServerError, ServerUnavailableError
from ..jobs.adding.links import OLD_ENOUGH_MS, register_child, settle_link
from ..jobs.audit import audit_blob
from ..options.job import Actor
from ..server.commands import Arg
from ..server.connection import Connection
from ..server.context import QueueContext
from ..server.retry import retry_lost_reply
from ..server.slots import slot_of
from ..wire.replies import as_text, sliced
from ..wire.strict_json import parse_json
from .plan import Plan, PlannedJob, duplicate, group_spec, hash_of

#: Jobs, and bytes of them, that one call creates at most.
CALL_JOBS = 500
CALL_BYTES = 2 * 1_048_576
#: Links one call writes at most.
_CALL_LINKS = 2_000
#: Jobs of one part.
_PART_JOBS = 250
#: Seconds for which calls are repeated through an outage, once a flow has begun to run.
_RETRY_S = 60.0

_RELEASE, _UNDO = "release_flow", "undo_flow"
_KINDS = {"inner": "i", "leaf": "l", "plain": "p"}
#: Tasks that finish flows whose caller was cancelled after they had begun to run.
_FINISHING: set[asyncio.Task[None]] = set()


class PartedFlow:
    """Creates a flow in parts.

    Args:
        budget: fields of the flow's own budget, None without one.
        budget_key: gives the key of the budget that the jobs draw on, "" without one; known with the ids.
        take_ids: notes the ids of some jobs from a reply, or raises why they are refused.
    """

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        now_ms: int,
        *,
        budget: Sequence[str] | None,
        budget_key: Callable[[], str],
        take_ids: Callable[[Sequence[PlannedJob], list[Any]], None],
    ) -> None:
        self._connection, self._plan, self._now_ms = connection, plan, now_ms
        self._root = plan.root  # the flow is named after it, its queue is the home
        self._budget, self._budget_key, self._take_ids = budget, budget_key, take_ids
        self._token = uuid.uuid4().hex
        self._home = plan.root.context.keys.root
        self._slots: dict[str, list[PlannedJob]] = {self._home: []}
        places = {slot_of(connection, plan.root.context.keys): self._home}
        for job in plan.announced:
            keys = job.context.keys
            place = places.setdefault(slot_of(connection, keys), keys.root)
            self._slots.setdefault(place, []).append(job)
        self._numbered = [(places[slot_of(connection, job.context.keys)], job) for job in plan.jobs]
        self._others = [place for place in self._slots if place != self._home]

    async def create(self) -> None:
        """Create the flow; ids are known afterwards.

        Raises:
            DuplicateJobError, ServerError, and errors of the connection: nothing is left, unless their hint says so.
        """
        for place in self._slots:
            for part in sliced([job for at, job in self._numbered if at == place], CALL_JOBS):
                words = [word for job in part for word in (job.context.keys.root, job.id)]
                reply = await self._connection.call("reserve_flow", place, self._now_ms, *words)
                self._take_ids(part, reply)
        try:
            await self._write()
            await self._link()
            if self._root.outside is not None:
                await register_child(self._root.context, self._root.outside, self._root.id)
        except BaseException as error:
            await self._remove(error)
            raise
        await self._release()

    # Before anything can run ---------------------------------------------------------------------------------

    async def _write(self) -> None:
        entries: dict[str, dict[str, Any]] = {place: {"home": self._home} for place in self._others}
        budget = None if self._budget is None else {"key": self._budget_key(), "fields": [*self._budget]}
        # The home comes first: it lists the others, for a worker that may have to remove them.
        for place in (self._home, *self._others):
            entry = entries.get(place, {"state": "making", "others": self._others})
            first = [json.dumps(entry, ensure_ascii=False), ""]
            if budget is not None and place == self._home:
                first[1] = json.dumps(budget, ensure_ascii=False)
            for part, words in _parts(self._slots[place], self._words):
                head: tuple[Arg, ...] = (self._connection.now_ms(), self._token, *first)
                status, *rest = await self._connection.call("make_flow", place, *head, *words)
                if status == b"duplicate":
                    raise duplicate(self._plan, part[int(rest[0]) - 1])
                self._check(status)
                first = ["", ""]

    def _words(self, job: PlannedJob) -> list[str | bytes]:
        fields = {**hash_of(job, self._now_ms, self._budget_key()), "state": b"waiting-children"}
        group = "" if job.options.ordering is None else json.dumps(group_spec(job), ensure_ascii=False)
        head = (job.context.keys.root, job.id, _KINDS[job.kind], group, str(2 * len(fields)))
        return [*head, *(word for pair in fields.items() for word in pair)]

    async def _link(self) -> None:
        for place, jobs in self._slots.items():
            words: list[str | int] = []
            room = _CALL_LINKS
            for kind, job, members in _links(jobs):
                words += [kind, job.context.keys.root, job.id, len(members), *members]
                room -= len(members) + 4
                if room <= 0:
                    await self._linked(place, words)
                    words, room = [], _CALL_LINKS
            if words:
                await self._linked(place, words)

    async def _linked(self, place: str, words: Sequence[str | int]) -> None:
        now = self._connection.now_ms()
        [status] = await self._connection.call("link_flow", place, now, self._token, *words)
        self._check(status)

    def _check(self, status: bytes) -> None:
        if status == b"over":
            raise ServerError(
                f"the flow under '{self._root.context.queue}:{self._root.id}' took too long to create and was removed",
                command="make_flow",
                code="OVER",
            )

    async def _remove(self, error: BaseException) -> None:
        """Remove what was created before a later step failed."""
        try:
            await _in_all_places(self._connection, _UNDO, self._home, self._others, self._token)
            if self._root.outside is not None:
                await settle_link(self._root.context, self._root.outside, self._root.id, "gone")
        except GlideMQError:
            if isinstance(error, GlideMQError):
                name = f"{self._root.context.queue}:{self._root.id}"
                error.hint = f"nothing of the flow under '{name}' runs; a worker removes what is left of it"

    # From here on it can only be finished --------------------------------------------------------------------

    async def _release(self) -> None:
        try:
            [status] = await retry_lost_reply(self._begin, _RETRY_S)
            self._check(status)
            await self._finish()
        except asyncio.CancelledError:
            task = asyncio.create_task(_quietly(self._finish))
            _FINISHING.add(task)
            task.add_done_callback(_FINISHING.discard)
            raise
        except (CallTimeoutError, ServerUnavailableError) as error:
            finishers = "a worker of its queue, or glidemq doctor --repair,"
            error.hint = f"the flow stands; {finishers} lets the rest of it run"
            raise

    async def _begin(self) -> Any:
        return await self._connection.call("begin_flow", self._home, self._connection.now_ms(), self._token)

    async def _finish(self) -> None:
        await _in_all_places(self._connection, _RELEASE, self._home, self._others, self._token)
        if self._root.outside is not None:
            await settle_link(self._root.context, self._root.outside, self._root.id, "came")


def _parts(
    jobs: Sequence[PlannedJob], words_of: Callable[[PlannedJob], list[str | bytes]]
) -> Iterator[tuple[list[PlannedJob], list[str | bytes]]]:
    """Cut jobs into parts that one call takes, with their arguments."""
    part: list[PlannedJob] = []
    words: list[str | bytes] = []
    size = 0
    for job in jobs:
        mine = words_of(job)
        length = sum(len(word) for word in mine)
        if part and (len(part) >= _PART_JOBS or size + length > CALL_BYTES):
            yield part, words
            part, words, size = [], [], 0
        part.append(job)
        words += mine
        size += length
    if part:
        yield part, words


def _links(jobs: Sequence[PlannedJob]) -> Iterator[tuple[str, PlannedJob, list[str]]]:
    """Yield the members and the dependents of each job, as many at a time as one call takes."""
    for job in jobs:
        for kind, others in (("deps", job.members), ("parents", job.dependents)):
            for part in sliced(others, _CALL_LINKS):
                yield kind, job, [other.member for other in part]


async def _quietly(finish: Callable[[], Awaitable[None]]) -> None:
    with suppress(GlideMQError):
        await finish()


async def _in_all_places(
    connection: Connection, function: str, home: str, others: Sequence[str], token: str, blob: str = ""
) -> None:
    """Release the jobs of a flow, or undo it; its home, which lists the other places, comes last."""
    places, at = (*others, home), 0

    async def call() -> Any:
        # Only the audit of the home's queue has an entry.
        audit = blob if places[at] == home else ""
        return await connection.call(function, places[at], connection.now_ms(), token, _PART_JOBS, audit)

    while at < len(places):
        # Once a flow has begun to run it can only be finished: that goes on through an outage.
        status, *_ = await (retry_lost_reply(call, _RETRY_S) if function == _RELEASE else call())
        if places[at] == home:
            blob = ""
        at += status != b"more"


async def recover_flows(
    context: QueueContext, older_than_ms: int = OLD_ENOUGH_MS, *, actor: Actor | None = None
) -> dict[str, str]:
    """Finish or remove flows whose home is this queue and whose producer is gone.

    Args:
        older_than_ms: time since the latest part of such a flow was created, at least.

    Returns:
        `finished` or `removed` by the tokens of the flows.
    """
    oldest = context.now_ms() - older_than_ms
    recovered: dict[str, str] = {}
    for token, entry in (await read_unfinished_flows(context)).items():
        at, state = entry.get("at"), entry["state"]
        if not isinstance(at, (int, float)) or at > oldest or state not in ("making", "releasing"):
            continue
        found = entry.get("others")
        others = [place for place in found if isinstance(place, str)] if isinstance(found, list) else []
        detail = {"flow": token, "state": state}
        blob = await audit_blob(context, actor, "finish_flows", (), context.now_ms(), detail=detail)
        function, outcome = (_RELEASE, "finished") if state == "releasing" else (_UNDO, "removed")
        await _in_all_places(context.connection, function, context.keys.root, others, token, blob)
        recovered[token] = outcome
    return recovered


async def read_unfinished_flows(context: QueueContext) -> dict[str, Mapping[str, Any]]:
    """Read the flows whose home is this queue and that are not created completely, by their tokens."""
    stored = await context.connection.command("HGETALL", context.keys.flow_parts) or {}
    found: dict[str, Mapping[str, Any]] = {}
    for token, text in stored.items():
        with suppress(ValueError):
            entry = parse_json(text)
            if isinstance(entry, dict) and "state" in entry:
                found[as_text(token)] = entry
    return found
