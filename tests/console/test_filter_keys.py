"""Keys of filters on every list: what each reads of a row, which a list does not have, lists on a real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.config.filters import SCREENS
from glidemq_console.model.approvals import WaitingJob
from glidemq_console.model.lists.cost import SpendRow
from glidemq_console.model.lists.events import EventLine
from glidemq_console.model.lists.filters import FIELDS, problem_of, read_filter
from glidemq_console.model.lists.queues import QueueLine
from glidemq_console.model.snapshot import Snapshot
from glidemq_console.model.workers import WorkerRow
from glidemq_console.screens.lists.list_screen import ListScreen
from glidemq_core import FlowJob, FlowProducer, Queue, Usage, Worker
from glidemq_core.filters.language import KEYS
from glidemq_core.options.job import JobOptions, JobRef
from glidemq_core.records import DeadLetter, JobRow, QueueSnapshot, UsageGroup, WorkerInfo, WorkerJob
from glidemq_core.schedules.entry import Scheduler
from glidemq_core.server.connection import Connection

from .fixed import LIVE, NOW, NOW_MS, ago, config
from .fixed_ai import FIRST
from .fixed_flows import BLOCKED
from .pilot_kit import app_of, console, shows_queue, text_on
from .test_every_key import _feed

QUEUE = QueueLine(
    QueueSnapshot(
        name="mail-eu",
        paused=True,
        failed=3,
        stalled=1,
        oldest_waiting_at=ago(hours=2),
        cost_per_hour=1.5,
        tokens_per_s=40,
    ),
    Snapshot(),
)
RUNS = WorkerJob(id="42", name="send", started_at=ago(minutes=1))
WORKER = WorkerRow(
    kind="worker",
    queue="mail",
    worker=WorkerInfo(
        queue="mail",
        id="w1",
        host="box",
        pid=7,
        started_at=ago(hours=3),
        age_ms=1,
        active_jobs=1,
        language="python",
        paused=True,
        jobs=(RUNS,),
    ),
)
SCHEDULE = Scheduler(
    queue="reports",
    name="nightly",
    pattern="0 3 * * *",
    next_at=NOW,
    last_at=ago(days=2),
    missed=2,
    job="digest",
    options=JobOptions(),
    described="every day at 03:00",
)
EVENT = EventLine(
    key="mail:1-0",
    at_ms=NOW_MS - 90_000,
    event="usage",
    queue="mail",
    job_id="42",
    data={
        "name": "send",
        "model": "gpt-5.4",
        "total_cost": 0.5,
        "total_tokens": 1_200,
        "failed_reason": "429 slow",
    },
)
SPENT = SpendRow(
    key="mail",
    hour=None,
    day=UsageGroup(key="mail", total_cost=2.5, total_tokens=900, models={"gpt-5.4": 3}),
    share=None,
)
LETTER = DeadLetter(
    queue="mail-dead",
    id="9",
    origin=JobRef("mail", "42"),
    name="send",
    data={"user": 7, "tier": "gold"},
    failed_reason="timeout after 30 s",
    attempts_made=2,
    failed_at=ago(days=3),
)
#: A row of each list; the filters that take it, and those that do not.
CASES: dict[str, tuple[Any, str, str]] = {
    "queues": (
        QUEUE,
        "mail|name:eu|name:mail*|queue:mail-eu|state:paused|state:failed|state:stalled,waiting|age>1h|cost>=1.5"
        "|tokens:40|/^mail/|!state:active",
        "chat|name:us|queue:mail|state:waiting|age<1h|cost<1|tokens>40|!state:paused",
    ),
    "workers": (
        WORKER,
        '"box:7"|python|send|name:box*|queue:mail|id:42|age>2h|state:active|state:paused|!state:idle|/^box/',
        "node|name:other|queue:chat|id:4|age<2h|state:idle|state:unserved,stalled",
    ),
    "flows": (
        BLOCKED,
        "rag|name:r*g|queue:ai|id:5001|state:blocked|error:slow|model:gpt*|age>1s|tokens>0|cost>0|!state:completed",
        "name:other|queue:chat|id:1|state:running|error:none|model:x|tokens:0",
    ),
    "schedules": (
        SCHEDULE,
        "nightly|03:00|name:night|name:digest|queue:reports|age>1d|state:missed|state:due|/every day/",
        "name:daily|queue:report|age<1d|state:ended,broken,running",
    ),
    "events": (
        EVENT,
        "usage|send|state:usage|state:failed,usage|name:send|model:gpt*|error:slow|queue:mail|id:42|age>1m|cost:0.5"
        "|tokens>=1000",
        "state:failed|name:x|model:claude|error:none|queue:chat|id:4|age<1m|cost<0.5|tokens<1",
    ),
    "approvals": (
        WaitingJob(FIRST, "prod-eu"),
        'moderate|prod-eu|"moderation:48207"|name:moder*|model:gpt*|queue:moderation|id:48207|age>1m|cost>0|tokens:310|!name:x',
        "name:x|queue:chat|id:1|age<1m|cost:0",
    ),
    "cost": (
        SPENT,
        "mail|gpt|name:mail|model:gpt*|cost>2|tokens:900",
        "name:chat|model:claude|cost<1|tokens:0",
    ),
    "letters": (
        LETTER,
        '"mail:42"|name:send|error:timeout|queue:mail|queue:mail-dead|id:42|id:9|age>2d|tries:3|/\\d+ s/',
        "name:x|error:none|queue:dead|id:1|age<1d|tries>3",
    ),
}
CASES["limits"] = CASES["queues"]


@pytest.mark.parametrize("screen", CASES)
def test_each_key_reads_its_field(screen: str) -> None:
    item, takes, refuses = CASES[screen]
    for text in takes.split("|"):
        assert read_filter(screen, text).fits(item, NOW), text
        assert not text.startswith("!") or not read_filter(screen, text[1:]).fits(item, NOW), text
    for text in refuses.split("|"):
        assert not read_filter(screen, text).fits(item, NOW), text
    used = {text.lstrip("!").partition(":")[0].rstrip("<>=") for text in takes.split("|")}
    named = {key for key in FIELDS[screen].keys if any(part.startswith(key) for part in used)}
    assert named == set(FIELDS[screen].keys)


def test_the_states_of_rows_that_are_no_worker_or_have_none() -> None:
    stalled = (JobRow(id="1", queue="mail", name="a", state="active", stalled=True),)
    silent = WorkerRow(kind="silent", queue="mail", stalled=stalled)
    unserved = WorkerRow(kind="unserved", queue="mail")
    assert read_filter("workers", "state:stalled id:1").fits(silent, NOW)
    assert read_filter("workers", "state:unserved").fits(unserved, NOW)
    assert not read_filter("workers", "age>0s").fits(unserved, NOW)
    idle = replace(WORKER, worker=replace(WORKER.worker, active_jobs=0, paused=None), stalled=stalled)
    assert read_filter("workers", "state:idle state:stalled !state:paused").fits(idle, NOW)
    for changes, state in (
        ({"problem": "no such day", "missed": 0}, "broken"),
        ({"next_at": None, "missed": 0}, "ended"),
        ({"next_at": None, "missed": 0, "repeat_after_complete_ms": 5}, "running"),
    ):
        assert read_filter("schedules", f"state:{state} !state:due").fits(replace(SCHEDULE, **changes), NOW)
    burst = replace(EVENT, spans=frozenset(("mail", "chat")), data={"total_cost": True, "name": 3})
    assert read_filter("events", "queue:chat !cost>=0 !name:3").fits(burst, NOW)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_key_that_a_list_does_not_have_is_told_at_its_place(screen: str) -> None:
    fields = FIELDS[screen]
    for key in KEYS:
        text = f"word {key}:1" if key != "age" else "word age:1h"
        problem = problem_of(screen, text)
        if key == "state" and key in fields.keys:
            assert problem is not None
            assert problem.startswith("at character 12: '1' is no state, there are ")
        elif key in fields.keys:
            assert problem is None, (screen, key)
        else:
            keys = ", ".join(fields.keys)
            assert problem == f"at character 6: {fields.what} have no {key}; use {keys}, words and /…/"
    assert problem_of(screen, "colour:red") is not None


def test_schedules_say_which_keys_they_have() -> None:
    assert problem_of("schedules", "cost>1") == (
        "at character 1: schedules have no cost; use state, name, queue, age, words and /…/"
    )


# --- on a real server --------------------------------------------------------------------------------------


async def keeps(pilot: Pilot[int], text: str, names: list[str]) -> None:
    """Type a filter, and wait until only these rows are left."""
    screen = app_of(pilot).console_screen
    assert isinstance(screen, ListScreen)
    await pilot.press("slash", *text, "enter")
    await eventually(lambda: screen.filter_text == text)
    await eventually(lambda: {_name(one) for one in screen.listed} == set(names), timeout=15)
    await pilot.press("escape")
    await eventually(lambda: screen.filter_text == "")


def _name(item: Any) -> str:
    for read in (
        lambda one: one.root.id,
        lambda one: one.one.name,
        lambda one: one.name,
        lambda one: one.event,
        lambda one: one.key if isinstance(one.key, str) else one.queue,
    ):
        try:
            found: str = read(item)
        except AttributeError:
            continue
        return found
    raise AssertionError(item)


async def test_queues_and_limits_take_their_keys(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as mail, Queue("chat", connection) as chat:
        await mail.add("a", 1)
        await chat.add("a", 1, delay=3_600_000)
        await chat.pause()
        async with console(server_url) as pilot:
            await shows_queue(pilot, "mail")
            await shows_queue(pilot, "chat")
            await keeps(pilot, "state:waiting", ["mail"])
            await keeps(pilot, "state:paused,active", ["chat"])
            await keeps(pilot, "state:delayed !name:m*", ["chat"])
            await keeps(pilot, "age<1h", ["mail"])
            await pilot.press("slash", *"tries:1")
            await eventually(
                lambda: "at character 1: queues have no tries; use state, name, queue, age" in text_on(pilot)
            )
            await pilot.press("escape", "6")
            await eventually(lambda: app_of(pilot).current_mode == "limits")
            await keeps(pilot, "queue:mail", ["mail"])


async def test_schedules_take_their_keys(connection: Connection, server_url: str) -> None:
    async with Queue("reports", connection) as queue, console(server_url) as pilot:
        for name in ("nightly", "sync"):
            await queue.upsert_job_scheduler(name, pattern="0 3 * * *")
        await pilot.press("9")
        await eventually(
            lambda: isinstance(s := app_of(pilot).console_screen, ListScreen) and len(s.listed) == 2,
            timeout=15,
        )
        await keeps(pilot, "name:night state:due", ["nightly"])
        await keeps(pilot, "!nightly queue:reports", ["sync"])
        await pilot.press("slash", *"cost>1")
        await eventually(lambda: "schedules have no cost; use state, name, queue, age" in text_on(pilot))


async def test_flows_take_their_keys(connection: Connection, server_url: str) -> None:
    async with FlowProducer(connection) as flows:
        await flows.add(FlowJob("rag", "ai", {}, children=[FlowJob("embed", "nano", {})]))
        await flows.add(FlowJob("report", "ai", {}, children=[FlowJob("sum", "nano", {})]))
    async with console(server_url) as pilot:
        await pilot.press("5")
        await eventually(
            lambda: isinstance(s := app_of(pilot).console_screen, ListScreen) and len(s.listed) == 2,
            timeout=15,
        )
        roots = {one.nodes[0].name: one.root.id for one in app_of(pilot).console_screen.listed}  # type: ignore[union-attr]
        await keeps(pilot, "name:rag age<1h", [roots["rag"]])
        await keeps(pilot, f"id:{roots['report']} queue:ai", [roots["report"]])
        await keeps(pilot, "state:waiting,running !rag", [roots["report"]])
        await keeps(pilot, "tokens>0", [])


async def test_a_filter_of_flows_acts_on_those_that_are_not_on_screen(
    connection: Connection, server_url: str
) -> None:
    async with FlowProducer(connection) as flows:
        for number in range(90):
            await flows.add(FlowJob(f"flow{number}", "ai", {}, children=[FlowJob("embed", "nano", {})]))
    async with console(server_url, (100, 24)) as pilot:
        await pilot.press("5")
        await eventually(
            lambda: isinstance(s := app_of(pilot).console_screen, ListScreen) and len(s.listed) >= 20,
            timeout=15,
        )
        await pilot.press("slash", *"name:flow0", "enter")
        screen = app_of(pilot).console_screen
        assert isinstance(screen, ListScreen)
        await eventually(lambda: [one.nodes[0].name for one in screen.listed] == ["flow0"], timeout=30)


async def test_workers_events_and_costs_take_their_keys(connection: Connection, server_url: str) -> None:
    go_on = asyncio.Event()

    async def process(job: Any) -> None:
        await job.report_usage(Usage(model="gpt-5.4", costs={"total": 0.5}, cost_unit="usd"))
        if job.name == "hold":
            await go_on.wait()

    async with (
        Queue("mail", connection) as queue,
        Worker("mail", process, connection, concurrency=2),
        Worker("chat", process, connection),
        console(server_url) as pilot,
    ):
        await Queue("chat", connection).add("quick", {})
        await shows_queue(pilot, "mail")
        await pilot.press("0")
        await eventually(lambda: app_of(pilot).current_mode == "events")
        await queue.add("quick", {})
        held = await queue.add("hold", {})
        assert held is not None
        await eventually(
            lambda: (
                isinstance(s := app_of(pilot).console_screen, ListScreen)
                and {"usage", "completed"} <= {one.event for one in s.listed}
            ),
            timeout=15,
        )
        await keeps(pilot, "state:completed", ["completed"])
        await keeps(pilot, "model:gpt* cost>0.1", ["usage"])
        await pilot.press("7")
        await eventually(
            lambda: (
                isinstance(s := app_of(pilot).console_screen, ListScreen)
                and {row.queue for row in s.listed} == {"mail", "chat"}
            ),
            timeout=15,
        )
        await keeps(pilot, f"state:active id:{held.id}", ["mail"])
        await keeps(pilot, "state:idle queue:chat age<1h", ["chat"])
        go_on.set()
        await pilot.press("dollar_sign")
        await eventually(
            lambda: (
                isinstance(s := app_of(pilot).console_screen, ListScreen)
                and {one.key for one in s.listed} == {"mail", "chat"}
            ),
            timeout=20,
        )
        await keeps(pilot, "name:mail model:gpt* cost>0.4", ["mail"])
        await keeps(pilot, "cost>10", [])


async def test_approvals_take_their_keys(connection: Connection, server_url: str) -> None:
    async def process(job: Any) -> None:
        await job.suspend(reason=f"look at {job.name}", timeout=3_600_000)

    async with Queue("desk", connection) as queue, Worker("desk", process, connection):
        await queue.add("refund", {})
        await queue.add("delete", {})
        async with console(server_url) as pilot:
            await pilot.press("4")
            await eventually(
                lambda: isinstance(s := app_of(pilot).console_screen, ListScreen) and len(s.listed) == 2,
                timeout=15,
            )
            await keeps(pilot, "name:refund queue:desk", ["refund"])
            await keeps(pilot, "/at d/ age<1h", ["delete"])
            await pilot.press("slash", *"state:x")
            await eventually(lambda: "approvals have no state; use name, model, queue" in text_on(pilot))


@pytest.mark.parametrize("screen", ["queues", "jobs", "schedules", "approvals", "events", "letters"])
async def test_hostile_filters_are_inert(screen: str) -> None:
    """Whatever stands in a filter, it is read or refused, and drawn without any of its power."""
    app = ConsoleApp(config(_feed(LIVE, None)))
    async with app.run_test(size=(100, 30)) as pilot:
        app.go(screen)
        await pilot.pause()
        page = app.console_screen
        assert isinstance(page, ListScreen)
        for name, text in CORPUS.items():
            quoted = '"' + text[:400].replace("\\", "\\\\").replace('"', '\\"') + '"'
            assert page.filter_problem(quoted) is None, name
            page.change_filter(quoted)
            await pilot.pause()
            assert '/"' in text_on(pilot), name
            assert dangerous(text_on(pilot)) == [], name
            problem = page.filter_problem(text[:400])
            assert problem is None or problem.startswith("at character"), name
