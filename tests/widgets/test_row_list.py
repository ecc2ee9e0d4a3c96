"""Lists of rows: what stays put, what is asked for, what is drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kits.hostile import CORPUS, dangerous
from kits.stage import Stage
from rich.cells import cell_len

from glidemq_console.theme.files import load_themes
from glidemq_console.theme.style import theme_style
from glidemq_console.widgets.lists.columns import Column, Heading, Row, arrange, columns_for, row_of
from glidemq_console.widgets.lists.row_list import RowList
from glidemq_console.widgets.payload.payload_view import PayloadCard
from glidemq_console.widgets.styled import Styled, fit, width_of
from glidemq_console.widgets.token_pane import TokenPane

COLUMNS = (
    Column[int]("id", "ID", 6, lambda n, _: str(n), lambda n: n),
    Column[int]("name", "NAME", 10, lambda n, _: f"job {n}", flexible=1),
    Column[int]("age", "AGE", 7, lambda n, _: f"{n}s", right=True, leaves=1),
    Column[int]("why", "WHY", 20, lambda _, __: Styled("–", "dim"), leaves=2),
)


def rows(start: int, stop: int, offset: int = 0) -> list[Row]:
    return [row_of(COLUMNS, n, n, 0) for n in range(start + offset, stop + offset)]


# --- parts ---


@given(st.lists(st.text(max_size=12), max_size=5), st.integers(1, 30), st.booleans())
def test_parts_fit_exactly(texts: list[str], width: int, right: bool) -> None:
    fitted = fit([Styled(text) for text in texts], width, right=right)

    assert width_of(fitted) == width
    assert dangerous("".join(part.text for part in fitted), newlines=False) == []


def test_columns_leave_in_their_order() -> None:
    assert [column.key for column, _ in arrange(COLUMNS, 80)] == ["id", "name", "age", "why"]
    assert [column.key for column, _ in arrange(COLUMNS, 40)] == ["id", "name", "age"]
    assert [column.key for column, _ in arrange(COLUMNS, 24)] == ["id", "name"]
    assert [column.key for column, _ in arrange(COLUMNS, 5)] == ["id", "name"]
    assert {column.key: width for column, width in arrange(COLUMNS, 80)}["name"] == 10 + 80 - 54


# --- lists ---


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_list_shows_header_rows_and_cursor(size: tuple[int, int]) -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test(size=size) as pilot:
        app.query_one(RowList).show(rows(0, 3))
        await pilot.press("j")
        lines = app.screen_lines()

        assert lines[0].split() == ["ID", "NAME", "AGE", "WHY"]
        assert lines[1].split() == ["0", "job", "0", "0s", "–"]
        assert lines[2].startswith(" ▌ 1")
        assert all(cell_len(line) == size[0] for line in lines)


async def test_the_cursor_stays_on_its_row_through_a_refresh() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(RowList)
        lines.show(rows(0, 5))
        await pilot.press("down", "down")
        assert lines.cursor_key == 2

        lines.show(list(reversed(rows(0, 5))))
        assert (lines.cursor_key, lines.cursor_index) == (2, 2)
        lines.show([*rows(90, 93), *rows(0, 5)])
        assert (lines.cursor_key, lines.cursor_index) == (2, 5)
        lines.show(rows(3, 5))
        assert (lines.cursor_key, lines.cursor_index) == (4, 1)
        lines.show([])
        assert lines.cursor_key is None


async def test_enter_before_the_rows_are_read_opens_the_row_once_it_comes() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(RowList)
        await pilot.press("enter")
        lines.set_reading()
        await pilot.press("enter")
        assert app.heard_of(RowList.Chosen) == []

        lines.set_empty([])
        lines.show(rows(3, 5))
        lines.show(rows(3, 5))
        await pilot.pause()
        assert [message.key for message in app.heard_of(RowList.Chosen)] == [3]


@pytest.mark.parametrize("meanwhile", ["cleared", "moved", "empty"])
async def test_an_enter_that_something_else_came_after_opens_nothing(meanwhile: str) -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(RowList)
        lines.set_reading()
        await pilot.press("enter")
        if meanwhile == "cleared":
            lines.clear()
        elif meanwhile == "moved":
            await pilot.press("j")
        else:
            lines.set_empty([])
            lines.show([])
        lines.show(rows(0, 3))
        await pilot.pause()
        assert app.heard_of(RowList.Chosen) == []


async def test_the_row_being_read_stands_still_on_the_screen() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        lines = app.query_one(RowList)
        lines.show(rows(0, 200))
        await pilot.pause()
        await pilot.press(*["j"] * 30)
        y = next(y for y, line in enumerate(app.screen_lines()) if "▌" in line)

        lines.show([*rows(500, 507), *rows(0, 200)])
        await pilot.pause()

        assert lines.cursor_key == 30
        assert next(y for y, line in enumerate(app.screen_lines()) if "▌" in line) == y


async def test_a_hundred_thousand_rows_are_asked_for_by_the_page() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(RowList)
        lines.set_page(100_000, 0, rows(0, 50))
        await pilot.press("G")
        await pilot.pause()
        needed = app.heard_of(RowList.Needed)[-1]
        assert (needed.end, needed.start) == (100_000, 100_000 - 23 - 25)
        assert "…" in app.screen_lines()[-1]
        assert lines.cursor_key is None

        lines.set_page(100_000, needed.start, rows(needed.start, needed.end))
        await pilot.pause()
        assert lines.cursor_key == 99_999
        assert "job 99999" in app.screen_lines()[-1]
        await pilot.press("g")
        await pilot.pause()
        assert "job 0" in app.screen_lines()[1]
        assert len(lines._rows) < 3_000


async def test_a_page_that_was_not_refreshed_is_asked_for_again() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(RowList)
        lines.set_page(1_000, 0, rows(0, 100))
        lines.set_page(1_000, 100, rows(100, 200))
        await pilot.pause()

        assert app.heard_of(RowList.Needed)[-1].start == 0


async def test_marks_follow_the_rows() -> None:
    app = Stage(RowList(COLUMNS, markable=True))
    async with app.run_test() as pilot:
        lines = app.query_one(RowList)
        lines.show(rows(0, 5))
        await pilot.press("space", "space")
        assert lines.marks == {0, 1}
        assert lines.cursor_key == 2

        # Whether a row is gone or only not listed now is known to the owner.
        lines.show(rows(1, 6))
        assert lines.marks == {0, 1}
        lines.set_marks({1})
        assert lines.marks == {1}


async def test_a_range_is_marked_through_rows_that_were_not_handed_in() -> None:
    app = Stage(RowList(COLUMNS, markable=True))
    async with app.run_test() as pilot:
        lines = app.query_one(RowList)
        lines.name_rows(lambda: range(500))
        lines.set_page(500, 0, rows(0, 60))
        await pilot.press("j", "space", "G", "ctrl+@")
        await pilot.pause()
        assert lines.marks == set(range(1, 500))


async def test_the_mouse_does_what_keys_do() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(RowList)
        lines.show(rows(0, 5))
        await pilot.click(RowList, offset=(10, 3))
        assert lines.cursor_key == 2
        await pilot.double_click(RowList, offset=(10, 3))
        assert app.heard_of(RowList.Chosen)[-1].key == 2
        await pilot.click(RowList, offset=(4, 0))
        assert app.heard_of(RowList.SortAsked)[-1].column == "id"
        await pilot.press("enter")
        assert len(app.heard_of(RowList.Chosen)) == 2


async def test_the_sorted_column_says_so_and_an_empty_list_explains_itself() -> None:
    app = Stage(RowList(COLUMNS, empty=[[Styled("No jobs. Add one with glidemq add.")]]))
    async with app.run_test() as pilot:
        app.query_one(RowList).set_sort("age", descending=True)
        await pilot.pause()

        assert "AGE▾" in app.screen_lines()[0]
        assert "No jobs. Add one" in app.screen_lines()[2]


async def test_an_empty_list_is_painted_again_only_for_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    lines = RowList(COLUMNS[1:2])
    draw = lines.render_line
    monkeypatch.setattr(lines, "render_line", lambda y: (painted.append(y), draw(y))[1])
    async with Stage(lines).run_test() as pilot:
        for words, paints in (("nothing yet", True), ("nothing yet", False), ("nothing matches", True)):
            painted.clear()
            lines.set_empty([[Styled(words)]])
            lines.show([])
            await pilot.pause()
            assert bool(painted) is paints


@pytest.mark.parametrize("name", CORPUS)
async def test_hostile_cells_are_drawn_inert(name: str) -> None:
    text = CORPUS[name][:5_000]
    app = Stage(RowList(COLUMNS), TokenPane(), PayloadCard())
    async with app.run_test(size=(60, 30)) as pilot:
        app.query_one(RowList).styles.height = 8
        app.query_one(TokenPane).styles.height = 8
        app.query_one(RowList).show(
            [Row(0, {"id": text, "name": Styled(text), "why": [Styled(text, "dim")]})]
        )
        app.query_one(TokenPane).feed("content", text)
        app.query_one(TokenPane).feed("tool", text)
        app.query_one(TokenPane).flush()
        app.query_one(PayloadCard).show({text: text, "list": [text]})
        await pilot.pause()

        for line in app.screen_lines():
            assert dangerous(line, newlines=False) == []
            assert cell_len(line) == 60


@pytest.mark.parametrize("theme", load_themes().names)
@pytest.mark.parametrize("stale", [False, True])
async def test_everything_in_the_row_under_the_cursor_can_be_read(theme: str, stale: bool) -> None:
    app = Stage(RowList(COLUMNS), theme=theme)
    async with app.run_test(size=(60, 8)) as pilot:
        lines = app.query_one(RowList)
        lines.stale = stale
        lines.show(rows(0, 3))
        await pilot.pause()

        drawn = list(lines.render_line(1))
        assert "–" in "".join(text for text, _, _ in drawn)
        assert not [
            text
            for text, style, _ in drawn
            if text.strip() and style and style.color is not None and style.color == style.bgcolor
        ]


@pytest.mark.parametrize("token", ["error", "dim", "person"])
async def test_words_under_the_cursor_are_plain_text_with_sixteen_colours(token: str) -> None:
    view = PayloadCard()
    app = Stage(RowList(COLUMNS), view, theme="glidemq-ansi")
    async with app.run_test(size=(60, 12)) as pilot:
        lines = app.query_one(RowList)
        lines.show([Row(1, {}, words=[Styled("429 slow down", token), Styled(" ▕██▏", "error")])])
        view.show({"customer": "C-1042"})
        await pilot.pause()
        lines.focus()
        await pilot.pause()
        plain = theme_style(app, "foreground", on="cursor-background")
        looks = {text.strip(): style for text, style, _ in lines.render_line(1) if style and text.strip()}
        assert (looks["429 slow down"].color, looks["429 slow down"].bgcolor) == (plain.color, plain.bgcolor)
        assert looks["▕██▏"].color == theme_style(app, "error").color

        view.focus()
        await pilot.pause()
        at = view.render_line(0)
        assert "customer" in at.text
        assert {style.color for text, style, _ in at if style and text.strip("▌ ")} == {plain.color}


# --- what lists say beyond their rows ---


def test_columns_that_say_nothing_give_way_until_they_say_something() -> None:
    cost = Column[int]("cost", "COST", 6, lambda n, _: str(n), lambda n: n, gives_way="empty")
    parity = Column[int]("parity", "PARITY", 6, lambda n, _: str(n % 2), lambda n: n % 2, gives_way="equal")
    columns = (COLUMNS[0], cost, parity)

    assert [column.key for column in columns_for(columns, [0, 0])] == ["id"]
    assert [column.key for column in columns_for(columns, [0, 3])] == ["id", "cost", "parity"]
    assert [column.key for column in columns_for(columns, [2, 4])] == ["id", "cost"]
    # One row, or none yet, does not tell whether rows differ; an empty list has not said anything either.
    assert [column.key for column in columns_for(columns, [0])] == ["id", "parity"]
    assert columns_for(columns, []) == columns


async def test_totals_stand_under_the_titles_and_come_and_go() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(RowList)
        lines.show(rows(0, 3))
        lines.set_totals({"id": "3", "age": Styled("90s", "dim")})
        await pilot.pause()

        assert [line.split() for line in app.screen_lines()[1:3]] == [
            ["3", "90s"],
            ["▌", "0", "job", "0", "0s", "–"],
        ]
        assert lines.visible_range == (0, 3)
        lines.set_totals({"id": "4"})
        await pilot.pause()
        assert app.screen_lines()[1].split() == ["4"]
        lines.set_totals(None)
        await pilot.pause()
        assert app.screen_lines()[1].split()[:2] == ["▌", "0"]


async def test_other_columns_are_shown_at_once() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(RowList)
        lines.show(rows(0, 3))
        lines.set_columns(COLUMNS[:1])
        await pilot.pause()

        assert [line.split() for line in app.screen_lines()[:2]] == [["ID"], ["▌", "0"]]
        assert not lines.shows("name")


async def test_a_heading_stands_across_its_row_and_is_never_marked() -> None:
    app = Stage(RowList(COLUMNS, markable=True))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(RowList)
        title = Row(Heading("done"), {}, words=[Styled("done 12, and more words than a column has room for")])
        lines.show([title, *rows(0, 2)])
        await pilot.press("space", "shift+down", "shift+down", "shift+up")
        await pilot.pause()

        assert "done 12, and more words than a column has room for" in app.screen_lines()[1]
        assert lines.marks == {0, 1}


async def test_a_row_is_filled_under_the_cursor_as_far_as_it_says() -> None:
    app = Stage(RowList(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(RowList)
        lines.show(
            [
                Row(0, {"id": "x"}, ground="success-background", filled=0.25),
                Row(1, {}, ground="error-background"),
            ]
        )
        await pilot.pause()

        fill, cursor, tint = (
            theme_style(app, "foreground", on=name).bgcolor
            for name in ("success-background", "cursor-background", "error-background")
        )
        assert {style.bgcolor for _, style, _ in lines.render_line(1).crop(0, 20)} == {fill}
        assert {style.bgcolor for _, style, _ in lines.render_line(1).crop(20)} == {cursor}
        assert {style.bgcolor for _, style, _ in lines.render_line(2)} == {tint}
        await pilot.press("j")
        assert {style.bgcolor for _, style, _ in lines.render_line(2)} == {cursor}
