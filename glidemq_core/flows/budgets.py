"""Read the budgets of flows, forecast when they are used up, find the jobs they stopped, and top them up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ..errors import BudgetNotFoundError
from ..jobs.audit import audit_blob
from ..options.fields import amount, amounts, flag, from_epoch_ms, refuse
from ..options.job import Actor, Budget, JobRef
from ..records import FlowBudget, TopUp, Usage
from ..records.budgets import decode_budget, shown_caps
from ..server.commands import Arg
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from ..wire.numbers import to_int
from ..wire.replies import hash_fields, readable, sliced
from .walk import by_queue, parse_members, whole_tree

#: A Node worker reads category caps right after completing a job and books against them within this time, s: it may
#: set the flag again after a raise. Completions are that young if they are within the other time, ms: clocks differ.
_STALE_CAPS_S, _RECENT_MS = 1.0, 5_000
_SLICE = 500

#: The rate is that of the reports of so many ms.
WINDOW_MS = 300_000
_MINUTE_MS = 60_000

#: What a budget does to a job that starts when it is used up.
Stop = Literal["parked", "failed"]
Stopped = dict[Stop, list[JobRef]]


async def get_flow_budget(context: QueueContext, flow_id: str) -> FlowBudget | None:
    """Read the budget of a flow whose root is in this queue, None without one; see `Queue.get_flow_budget`."""
    fields = hash_fields(await context.connection.command("HGETALL", context.keys.budget(flow_id)))
    if not fields:
        return None
    budget = decode_budget(JobRef(context.queue, flow_id), fields)
    if budget.on_exceeded != "pause":
        return budget
    return replace(budget, parked=tuple(await get_parked_jobs(context, flow_id)))


async def get_parked_jobs(context: QueueContext, flow_id: str) -> list[JobRef]:
    """Find the jobs of a flow that its budget has paused, in any queue."""
    return (await _stopped(context, flow_id, await _jobs_of(context, flow_id)))["parked"]


async def _jobs_of(context: QueueContext, flow_id: str) -> list[JobRef]:
    """Find the jobs that a budget may have stopped: the whole tree, and those noted as parked."""
    connection, prefix = context.connection, context.keys.prefix
    noted = await connection.command("SMEMBERS", context.keys.budget_parked(flow_id))
    tree = await whole_tree(connection, prefix, [JobRef(context.queue, flow_id)])
    return list(dict.fromkeys([*tree, *parse_members(noted or (), prefix)]))


async def _stopped(context: QueueContext, flow_id: str, jobs: Iterable[JobRef]) -> Stopped:
    """Ask which of some jobs this budget has parked and failed, in one round trip."""
    found: Stopped = {"parked": [], "failed": []}
    parts, key = [*_parts(jobs)], context.keys.budget(flow_id)
    calls: list[tuple[str, str, *tuple[Arg, ...]]] = []
    for queue, ids in parts:
        words: Sequence[Arg] = (key, *ids)
        calls.append(("budget_stopped", QueueKeys(context.keys.prefix, queue).root, *words))
    answers = await context.connection.read_many(calls)
    for (queue, ids), answer in zip(parts, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        for job_id, stop in zip(ids, answer, strict=True):
            if stop:
                found["parked" if stop == b"parked" else "failed"].append(JobRef(queue, job_id))
    return found


def _parts(jobs: Iterable[JobRef]) -> Iterator[tuple[str, Sequence[str]]]:
    """Cut jobs into what one call may take: ids of one queue."""
    return ((queue, part) for queue, ids in by_queue(jobs).items() for part in sliced(ids, _SLICE))


async def top_up_budget(
    context: QueueContext,
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
    """Raise caps of a budget and release the jobs that it stopped; see `Queue.top_up_budget`."""
    added = {
        "maxTotalTokens": amount(add_tokens, "add_tokens"),
        "maxTotalCost": amount(add_cost, "add_cost"),
        "maxTokens": amounts(add_tokens_by or {}, "add_tokens_by"),
        "maxCosts": amounts(add_costs_by or {}, "add_costs_by"),
    }
    for name, value in (("release", release), ("retry_failed", retry_failed), ("preview", preview)):
        flag(value, name)
    flow = JobRef(context.queue, flow_id)
    stored, changes, hits = await _raise_caps(context, flow, added, expect, actor, preview)
    # Looked for after the flag was cleared: what was parked until then is found, and nothing is parked any more.
    jobs = await _jobs_of(context, flow_id)
    stopped = await _stopped(context, flow_id, jobs)
    parked = stopped["parked"]
    after = decode_budget(flow, {**hash_fields(stored), **hash_fields(changes)}, parked)
    released: list[JobRef] = []
    if not hits:
        failed = stopped["failed"] if retry_failed else []
        chosen: Stopped = {"parked": parked if release else [], "failed": failed}
        if preview:
            released = chosen["parked"] + chosen["failed"]
        else:
            released = await _release(context, flow_id, chosen)
            if {b"maxTokens", b"maxCosts"} & set(changes[::2]):
                released += await _take_back_stale_flag(context, flow_id, jobs, release)
    return TopUp(
        preview=preview,
        before=decode_budget(flow, hash_fields(stored), parked),
        after=replace(after, parked=tuple(job for job in parked if job not in released)),
        still_exceeded=bool(hits),
        released=tuple(dict.fromkeys(released)),
        over=tuple(hit.decode() for hit in hits),
    )


async def _raise_caps(
    context: QueueContext,
    flow: JobRef,
    added: Mapping[str, Any],
    expect: FlowBudget | Budget | None,
    actor: Actor | None,
    preview: bool,
) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Raise caps, or only preview that; returns the hash before, its changes, and the caps still exceeded.

    Raises:
        BudgetNotFoundError: the flow has no budget.
        InvalidOptionError: the caps are not as expected.
    """
    if expect is not None and not isinstance(expect, (FlowBudget, Budget)):
        refuse("expect", expect, "the FlowBudget that was shown")
    detail = {name: value for name, value in added.items() if value}
    blob = await audit_blob(context, actor, "top_up_budget", [flow.id], context.now_ms(), detail=detail)
    shown = json.dumps(shown_caps(expect)) if expect else ""
    words = (flow.id, json.dumps(added), shown, context.now_ms(), blob)
    asking = context.read("budget_preview", *words) if preview else context.call("budget_top_up", *words)
    status, *facts = await asking
    if status == b"not_found":
        raise BudgetNotFoundError(f"flow '{flow}' has no budget", queue=flow.queue, flow_id=flow.id)
    if status == b"changed":
        message = f"the caps of flow '{flow}' have changed meanwhile: look again, nothing was added"
        refuse("expect", expect, "the caps as they are now", message)
    stored, changes, hits = facts
    return stored, changes, hits


