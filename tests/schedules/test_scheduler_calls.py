"""Setting, reading, removing and running schedulers: what is stored, what is refused, peers that hold their lock."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from kits.bench import Bench
from kits.wire import recording
from kits.worker import Outage

from glidemq_core import (
    Actor,
    InvalidOptionError,
    JobOptions,
    JobTemplate,
    LockBusyError,
    PayloadTooLargeError,
    Queue,
    SchedulerNotFoundError,
    SerializationError,
)
from glidemq_core.schedules.entry import decode_scheduler

KEY = "glide:{q}:schedulers"
LOCK = f"{KEY}:lock:__tick__"
NOW = 1_795_467_252_441
HOUR = 3_600_000


@pytest.fixture(autouse=True)
def clock(bench: Bench) -> list[int]:
    """The caller's clock, which stands still until a test moves it."""
    now = [NOW]
    bench.connection.now_ms = lambda: now[0]  # type: ignore[method-assign]
    return now


async def stored(bench: Bench, name: str) -> str:
    return str((await bench.command("HGET", KEY, name)).decode())


def recorded(name: str) -> tuple[str, str]:
    """Name and text of the one entry of a recording."""
    [[scheduler, text]] = recording(name)["keys"][f"glide:{{{name}}}:schedulers"]["value"].items()
    return scheduler, text


async def test_every_is_stored_as_recorded(bench: Bench, clock: list[int]) -> None:
    name, text = recorded("scheduler_every")
    clock[0] = json.loads(text)["nextRun"] - HOUR

    entry = await bench.queue.upsert_job_scheduler(
        name, every=HOUR, template=JobTemplate("tick-job", {"a": 1}, JobOptions(attempts=2))
    )

    assert await stored(bench, name) == text
    assert entry == decode_scheduler(text)
    assert await bench.queue.get_job_scheduler(name) == entry
    assert await bench.queue.get_job_schedulers() == {name: entry}


async def test_cron_is_stored_as_recorded(bench: Bench, clock: list[int]) -> None:
    name, text = recorded("scheduler_cron")
    clock[0] = json.loads(text)["nextRun"] - HOUR

    entry = await bench.queue.upsert_job_scheduler(
        name,
        pattern="30 2 * * 1-5",
        tz="Europe/Berlin",
        limit=10,
        template=JobTemplate("nightly-job", {}),
    )

    assert await stored(bench, name) == text
    assert entry.described == "Monday to Friday at 02:30 Europe/Berlin, at most 10 times"


async def test_repeat_after_complete_is_stored_as_recorded(bench: Bench, clock: list[int]) -> None:
    before = recording("scheduler_repeat_after_complete")["results"][0]
    clock[0] = before["nextRun"]

    await bench.queue.upsert_job_scheduler(
        "loop", repeat_after_complete=HOUR, template=JobTemplate("loop-job", {"a": 1})
    )

    assert await stored(bench, "loop") == json.dumps(before, separators=(",", ":"))


@pytest.mark.parametrize("name", ["every", "cron", "fired", "repeat_after_complete"])
async def test_recordings_are_read(bench: Bench, name: str) -> None:
    scheduler, text = recorded(f"scheduler_{name}")
    await bench.command("HSET", KEY, scheduler, text)
    entry = await bench.queue.get_job_scheduler(scheduler)
    raw = json.loads(text)
    assert entry is not None
    assert entry.template is not None
    wire = {
        "pattern": entry.pattern,
        "every": entry.every,
        "repeatAfterComplete": entry.repeat_after_complete,
        "tz": entry.tz,
        "limit": entry.limit,
        "iterationCount": entry.iteration_count,
        "lastRun": entry.last_run,
        "nextRun": entry.next_run,
    }
    assert {key: value for key, value in wire.items() if value is not None} | {
        "template": raw["template"]
    } == raw
    assert (entry.template.name, entry.template.data) == (raw["template"]["name"], raw["template"]["data"])


async def test_all_fields_stand_in_the_peers_order(bench: Bench) -> None:
    await bench.queue.upsert_job_scheduler(
        "all",
        pattern="0 3 * * *",
        tz="Europe/Berlin",
        start_date=datetime(2030, 1, 1, tzinfo=UTC),
        end_date=datetime(2031, 1, 1, tzinfo=UTC),
        limit=5,
        template=JobTemplate(),
    )
    assert list(json.loads(await stored(bench, "all"))) == [
        *("pattern", "tz", "startDate", "endDate", "limit", "iterationCount", "template", "nextRun"),
    ]


async def test_the_same_timing_goes_on_and_limit_and_template_may_change(
    bench: Bench, clock: list[int]
) -> None:
    _, text = recorded("scheduler_fired")
    await bench.command("HSET", KEY, "tick", text)
    clock[0] += 50
    entry = await bench.queue.upsert_job_scheduler("tick", every=200, limit=9, template=JobTemplate("other"))
    was = json.loads(text)
    assert (entry.iteration_count, entry.last_run, entry.next_run) == (2, was["lastRun"], was["nextRun"])
    assert (entry.limit, entry.template) == (9, JobTemplate("other"))


