"""The table of screens: tabs, keys, `--screen` and the key reference read it. A new screen is one line here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual.screen import Screen

from ..actions import flows, streams
from ..actions.approvals import decisions as approvals
from ..actions.base import Action
from ..actions.jobs import control as jobs
from ..actions.jobs import timing as job_timing
from ..actions.lists import cost, events, failures, letters, schedules
from ..actions.protocols import PageName
from ..actions.queues import control as queues
from ..actions.queues import limits, workers


@dataclass(frozen=True)
class ScreenSpec:
    """A top-level screen: its key and name, where its class is (imported at the first visit), its actions."""

    #: A digit has a tab; without a key it is a command, and another screen leads there.
    key: str
    name: str
    module: str
    class_name: str
    actions: Sequence[Action[Any]]


SCREENS = (
    ScreenSpec("1", "queues", "queues.screen", "QueuesScreen", (*queues.ACTIONS, *limits.ON_QUEUES)),
    ScreenSpec("2", "jobs", "jobs.list", "JobsScreen", (*jobs.ACTIONS, *job_timing.ACTIONS)),
    ScreenSpec("3", "streams", "streams.screen", "StreamsScreen", streams.ACTIONS),
    ScreenSpec("4", "approvals", "approvals.screen", "ApprovalsScreen", approvals.ACTIONS),
    ScreenSpec("5", "flows", "flows.list", "FlowsScreen", flows.ACTIONS),
    ScreenSpec("6", "limits", "limits.screen", "LimitsScreen", limits.ACTIONS),
    ScreenSpec("7", "workers", "workers.screen", "WorkersScreen", workers.ACTIONS),
    ScreenSpec("8", "failures", "failures.screen", "FailuresScreen", failures.ACTIONS),
    ScreenSpec("9", "schedules", "schedules.screen", "SchedulesScreen", schedules.ACTIONS),
    ScreenSpec("0", "events", "events.screen", "EventsScreen", events.ACTIONS),
    ScreenSpec("dollar_sign", "cost", "cost.screen", "CostScreen", cost.ACTIONS),
    ScreenSpec("", "inboxes", "approvals.everywhere", "EverywhereScreen", ()),
    ScreenSpec("", "letters", "failures.letters", "LettersScreen", letters.ACTIONS),
)
#: Pages that lie over a screen, made for one job: module and class.
PAGES: dict[PageName, tuple[str, str]] = {
    "job": ("jobs.page", "JobScreen"),
    "flow": ("flows.page", "FlowScreen"),
}


def make(module: str, class_name: str, *arguments: object) -> Screen[None]:
    made: Screen[None] = getattr(importlib.import_module(f".{module}", __package__), class_name)(*arguments)
    return made
