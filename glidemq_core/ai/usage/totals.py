"""Adding usage up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...records import Usage

#: Smaller amounts are what floating point leaves of something booked and booked out again.
RESIDUE = 1e-12


class Sum:
    """Usage of several jobs; `record` makes the answer of it."""

    def __init__(self) -> None:
        self.job_count = 0
        self.tokens: dict[str, float] = {}
        self.total_tokens: float = 0
        self.costs: dict[str, float] = {}
        self.total_cost: float = 0
        self.models: dict[str, float] = {}
        self.units: dict[str, None] = {}

    def add_job(self, reports: Iterable[Usage]) -> None:
        """Add the reports of one job (several: of its attempts); it counts once, and once for each model."""
        models: dict[str, None] = {}
        counted = False
        for usage in reports:
            add_amounts(self.tokens, usage.tokens)
            add_amounts(self.costs, usage.costs)
            self.total_tokens += usage.total_tokens or 0
            self.total_cost += usage.total_cost or 0
            if usage.cost_unit:
                self.units[usage.cost_unit] = None
            if usage.model:
                models[usage.model] = None
            counted = counted or bool(
                usage.model or usage.tokens or usage.costs or usage.total_tokens or usage.total_cost
            )
        self.job_count += counted
        for model in models:
            self.models[model] = self.models.get(model, 0) + 1

    def add(self, other: Sum) -> None:
        """Add another sum."""
        self.job_count += other.job_count
        self.total_tokens += other.total_tokens
        self.total_cost += other.total_cost
        add_amounts(self.tokens, other.tokens)
        add_amounts(self.costs, other.costs)
        add_amounts(self.models, other.models)
        self.units |= other.units

    def __bool__(self) -> bool:
        return bool(
            self.job_count or self.total_tokens or self.total_cost or self.tokens or self.costs or self.models
        )

    def totals(self) -> dict[str, Any]:
        """Return the fields of a Totals record."""
        units = tuple(self.units)
        return {
            "job_count": self.job_count,
            "tokens": dict(self.tokens),
            "total_tokens": self.total_tokens,
            "costs": dict(self.costs),
            "total_cost": self.total_cost,
            "cost_unit": units[0] if units else None,
            "models": dict(self.models),
            "cost_units": units,
        }


def add_amounts(into: dict[str, float], amounts: Any) -> None:
    """Add a map of amounts to another, category by category."""
    for name, amount in amounts.items():
        into[name] = into.get(name, 0) + amount
