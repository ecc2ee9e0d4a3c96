"""Acting on many jobs as they were shown: what has changed is left alone, a repeated part is not done twice."""

from __future__ import annotations

from typing import Any

import pytest
from kits.bench import Bench
from kits.worker import Outage

from glidemq_core.errors import InvalidOptionError, ServerUnavailableError
from glidemq_core.jobs.admin import set_limits
from glidemq_core.jobs.bulk import shown
from glidemq_core.jobs.bulk.shown import Shown, act_on_shown, retime, retime_back
from glidemq_core.options.job import Actor, NewJob
from glidemq_core.schedules.calls import restore_scheduler, set_scheduler, take_scheduler
from glidemq_core.schedules.definition import Definition
from glidemq_core.worker.sweeps import tick

ACTOR = Actor("ann", via="console")


async def _audited(bench: Bench) -> list[tuple[str, str, int | None, tuple[str, ...]]]:
    entries = await bench.queue.get_audit(limit=50)
    return [(entry.action, entry.outcome, entry.count, tuple(entry.job_ids)) for entry in reversed(entries)]


async def _state(bench: Bench, job_id: str) -> str | None:
    return await bench.field(job_id, "state")


# Retry, promote, remove -----------------------------------------------------------------------------------------


async def test_each_is_done_in_the_state_that_was_shown_or_left_alone(bench: Bench) -> None:
    failed, again = await bench.fail(), await bench.fail()
    await bench.queue.retry_job(again)
    rows = [Shown(failed, "failed"), Shown(again, "failed"), Shown("404", "failed")]

    assert await act_on_shown(bench.scope, "retry", rows, actor=ACTOR) == ["retried", "changed", "not_found"]
    assert await _audited(bench) == [("retry", "retried", 1, (failed,))]
    assert await _state(bench, failed) == "delayed"


async def test_promotion_skips_what_moved_on(bench: Bench) -> None:
    late, ready = await bench.add(delay=60_000), await bench.add()

    rows = [Shown(late, "delayed"), Shown(ready, "delayed")]
    assert await act_on_shown(bench.scope, "promote", rows, actor=ACTOR) == ["promoted", "changed"]
    assert await _state(bench, late) == "waiting"
    # What can be promoted in no state is changed nothing about, though it is in the state that was shown.
    assert await act_on_shown(bench.scope, "promote", [Shown(ready, "waiting")]) == ["changed"]


async def test_removal_takes_active_jobs_only_where_they_were_shown_as_active(bench: Bench) -> None:
    running, begun, waiting = [await bench.add() for _ in range(3)]
    await bench.claim(2)

    rows = [Shown(running, "active"), Shown(begun, "waiting"), Shown(waiting, "waiting")]
    assert await act_on_shown(bench.scope, "remove", rows, actor=ACTOR) == ["removed", "changed", "removed"]
    assert [await _state(bench, job) for job in (running, begun, waiting)] == [None, "active", None]
    assert await bench.stream_ids() == [begun]


async def test_a_foreign_record_costs_the_others_nothing(bench: Bench) -> None:
    job = await bench.fail()
    await bench.command("SET", bench.scope.keys.job("bad"), "x")

    rows = [Shown("bad", "failed"), Shown(job, "failed")]
    assert await act_on_shown(bench.scope, "retry", rows) == ["refused", "retried"]
    await bench.command("DEL", bench.scope.keys.job("bad"))


async def test_many_are_done_in_parts_each_audited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "PART", 4)
    jobs = [await bench.add() for _ in range(10)]

    outcomes = await act_on_shown(bench.scope, "remove", [Shown(job, "waiting") for job in jobs], actor=ACTOR)

    assert outcomes == ["removed"] * 10
    assert [count for _, _, count, _ in await _audited(bench)] == [4, 4, 2]


@pytest.mark.parametrize("plan", [["after"], ["before", "after", "before"]])
async def test_a_lost_reply_does_nothing_twice(bench: Bench, plan: list[str]) -> None:
    jobs = [await bench.fail() for _ in range(2)]
    outage = Outage(bench.connection, only="act_on_shown")
    outage.plan = list(plan)

    assert await act_on_shown(bench.scope, "retry", [Shown(job, "failed") for job in jobs], actor=ACTOR) == [
        "retried",
        "retried",
    ]
    assert len(outage.lost) == len(plan)
    assert await _audited(bench) == [("retry", "retried", 2, tuple(jobs))]


async def test_an_answer_that_never_comes_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "RETRY_S", 0.0)
    outage = Outage(bench.connection)
    outage.plan = ["before"]

    with pytest.raises(ServerUnavailableError):
        await act_on_shown(bench.scope, "retry", [Shown("1", "failed")])


