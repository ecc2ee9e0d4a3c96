"""What a screen shows that was told to hold still."""

from __future__ import annotations

from dataclasses import replace

from .snapshot import Snapshot


def with_lists_of(held: Snapshot, live: Snapshot) -> Snapshot:
    """Put what was listed when the screen was told to hold still into what is known now.

    The connection, rights and what is read of one thing alone are those of now.
    """
    far = held.elsewhere
    if far is not None and live.elsewhere is not None:
        far = far.standing(live.elsewhere)
    same_jobs = held.jobs is not None and live.jobs is not None and held.jobs.query == live.jobs.query
    return replace(
        live,
        queues=held.queues,
        read_ms=held.read_ms,
        history={**live.history, **held.history},
        workers={**live.workers, **held.workers},
        serving={**live.serving, **held.serving},
        complete=held.complete,
        jobs=held.jobs if same_jobs else live.jobs,
        inbox=held.inbox or live.inbox,
        elsewhere=far or live.elsewhere,
        meters={**live.meters, **held.meters},
        flows=held.flows or live.flows,
        failures=held.failures or live.failures,
        letters=held.letters or live.letters,
        schedules=held.schedules or live.schedules,
        events=held.events or live.events,
        cost=held.cost or live.cost,
    )