@pytest.mark.parametrize(
    "change", [{"every": 300}, {"every": 200, "start_date": 5}, {"every": 200, "end_date": 2 * NOW}]
)
async def test_another_timing_starts_fresh(bench: Bench, change: dict[str, Any]) -> None:
    _, text = recorded("scheduler_fired")
    await bench.command("HSET", KEY, "tick", text)
    entry = await bench.queue.upsert_job_scheduler("tick", **change)
    assert (entry.iteration_count, entry.last_run) == (0, None)
    assert entry.next_run is not None
    assert entry.next_run > NOW


async def test_setting_one_whose_job_runs_begins_again(bench: Bench) -> None:
    """As in the peer: the next run is now, beside the job that runs."""
    text = '{"repeatAfterComplete":60000,"iterationCount":1,"template":{},"lastRun":5,"nextRun":0}'
    await bench.command("HSET", KEY, "loop", text)
    entry = await bench.queue.upsert_job_scheduler("loop", repeat_after_complete=60_000)
    assert (entry.iteration_count, entry.next_run) == (0, NOW)


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({"every": 1_000}, NOW + 1_000),
        ({"every": 1_000, "start_date": NOW + 5}, NOW + 5),
        ({"every": 1_000, "start_date": NOW - 2_500}, NOW + 500),
        ({"every": 1_000, "start_date": NOW - 2_000}, NOW),
        ({"repeat_after_complete": 1_000}, NOW),
        ({"repeat_after_complete": 1_000, "start_date": NOW + 7}, NOW + 7),
        ({"repeat_after_complete": 1_000, "start_date": NOW - 7}, NOW),
        ({"pattern": "* * * * *"}, NOW + 47_559),
        ({"pattern": "* * * * *", "start_date": NOW + 60_000}, NOW + 107_559),
    ],
)
async def test_the_first_run(bench: Bench, options: dict[str, Any], first: int) -> None:
    assert (await bench.queue.upsert_job_scheduler("s", **options)).next_run == first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "exactly one of pattern, every, repeat_after_complete"),
        ({"every": 1, "pattern": "* * * * *"}, "pattern and every do not go together"),
        ({"pattern": "0 0 * * 7"}, "weekday 7"),
        ({"pattern": ""}, "pattern must be text, not empty"),
        ({"pattern": 5}, "pattern must be text"),
        ({"pattern": "0 0 30 2 *"}, "no run is due within ten years"),
        ({"pattern": "* * * * *", "tz": "Mars/Olympus"}, "no known time zone"),
        ({"every": 1_000, "tz": "Mars/Olympus"}, "no known time zone"),
        ({"every": 0}, "every must be at least 1 millisecond"),
        ({"every": -5}, "every must be"),
        ({"every": 2**60}, "every must be"),
        ({"repeat_after_complete": 0}, "repeat_after_complete must be"),
        ({"every": 1_000, "limit": 0}, "limit must be"),
        ({"every": 1_000, "limit": 1.5}, "limit must be"),
        ({"every": 1_000, "start_date": NOW + 2, "end_date": NOW + 1}, "end_date is before start_date"),
        ({"every": 1_000, "start_date": datetime(2030, 1, 1)}, "needs a time zone"),
        ({"every": 1_000, "end_date": NOW + 999}, "no run is due before end_date"),
        ({"every": 1_000, "template": {"name": "x"}}, "template must be a JobTemplate"),
    ],
)
async def test_what_cannot_be_meant_is_refused_and_nothing_is_stored(
    bench: Bench, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidOptionError, match=words):
        await bench.queue.upsert_job_scheduler("s", **options)
    assert await bench.command("KEYS", "*") == []


async def test_data_that_no_job_could_carry_is_refused(bench: Bench) -> None:
    with pytest.raises(PayloadTooLargeError):
        await bench.queue.upsert_job_scheduler("s", every=1_000, template=JobTemplate(data="x" * 2**20))
    with pytest.raises(SerializationError):
        await bench.queue.upsert_job_scheduler("s", every=1_000, template=JobTemplate(data={1, 2}))
    with pytest.raises(InvalidOptionError):
        await bench.queue.upsert_job_scheduler("", every=1_000)
    assert await bench.command("KEYS", "*") == []


async def test_removing(bench: Bench) -> None:
    await bench.queue.upsert_job_scheduler("s", every=1_000)
    assert await bench.queue.remove_job_scheduler("s") is True
    assert await bench.queue.remove_job_scheduler("s") is False
    assert await bench.queue.get_job_scheduler("s") is None
    assert await bench.queue.get_job_schedulers() == {}


async def test_what_is_no_entry_reads_as_none(bench: Bench) -> None:
    await bench.command("HSET", KEY, "a", "no json", "b", "[]", "c", '{"every":0,"nextRun":"x"}')
    assert await bench.queue.get_job_scheduler("a") is None
    assert list(await bench.queue.get_job_schedulers()) == ["c"]
    with pytest.raises(SchedulerNotFoundError):
        await bench.queue.run_job_scheduler("a")


