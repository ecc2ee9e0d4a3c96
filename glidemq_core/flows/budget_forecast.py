"""How fast a flow spends its budget, and when it will be used up, as far as the reports of its jobs show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..options.fields import from_epoch_ms
from ..records import FlowBudget, Usage

#: The rate is that of the reports of so many ms.
WINDOW_MS = 300_000
_MINUTE_MS = 60_000


def with_rates(
    budget: FlowBudget,
    reports: Iterable[tuple[int, Usage]],
    *,
    created_ms: int,
    now_ms: int,
    running: bool,
) -> FlowBudget:
    """Add rates and forecast to a budget.

    Args:
        reports: latest report of each job with its minute, epoch ms.
        created_ms: when the flow was created; the rate of a younger flow is that of its own time.
        running: whether any of its jobs has not ended.

    Returns:
        The budget; rates are None while nothing was reported, 0 if nothing was reported lately. The forecast is None
        unless the flow runs, spends, and is not exceeded.
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
