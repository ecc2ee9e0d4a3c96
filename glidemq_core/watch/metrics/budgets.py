"""The open budgets of queues, added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from glidemq_core.reading.reader import Reader
from glidemq_core.wire.keys import QueueKeys
from glidemq_core.wire.replies import failed, integer, items, number, text

#: Budgets of a queue that are added up, the newest.
_MOST = 100
_FIELDS = ("maxTotalTokens", "usedTokens", "maxTotalCost", "usedCost", "costUnit", "exceeded")
_ENDED = ("completed", "failed")


@dataclass(slots=True)
class OpenBudgets:
    """Budgets of flows that have not ended; amounts are sums over those that have a cap of the kind."""

    flows: int = 0
    exceeded: int = 0
    parked: int = 0
    used_tokens: float = 0
    left_tokens: float | None = None
    #: By unit.
    used_cost: dict[str, float] = field(default_factory=dict)
    left_cost: dict[str, float] = field(default_factory=dict)
    #: Share that is left of the budget that is nearest to a cap, 0 to 1.
    least_left: float | None = None

    def add(self, fields: Sequence[object], parked: int) -> None:
        """Add one budget: its `_FIELDS`, and how many jobs it has parked."""
        token_cap, tokens, cost_cap, cost, unit, exceeded = fields
        self.flows += 1
        self.exceeded += text(exceeded) == "1"
        self.parked += parked
        name = text(unit) or ""
        self.used_tokens += _amount(tokens)
        self.used_cost[name] = self.used_cost.get(name, 0.0) + _amount(cost)
        if cap := _amount(token_cap):
            left = max(0.0, cap - _amount(tokens))
            self.left_tokens = (self.left_tokens or 0.0) + left
            self._note(left / cap)
        if cap := _amount(cost_cap):
            left = max(0.0, cap - _amount(cost))
            self.left_cost[name] = self.left_cost.get(name, 0.0) + left
            self._note(left / cap)

    def _note(self, share: float) -> None:
        self.least_left = share if self.least_left is None else min(self.least_left, share)


def _amount(value: object) -> float:
    return max(0.0, number(value) or 0.0)


async def read_open_budgets(reader: Reader, names: Sequence[str]) -> dict[str, OpenBudgets]:
    """Add up the open budgets of queues, in two round trips."""
    queues = [reader.keys(name) for name in names]
    listed = await reader.read([("ZRANGE", keys.budgets, 0, _MOST - 1, "REV") for keys in queues])
    flows: list[tuple[QueueKeys, str]] = [
        (keys, flow)
        for keys, members in zip(queues, listed, strict=True)
        if not failed(members)
        for flow in map(text, items(members))
        if flow
    ]
    facts = await reader.read_each(
        flows,
        lambda flow: [
            ("HMGET", flow[0].budget(flow[1]), *_FIELDS),
            ("SCARD", flow[0].budget_parked(flow[1])),
            ("HGET", flow[0].job(flow[1]), "state"),
        ],
    )
    found = {name: OpenBudgets() for name in names}
    for (keys, _), (fields, parked, state) in zip(flows, facts, strict=True):
        stored = [] if failed(fields) else items(fields)
        root = None if failed(state) else text(state)
        if any(value is not None for value in stored) and root is not None and root not in _ENDED:
            found[keys.queue].add(stored, 0 if failed(parked) else integer(parked))
    return found
