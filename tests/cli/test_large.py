"""Reading a server that holds more than is shown: whatever is left out is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glidemq_console.cli import session
from glidemq_core import NewJob, Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, within

Run = Callable[..., Ran]


def test_a_list_of_all_states_tells_which_are_cut(run: Run, server: str) -> None:
    async def fill(connection: Connection) -> None:
        queue: Queue[object, object] = Queue("q", connection)
        await queue.add_bulk([NewJob("n", {}) for _ in range(7)])
        await connection.command("ZADD", "glide:{q}:failed", 1, "gone", 2, "1")
        await connection.command("HSET", "glide:{q}:job:1", "state", "failed")

    within(server, fill)

    cut = run("jobs", "q", "--limit", "3")
    whole = run("jobs", "q", "--limit", "30")

    assert "waiting 3 of 7: --limit shows more, --state STATE all" in cut.err
    assert whole.err == ""
    assert run("jobs", "q", "--limit", "3", "--json").err == ""


@pytest.mark.parametrize("command", ["limits", "workers", "audit", "approvals"])
def test_a_search_that_was_cut_short_is_told(
    run: Run, server: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cut short" not in run(command).err
    monkeypatch.setattr(session, "_SCAN_S", 0)

    assert run(command).err.count("cut short") == 1


def test_an_id_that_many_queues_have_names_a_few(run: Run, server: str) -> None:
    async def fill(connection: Connection) -> None:
        for number in range(8):
            await Queue(f"q{number}", connection).add("n", {})

    within(server, fill)

    refused = run("job", "1")

    assert refused.code == 2
    assert "q0:1, q1:1, q2:1, q3:1, q4:1 and 3 more; name one of them" in refused.err


def test_usage_names_the_models_with_the_most_jobs(run: Run, server: str) -> None:
    async def fill(connection: Connection) -> None:
        minute = connection.now_ms() // 60_000 * 60_000
        models = [word for number in range(20) for word in (f"models:m{number:02}", str(number + 1))]
        await connection.command("HSET", f"glide:{{q}}:usage:{minute}", "jobCount", 210, *models)
        await connection.command("SADD", "glide:usage:queues", "q")

    within(server, fill)

    shown = run("usage").out.splitlines()

    assert shown[1].endswith("m19 20, m18 19, m17 18, m16 17, 16 more")
    assert len(run("usage", "--json").object["queues"]["q"]["models"]) == 20