async def test_only_these_acts_are_known(bench: Bench) -> None:
    with pytest.raises(InvalidOptionError):
        await act_on_shown(bench.scope, "obliterate", [])  # type: ignore[arg-type]
    assert await act_on_shown(bench.scope, "retry", []) == []


# When jobs run --------------------------------------------------------------------------------------------------


async def _records(bench: Bench, job_id: str) -> tuple[Any, ...]:
    keys = bench.scope.keys
    return (
        *[await bench.field(job_id, name) for name in ("state", "priority", "delay")],
        await bench.command("ZSCORE", keys.scheduled, job_id),
        job_id in await bench.stream_ids(),
        await bench.command("LRANGE", keys.lifo, 0, -1),
    )


@pytest.mark.parametrize(
    "options", [{}, {"priority": 5}, {"delay": 60_000}, {"delay": 60_000, "priority": 5}, {"lifo": True}]
)
@pytest.mark.parametrize(
    "wanted",
    [{"priority": 7}, {"delay": 90_000}, {"priority": 3, "delay": 90_000}, {"delay": 0, "priority": 9}],
)
async def test_a_change_taken_back_leaves_what_there_was(
    bench: Bench, options: dict[str, Any], wanted: dict[str, int]
) -> None:
    job = await bench.add(**options)
    state, before = await _state(bench, job), await _records(bench, job)
    assert state is not None

    [changed] = await retime(bench.scope, [Shown(job, state)], **wanted)
    assert changed.outcome == "set"
    assert await _records(bench, job) != before
    assert await retime_back(bench.scope, [changed]) == ["set_back"]
    assert await _records(bench, job) == before


async def test_a_delay_lets_wait_and_a_priority_goes_before(bench: Bench) -> None:
    jobs = [await bench.add() for _ in range(3)]
    await retime(bench.scope, [Shown(jobs[0], "waiting")], delay="1m", actor=ACTOR)
    await retime(bench.scope, [Shown(jobs[2], "waiting")], priority=1, actor=ACTOR)

    assert [await _state(bench, job) for job in jobs] == ["delayed", "waiting", "prioritized"]
    await tick(bench.scope)
    assert [job for job, _, _ in await bench.claim(2)] == [jobs[2], jobs[1]]
    assert [entry[:3] for entry in await _audited(bench)] == [("retime", "set", 1)] * 2


async def test_what_does_not_wait_any_more_keeps_its_time(bench: Bench) -> None:
    begun, gone, same, late = [await bench.add() for _ in range(4)]
    await bench.claim(1)
    await bench.queue.remove_job(gone)
    rows = [Shown(begun, "waiting"), Shown(gone, "waiting"), Shown(same, "waiting"), Shown(late, "delayed")]

    answers = await retime(bench.scope, rows, priority=0, delay=0)
    assert [one.outcome for one in answers] == ["changed", "not_found", "unchanged", "changed"]
    # Shown as it is, but begun: neither.
    [running] = await retime(bench.scope, [Shown(begun, "active")], delay=1_000)
    assert running.outcome == "changed"


async def test_nothing_is_taken_back_of_a_job_that_has_gone_on(bench: Bench) -> None:
    changed_again, promoted, begun = [await bench.add() for _ in range(3)]
    rows = [Shown(job, "waiting") for job in (changed_again, promoted, begun)]
    changes = await retime(bench.scope, rows, delay=60_000)
    await bench.queue.change_job_delay(changed_again, 90_000)
    await bench.queue.promote_job(promoted)
    await bench.queue.promote_job(begun)
    await bench.claim(2)

    assert await retime_back(bench.scope, changes, actor=ACTOR) == ["changed"] * 3
    assert await _state(bench, changed_again) == "delayed"
    assert await _audited(bench) == []


async def test_a_parked_job_waits_for_its_budget(bench: Bench) -> None:
    job = await bench.add(delay=60_000)
    await bench.command("HSET", bench.scope.keys.job(job), "budgetPausedAt", "1")

    [answer] = await retime(bench.scope, [Shown(job, "delayed")], delay=0)
    assert answer.outcome == "parked"


@pytest.mark.parametrize("text", ["", "waiting", "waiting x 0 0 -", "delayed 1 2"])
async def test_a_timing_that_is_none_moves_nothing(bench: Bench, text: str) -> None:
    job = await bench.add()
    [changed] = await retime(bench.scope, [Shown(job, "waiting")], delay=60_000)

    assert await retime_back(bench.scope, [shown.Retimed(job, "set", text, changed.now)]) == ["changed"]
    assert await _state(bench, job) == "delayed"


