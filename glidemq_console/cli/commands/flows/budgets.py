"""`budget`: what a flow may spend, and topping it up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ....text.format import full, plural, rate
from ... import options
from ...errors import Refusal
from ...option_types import amount, amount_for
from ...options import option
from ...program import command, require
from ...session import Session
from .read import DEFAULT_NODES

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import FlowBudget, TopUp

#: Parked jobs that are named to people.
_NAMED = 5


@command("budget")
async def budget(
    session: Session,
    name: options.Job,
    queue: options.JobQueue = None,
    add_tokens: Annotated[
        float | None, option("--add-tokens", "N", "Raise the cap on tokens.", amount)
    ] = None,
    add_cost: Annotated[float | None, option("--add-cost", "X", "Raise the cap on cost.", amount)] = None,
    add_tokens_for: Annotated[
        list[str] | None, option("--add-tokens-for", "CAT=N", "Raise the cap on tokens of a category.")
    ] = None,
    add_cost_for: Annotated[
        list[str] | None, option("--add-cost-for", "CAT=X", "Raise the cap on cost of a category.")
    ] = None,
    preview: Annotated[bool, Option("--preview", help="Change nothing, tell what would happen.")] = False,
    no_release: Annotated[bool, Option("--no-release", help="Leave parked jobs parked.")] = False,
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Also retry jobs that the budget made fail.")
    ] = False,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Show the budget of a flow by any of its jobs, or top it up; parked jobs then go on."""
    added = {
        "add_tokens": add_tokens or 0,
        "add_cost": add_cost or 0,
        "add_tokens_by": _by_category(add_tokens_for, "--add-tokens-for"),
        "add_costs_by": _by_category(add_cost_for, "--add-cost-for"),
    }
    given = (add_tokens, add_cost, add_tokens_for or None, add_cost_for or None)
    amounts_given = any(value is not None for value in given)
    require(
        amounts_given or not no_release, "--no-release belongs to a top-up: say --add-tokens N or another"
    )
    shown = await _read(session, await session.job_ref(name, queue))
    if not (amounts_given or preview or retry_failed):
        if session.json:
            session.out.record({"budget": shown})
        else:
            session.out.fields(budget_fields(session, shown))
        return 0
    change = {**added, "release": not no_release, "retry_failed": retry_failed}
    return await _top_up(
        session, shown.flow, change, preview=preview, yes=yes, actor=session.actor(by, comment)
    )


