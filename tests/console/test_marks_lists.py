"""Marked schedules, letters, causes and queues: one act for all of them, read on the server, and its undo."""

from __future__ import annotations

from conftest import eventually

from glidemq_console.screens.flows.list import FlowsScreen
from glidemq_console.screens.limits.screen import LimitsScreen
from glidemq_console.widgets.dialogs.form import FormDialog
from glidemq_core import Budget, FlowJob, FlowProducer, Queue
from glidemq_core.server.connection import Connection

from .pilot_kit import console, fail_one, shows_queue, told
from .test_failures_screen import fail, on_failures, on_letters
from .test_marks import asked
from .test_schedules_screen import DIGEST, on_schedules


async def test_marked_schedules_are_removed_by_their_number_and_given_back(
    connection: Connection, server_url: str
) -> None:
    async with Queue("reports", connection) as queue, console(server_url) as pilot:
        for name in ("a", "b", "c"):
            await queue.upsert_job_scheduler(name, **DIGEST)
        await on_schedules(pilot, ["a", "b", "c"])
        before = await queue.get_job_schedulers()
        await pilot.press("asterisk", "X")
        dialog = await asked(pilot)
        assert "Remove 3 marked schedules?" in dialog._title
        # One of them is edited while the question stands.
        await queue.upsert_job_scheduler("b", **{**DIGEST, "pattern": "0 4 * * *"})
        await pilot.press("3", "enter")
        await eventually(told(pilot, "2 of 3 schedules removed, 1 skipped: changed meanwhile; z undoes it"))
        assert list(await queue.get_job_schedulers()) == ["b"]

        # Another of that name was made since: that one stays.
        await queue.upsert_job_scheduler("c", **{**DIGEST, "pattern": "0 5 * * *"})
        await pilot.press("z")
        await eventually(told(pilot, "1 of 2 schedules as before, 1 skipped: changed meanwhile"))
        after = await queue.get_job_schedulers()
        assert after["a"] == before["a"]
        assert after["c"].pattern == "0 5 * * *"


async def test_marked_schedules_run_now(connection: Connection, server_url: str) -> None:
    async with Queue("reports", connection) as queue, console(server_url) as pilot:
        for name in ("a", "b"):
            await queue.upsert_job_scheduler(name, **DIGEST)
        await on_schedules(pilot, ["a", "b"])
        await pilot.press("asterisk", "R")
        assert "cannot be undone" in (await asked(pilot))._body
        await pilot.press("y")
        await eventually(told(pilot, "2 schedules run"))
        assert (await queue.get_job_counts()).waiting == 2


async def test_marked_letters_are_replayed_or_discarded(connection: Connection, server_url: str) -> None:
    await fail(connection, "mail", "one", "two", "three", dead="mail-dead")
    async with console(server_url) as pilot:
        screen = await on_letters(pilot, 3)
        await pilot.press("space", "space", "R")
        assert "Replay 2 marked letters?" in (await asked(pilot))._title
        await pilot.press("y")
        await eventually(told(pilot, "2 letters replayed"))
        queue = Queue[object, object]("mail", connection)
        assert (await queue.get_job_counts()).waiting == 2
        await eventually(lambda: screen.lines.total == 1)
        await pilot.press("asterisk", "X")
        await asked(pilot)
        await pilot.press("y")
        await eventually(told(pilot, "1 letter discarded"))
        await eventually(lambda: screen.lines.total == 0)


async def test_marked_causes_run_again_together(connection: Connection, server_url: str) -> None:
    await fail(connection, "mail", "one", "two", "two")
    async with console(server_url) as pilot:
        await on_failures(pilot, 2)
        await pilot.press("asterisk", "R")
        assert "Retry 3 failed jobs of 2 marked causes?" in (await asked(pilot))._title
        await pilot.press("y")
        await eventually(told(pilot, "3 jobs retried"))
        assert (await Queue[object, object]("mail", connection).get_job_counts()).failed == 0


async def test_caps_of_marked_queues_are_set_and_given_back(connection: Connection, server_url: str) -> None:
    queues = [Queue[object, object](name, connection) for name in ("a", "b")]
    for queue in queues:
        await queue.add("x", {})
    await queues[0].set_global_concurrency(3)
    async with console(server_url) as pilot:
        await shows_queue(pilot, "b")
        await pilot.press("6")
        await eventually(lambda: isinstance(s := pilot.app.screen, LimitsScreen) and len(s.listed) >= 2)
        await pilot.pause()
        await pilot.press("asterisk", "e")
        await eventually(lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press("tab", "8", "ctrl+s")
        await eventually(told(pilot, "2 queues changed: at most 8 jobs at once; z undoes it"))
        assert [await queue.get_global_concurrency() for queue in queues] == [8, 8]
        await queues[1].set_global_concurrency(9)
        await pilot.press("z")
        await eventually(told(pilot, "1 of 2 queues with the caps from before, 1 skipped"))
        assert [await queue.get_global_concurrency() for queue in queues] == [3, 9]


async def test_what_takes_one_thing_says_so_while_several_are_marked(
    connection: Connection, server_url: str
) -> None:
    queues = [Queue[object, object](name, connection) for name in ("a", "b")]
    for queue in queues:
        await queue.add("x", {})
        await fail_one(queue)
    async with console(server_url) as pilot:
        await shows_queue(pilot, "b")
        for key, title, words in (
            ("space", "", ""),
            ("D", "drain", "1 is marked"),
            ("asterisk", "", ""),
            ("C", "clean completed", "2 are marked"),
            ("F", "clean failed", "2 are marked"),
        ):
            await pilot.press(key)
            if title:
                wanted = f"{title}: it takes one queue at a time, {words}; esc clears the marks"
                await eventually(told(pilot, wanted))
        for queue in queues:
            counts = await queue.get_job_counts()
            assert (counts.waiting, counts.failed) == (1, 1)


async def test_one_budget_is_topped_up_at_a_time(connection: Connection, server_url: str) -> None:
    async with FlowProducer(connection) as producer:
        for name in ("first", "second"):
            await producer.add(FlowJob(name, "ai", {}), budget=Budget(max_total_tokens=10))
    async with console(server_url, screen="flows") as pilot:
        await eventually(lambda: isinstance(s := pilot.app.screen, FlowsScreen) and len(s.listed) == 2)
        await pilot.pause()
        await pilot.press("asterisk", "T")
        await eventually(
            told(pilot, "top up: it takes one flow at a time, 2 are marked; esc clears the marks")
        )
