"""Find in the page of a job and in a card, on a real server: what is typed after `/`, `n`, `N` and esc."""

from __future__ import annotations

import json

import pytest
from conftest import eventually

from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_core import Job, Queue, Worker
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, on_jobs, shows_queue, text_on, told

_CHAT = {
    "messages": [{"role": "user", "content": f"message {n} about valkey"} for n in range(30)],
    "options": {"retry": {"when": {"error": "NEEDLE in a haystack"}}},
}


async def _answer(job: Job[object]) -> dict[str, str]:
    for line in ("calling the model", "the needle answered"):
        await job.log(line)
    return {"answer": "no needle at all"}


async def test_a_text_is_found_in_payload_result_and_logs_and_unfolded(
    connection: Connection, server_url: str
) -> None:
    async with Queue("chat", connection) as queue, console(server_url) as pilot:
        job = await queue.add("answer", _CHAT)
        assert job is not None
        async with Worker("chat", _answer, connection):
            await job.wait_until_finished(timeout=5_000)
        await shows_queue(pilot, "chat")
        await on_jobs(pilot, "completed", 1)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail)
        page = pilot.app.screen
        assert isinstance(page, JobScreen)
        await eventually(lambda: page.payload.has_value)

        await pilot.press("slash", *"needle")
        await eventually(lambda: "1 of 3" in text_on(pilot))
        assert page.is_typing, "the line keeps the focus while one types"
        await pilot.press("enter")
        await eventually(lambda: page.payload.has_focus)
        assert page.payload.path == "options.retry.when.error"
        assert "NEEDLE in a haystack" in text_on(pilot)

        await pilot.press("Y")
        await eventually(told(pilot, "path sent"))
        assert app_of(pilot).clipboard == "options.retry.when.error"

        await pilot.press("n")
        await eventually(lambda: page.outcome.has_focus and "2 of 3" in text_on(pilot))
        await pilot.press("n")
        await eventually(lambda: page.query_one("#job-story").has_focus and "3 of 3" in text_on(pilot))
        await pilot.press("n")
        await eventually(told(pilot, "on from the top"))
        await eventually(lambda: page.payload.has_focus and "1 of 3" in text_on(pilot))
        await pilot.press("N")
        await eventually(lambda: "3 of 3" in text_on(pilot))

        await pilot.press("escape")
        await eventually(lambda: " of 3" not in text_on(pilot))
        assert pilot.app.screen is page, "esc ended the search, not the page"
        await pilot.press("n")
        await eventually(told(pilot, "nothing is searched for"))


async def test_a_deep_place_is_found_and_its_path_copied(connection: Connection, server_url: str) -> None:
    async with Queue("chat", connection) as queue, console(server_url, size=(80, 24)) as pilot:
        await queue.add("answer", _CHAT)
        await shows_queue(pilot, "chat")
        await on_jobs(pilot, "waiting", 1)
        await pilot.press("enter")
        await eventually(
            lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.payload.has_value
        )

        await pilot.press("slash", *"message 23", "enter")
        await eventually(lambda: "1 of 1" in text_on(pilot))
        await pilot.press("Y")

        await eventually(told(pilot, "path sent"))
        assert app_of(pilot).clipboard == "messages[23].content"
        await pilot.press("escape", "slash", *"no such words")
        await eventually(lambda: "not found" in text_on(pilot))
        await pilot.press("escape", "escape")
        await eventually(lambda: not isinstance(pilot.app.screen, JobScreen))


async def test_slash_finds_in_a_card_that_is_read_and_filters_the_list_elsewhere(
    connection: Connection, server_url: str
) -> None:
    async def ask(job: Job[object]) -> None:
        await job.stream_chunk("content", "a draft with a needle")
        await job.suspend(reason="look at this")

    async with Queue("mail", connection) as queue, console(server_url, size=(140, 40)) as pilot:
        await queue.add("letter", {"text": "one needle", "n": 1})
        async with Worker("mail", ask, connection):
            await pilot.press("4")
            await eventually(lambda: isinstance(pilot.app.screen, ApprovalsScreen))
            screen = pilot.app.screen
            assert isinstance(screen, ApprovalsScreen)
            await eventually(lambda: len(screen.listed) == 1 and screen.payload.has_value)

            await pilot.press("slash", *"nobody", "enter")
            await eventually(lambda: screen.lines.total == 0)
            await pilot.press("escape")
            await eventually(lambda: screen.lines.total == 1)

            await pilot.press("enter")
            await eventually(lambda: screen.review.has_focus_within)
            await pilot.press("slash", *"needle", "enter")
            await eventually(lambda: "1 of 2" in text_on(pilot))
            assert screen.lines.total == 1
            assert screen.filter_text == ""
            await eventually(lambda: screen.query_one("#review-draft").has_focus)
            await pilot.press("n")
            await eventually(lambda: screen.payload.has_focus and "2 of 2" in text_on(pilot))
            await pilot.press("escape")
            await eventually(lambda: " of 2" not in text_on(pilot))
            assert screen.review.has_focus_within
            await pilot.press("escape")
            await eventually(lambda: screen.lines.has_focus)


@pytest.mark.thorough
async def test_a_payload_of_a_megabyte_is_found_in_while_keys_answer(
    connection: Connection, server_url: str
) -> None:
    data = {"rows": [{"n": n, "text": f"row {n} \x1b[2J of many"} for n in range(18_000)]}
    assert len(json.dumps(data)) > 900_000
    async with Queue("big", connection) as queue, console(server_url) as pilot:
        await queue.add("load", data)
        await shows_queue(pilot, "big")
        await on_jobs(pilot, "waiting", 1)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail)
        page = pilot.app.screen
        assert isinstance(page, JobScreen)
        await pilot.press("enter")
        await eventually(lambda: page.payload.has_value)

        await pilot.press("slash", *"row 17999", "enter")

        await eventually(lambda: "1 of 1" in text_on(pilot))
        assert page.payload.path == "rows[17999].text"
        assert "\x1b" not in text_on(pilot)
