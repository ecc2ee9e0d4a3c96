"""All commands, in the order in which the help lists them: importing a family registers its commands."""

from __future__ import annotations

from importlib import import_module

FAMILIES = (
    "console",
    "tail",
    "queues",
    "jobs",
    "approvals",
    "decisions",
    "queue_control",
    "job_control",
    "flows",
    "budgets",
    "limits",
    "add",
    "worker",
    "observe",
    "audit",
    "events",
    "server",
    "doctor",
    "config",
)


def register() -> None:
    """Make every command known to the program."""
    for family in FAMILIES:
        import_module(f"{__package__}.{family}")
