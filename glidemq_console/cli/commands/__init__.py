"""All commands, in the order in which the help lists them: importing a family registers its commands."""

from __future__ import annotations

from importlib import import_module

FAMILIES = (
    "console",
    "jobs.tail",
    "queues.read",
    "jobs.read",
    "approvals.inbox",
    "approvals.decisions",
    "queues.control",
    "jobs.control",
    "jobs.failures",
    "jobs.why",
    "flows.read",
    "flows.budgets",
    "queues.limits",
    "queues.schedulers",
    "jobs.add",
    "worker",
    "queues.workers_usage",
    "queues.metrics",
    "queues.audit",
    "queues.events",
    "server",
    "doctor",
    "config",
    "completion",
)


def register() -> None:
    """Make every command known to the program."""
    for family in FAMILIES:
        import_module(f"{__package__}.{family}")
