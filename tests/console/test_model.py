"""The console's model: sorting, filtering, paging, staleness, completion. No terminal, no server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from glidemq_console.actions.base import Context
from glidemq_console.feed.queue_rows import HIDDEN_BUSY, QueueRows
from glidemq_console.feed.readers.job_pages import PAGE_ROWS, JobPager
from glidemq_console.model.lists.queues import QueueLine
from glidemq_console.model.snapshot import (
    JobsQuery,
    Link,
    LinkState,
    Snapshot,
    error_groups,
    minute_series,
    settle_link,
)
from glidemq_console.screens import frame_text
from glidemq_console.screens.approvals import text as approval_parts
from glidemq_console.screens.approvals.card_text import parts_of, streamed_words
from glidemq_console.screens.queues.columns import COLUMNS
from glidemq_console.screens.registry import ACTIONS
from glidemq_console.screens.typed.commands import completions, parse
from glidemq_console.widgets.lists.columns import sort_items
from glidemq_console.widgets.styled import width_of
from glidemq_core.records import (
    Approval,
    Fleet,
    JobPage,
    JobRow,
    QueueSnapshot,
    ServerInfo,
    ToolCall,
    WatchStats,
)

from .fixed import LIVE

AT = datetime(2026, 1, 1, tzinfo=UTC)


def row(number: int) -> JobRow:
    return JobRow(id=str(number), queue="q", name="n", state="waiting")


def test_unknown_values_stand_last_in_both_directions() -> None:
    lines = [
        QueueLine(QueueSnapshot(name="a", workers=2), Snapshot()),
        QueueLine(QueueSnapshot(name="b", workers=None), Snapshot()),
        QueueLine(QueueSnapshot(name="c", workers=5), Snapshot()),
    ]
    workers = next(column for column in COLUMNS if column.key == "workers")

    assert [line.name for line in sort_items(lines, workers, descending=False)] == ["a", "c", "b"]
    assert [line.name for line in sort_items(lines, workers, descending=True)] == ["c", "a", "b"]


def test_errors_group_by_their_first_line() -> None:
    rows = [replace(row(n), failed_reason="429 slow down\ntrace") for n in range(3)]

    assert error_groups([*rows, row(9)]) == ((("429 slow down", 3), ("no reason given", 1)), 4)


def test_minutes_without_a_point_are_gaps() -> None:
    series = minute_series([(60_000, 2.0), (180_000, 4.0), (240_000, 9.0)], 250_000, minutes=3)

    assert series.values == (2.0, None, 4.0)


@pytest.mark.parametrize(("age_ms", "state"), [(2_000, LinkState.LIVE), (2_600, LinkState.STALE)])
def test_a_live_link_goes_stale_with_its_last_answer(age_ms: int, state: LinkState) -> None:
    link = Link(state=LinkState.LIVE, since_ms=1_000)

    assert settle_link(link, 1_000 + age_ms, 1_000).state is state


class Pages:
    """Serves rows as pages whose cursor is the id of the row before."""

    def __init__(self, count: int) -> None:
        self.ids = list(range(count))
        self.calls = 0

    async def __call__(self, query: JobsQuery, cursor: str | None, limit: int) -> JobPage:
        self.calls += 1
        start = 0 if cursor is None else next(i for i, n in enumerate(self.ids) if n >= int(cursor)) + 1
        ids = self.ids[start : start + limit]
        more = start + limit < len(self.ids)
        return JobPage(
            rows=tuple(map(row, ids)), next=str(ids[-1]) if more else None, total=len(self.ids), at=AT
        )


async def test_pager_loads_only_what_the_window_and_its_margin_need() -> None:
    pages = Pages(100_000)
    pager = JobPager(JobsQuery(queue="q"), pages)

    await pager.refresh((0, 40))

    assert pager.loaded == 2 * PAGE_ROWS
    assert pages.calls == 2
    assert not pager.lacks((0, 40))
    assert pager.lacks((60, 100))


async def test_pager_reads_the_visible_pages_again_and_keeps_the_others() -> None:
    pages = Pages(1_000)
    pager = JobPager(JobsQuery(queue="q"), pages)
    await pager.refresh((0, 140))
    loaded, pages.calls = pager.loaded, 0

    await pager.refresh((0, 40))

    assert (pager.loaded, pages.calls) == (loaded, 2)


async def test_pager_forgets_pages_that_no_longer_follow() -> None:
    pages = Pages(1_000)
    pager = JobPager(JobsQuery(queue="q"), pages)
    await pager.refresh((0, 140))

    del pages.ids[:25]
    await pager.refresh((0, 40))

    listing = pager.listing(0)
    ids = [int(r.id) for r in listing.rows]
    assert ids == list(range(25, 25 + len(ids)))
    assert listing.total == 975


async def test_pager_shows_each_job_once() -> None:
    async def twice(query: JobsQuery, cursor: str | None, limit: int) -> JobPage:
        return JobPage(rows=(row(1), row(2)), next=None if cursor else "x", total=4, at=AT)

    pager = JobPager(JobsQuery(queue="q"), twice)
    await pager.refresh((0, 40))

    assert [r.id for r in pager.listing(0).rows] == ["1", "2"]


async def test_hidden_queues_are_read_in_turns() -> None:
    now = 0
    asked: list[tuple[str, ...]] = []

    async def snapshot(names: tuple[str, ...]) -> Fleet:
        asked.append(names)
        return Fleet(queues=tuple(QueueSnapshot(name=n, active=1) for n in names), complete=True, at=AT)

    reader = QueueRows([f"q{n:02}" for n in range(40)], lambda: now)
    watch: Any = SimpleNamespace(snapshot=snapshot)
    await reader.read(watch, ["q00"])
    assert len(asked[-1]) == 40

    now = 2_000
    await reader.read(watch, ["q00"])
    await reader.read(watch, ["q00"])

    first, second = (set(names) - {"q00"} for names in asked[-2:])
    assert len(first) == len(second) == HIDDEN_BUSY
    assert not first & second


async def test_running_streams_are_sought_where_jobs_ran_and_elsewhere_in_turns() -> None:
    now = 1_000

    async def snapshot(names: tuple[str, ...]) -> Fleet:
        rows = tuple(QueueSnapshot(name=n, active=int(n == "q30")) for n in names)
        return Fleet(queues=rows, complete=True, at=AT)

    reader = QueueRows([f"q{n:02}" for n in range(40)], lambda: now)
    watch: Any = SimpleNamespace(snapshot=snapshot)
    await reader.read(watch, [f"q{n:02}" for n in range(40)])
    seen = set()
    for _ in range(5):
        now += 1_000
        sought = reader.likely_running(10)
        assert sought[0] == "q30"
        seen.update(sought)
        await reader.read(watch, sought)

    assert len(seen) == 40


def context(**more: Any) -> Context:
    screen: Any = SimpleNamespace(SCOPE="queues", why_not_drawn=lambda: None)
    app: Any = SimpleNamespace(theme_names=("dark", "light"), outbox=SimpleNamespace(pending=()))
    return Context(console=app, page=screen, snapshot=LIVE, **more)


def test_commands_complete_with_those_of_the_screen_first() -> None:
    assert completions("pau", context()) == ["pause"]
    assert completions("pause inf", context()) == ["pause inference"]
    assert completions("theme l", context()) == ["theme light"]
    assert completions("nonsense x", context()) == []


def test_a_command_is_aimed_by_its_word() -> None:
    action, aimed = parse("pause rag-index", context(queue="inference"))  # type: ignore[misc]
    assert (action.id, aimed.queue) == ("queue.pause", "rag-index")

    action, aimed = parse("job 42", context(queue="inference"))  # type: ignore[misc]
    assert str(aimed.job) == "inference:42"


@pytest.mark.parametrize("line", ["nonsense", "pause nowhere", "job 42"])
def test_a_command_that_means_nothing_says_why(line: str) -> None:
    assert isinstance(parse(line, context()), str)


def test_keys_are_unique_in_every_scope() -> None:
    for scope in {action.scope for action in ACTIONS.values()}:
        keys = [key for action in ACTIONS.values() if action.scope == scope for key in action.keys]
        assert len(keys) == len(set(keys)), scope


def test_every_change_is_refused_in_a_read_only_console() -> None:
    reading = Context(console=context().console, page=context().page, snapshot=replace(LIVE, read_only=True))
    changing = [action for action in ACTIONS.values() if action.danger]

    assert changing
    assert all("read-only" in (action.unavailable(reading) or "") for action in changing)


# --- what stands round the screens -------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 118])
def test_the_header_always_tells_how_the_connection_stands(width: int) -> None:
    link = Link(
        state=LinkState.LIVE, address="valkey://a-very-long-name-of-a-server.example:6379", is_exposed=True
    )
    snapshot = Snapshot(
        link=link,
        read_only=True,
        server=ServerInfo(version="9.1.2", mode="cluster", nodes=3),
        stats=WatchStats(commands_per_s=1, rtt_ms=0.4),
    )

    left, right = frame_text.header(snapshot, label=None, user="alice", now_ms=0, zone=UTC, width=width)

    text = "".join(part.text for part in left)
    assert text.endswith("not encrypted · read-only · live 0.4ms")
    assert text.startswith("glidemq  a-very-")
    assert ("valkey 9.1.2" in text) == (width > 118)
    assert width_of([*left, *right]) <= width - 3 or width == 60


def test_an_approver_sees_the_tools_that_a_job_asks_for_and_no_secrets() -> None:
    call = ToolCall(name="login", args='{"api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f"}', bytes=60)
    asks = Approval(queue="agent", id="1", name="task", suspended_at=AT, tool_calls=(call,), progress=60)

    parts = parts_of(asks, reveal=False)

    assert parts.calls is not None
    assert parts.calls.title == "asks for 1 tool call"
    assert [line.text.text for line in parts.calls.lines] == ["login   60 B", '{"api_key": "•••"}']
    assert parts.masked == 1
    assert "sk-live" in (parts_of(asks, reveal=True).calls or parts.calls).lines[1].text.text
    assert parts.draft.lines[0].text.text == "it streamed nothing since it started"
    assert streamed_words(asks) == "progress 60 %"


def test_an_inbox_that_is_cut_says_so_in_its_first_words() -> None:
    assert approval_parts.summary((), 500, 5_000, 0)[0].text == "the first 500 of 5,000"
    filtered = approval_parts.summary((), 6, 6, 0)
    assert "".join(part.text for part in filtered) == "6 wait for a person · 0 match"
