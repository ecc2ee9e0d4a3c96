"""What an entry says of itself: its next runs, runs that nobody made, and its timing in words."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq_core import InvalidOptionError, SchedulerEntry
from glidemq_core.schedules.entry import LATE_MS, decode_scheduler
from glidemq_core.schedules.next_run import following_run
from glidemq_core.wire.strict_json import compact_json

DAY = 86_400_000
T = 1_795_467_600_000  # a whole hour


@pytest.mark.parametrize(
    ("fields", "runs"),
    [
        ({"every": 1_000}, (T, T + 1_000, T + 2_000)),
        ({"every": 1_000, "limit": 5, "iteration_count": 3}, (T, T + 1_000)),
        ({"every": 1_000, "limit": 5, "iteration_count": 7}, ()),
        ({"every": 1_000, "end_date": T + 1_500}, (T, T + 1_000)),
        ({"every": 1_000, "end_date": T - 1}, ()),
        ({"every": 1_000, "next_run": None}, ()),
        ({"pattern": "0 * * * *"}, (T, T + 3_600_000, T + 7_200_000)),
        ({"repeat_after_complete": 1_000}, (T,)),
        ({"repeat_after_complete": 1_000, "next_run": 0}, ()),
    ],
)
def test_the_next_runs(fields: dict[str, Any], runs: tuple[int, ...]) -> None:
    assert SchedulerEntry(**{"next_run": T, **fields}).next_runs(3) == runs


def test_next_runs_of_what_cannot_be_read() -> None:
    with pytest.raises(InvalidOptionError):
        SchedulerEntry(pattern="x", next_run=T).next_runs(2)
    with pytest.raises(InvalidOptionError):
        SchedulerEntry(every=5, next_run=T).next_runs(-1)


@pytest.mark.parametrize(
    ("entry", "now", "missed"),
    [
        ({"every": 60_000}, T + LATE_MS, 0),
        ({"every": 60_000}, T + LATE_MS + 1, 1),
        ({"every": 60_000}, T + LATE_MS + 120_001, 3),
        ({"every": 1}, T + DAY, 100),
        ({"every": 60_000, "limit": 2}, T + DAY, 2),
        ({"pattern": "0 0 * * *"}, T + 3 * DAY, 4),
        ({"repeatAfterComplete": 60_000}, T + DAY, 1),
        ({"repeatAfterComplete": 60_000, "nextRun": 0}, T + DAY, 0),
        ({"pattern": "no cron"}, T + DAY, 0),
        ({"every": 0}, T + DAY, 1),
    ],
)
def test_missed_runs(entry: dict[str, Any], now: int, missed: int) -> None:
    found = decode_scheduler(compact_json({"nextRun": T, **entry}), now)
    assert found is not None
    assert found.missed == missed


@pytest.mark.parametrize(
    ("at", "due"),
    [(T - 1, T), (T, T + 1_000), (T + 999, T + 1_000), (T + 1_000, T + 2_000), (T + 12_345, T + 13_000)],
)
def test_an_interval_keeps_its_phase_and_leaves_out_what_was_missed(at: int, due: int) -> None:
    assert following_run(SchedulerEntry(every=1_000), T, at) == due


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pattern": "0 3 * * *", "tz": "Europe/Berlin"}, "every day at 03:00 Europe/Berlin"),
        ({"pattern": "30 2 * * 1-5"}, "Monday to Friday at 02:30 UTC"),
        ({"pattern": "0 8,20 * * 0,6"}, "Sunday and Saturday at 08:00 and 20:00 UTC"),
        ({"pattern": "0 0 1 * *"}, "day 1 of each month at 00:00 UTC"),
        ({"pattern": "0 0 1,15 1,7 *"}, "days 1 and 15 of January and July at 00:00 UTC"),
        ({"pattern": "0 0 13 * 5"}, "Friday that is day 13 of each month at 00:00 UTC"),
        ({"pattern": "0 9 * 6-8 *"}, "every day in June to August at 09:00 UTC"),
        ({"pattern": "0 9 * 6 1"}, "Monday in June at 09:00 UTC"),
        ({"pattern": "* * * * *"}, "every minute"),
        ({"pattern": "*/5 * * * *"}, "every 5 minutes"),
        ({"pattern": "*/5 * * * 1"}, "every 5 minutes on Monday UTC"),
        ({"pattern": "0 * * * *"}, "every hour"),
        ({"pattern": "7 * * * *"}, "every hour at minute 7"),
        ({"pattern": "7 */6 * * *"}, "every day at 00:07, 06:07, 12:07 and 18:07 UTC"),
        ({"pattern": "7 */2 * * *"}, "every 2 hours at minute 7"),
        ({"pattern": "1,2 3-9 * * *"}, "cron '1,2 3-9 * * *' UTC"),
        ({"pattern": "0 0 * * 7"}, "cron '0 0 * * 7'"),
        ({"every": 200}, "every 200 ms"),
        ({"every": 1_000}, "every second"),
        ({"every": 90_000}, "every 90 seconds"),
        ({"every": 7_200_000}, "every 2 hours"),
        ({"repeat_after_complete": DAY}, "1 day after each run ends"),
        ({}, "never: it has no timing"),
        (
            {"every": DAY, "limit": 3, "start_date": T, "end_date": T + DAY},
            "every day, at most 3 times, from 2026-11-23 21:00 UTC, until 2026-11-24 21:00 UTC",
        ),
    ],
)
def test_the_timing_in_words(fields: dict[str, Any], words: str) -> None:
    assert SchedulerEntry(**fields).described == words
