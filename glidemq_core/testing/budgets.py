"""Budgets of a queue in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from ..flows.budgets import weighted_tokens
from ..options.job import Budget, JobRef
from ..records import FlowBudget, Usage
from ..records.budgets import decode_budget, new_budget
from ..wire.numbers import number_text, parse_number


class MemoryBudget:
    """Caps and what is used, as the hash of a flow's budget.

    Attributes:
        jobs: ids of jobs that draw on it, beside the flow's own and its children.
        parked: ids of jobs that it has stopped and that go on once it is raised.
    """

    def __init__(self, budget: Budget, jobs: Iterable[str]) -> None:
        words = iter(new_budget(budget))
        self._fields = {name: value.encode() for name, value in zip(words, words, strict=True)}
        self.jobs = set(jobs)
        self.parked: list[str] = []

    def shown(self, flow: JobRef) -> FlowBudget:
        """Return the budget as it is now."""
        return decode_budget(flow, self._fields, [JobRef(flow.queue, job_id) for job_id in self.parked])

    def verdict(self, flow: JobRef) -> Literal["go", "fail", "pause"]:
        """Return what becomes of a job that would start now."""
        shown = self.shown(flow)
        return shown.on_exceeded if shown.exceeded else "go"

    def book(self, flow: JobRef, usage: Usage) -> bool:
        """Add what an attempt reported; whether it exceeds the budget, which was not before."""
        before = self.shown(flow)
        self._add("usedTokens", weighted_tokens(usage, before.token_weights))
        self._add("usedCost", usage.total_cost or 0)
        for category, amount in usage.tokens.items():
            self._add(f"usedTokens:{category}", amount)
        for category, amount in usage.costs.items():
            self._add(f"usedCost:{category}", amount)
        now = self.shown(flow)
        pairs = [(now.used_tokens, now.max_total_tokens), (now.used_cost, now.max_total_cost)]
        pairs += _pairs(now.used_tokens_by, now.max_tokens) + _pairs(now.used_costs_by, now.max_costs)
        if before.exceeded or not any(cap is not None and used > cap for used, cap in pairs):
            return False
        self._fields["exceeded"] = b"1"
        return True

    def _add(self, name: str, amount: float) -> None:
        if amount > 0:
            total = (parse_number(self._fields.get(name)) or 0) + amount
            self._fields[name] = number_text(total).encode()


def _pairs(used: Mapping[str, float], caps: Mapping[str, float]) -> list[tuple[float, float | None]]:
    return [(used.get(category, 0), cap) for category, cap in caps.items()]
