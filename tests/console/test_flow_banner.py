"""The banner of a blocked flow, on a real server: it comes without moving what one reads."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually

from glidemq_console.screens.flows.page import FlowScreen
from glidemq_core import FlowJob, FlowProducer, Job, Worker
from glidemq_core.server.connection import Connection

from .pilot_kit import console, text_on


@pytest.mark.leaves_records
async def test_a_banner_that_comes_does_not_move_the_tree(connection: Connection, server_url: str) -> None:
    async def fail(_: Job[Any, Any]) -> None:
        raise RuntimeError("no such page")

    async with FlowProducer(connection) as flows:
        await flows.add(FlowJob("root", "mail", {}, None, [FlowJob("step", "mail", {})]))
    async with console(server_url, size=(100, 30)) as pilot:
        await pilot.press("5")
        await eventually(lambda: bool(getattr(pilot.app.screen, "listed", ())))
        await pilot.press("enter")
        await eventually(
            lambda: isinstance(pilot.app.screen, FlowScreen) and len(pilot.app.screen.listed) == 2
        )
        page = pilot.app.screen
        assert isinstance(page, FlowScreen)
        await pilot.pause()
        before = page.lines.region.y

        async with Worker("mail", fail, connection, log_errors=False):
            await eventually(lambda: page.has_class("-blocked"))
        await pilot.pause()

        assert "can never go on by itself" in text_on(pilot)
        assert page.lines.region.y == before