def _by_category(clauses: list[str] | None, option: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for clause in clauses or ():
        category, more = amount_for(clause)
        require(category not in found, f"{option} names '{category}' twice")
        found[category] = more
    return found


async def _read(session: Session, ref: JobRef) -> FlowBudget:
    """Read the budget of the flow that a job belongs to; the root itself may be gone.

    Raises BudgetNotFoundError, JobNotFoundError.
    """
    from glidemq_core.errors import BudgetNotFoundError, JobNotFoundError

    source = await session.queue(ref.queue)
    try:
        flow = await (await session.watch()).flow(ref.queue, ref.id, max_nodes=DEFAULT_NODES)
    except JobNotFoundError:
        found = await source.get_flow_budget(ref.id)
        if found is None:
            raise
        return found
    if flow.budget is None:
        raise BudgetNotFoundError(f"the flow of job '{ref}' has no budget", queue=ref.queue, flow_id=ref.id)
    if not flow.truncated:
        return flow.budget
    # Of a flow this large only a part was read: the engine finds all parked jobs.
    owner = flow.budget.flow
    return await (await session.queue(owner.queue)).get_flow_budget(owner.id) or flow.budget


async def _top_up(
    session: Session, flow: JobRef, change: dict[str, Any], *, preview: bool, yes: bool, actor: Any
) -> int:
    from glidemq_core.errors import InvalidOptionError

    source = await session.queue(flow.queue)
    if preview:
        top_up = await source.top_up_budget(flow.id, **change, preview=True)
    elif yes:
        top_up = await source.top_up_budget(flow.id, **change, actor=actor)
    else:
        planned = await source.top_up_budget(flow.id, **change, preview=True)
        session.confirm(_question(session, flow, planned), yes)
        try:
            top_up = await source.top_up_budget(flow.id, **change, expect=planned.before, actor=actor)
        except InvalidOptionError as error:
            if error.option != "expect":
                raise
            raise Refusal(error.message) from None
    if session.json:
        session.out.record({"top_up": top_up})
    else:
        _show_top_up(session, top_up)
    for name, missing in _without_cap(top_up.before, change):
        session.out.note(session.out.safe(f"{name}: the budget has no cap on {missing}, none was made", 200))
    return 1 if top_up.still_exceeded else 0


def _without_cap(budget: FlowBudget, change: dict[str, Any]) -> list[tuple[str, str]]:
    """Name what was to be raised but does not exist."""
    missing = []
    if change["add_tokens"] and budget.max_total_tokens is None:
        missing.append(("--add-tokens", "tokens in all"))
    if change["add_cost"] and budget.max_total_cost is None:
        missing.append(("--add-cost", "cost in all"))
    for name, given, caps, kind in (
        ("--add-tokens-for", change["add_tokens_by"], budget.max_tokens, "tokens"),
        ("--add-cost-for", change["add_costs_by"], budget.max_costs, "cost"),
    ):
        missing += [(name, f"{kind} of '{category}'") for category in given if category not in caps]
    return missing


def _question(session: Session, flow: JobRef, planned: TopUp) -> str:
    caps = "; ".join(f"{label} {words}" for label, words in _raised(session, planned)) or "no cap changes"
    if planned.still_exceeded:
        outcome = "it stays exceeded, nothing goes on"
    else:
        outcome = f"{plural(len(planned.released), 'job')} would go on"
    return f"Top up the budget of flow {session.out.safe(flow, 200)} ({caps}; {outcome})?"


def _raised(session: Session, top_up: TopUp) -> list[tuple[str, str]]:
    """Caps before and after, those that change."""
    safe, before, after = session.out.safe, top_up.before, top_up.after

    def price(value: float | None) -> str:
        return session.out.money(value, before.cost_unit)

    pairs: list[tuple[str, str, str]] = [
        ("tokens", full(before.max_total_tokens), full(after.max_total_tokens)),
        ("cost", price(before.max_total_cost), price(after.max_total_cost)),
    ]
    for kind, old, new, shown in (
        ("tokens", before.max_tokens, after.max_tokens, full),
        ("cost", before.max_costs, after.max_costs, price),
    ):
        pairs += [
            (f"{kind} of {safe(name, 40)}", shown(cap), shown(new.get(name))) for name, cap in old.items()
        ]
    return [(label, f"{was} -> {now}") for label, was, now in pairs if was != now]


def _show_top_up(session: Session, top_up: TopUp) -> None:
    out = session.out
    pairs = [("flow", out.safe(top_up.before.flow, 300)), *_raised(session, top_up)]
    if top_up.still_exceeded:
        stays = "would stay" if top_up.preview else "stays"
        pairs.append(("state", f"{stays} exceeded: {_short_of(session, top_up)}"))
    else:
        verb = "would go on" if top_up.preview else "goes on" if len(top_up.released) == 1 else "go on"
        named = f": {_named(session, top_up.released)}" if top_up.released else ""
        pairs.append(("released", f"{plural(len(top_up.released), 'job')} {verb}{named}"))
    if top_up.after.parked:
        still = f"{plural(len(top_up.after.parked), 'job')}: {_named(session, top_up.after.parked)}"
        pairs.append(("still parked", still))
    out.fields(pairs)


def _short_of(session: Session, top_up: TopUp) -> str:
    """Say by how much each cap is still too low."""
    after, words = top_up.after, []
    meters = {
        "maxTotalTokens": ("tokens", {"": after.used_tokens}, {"": after.max_total_tokens}),
        "maxTokens": ("tokens", after.used_tokens_by, after.max_tokens),
        "maxTotalCost": ("cost", {"": after.used_cost}, {"": after.max_total_cost}),
        "maxCosts": ("cost", after.used_costs_by, after.max_costs),
    }
    for cap in top_up.over:
        name, _, category = cap.partition(":")
        what, used, caps = meters[name]
        whose = f" of {session.out.safe(category, 40)}" if category else ""
        words.append(f"{what}{whose} {full(used.get(category, 0))} used of {full(caps.get(category) or 0)}")
    return ", ".join(words)


def _named(session: Session, refs: tuple[JobRef, ...]) -> str:
    listed = ", ".join(session.out.safe(ref, 80) for ref in refs[:_NAMED])
    return listed + (", ..." if len(refs) > _NAMED else "")


def budget_fields(session: Session, budget: FlowBudget) -> list[tuple[str, str]]:
    """Make the labelled lines of a budget; the first names the flow."""
    out = session.out

    def meter(used: float, cap: float | None, shown: Any) -> str:
        if cap is None:
            return f"{shown(used)} used, no cap"
        return f"{shown(used)} of {shown(cap)} used ({used / cap * 100:.0f} %)"

    def price(value: float) -> str:
        return out.money(value, budget.cost_unit)

    pairs = [
        ("budget", out.safe(budget.flow, 300)),
        ("tokens", meter(budget.used_tokens, budget.max_total_tokens, full)),
        ("cost", meter(budget.used_cost, budget.max_total_cost, price)),
    ]
    for label, caps, used, shown in (
        ("tokens", budget.max_tokens, budget.used_tokens_by, full),
        ("cost", budget.max_costs, budget.used_costs_by, price),
    ):
        for category in sorted({*caps, *used}):
            words = meter(used.get(category, 0), caps.get(category), shown)
            pairs.append((f"{label} {out.safe(category, 40)}", words))
    weights = ", ".join(f"{out.safe(name, 40)} x{weight:g}" for name, weight in budget.token_weights.items())
    if weights:
        pairs.append(("weights", weights))
    pairs.append(("when over", "jobs fail" if budget.on_exceeded == "fail" else "jobs are parked"))
    pairs.append(("state", _state(session, budget)))
    return pairs


def _state(session: Session, budget: FlowBudget) -> str:
    """Say how the budget stands, how fast it is spent, and who is parked."""
    from glidemq_console.model.flows import forecast

    words, _ = forecast(budget, time.time_ns() // 1_000_000)
    if budget.parked:
        words += f": {_named(session, budget.parked)}"
    if budget.tokens_per_min:
        words += f", {rate(budget.tokens_per_min, 'tokens/min')}"
    if budget.cost_per_hour:
        words += f", {session.out.money(budget.cost_per_hour, budget.cost_unit, per='/h')}"
    return words
