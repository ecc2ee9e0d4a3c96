"""Where keys lead: the page of the right thing, the way back, and a cursor that follows only what was chosen."""

from __future__ import annotations

from conftest import eventually
from textual.screen import ModalScreen

from glidemq_console.screens.flows.list import FlowsScreen
from glidemq_console.screens.flows.page import FlowScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.screens.limits.screen import LimitsScreen
from glidemq_console.screens.queues.screen import QueuesScreen
from glidemq_console.screens.streams.screen import StreamsScreen
from glidemq_console.widgets.lists.columns import Column, Row
from glidemq_console.widgets.lists.row_list import RowList
from glidemq_core import FlowJob, FlowProducer, Queue
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, fail_one, on_jobs, shows_queue, text_on, told


async def test_enter_on_a_queue_shows_its_jobs_and_not_the_page_left_open_of_another(
    connection: Connection, server_url: str
) -> None:
    for name in ("alpha", "beta"):
        await fail_one(Queue(name, connection))
    async with console(server_url) as pilot:
        await shows_queue(pilot, "beta")
        await on_jobs(pilot, "failed", 1)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))

        await pilot.press("1", "down")
        await eventually(lambda: _selected_queue(pilot.app.screen) == "beta")
        await pilot.press("enter")

        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))
        await eventually(lambda: pilot.app.screen.selected is not None)  # type: ignore[attr-defined]
        context = pilot.app.screen.context()  # type: ignore[attr-defined]
        assert context.queue == "beta"
        assert context.job.queue == "beta"


async def test_a_tab_key_leaves_no_page_above_and_minus_returns_to_it(
    connection: Connection, server_url: str
) -> None:
    await fail_one(Queue("alpha", connection))
    async with console(server_url) as pilot:
        await shows_queue(pilot, "alpha")
        await on_jobs(pilot, "failed", 1)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))
        job = pilot.app.screen.ref  # type: ignore[attr-defined]

        await pilot.press("1", "2")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))
        assert len(pilot.app.screen_stack) == 1

        await pilot.press("-")
        await eventually(lambda: isinstance(pilot.app.screen, QueuesScreen))
        await pilot.press("-")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))
        assert pilot.app.screen.ref == job  # type: ignore[attr-defined]
        await pilot.press("-")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))
        assert pilot.app.screen.selected_state == "failed"  # type: ignore[attr-defined]
        await pilot.press("-")
        await eventually(lambda: isinstance(pilot.app.screen, QueuesScreen))


async def test_the_breadcrumb_tells_the_way_from_the_tab(connection: Connection, server_url: str) -> None:
    async with FlowProducer(connection) as producer:
        node = await producer.add(FlowJob("root", "alpha", {}))
    job_id = node.job.id
    async with console(server_url) as pilot:
        await shows_queue(pilot, "alpha")
        await on_jobs(pilot, "waiting", 1)
        await eventually(lambda: "── queues › alpha ──" in text_on(pilot))
        await pilot.press("enter")
        await eventually(lambda: f"── queues › alpha › {job_id} ──" in text_on(pilot))
        await pilot.press("f")
        await eventually(lambda: f"── queues › alpha › {job_id} › flow ──" in text_on(pilot))

        await pilot.press("-")
        await eventually(lambda: f"── queues › alpha › {job_id} ──" in text_on(pilot))
        await pilot.press("2")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))
        await eventually(lambda: "queues ›" not in text_on(pilot))


async def test_brackets_show_the_siblings_of_a_page_in_the_order_of_its_list(
    connection: Connection, server_url: str
) -> None:
    async with Queue("alpha", connection) as queue, console(server_url) as pilot:
        for _ in range(3):
            await queue.add("answer", {})
        await shows_queue(pilot, "alpha")
        screen = await on_jobs(pilot, "waiting", 3)
        order = [row.id for row in screen.snapshot.jobs.rows]  # type: ignore[union-attr]
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))
        page = pilot.app.screen
        assert isinstance(page, JobScreen)

        seen = [page.ref.id]
        for _ in range(2):
            await pilot.press("]")
            await pilot.pause()
            await eventually(lambda: page.detail is not None and page.detail.id == page.ref.id)
            seen.append(page.ref.id)
        assert seen == order
        await pilot.press("]")
        await eventually(told(pilot, "that is the last one"))
        await pilot.press("[")
        await eventually(lambda: page.ref.id == order[1])
        await pilot.press("-")
        await eventually(lambda: pilot.app.screen is screen)
        assert screen.selected is not None
        assert screen.selected.id == order[1]


async def test_escape_leads_to_where_one_came_from(connection: Connection, server_url: str) -> None:
    async with FlowProducer(connection) as producer:
        await producer.add(FlowJob("root", "alpha", {}, children=[FlowJob("leaf", "alpha", {})]))
    async with console(server_url) as pilot:
        await shows_queue(pilot, "alpha")
        await pilot.press("5")
        await eventually(lambda: isinstance(pilot.app.screen, FlowsScreen))
        await eventually(lambda: pilot.app.screen.selected is not None)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, FlowScreen))
        await eventually(lambda: pilot.app.screen.context().job is not None)  # type: ignore[attr-defined]
        await pilot.press("t")
        await eventually(lambda: isinstance(pilot.app.screen, StreamsScreen))
        await eventually(lambda: pilot.app.screen.context().job is not None)  # type: ignore[attr-defined]
        await pilot.press("o")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))

        for screen in (StreamsScreen, FlowScreen, FlowsScreen, QueuesScreen):
            await pilot.press("escape")
            await eventually(lambda screen=screen: isinstance(pilot.app.screen, screen))

        await pilot.press("2")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))


