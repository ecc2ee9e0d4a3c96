"""Budgets of flows: reading them, the jobs they stopped, and topping up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import BudgetNotFoundError
from ..jobs.audit import audit_blob
from ..options.fields import amount, amounts, flag, refuse
from ..options.job import Actor, Budget, JobRef
from ..records.budgets import decode_budget, shown_caps
from ..records.jobs import FlowBudget, TopUp
from ..server.commands import Arg
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from ..wire.replies import hash_fields
from .walk import by_queue, parse_members, whole_tree

#: A Node worker that read category caps before a top-up may set the flag again within this time, s.
_STALE_CAPS_S = 1.0
_SLICE = 500


async def get_flow_budget(scope: QueueContext, flow_id: str) -> FlowBudget | None:
    """Read the budget of a flow whose root is in this queue, None without one; see `Queue.get_flow_budget`."""
    fields = hash_fields(await scope.connection.command("HGETALL", scope.keys.budget(flow_id)))
    if not fields:
        return None
    budget = decode_budget(JobRef(scope.queue, flow_id), fields)
    if budget.on_exceeded != "pause":
        return budget
    return replace(budget, parked=tuple(await get_parked_jobs(scope, flow_id)))


async def get_parked_jobs(scope: QueueContext, flow_id: str) -> list[JobRef]:
    """Find the jobs of a flow that its budget has paused, in any queue."""
    return (await _stopped(scope, flow_id))["parked"]


async def _stopped(scope: QueueContext, flow_id: str) -> dict[str, list[JobRef]]:
    """Find the jobs that the budget has parked and failed: among those noted, and in the whole tree."""
    connection, prefix = scope.connection, scope.keys.prefix
    noted = await connection.command("SMEMBERS", scope.keys.budget_parked(flow_id))
    root = JobRef(scope.queue, flow_id)
    tree = await whole_tree(connection, prefix, [root])
    candidates = dict.fromkeys([*tree, *parse_members(noted or (), prefix)])
    return await sort_stopped(scope, flow_id, candidates)


async def sort_stopped(
    scope: QueueContext, flow_id: str, candidates: Iterable[JobRef]
) -> dict[str, list[JobRef]]:
    """Ask which of some jobs this budget has stopped, in one round trip a page; `parked` and `failed` ones."""
    found: dict[str, list[JobRef]] = {"parked": [], "failed": []}
    budget_key = scope.keys.budget(flow_id)
    calls = [
        (queue, ids[start : start + _SLICE])
        for queue, ids in by_queue(candidates).items()
        for start in range(0, len(ids), _SLICE)
    ]
    reads = [_question(QueueKeys(scope.keys.prefix, queue).root, [budget_key, *ids]) for queue, ids in calls]
    answers = await scope.connection.read_many(reads)
    for (queue, ids), words in zip(calls, answers, strict=True):
        if isinstance(words, Exception):
            raise words
        for job_id, word in zip(ids, words, strict=True):
            if word:
                found[word.decode()].append(JobRef(queue, job_id))
    return found


def _question(root: str, words: Sequence[Arg]) -> tuple[str, str, *tuple[Arg, ...]]:
    return ("budget_stopped", root, *words)


async def top_up_budget(
    scope: QueueContext,
    flow_id: str,
    *,
    add_tokens: float = 0,
    add_cost: float = 0,
    add_tokens_by: Mapping[str, float] | None = None,
    add_costs_by: Mapping[str, float] | None = None,
    release: bool = True,
    retry_failed: bool = False,
    expect: FlowBudget | Budget | None = None,
    preview: bool = False,
    actor: Actor | None = None,
) -> TopUp:
    """Raise caps of a budget and let go on what it stopped; see `Queue.top_up_budget`."""
    added = {
        "maxTotalTokens": amount(add_tokens, "add_tokens"),
        "maxTotalCost": amount(add_cost, "add_cost"),
        "maxTokens": amounts(add_tokens_by or {}, "add_tokens_by"),
        "maxCosts": amounts(add_costs_by or {}, "add_costs_by"),
    }
    for name, value in (("release", release), ("retry_failed", retry_failed), ("preview", preview)):
        flag(value, name)
    if expect is not None and not isinstance(expect, (FlowBudget, Budget)):
        refuse("expect", expect, "the FlowBudget that was shown")
    detail = {name: value for name, value in added.items() if value}
    blob = await audit_blob(scope, actor, "top_up_budget", [flow_id], scope.now_ms(), detail=detail)
    words = (
        flow_id,
        json.dumps(added),
        json.dumps(shown_caps(expect)) if expect else "",
        scope.now_ms(),
        blob,
    )
    if preview:
        reply = await scope.read("budget_preview", *words)
    else:
        reply = await scope.call("budget_top_up", *words)
    flow = JobRef(scope.queue, flow_id)
    if reply[0] == b"not_found":
        raise BudgetNotFoundError(f"flow '{flow}' has no budget", queue=scope.queue, flow_id=flow_id)
    # Looked for after the flag was cleared: what was parked until then is found, and nothing is parked any more.
    stopped = await _stopped(scope, flow_id)
    stored, parked = hash_fields(reply[1]), stopped["parked"]
    before = decode_budget(flow, stored, parked)
    if reply[0] == b"changed":
        refuse(
            "expect",
            expect,
            "the caps as they are now",
            f"the caps of flow '{flow}' have changed meanwhile: look again, nothing was added",
        )
    after = decode_budget(flow, {**stored, **hash_fields(reply[2])}, parked)
    over = tuple(hit.decode() for hit in reply[3])
    released: list[JobRef] = []
    if not over:
        wanted = {"parked": parked if release else [], "failed": stopped["failed"] if retry_failed else []}
        raised = {b"maxTokens", b"maxCosts"} & set(reply[2][::2])
        released = (
            wanted["parked"] + wanted["failed"]
            if preview
            else await _released(scope, flow_id, wanted, again=bool(raised), release=release)
        )
    left = tuple(job for job in parked if job not in released)
    return TopUp(
        preview=preview,
        before=before,
        after=replace(after, parked=left),
        still_exceeded=bool(over),
        released=tuple(dict.fromkeys(released)),
        over=over,
    )


async def _released(
    scope: QueueContext, flow_id: str, wanted: Mapping[str, Iterable[JobRef]], *, again: bool, release: bool
) -> list[JobRef]:
    """Let stopped jobs go; and, with `again`, those that a flag set meanwhile from stale caps has parked."""
    released = await _let_go(scope, flow_id, wanted)
    if again and await _flag_set_again(scope, flow_id) and release:
        released += await _let_go(scope, flow_id, {"parked": await get_parked_jobs(scope, flow_id)})
    return released


async def _let_go(scope: QueueContext, flow_id: str, wanted: Mapping[str, Iterable[JobRef]]) -> list[JobRef]:
    """Release parked and retry failed jobs, each in its own slot and only if it still is what it was."""
    released: list[JobRef] = []
    for kind, jobs in wanted.items():
        for queue, ids in by_queue(jobs).items():
            root = QueueKeys(scope.keys.prefix, queue).root
            for start in range(0, len(ids), _SLICE):
                part = ids[start : start + _SLICE]
                went = await scope.connection.call(
                    "budget_release", root, scope.keys.budget(flow_id), scope.now_ms(), kind, *part
                )
                released += [JobRef(queue, job_id.decode()) for job_id in went]
    members = [QueueKeys(scope.keys.prefix, ref.queue).member(ref.id) for ref in released]
    for start in range(0, len(members), _SLICE):
        await scope.connection.command(
            "SREM", scope.keys.budget_parked(flow_id), *members[start : start + _SLICE]
        )
    return released


async def _flag_set_again(scope: QueueContext, flow_id: str) -> bool:
    """Look once more after category caps were raised; True when a stale flag was taken back."""
    await asyncio.sleep(_STALE_CAPS_S)
    [status] = await scope.call("budget_recheck", flow_id)
    return bool(status == b"cleared")
