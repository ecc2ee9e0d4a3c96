"""Sums of usage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ...records import Usage

#: Smaller amounts are rounding errors, left where a report was added and subtracted again.
RESIDUE = 1e-12


@dataclass(slots=True)
class UsageSum:
    """Usage of several jobs, added up; `totals` gives the fields of the records."""

    job_count: int = 0
    tokens: dict[str, float] = field(default_factory=dict)
    total_tokens: float = 0
    costs: dict[str, float] = field(default_factory=dict)
    total_cost: float = 0
    models: dict[str, float] = field(default_factory=dict)
    units: dict[str, None] = field(default_factory=dict)

    def add_job(self, reports: Iterable[Usage]) -> None:
        """Add the reports of one job, several if it has several attempts; it counts once, and once a model."""
        models: dict[str, None] = {}
        counted = False
        for usage in reports:
            _add_amounts(self.tokens, usage.tokens)
            _add_amounts(self.costs, usage.costs)
            self.total_tokens += usage.total_tokens or 0
            self.total_cost += usage.total_cost or 0
            if usage.cost_unit:
                self.units[usage.cost_unit] = None
            if usage.model:
                models[usage.model] = None
            amounts = usage.tokens or usage.costs or usage.total_tokens or usage.total_cost
            counted = counted or bool(usage.model or amounts)
        self.job_count += counted
        _add_amounts(self.models, dict.fromkeys(models, 1))

    def add(self, other: UsageSum) -> None:
        """Add another sum."""
        self.job_count += other.job_count
        self.total_tokens += other.total_tokens
        self.total_cost += other.total_cost
        _add_amounts(self.tokens, other.tokens)
        _add_amounts(self.costs, other.costs)
        _add_amounts(self.models, other.models)
        self.units |= other.units

    def __bool__(self) -> bool:
        amounts = self.total_tokens or self.total_cost or self.tokens or self.costs or self.models
        return bool(self.job_count or amounts)

    def totals(self) -> dict[str, Any]:
        """Return the fields of a Totals record."""
        totals = asdict(self)
        units = tuple(totals.pop("units"))
        return {**totals, "cost_unit": units[0] if units else None, "cost_units": units}


def _add_amounts(into: dict[str, float], amounts: Any) -> None:
    """Add a map of amounts to another, category by category."""
    for name, amount in amounts.items():
        into[name] = into.get(name, 0) + amount