async def _release(context: QueueContext, flow_id: str, chosen: Stopped) -> list[JobRef]:
    """Release parked and retry failed jobs, each in its own slot and only if it still is what it was."""
    released: list[JobRef] = []
    call, key = context.connection.call, context.keys.budget(flow_id)
    for stop, jobs in chosen.items():
        for queue, ids in _parts(jobs):
            root = QueueKeys(context.keys.prefix, queue).root
            went = await call("budget_release", root, key, context.now_ms(), stop, *ids)
            released += [JobRef(queue, job_id.decode()) for job_id in went]
    members = [QueueKeys(context.keys.prefix, ref.queue).member(ref.id) for ref in released]
    for part in sliced(members, _SLICE):
        await context.connection.command("SREM", context.keys.budget_parked(flow_id), *part)
    return released


async def _take_back_stale_flag(
    context: QueueContext, flow_id: str, jobs: Sequence[JobRef], release: bool
) -> list[JobRef]:
    """Clear a flag that a Node worker set from caps as they were before a raise; returns the jobs released by that."""
    if await _completed_lately(context, jobs):
        await asyncio.sleep(_STALE_CAPS_S)
    [status] = await context.call("budget_recheck", flow_id)
    if status != b"cleared" or not release:
        return []
    return await _release(context, flow_id, {"parked": await get_parked_jobs(context, flow_id)})


async def _completed_lately(context: QueueContext, jobs: Sequence[JobRef]) -> bool:
    """Whether a job of a flow may have completed just now; a record that is gone does not tell."""
    oldest = context.now_ms() - _RECENT_MS
    for part in sliced(jobs, _SLICE):
        keys = [QueueKeys(context.keys.prefix, job.queue).job(job.id) for job in part]
        answers = await context.connection.pipeline([("HMGET", key, "state", "finishedOn") for key in keys])
        for state, finished in ((readable(answer) or (None, None)) for answer in answers):
            if state is None or (state == b"completed" and to_int(finished) > oldest):
                return True
    return False


def with_rates(
    budget: FlowBudget,
    reports: Iterable[tuple[int, Usage]],
    *,
    created_ms: int,
    now_ms: int,
    running: bool,
) -> FlowBudget:
    """Add rates, None while nothing was reported, and a forecast, if the flow runs, spends, and is not exceeded.

    Args:
        reports: latest report of each job with its minute, epoch ms.
        created_ms: when the flow was created; the rate of a younger flow is that of its own time.
        running: whether any of its jobs has not ended.
    """
    known = list(reports)
    if not known:
        return budget
    since = max(now_ms - WINDOW_MS, created_ms)
    minutes = max(1.0, (now_ms - since) / _MINUTE_MS)
    recent = [usage for minute, usage in known if minute + _MINUTE_MS > since]
    tokens = sum(weighted_tokens(usage, budget.token_weights) for usage in recent) / minutes
    cost = sum(usage.total_cost or 0 for usage in recent) / minutes
    left = [(budget.left_tokens, tokens), (budget.left_cost, cost)]
    for caps, used, kind in (
        (budget.max_tokens, budget.used_tokens_by, "tokens"),
        (budget.max_costs, budget.used_costs_by, "costs"),
    ):
        for category, cap in caps.items():
            spent = sum(getattr(usage, kind).get(category, 0) for usage in recent) / minutes
            left.append((max(0, cap - used.get(category, 0)), spent))
    times = [rest / rate for rest, rate in left if rest is not None and rate > 0]
    forecast = None
    if times and running and not budget.exceeded:
        forecast = from_epoch_ms(now_ms + min(times) * _MINUTE_MS)
    return replace(budget, tokens_per_min=tokens, cost_per_hour=cost * 60, runs_out_at=forecast)


def weighted_tokens(usage: Usage, weights: Mapping[str, float]) -> float:
    """Return the tokens of a report as the budget counts them."""
    weighted = sum(count * weights.get(category, 1) for category, count in usage.tokens.items())
    return weighted or usage.total_tokens or 0