async def test_edits_wait_for_a_peer_that_holds_its_lock(bench: Bench) -> None:
    await bench.command("SET", LOCK, "0123456789abcdef", "PX", 300)
    entry = await asyncio.wait_for(bench.queue.upsert_job_scheduler("s", every=1_000), 5)
    assert entry.next_run == NOW + 1_000
    await bench.command("SET", LOCK, "0123456789abcdef", "PX", 300)
    assert await asyncio.wait_for(bench.queue.remove_job_scheduler("s"), 5)


async def test_a_lock_that_stays_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glidemq_core.schedules.calls._TRIES", 3)
    await bench.command("SET", LOCK, "0123456789abcdef", "PX", 60_000)
    with pytest.raises(LockBusyError, match="being changed by a peer") as caught:
        await bench.queue.upsert_job_scheduler("s", every=1_000)
    assert caught.value.lock == LOCK
    with pytest.raises(LockBusyError):
        await bench.queue.remove_job_scheduler("s")
    assert await bench.command("HLEN", KEY) == 0


async def test_an_edit_whose_reply_was_lost_is_made_once(bench: Bench) -> None:
    """Even when the scheduler was run in between: setting it again would begin it again."""
    outage = Outage(bench.connection, only="schedule_set")
    outage.plan = ["after"]
    call = bench.connection.call

    async def run_meanwhile(function: str, *args: Any) -> Any:
        try:
            return await call(function, *args)
        except Exception:
            await bench.command(
                "HSET", KEY, "loop", '{"repeatAfterComplete":60000,"iterationCount":1,"nextRun":0}'
            )
            raise

    bench.connection.call = run_meanwhile  # type: ignore[method-assign]
    await bench.queue.upsert_job_scheduler("loop", repeat_after_complete=60_000)
    assert outage.lost == ["schedule_set"]
    assert json.loads(await stored(bench, "loop"))["nextRun"] == 0


async def test_removing_and_running_are_made_once_too(bench: Bench) -> None:
    await bench.queue.upsert_job_scheduler("s", every=1_000)
    outage = Outage(bench.connection, only="schedule_run")
    outage.plan = ["after"]
    job = await bench.queue.run_job_scheduler("s")
    assert await bench.queue.count() == 1
    assert job.id == "1"
    outage = Outage(bench.connection, only="schedule_remove")
    outage.plan = ["after"]
    assert await bench.queue.remove_job_scheduler("s") is True


async def test_running_now_leaves_the_next_run(bench: Bench) -> None:
    template = JobTemplate("work", {"n": 1}, JobOptions(attempts=3, delay=5_000, ttl=HOUR))
    entry = await bench.queue.upsert_job_scheduler(
        "s", repeat_after_complete=1_000, limit=1, template=template
    )

    job = await bench.queue.run_job_scheduler("s")

    assert await bench.queue.get_job_scheduler("s") == entry
    assert (job.name, job.data, job.state, job.scheduler) == ("work", {"n": 1}, "waiting", None)
    found = await bench.queue.get_job(job.id)
    assert found is not None
    assert (found.name, found.data, found.scheduler) == ("work", {"n": 1}, None)
    assert await bench.field(job.id, "opts") == '{"delay":5000,"attempts":3,"ttl":3600000}'
    assert await bench.field(job.id, "maxAttempts") == "3"
    assert await bench.field(job.id, "expireAt") == str(NOW + HOUR)
    assert await bench.events() == [("added", job.id)]


async def test_running_one_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(SchedulerNotFoundError, match="queue 'q' has no scheduler 's'") as caught:
        await bench.queue.run_job_scheduler("s")
    assert (caught.value.queue, caught.value.scheduler) == ("q", "s")
    assert await bench.command("KEYS", "*") == []


async def test_edits_by_a_person_are_audited(bench: Bench) -> None:
    actor = Actor("ann")
    await bench.queue.upsert_job_scheduler("s", every=1_000, actor=actor)
    await bench.queue.run_job_scheduler("s", actor=actor)
    await bench.queue.remove_job_scheduler("s", actor=actor)
    await bench.queue.remove_job_scheduler("s", actor=actor)
    entries = await bench.queue.get_audit()
    assert [(entry.action, entry.outcome, entry.detail["scheduler"]) for entry in reversed(entries)] == [
        ("set_scheduler", "set", "s"),
        ("run_scheduler", "added", "s"),
        ("remove_scheduler", "removed", "s"),
    ]
    assert (await bench.queue.verify_audit()).ok


async def test_a_queue_that_has_only_a_scheduler_is_found(bench: Bench) -> None:
    await Queue("q", bench.connection).upsert_job_scheduler("s", every=1_000)
    assert await bench.command("SMEMBERS", "glide:queues") == {b"q"}
    assert await bench.queue.exists()
