"""What spending and the reasons of waiting look like in each state that matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.lists.cost import SpendView, spend_view
from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_core.records import UsageGroup, UsageGroups, Why
from glidemq_core.records.jobs import Blocker
from glidemq_core.records.outcomes import UsageKey

from .fixed import NOW, NOW_MS, ago, script
from .photograph import photograph

#: Key, cost of the hour and the day, wasted, tokens, jobs.
SPENT: dict[UsageKey, tuple[tuple[str, float, float, float | None, int, int], ...]] = {
    "queue": (
        ("inference", 1.92, 31.4, 0.41, 8_120_000, 9_204),
        ("rag-index", 0.11, 2.3, None, 940_000, 410),
    ),
    "model": (
        ("gpt-5.4", 1.6, 27.1, 0.31, 6_400_000, 5_120),
        ("gemini-2.5-pro", 0.3, 5.2, 0.1, 1_900_000, 2_011),
        ("gpt-5.4-nano", 0.13, 1.4, None, 760_000, 2_483),
    ),
    "flow": (("ai:5001", 0.21, 0.21, None, 41_000, 6),),
    "job": (("inference:48213", 0.02, 0.02, None, 1_204, 1),),
}


def view(by: UsageKey) -> SpendView:
    def groups(hour: bool) -> UsageGroups:
        found = [
            UsageGroup(
                key=key,
                total_cost=lately if hour else cost,
                cost_unit="usd",
                wasted_cost=wasted,
                total_tokens=tokens,
                job_count=jobs,
                models={key if by == "model" else "gpt-5.4": jobs},
            )
            for key, lately, cost, wasted, tokens, jobs in SPENT[by]
        ]
        return UsageGroups(
            by=by,
            groups=tuple(found),
            jobs_read=2_000,
            complete=False,
            start_at=ago(hours=1 if hour else 24),
            at=NOW,
        )

    return spend_view(by, groups(True), groups(False), NOW_MS)


def known(wants: Interests) -> Snapshot:
    found = script()(wants)
    return found if wants.cost is None else replace(found, cost=view(wants.cost))


WHY = Why(
    queue="inference",
    job=None,
    state=None,
    blockers=(
        Blocker(
            kind="queue_paused",
            summary="the queue is paused, Node workers go on all the same",
            since_at=ago(minutes=3),
        ),
        Blocker(
            kind="rpm", summary="60 of 60 starts in 60 s are used", clears_at=NOW + timedelta(seconds=12)
        ),
        Blocker(kind="no_worker", summary="no worker serves the queue", command="glidemq worker APP"),
    ),
    ahead=None,
    at=NOW,
)
#: First screen, and the keys pressed.
STATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "cost-queues": ("cost", ()),
    "cost-models": ("cost", ("right", "j")),
    "why": ("queues", ("w",)),
}


@pytest.mark.parametrize("size", ["80x24", "160x45"])
@pytest.mark.parametrize("name", STATES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    screen, keys = STATES[name]
    feed = ScriptedFeed(known, whys={"inference": WHY})
    assert photograph(snap_compare, feed, size, keys, screen=screen)
