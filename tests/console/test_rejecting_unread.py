"""Rejecting what cannot be read: it has no hash, and still only the suspension that was looked at is rejected."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.suspension import activate, field, suspended

from glidemq_console.widgets.dialogs.dialog import PromptDialog
from glidemq_core import Queue
from glidemq_core.ai.suspension import suspend
from glidemq_core.server.connection import Connection

from .test_approvals import approvals, screen_of, tells

pytestmark = pytest.mark.usefixtures("connection")


async def test_a_rejection_that_was_held_back_does_not_meet_a_later_round(
    connection: Connection, server_url: str
) -> None:
    queue = Queue[Any, Any]("q", connection)
    job_id, _, _ = await suspended(queue)
    scope = await queue.context()
    await connection.command("HSET", scope.keys.job(job_id), "data", "no json")
    async with approvals(server_url) as pilot:
        await eventually(lambda: screen_of(pilot).why_not_decide("reject") is None)
        await pilot.press("r")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press(*"no", "enter")
        await eventually(lambda: screen_of(pilot).console.outbox.pending)

        # Somebody else lets it go on, and it asks again.
        await queue.signal(job_id, "go")
        entry, started = await activate(scope, job_id)
        await suspend(scope, job_id, entry, started, "once more", 0)
        await screen_of(pilot).console.outbox.send_all()

        await tells(pilot, "changed since you opened it")
    assert await field(queue, job_id, "state") == "suspended"
    assert await field(queue, job_id, "suspendReason") == "once more"
