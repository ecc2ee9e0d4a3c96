"""The state tabs of the list of jobs: their order, which are always there, what an empty one says."""

from __future__ import annotations

#: What the tab of every state but completed is called.
ALL = "all"
#: Tabs in the order in which people look for work that needs them; those without a count show when not empty.
STATES: tuple[str, ...] = (
    ALL,
    "waiting",
    "active",
    "delayed",
    "suspended",
    "failed",
    "completed",
    "stalled",
    "prioritized",
    "waiting-children",
    "group-waiting",
)
ALWAYS = STATES[:7]
#: What is listed by the tabs whose jobs are not all shown in one state: running ones may stall, delayed ones be parked.
MIXED = frozenset((None, "active", "delayed"))
#: Where a queue without jobs opens.
FIRST = "waiting"

#: What an empty list of a state says, and the command that fills it.
EMPTY = {
    ALL: ("Nothing is to be done here.", "glidemq add {queue} NAME --data JSON"),
    "waiting": (
        "Nothing waits: workers keep up, or nothing is added.",
        "glidemq add {queue} NAME --data JSON",
    ),
    "active": ("Nothing runs right now.", "glidemq worker MODULE:NAME"),
    "delayed": ("Nothing is delayed.", "glidemq add {queue} NAME --delay 5m"),
    "suspended": ("Nothing waits for a person. A processor asks with job.suspend(reason=…).", ""),
    "failed": ("Nothing has failed. Good.", ""),
    "stalled": ("Every running job is heard of.", ""),
    "completed": ("Nothing completed is kept here; jobs may be set to leave when done.", ""),
    "prioritized": ("Nothing has a priority.", "glidemq add {queue} NAME --priority 1"),
    "waiting-children": ("No job waits for its children.", ""),
    "group-waiting": ("No job waits for its ordering group.", ""),
}


def state_of(tab: str) -> str | None:
    """The state that a tab lists, None for all of them."""
    return None if tab == ALL else tab
