"""What a stranger wrote into one queue spoils neither a command nor what it says about the other queues."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kits.poison import POISONS, STATES, poison, poison_types

from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, within

pytestmark = pytest.mark.thorough

#: Commands on all queues, and what says that the good one is among the answer.
FLEET = (
    ("queues",),
    ("workers",),
    ("approvals",),
    ("usage",),
    ("limits", "chat", "bad"),
    ("doctor",),
)
ONE_QUEUE = (
    ("jobs", "bad"),
    ("jobs", "bad", "--state", "active"),
    ("jobs", "bad", "--name", "x"),
    ("limits", "bad"),
    ("audit", "bad"),
)
ONE_JOB = ("job", "flow", "budget")
#: Done, a finding, not found, and told that it cannot be read.
ALLOWED = (0, 1, 3, 5)


async def _spoil(connection: Connection, name: str) -> None:
    good = Queue("chat", connection)
    await good.add("answer", {"prompt": "hi"}, job_id="good")
    if name == "types":
        await poison_types(connection, "bad")
    else:
        await poison(connection, "bad", POISONS[name])


@pytest.mark.parametrize("name", [*POISONS, "types"])
def test_one_queues_records_never_blind_a_command(server: str, run: Callable[..., Ran], name: str) -> None:
    within(server, lambda connection: _spoil(connection, name))
    jobs = ("job",) if name == "types" else (*STATES, "job")
    lines = [*FLEET, *ONE_QUEUE, *((command, f"bad:{job}") for job in jobs for command in ONE_JOB)]

    ran = {line: run(*line, "--json") for line in lines}

    assert [answer for answer in ran.items() if answer[1].code not in ALLOWED] == []
    [chat] = [row for row in ran["queues",].object["queues"] if row["name"] == "chat"]
    assert chat["waiting"] == 1
    [chat, bad] = ran["limits", "chat", "bad"].object["limits"]
    assert (chat["queue"], bad["queue"]) == ("chat", "bad")
