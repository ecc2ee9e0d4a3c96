"""Every schedule once, for a few seconds: `make test-faults`. `make soak` runs them for longer, with other seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .schedules import SCHEDULES, run

SECONDS = 6.0


@pytest.mark.parametrize("name", SCHEDULES)
async def test_nothing_is_lost_and_nothing_is_left(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    report = await run(name, seed=1, seconds=SECONDS)
    if report.accepted <= 20 and not report.problems:  # its faults took up the time, on a slow machine
        report = await run(name, seed=1, seconds=4 * SECONDS)
    record_property("report", str(report))
    assert report.problems == []
    assert report.faults > 0
    assert report.accepted > 20