async def test_the_cursor_stays_on_the_first_row_until_it_is_moved(
    connection: Connection, server_url: str
) -> None:
    await Queue("middle", connection).add("answer", {})
    async with console(server_url) as pilot:
        await shows_queue(pilot, "middle")
        await Queue("above", connection).add("answer", {})
        await shows_queue(pilot, "above")
        await eventually(lambda: _selected_queue(pilot.app.screen) == "above")

        await pilot.press("down")
        await Queue("aaa", connection).add("answer", {})
        await shows_queue(pilot, "aaa")

        assert _selected_queue(pilot.app.screen) == "middle"


async def test_a_sort_and_a_filter_show_the_top(connection: Connection, server_url: str) -> None:
    for number in range(40):
        queue = Queue(f"q{number:02}", connection)
        for _ in range(1 + (number == 39)):
            await queue.add("answer", {})
    async with console(server_url, size=(100, 30)) as pilot:
        await eventually(lambda: len(app_of(pilot).snapshot.queues) == 40)
        screen = pilot.app.screen
        assert isinstance(screen, QueuesScreen)
        await pilot.press("end")
        await pilot.pause()
        await pilot.press("up", "up")

        await pilot.press("s")

        await eventually(told(pilot, "sorted by wait"))
        await eventually(lambda: screen.selected == "q39")
        assert screen.lines.visible_range[0] == 0

        await pilot.press("down", "down", "slash", "q", "1")
        await eventually(lambda: screen.lines.total == 10)
        assert screen.lines.cursor_index == 0


async def test_a_command_names_only_queues_that_exist(connection: Connection, server_url: str) -> None:
    await Queue("inference", connection).add("answer", {})
    async with console(server_url) as pilot:
        await shows_queue(pilot, "inference")
        for line in (":queue inferense", ":job inferense:1", ":pause inferense"):
            await pilot.press(
                *("colon" if letter == ":" else "space" if letter == " " else letter for letter in line)
            )
            await pilot.press("enter")
            await eventually(told(pilot, "no queue 'inferense' is known; near: inference"))
            assert isinstance(pilot.app.screen, QueuesScreen)
            app_of(pilot).show_message("")
        assert app_of(pilot).snapshot.queue("inferense") is None
    assert await connection.command("KEYS", "*inferense*") == []


async def test_queues_named_on_the_line_are_all_that_is_shown(
    connection: Connection, server_url: str
) -> None:
    for name in ("alpha", "beta", "gamma"):
        await Queue(name, connection).add("answer", {})
    async with console(server_url, queues=("alpha", "gamma", "delta"), only_queues=True) as pilot:
        await shows_queue(pilot, "gamma")
        await eventually(lambda: app_of(pilot).snapshot.complete)

        assert [row.name for row in app_of(pilot).snapshot.queues] == ["alpha", "gamma"]
        assert "no queue delta here" in text_on(pilot)
        await Queue("delta", connection).add("answer", {})
        await shows_queue(pilot, "delta")


async def test_a_list_that_is_read_beside_holds_the_row_it_began_with() -> None:
    from textual.app import App, ComposeResult

    class Lists(App[None]):
        def compose(self) -> ComposeResult:
            column = Column[int]("name", "NAME", 10, lambda n, _: str(n))
            yield RowList([column], id="top")
            yield RowList([column], id="held", holds=True)

        def get_theme_variable_defaults(self) -> dict[str, str]:
            from glidemq_console.theme.files import variable_defaults

            return variable_defaults()

    app = Lists()
    async with app.run_test():
        for lines in app.query(RowList):
            lines.show([Row("b", {"name": "b"})])
            lines.show([Row("a", {"name": "a"}), Row("b", {"name": "b"})])
        assert app.query_one("#top", RowList).cursor_key == "a"
        assert app.query_one("#held", RowList).cursor_key == "b"


def _selected_queue(screen: object) -> str | None:
    return screen.selected if isinstance(screen, QueuesScreen) else None


async def test_a_dialog_that_is_left_is_not_told_as_a_success(
    connection: Connection, server_url: str
) -> None:
    await Queue("ai", connection).add("answer", {})

    async with console(server_url) as pilot:
        await shows_queue(pilot, "ai")
        await pilot.press("6")
        await eventually(
            lambda: isinstance(pilot.app.screen, LimitsScreen) and pilot.app.screen.selected == "ai"
        )
        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, ModalScreen))
        await pilot.press("escape")
        await eventually(told(pilot, "nothing was changed"))

        shown = app_of(pilot).console_screen
        assert shown is not None
        assert shown._message is not None
        assert shown._message[1] == "foreground"
