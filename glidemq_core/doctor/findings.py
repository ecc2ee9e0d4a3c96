"""Checks made of findings about several queues, and results of repairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..records import Check, OperationResult
from ..records.outcomes import CheckStatus

#: Findings that a check lists.
_LISTED = 10


def verdict(
    id: str,
    findings: Sequence[str],
    *,
    good: str,
    bad: str,
    status: CheckStatus = "warn",
    fix: str | None = None,
) -> Check:
    """Make a check: ok with the summary `good` without findings, else `status` and `bad`, findings as detail."""
    if not findings:
        return Check(id=id, status="ok", summary=good)
    more = f"\n... and {len(findings) - _LISTED} more" if len(findings) > _LISTED else ""
    return Check(id=id, status=status, summary=bad, detail="\n".join(findings[:_LISTED]) + more, fix=fix)


def result(action: str, queue: str, outcome: str, *, ok: bool = True, **more: Any) -> OperationResult:
    """Make the result of a repair; `more` are other fields of it."""
    return OperationResult(action=action, queue=queue, outcome=outcome, ok=ok, **more)


def plural(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
