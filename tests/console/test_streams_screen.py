"""Live tokens on a real server: they appear, the reader is left in peace, and the end is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot
from textual.widgets import Input

from glidemq_console.app import ConsoleApp
from glidemq_console.config.console import ConsoleConfig
from glidemq_console.feed.token_stream import Meter, piece_of
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.streams.pane import Slot
from glidemq_console.screens.streams.screen import StreamsScreen
from glidemq_console.widgets.dialogs.dialog import PromptDialog
from glidemq_core import Job, JobRef, NewJob, Queue, Worker
from glidemq_core.records import StreamChunk


@asynccontextmanager
async def streams(url: str, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Pilot[int]]:
    """A console on its streams."""
    config = ConsoleConfig(url=url, user="alice", screen="streams", refresh_ms=200)
    async with ConsoleApp(config).run_test(size=size) as pilot:
        yield pilot


def screen_of(pilot: Pilot[int]) -> StreamsScreen:
    screen = pilot.app.screen
    assert isinstance(screen, StreamsScreen)
    return screen


def slots(pilot: Pilot[int]) -> list[Slot]:
    return screen_of(pilot)._slots


async def says(slot: Slot, words: str) -> None:
    await eventually(lambda: words in slot.pane.tokens.text)


class Talker:
    """A worker whose jobs stream what the test says, and end when it says so."""

    def __init__(self) -> None:
        self.jobs: dict[int, Any] = {}
        self.go = asyncio.Event()

    async def process(self, job: Any) -> None:
        self.jobs[job.data] = job
        await job.stream_chunk("reasoning", "let me think")
        await job.stream({"type": "tool_call", "name": "search", "args": '{"q":"valkey"}'})
        await job.stream_chunk("content", f"hello from {job.data}")
        await self.go.wait()
        await job.report_usage(model="gpt-5.4", total_tokens=1318, total_cost=0.02, cost_unit="usd")

    async def say(self, number: int, text: str) -> None:
        await self.jobs[number].stream({"t": text})


@asynccontextmanager
async def talking(url: str, count: int = 1) -> AsyncIterator[tuple[Talker, list[Job[Any, Any]]]]:
    talker = Talker()
    async with Queue("chat", url) as queue:
        jobs = await queue.add_bulk([NewJob("answer", n) for n in range(count)])
        async with Worker("chat", talker.process, url, concurrency=count):
            try:
                await eventually(lambda: len(talker.jobs) == count)
                yield talker, jobs
            finally:
                talker.go.set()


pytestmark = pytest.mark.usefixtures("connection")


async def test_running_streams_show_up_by_themselves_and_tell_their_end(server_url: str) -> None:
    async with talking(server_url) as (talker, [job]), streams(server_url) as pilot:
        await eventually(lambda: slots(pilot))
        [slot] = slots(pilot)
        await says(slot, "hello from 0")
        await talker.say(0, ", and more")
        await says(slot, "hello from 0, and more")
        assert "search" in slot.pane.tokens.text
        assert "let me think" in slot.pane.tokens.text
        await eventually(lambda: "first token" in slot.pane.head.text)

        talker.go.set()
        await eventually(job.is_completed)

        await eventually(lambda: "✓ completed" in slot.pane.end.text)
        assert "1,318 tok in" in slot.pane.end.text


async def test_a_queue_that_slept_shows_up_as_soon_as_it_streams(server_url: str) -> None:
    async with Queue("chat", server_url) as queue, streams(server_url) as pilot:
        await queue.add("later", -1, delay=3_600_000)
        await eventually(lambda: screen_of(pilot).snapshot.queue("chat") is not None)

        async with talking(server_url):
            await eventually(lambda: slots(pilot))


async def test_a_reader_who_scrolled_up_is_not_pulled_down(server_url: str) -> None:
    async with talking(server_url) as (talker, _), streams(server_url, (80, 24)) as pilot:
        await eventually(lambda: slots(pilot))
        [slot] = slots(pilot)
        await talker.say(0, "\n".join(f"line {n}" for n in range(100)))
        await says(slot, "line 99")
        await pilot.pause()

        await pilot.press("k", "k", "k")
        await pilot.pause()
        place = slot.pane.tokens.scroll_y
        assert not slot.pane.tokens.following
        await talker.say(0, "\nnew 1\nnew 2")
        await says(slot, "new 2")
        await pilot.pause()
        assert slot.pane.tokens.scroll_y == place
        assert slot.pane.tokens.new_below == 2

        await pilot.press("end")
        assert slot.pane.tokens.following


async def test_the_wall_shows_one_two_four_or_nine(server_url: str) -> None:
    async with talking(server_url, 4) as (_, _jobs), streams(server_url) as pilot:
        await eventually(lambda: len(slots(pilot)) == 4)

        def shown() -> int:
            return sum(bool(slot.pane.display) for slot in slots(pilot))

        assert shown() == 4
        await pilot.press("enter")
        assert shown() == 1
        await pilot.press("enter", "#")
        assert shown() == 4
        await pilot.press("#")
        assert shown() == 1
        first = screen_of(pilot).slot
        await pilot.press("right")
        assert screen_of(pilot).slot is not first
        await pilot.press("left", "#")
        assert shown() == 2
        assert screen_of(pilot).slot is first


async def test_t_on_a_job_follows_it_from_its_beginning(server_url: str) -> None:
    async with talking(server_url, 2) as (_, jobs):
        config = ConsoleConfig(url=server_url, user="alice", screen="jobs", queues=("chat",), refresh_ms=200)
        async with ConsoleApp(config).run_test(size=(120, 36)) as pilot:
            app = pilot.app
            assert isinstance(app, ConsoleApp)
            await eventually(lambda: isinstance(app.screen, JobsScreen) and app.snapshot.jobs)
            screen = app.screen
            assert isinstance(screen, JobsScreen)
            while screen.selected_state != "active":
                await pilot.press("tab")
                await pilot.pause()
            await eventually(lambda: screen.selected is not None)

            await pilot.press("t")

            await eventually(lambda: isinstance(app.screen, StreamsScreen) and slots(pilot))
            [slot] = slots(pilot)
            assert slot.ref in {JobRef("chat", job.id) for job in jobs}
            await says(slot, "let me think")
            await says(slot, "hello from")


async def test_pause_holds_back_and_goes_on_without_a_gap(server_url: str) -> None:
    async with talking(server_url) as (talker, _), streams(server_url) as pilot:
        await eventually(lambda: slots(pilot))
        [slot] = slots(pilot)
        await says(slot, "hello from 0")

        await pilot.press(".")
        await eventually(lambda: "paused" in slot.pane.head.text)
        for number in range(50):
            await talker.say(0, f" {number}")
        assert " 49" not in slot.pane.tokens.text
        await pilot.press(".")

        await says(slot, "hello from 0" + "".join(f" {number}" for number in range(50)))


async def test_replay_shows_the_stream_again_and_speed_changes(server_url: str) -> None:
    async with talking(server_url) as (_, _jobs), streams(server_url) as pilot:
        await eventually(lambda: slots(pilot))
        [slot] = slots(pilot)
        await says(slot, "hello from 0")

        await pilot.press("<")
        await eventually(lambda: "replay 1x" in slot.pane.head.text)
        await pilot.press("<")
        await eventually(lambda: "replay 0.5x" in slot.pane.head.text)
        await pilot.press(">")
        await pilot.press(">")
        await eventually(lambda: "replay 2x" in slot.pane.head.text)
        await says(slot, "hello from 0")
        await pilot.press(">", ">", ">")
        await eventually(lambda: "replay 16x" in slot.pane.head.text)
        await pilot.press(">")

        await eventually(lambda: "replay" not in slot.pane.head.text)
        await says(slot, "hello from 0")
        assert slot.pane.tokens.text.count("hello from 0") == 1


async def test_search_finds_and_saving_writes_safe_text_and_nothing_over(
    server_url: str, tmp_path: Path
) -> None:
    async with talking(server_url) as (talker, _), streams(server_url) as pilot:
        await eventually(lambda: slots(pilot))
        [slot] = slots(pilot)
        await talker.say(0, " \x1b]52;c;aGk=\x07 needle")
        await says(slot, "needle")

        await pilot.press("slash", *"needle", "enter")
        await eventually(lambda: "found 1 time" in (screen_of(pilot).message or ""))
        await pilot.press("n")
        await pilot.press("ctrl+s")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        file = tmp_path / "kept.txt"
        pilot.app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await eventually(file.exists)
        assert not dangerous(file.read_text())
        assert "needle" in file.read_text()

        await eventually(lambda: isinstance(pilot.app.screen, StreamsScreen))
        await pilot.press("ctrl+s")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        pilot.app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PromptDialog)


async def test_a_removed_job_says_so(server_url: str) -> None:
    async with streams(server_url) as pilot:
        await eventually(lambda: screen_of(pilot).snapshot.has_data)

        screen_of(pilot).open(JobRef("chat", "nobody"))

        await eventually(lambda: slots(pilot) and "it is gone" in slots(pilot)[0].pane.end.text)


async def test_hostile_chunks_cut_anywhere_are_shown_inert(server_url: str) -> None:
    trouble = "\n".join(
        text[:300] for name, text in CORPUS.items() if "surrogate" not in name and "pair" not in name
    )
    async with talking(server_url) as (talker, _), streams(server_url) as pilot:
        await eventually(lambda: slots(pilot))
        [slot] = slots(pilot)
        job = talker.jobs[0]
        await asyncio.gather(*(talker.say(0, character) for character in trouble))
        await job.stream({"type": "tool_call", "name": trouble[:200], "args": trouble[:500]})
        await job.stream({trouble[:100]: trouble[:500], "type": trouble[:50]})
        await job.stream({"type": "error", "content": trouble[:300] + "the last one"})
        await says(slot, "the last one")
        await pilot.pause()

        assert not dangerous(slot.pane.tokens.text)
        for line in pilot.app.screen._compositor.render_strips():
            assert not dangerous(line.text)


# --- without a server --------------------------------------------------------------------------------------


def test_a_meter_tells_rate_first_token_and_unusual_gaps() -> None:
    meter = Meter()
    assert meter.rate(0) == 0
    assert meter.gap_ms(0) is None

    meter.add([1_000 + 20 * n for n in range(250)], 6_000, live=True)

    assert meter.first_after_ms(590) == 410
    assert meter.first_after_ms(None) is None
    assert 45 <= meter.rate(6_000) <= 52
    assert meter.unusual_gap_ms(7_900) is None
    assert meter.unusual_gap_ms(12_000) == 6_000
    assert meter.rate(60_000) == 0


def test_a_resumed_run_counts_its_own_first_token() -> None:
    meter = Meter()
    meter.add([1_000, 1_020, 90_300], 90_300, live=True)

    assert meter.first_after_ms(90_000) == 300


@pytest.mark.parametrize(
    ("fields", "piece"),
    [
        ({"t": "a"}, ("content", "a")),
        ({"type": "token", "content": "a"}, ("content", "a")),
        ({"t": "", "done": "1"}, None),
        ({"t": "end", "done": "1"}, ("content", "end")),
        ({"type": "reasoning", "content": "hm"}, ("reasoning", "hm")),
        ({"type": "tool_call", "name": "search", "args": "{}"}, ("tool", "search {}")),
        ({"type": "tool_call", "content": '{"name":"x"}'}, ("tool", '{"name":"x"}')),
        ({"type": "tool_call", "name": "search", "content": "valkey"}, ("tool", "search valkey")),
        ({"type": "tool_call", "name": "search", "content": "search(q)"}, ("tool", "search(q)")),
        ({"type": "error", "content": "boom"}, ("other", "error boom")),
        ({"type": "citation", "content": "doc 3"}, ("other", "citation doc 3")),
        ({"step": "1"}, ("other", '{"step":"1"}')),
    ],
)
def test_chunks_are_told_apart(fields: dict[str, str], piece: tuple[str, str] | None) -> None:
    assert piece_of(StreamChunk("1-0", fields)) == piece


async def test_a_slow_stream_is_drawn_when_a_token_comes_and_a_fast_one_in_its_turn(server_url: str) -> None:
    async with talking(server_url) as (talker, _), streams(server_url) as pilot:
        await eventually(lambda: slots(pilot))
        [slot] = slots(pilot)
        await says(slot, "hello from 0")
        screen = screen_of(pilot)
        assert screen._timer is not None
        screen._timer.pause()

        await talker.say(0, " at once")
        await says(slot, "hello from 0 at once")

        slot.follower.meter.add([screen.console.now_ms()] * 4_000, screen.console.now_ms(), live=True)
        await talker.say(0, " in its turn")
        await eventually(lambda: slot.follower.has_rest)
        assert "in its turn" not in slot.pane.tokens.text
        screen._timer.resume()
        await says(slot, " in its turn")
