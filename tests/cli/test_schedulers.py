"""`schedulers` and `scheduler set|remove|run`; what is said before a job goes that a scheduler waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from glidemq_core import JobTemplate, Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, through_a_pty, within, words
from .test_doctor import send
from .test_json_page import check

Run = Callable[..., Ran]
KEY = "glide:{chat}:schedulers"
SCHEDULER = words(
    "queue name pattern every_ms repeat_after_complete_ms tz start_ms end_ms limit iteration_count next_ms last_ms "
    "missed job data opts described"
)


def test_set_list_run_and_remove(run: Run, server: str) -> None:
    ran = run(
        *words("scheduler set chat nightly --tz Europe/Berlin --limit 5 --job report --by ann --json --cron"),
        "0 3 * * *",
        *("--data", '{"n": 1}', "--opts", '{"attempts": 3}'),
    )
    assert ran.code == 0
    made = ran.object["scheduler"]
    assert list(made) == SCHEDULER
    assert (made["queue"], made["name"], made["pattern"], made["tz"]) == (
        "chat",
        "nightly",
        "0 3 * * *",
        "Europe/Berlin",
    )
    assert (made["limit"], made["iteration_count"], made["missed"]) == (5, 0, 0)
    assert (made["job"], made["data"], made["opts"]) == ("report", {"n": 1}, {"attempts": 3})
    assert made["described"] == "every day at 03:00 Europe/Berlin, at most 5 times"
    assert made["next_ms"] > time.time_ns() // 1_000_000
    check(made, "Scheduler", "scheduler set")

    listed = run("schedulers", "--json").object
    assert listed["schedulers"] == [made]
    assert set(listed) == {"schedulers", "at_ms"}
    text = run("schedulers", "chat").out
    assert "every day at 03:00 Europe/Berlin" in text
    assert "0 of 5" in text

    job = run(*words("scheduler run chat nightly --json")).object["job"]
    assert job == {"queue": "chat", "id": "1", "created": True, "outcome": "created"}
    assert run("schedulers", "--json").object["schedulers"] == [made]

    removed = run(*words("scheduler remove chat nightly --yes --json"))
    [result] = removed.object["results"]
    assert (removed.code, result["outcome"], result["ok"]) == (0, "removed", True)
    check(result, "Result", "scheduler remove")
    again = run(*words("scheduler remove chat nightly --yes"))
    assert (again.code, again.out) == (1, "chat not found (scheduler 'nightly')\n")
    assert run("schedulers", "chat").err == f"no schedulers on {server}\n"

    audited = run(*words("audit chat --json")).object["entries"]
    assert [(entry["action"], entry["via"]) for entry in audited] == [
        ("remove_scheduler", "cli"),
        ("run_scheduler", "cli"),
        ("set_scheduler", "cli"),
    ]


def test_intervals_and_pauses(run: Run, server: str) -> None:
    ran = run(
        *words("scheduler set chat poll --every 5m --start 2030-01-01T00:00:00Z --end 2031-01-01T00:00:00Z")
    )
    assert ran.code == 0
    assert ran.out.startswith("chat: scheduler poll set: every 5 minutes, from 2030-01-01 00:00 UTC, until ")
    assert run(*words("scheduler set chat loop --after-complete 1h --json")).code == 0
    loop, poll = run("schedulers", "--json").object["schedulers"]
    assert (loop["repeat_after_complete_ms"], loop["job"], loop["data"], loop["opts"]) == (
        3_600_000,
        "loop",
        None,
        {},
    )
    assert (poll["every_ms"], poll["start_ms"], poll["end_ms"]) == (
        300_000,
        1_893_456_000_000,
        1_924_992_000_000,
    )


def test_what_waits_and_what_is_late_is_shown(run: Run, server: str) -> None:
    late = time.time_ns() // 1_000_000 - 90_000
    entries = {
        "late": f'{{"every":60000,"nextRun":{late}}}',
        "loop": '{"repeatAfterComplete":60000,"iterationCount":1,"nextRun":0}',
        "bad": '{"pattern":"0 0 * * 7","nextRun":1}',
        "\x1b[2J": "no json",
    }
    for name, text in entries.items():
        send(server, "HSET", KEY, name, text)
    found = {one["name"]: one for one in run("schedulers", "chat", "--json").object["schedulers"]}
    assert set(found) == {"late", "loop", "bad"}
    assert (found["late"]["missed"], found["loop"]["next_ms"]) == (2, None)
    ran = run("schedulers", "chat")
    assert "when its job ends" in ran.out
    assert "chat: scheduler 'bad' cannot run: pattern '0 0 * * 7': weekday 7" in ran.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("set chat s", "one of --cron, --every and --after-complete"),
        ("set chat", "NAME is missing: glidemq scheduler set QUEUE NAME"),
        ("set", "name one queue"),
        ("set -q chat", "NAME is missing"),
        ("set chat s -q chat --every 5s", "name the queue once"),
        ("set chat s --every 5s --after-complete 5s", "one of --cron"),
        ("set chat s --every 0", "longer than 0"),
        ("run chat s --every 5s", "run takes no schedule"),
        ("remove chat s --yes --data 1", "remove takes no schedule"),
        ("remove chat s", "say --yes"),
        ("set chat s --every 5s --opts []", "--opts must be a JSON object"),
        ("set chat s --every 5s --tz Mars/Olympus", "no known time zone"),
        ("set chat s --cron @daily", "not five"),
        (
            "set chat s --every 5s --start 2031-01-01T00:00:00Z --end 2030-01-01T00:00:00Z",
            "--end is before --start",
        ),
        ("set chat s --every 5s --end 2020-01-01", "no run is due before --end"),
    ],
)
def test_lines_that_cannot_mean_anything(run: Run, server: str, line: str, message: str) -> None:
    ran = run("scheduler", *words(line))
    assert ran.code == 2, ran.err
    assert message in ran.err
    assert send(server, "DBSIZE") == 0


def test_one_that_is_not_there_cannot_run(run: Run, server: str) -> None:
    ran = run(*words("scheduler run chat s --json"))
    assert (ran.code, ran.error["type"]) == (1, "SchedulerNotFoundError")


def test_removing_what_a_scheduler_waits_for_warns_first(run: Run, server: str) -> None:
    async def body(connection: Connection) -> None:
        queue: Queue[Any, Any] = Queue("chat", connection)
        await queue.upsert_job_scheduler("loop", repeat_after_complete=60_000, template=JobTemplate("n"))
        job = await queue.run_job_scheduler("loop")
        await connection.command("HSET", f"glide:{{chat}}:job:{job.id}", "schedulerName", "loop")
        text = '{"repeatAfterComplete":60000,"iterationCount":1,"nextRun":0}'
        await connection.command("HSET", KEY, "loop", text)
        await queue.add("other")

    within(server, body)
    warning = "warning: scheduler 'loop' of queue 'chat' waits for the end of"
    assert f"{warning} its job" in run(*words("clean chat --state failed --older-than 1d --yes")).err
    assert f"{warning} its job" in run(*words("drain chat")).err  # refused, but told
    assert warning not in run(*words("remove chat:2 --yes --json")).err
    code, seen = through_a_pty("remove", "chat:1", "--url", server, typed=b"n\n")
    assert code == 1
    assert f"{warning} one of these jobs".encode() in seen
    assert seen.index(b"warning") < seen.index(b"Remove 1 job")
    ran = run(*words("remove chat:1 --yes --json"))
    assert f"{warning} one of these jobs" in ran.err
    assert ran.object["results"][0]["outcome"] == "removed"
    assert warning not in run(*words("drain chat --yes")).err  # its next run is set


def test_the_queue_may_be_an_option(run: Run, server: str) -> None:
    assert run(*words("scheduler set -q chat poll --every 5m")).code == 0
    assert run(*words("scheduler run poll -q chat")).out == "chat:1 created\n"
    assert run(*words("scheduler remove -q chat poll --yes")).code == 0
