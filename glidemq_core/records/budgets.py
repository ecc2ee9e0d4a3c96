"""The budget hash of a flow, written and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..options.job import Budget, JobRef
from ..wire.numbers import number_text, parse_number
from ..wire.replies import as_text
from ..wire.strict_json import compact_json
from .decoding import amounts_text, optional_text
from .flows import FlowBudget


def new_budget(budget: Budget) -> list[str]:
    """Return the flat hash of a fresh budget: nothing used, only the caps that were given."""
    fields = ["usedTokens", "0", "usedCost", "0", "exceeded", "0", "onExceeded", budget.on_exceeded]
    for name, value in budget.to_json().items():
        if name != "onExceeded":
            as_json = compact_json(value) if isinstance(value, dict) else value
            fields += [name, as_json if isinstance(as_json, str) else number_text(as_json)]
    return fields


def decode_budget(flow: JobRef, fields: Mapping[str, bytes], parked: Iterable[JobRef] = ()) -> FlowBudget:
    """Read a budget hash; what is damaged reads as absent. A cap of 0 is none."""

    def cap(name: str) -> float | None:
        found = parse_number(fields.get(name))
        return found if found is not None and found > 0 else None

    def used(name: str) -> float:
        return parse_number(fields.get(name)) or 0

    def by_category(kind: str) -> dict[str, float]:
        found = {name.removeprefix(kind): used(name) for name in fields if name.startswith(kind)}
        return dict(sorted(found.items()))

    tokens, cost = cap("maxTotalTokens"), cap("maxTotalCost")
    used_tokens, used_cost = used("usedTokens"), used("usedCost")
    return FlowBudget(
        flow=flow,
        max_total_tokens=tokens,
        max_tokens=_caps(fields.get("maxTokens")),
        token_weights=amounts_text(fields.get("tokenWeights")),
        max_total_cost=cost,
        max_costs=_caps(fields.get("maxCosts")),
        cost_unit=optional_text(fields.get("costUnit")),
        on_exceeded="pause" if as_text(fields.get("onExceeded")) == "pause" else "fail",
        used_tokens=used_tokens,
        used_cost=used_cost,
        used_tokens_by=by_category("usedTokens:"),
        used_costs_by=by_category("usedCost:"),
        left_tokens=None if tokens is None else max(0, tokens - used_tokens),
        left_cost=None if cost is None else max(0, cost - used_cost),
        exceeded=as_text(fields.get("exceeded")) == "1",
        parked=tuple(parked),
    )


def shown_caps(shown: FlowBudget | Budget) -> dict[str, Any]:
    """Return the caps of a budget as an operator saw them; 0 stands for none."""
    return {
        "maxTotalTokens": shown.max_total_tokens or 0,
        "maxTotalCost": shown.max_total_cost or 0,
        "maxTokens": dict(shown.max_tokens or {}),
        "maxCosts": dict(shown.max_costs or {}),
    }


def _caps(stored: bytes | None) -> dict[str, float]:
    return {category: cap for category, cap in amounts_text(stored).items() if cap > 0}