async def test_a_long_backlog_is_walked_in_several_calls(bench: Bench) -> None:
    """A job deep in the stream uses up what one call may look at; the next call goes on with the others."""
    keys = bench.scope.keys
    others = [("XADD", keys.stream, f"1-{n}", "jobId", f"x{n}", "name", "a") for n in range(1, 8_500)]
    await bench.connection.pipeline(others)
    deep = await bench.add()
    # Looked for where a job of that age would be, from both ends.
    await bench.command("HSET", keys.job(deep), "timestamp", "1")
    await bench.connection.pipeline([(*call[:2], "*", *call[3:]) for call in others])
    near = [await bench.add() for _ in range(2)]
    outage = Outage(bench.connection, only="retime")
    outage.plan = ["", "", "before"]

    answers = await retime(
        bench.scope, [Shown(job, "waiting") for job in (near[0], deep, near[1])], delay=1_000
    )

    assert [one.outcome for one in answers] == ["set", "out_of_reach", "set"]
    assert outage.lost == ["retime"]
    await bench.command("DEL", keys.stream)


async def test_many_jobs_of_one_moment_are_found_in_one_walk(bench: Bench) -> None:
    jobs = [job.id for job in await bench.queue.add_bulk([NewJob("a")] * 1_200)]
    outage = Outage(bench.connection, only="act_on_shown")
    outage.plan = ["", "", "before"]

    outcomes = await act_on_shown(bench.scope, "remove", [Shown(job, "waiting") for job in reversed(jobs)])

    assert outcomes == ["removed"] * 1_200
    assert await bench.stream_ids() == []
    # Three parts of 500, and the last one once more.
    assert outage.plan == []
    assert outage.lost == ["act_on_shown"]


@pytest.mark.parametrize("wanted", [{"priority": 2_049}, {"priority": -1}, {"delay": -1}])
async def test_a_priority_or_delay_that_is_none_is_refused(bench: Bench, wanted: dict[str, int]) -> None:
    with pytest.raises(InvalidOptionError):
        await retime(bench.scope, [Shown("1", "waiting")], **wanted)


# Schedules and limits -------------------------------------------------------------------------------------------


_FIELDS = ("pattern", "repeat_after_complete", "tz", "start_date", "end_date", "limit")


def _definition(every: int) -> Definition:
    return Definition(**{**dict.fromkeys(_FIELDS), "every": every, "template": ""})


async def _stored(bench: Bench) -> Any:
    return await bench.command("HGET", bench.scope.keys.schedulers, "s")


async def test_a_schedule_that_was_changed_is_given_back(bench: Bench) -> None:
    new = await set_scheduler(bench.scope, "s", _definition(60_000))
    before = await _stored(bench)
    changed = await set_scheduler(bench.scope, "s", _definition(90_000))

    assert await restore_scheduler(bench.scope, changed, actor=ACTOR)
    assert await _stored(bench) == before
    assert [entry[:2] for entry in await _audited(bench)] == [("restore_scheduler", "restored")]
    # A second time it is not what the change left.
    assert not await restore_scheduler(bench.scope, changed)
    assert await restore_scheduler(bench.scope, new)
    assert await _stored(bench) is None


async def test_a_schedule_that_was_removed_is_given_back_unless_there_is_another(bench: Bench) -> None:
    await set_scheduler(bench.scope, "s", _definition(60_000))
    before = await _stored(bench)
    gone = await take_scheduler(bench.scope, "s")
    assert gone is not None
    assert await take_scheduler(bench.scope, "s") is None

    assert await restore_scheduler(bench.scope, gone)
    assert await _stored(bench) == before
    await take_scheduler(bench.scope, "s")
    await set_scheduler(bench.scope, "s", _definition(30_000))
    assert not await restore_scheduler(bench.scope, gone)


async def test_limits_are_set_only_where_they_are_what_was_expected(bench: Bench) -> None:
    wanted = {"globalConcurrency": "3", "rateLimitMax": "60", "rateLimitDuration": "60000"}
    none = dict.fromkeys(wanted, "")
    assert await set_limits(bench.scope, wanted) == none
    assert await set_limits(bench.scope, none, none) is None
    assert await bench.queue.get_global_concurrency() == 3

    assert await set_limits(bench.scope, none, wanted, actor=ACTOR) == wanted
    assert await bench.queue.get_global_concurrency() is None
    assert await bench.queue.get_global_rate_limit() is None
    assert [entry[:2] for entry in await _audited(bench)] == [("set_limits", "set")]
