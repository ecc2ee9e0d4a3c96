"""A long payload that takes long to read: refreshes that come meanwhile do not begin anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from conftest import eventually

from glidemq_console.app import ConsoleApp
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_core.options.job import JobRef
from glidemq_core.records import Approval

from .fixed import config
from .fixed_ai import LONG, WAITING, feed


async def test_a_reading_that_outlasts_a_refresh_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every reading of the list is another record of the same job.
    script = feed(later=lambda: [replace(LONG, hidden=("draft after 4 kB",)), *WAITING[1:]])
    begun: list[JobRef] = []
    arrived = asyncio.Event()

    async def review(ref: JobRef, *, payload_limit: int | None = None) -> Approval:
        begun.append(ref)
        await arrived.wait()
        return LONG

    monkeypatch.setattr(script, "review", review)
    app = ConsoleApp(config(script, screen="approvals"))
    async with app.run_test(size=(120, 36)) as pilot:
        await eventually(lambda: begun)
        screen = app.console_screen
        assert isinstance(screen, ApprovalsScreen)

        for _ in range(3):
            script.refresh_now()
            await pilot.pause(0.05)
        assert begun == [LONG.ref]
        assert screen.why_not_decide() is not None

        arrived.set()
        await eventually(lambda: screen.why_not_decide() is None)
