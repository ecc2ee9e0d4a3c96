"""The generic widgets: rows that stay put, tokens that let one read, payloads that fold, safe questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hostile import CORPUS, dangerous
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.message import Message
from textual.widget import Widget

from glidemq_console.safe import clean
from glidemq_console.theme import DEFAULT_THEME, load_themes, register_themes, variable_defaults
from glidemq_console.widgets import tokens
from glidemq_console.widgets.card import PayloadCard
from glidemq_console.widgets.columns import Column, Row, arrange
from glidemq_console.widgets.dialog import ConfirmDialog, PromptDialog
from glidemq_console.widgets.gauge import gauge_parts
from glidemq_console.widgets.ink import Ink, fit, width_of
from glidemq_console.widgets.lines import LineList
from glidemq_console.widgets.plot import Plot, Series
from glidemq_console.widgets.sparkline import sparkline_parts
from glidemq_console.widgets.statusline import PartsView, Rule, StatusLine, TabBar
from glidemq_console.widgets.tokens import TokenPane
from glidemq_console.widgets.tree import Tree
from glidemq_console.widgets.wrap import Wrapper


class Stage(App[None]):
    """An app that shows some widgets and keeps the messages they send."""

    def __init__(self, *widgets: Widget, theme: str = DEFAULT_THEME) -> None:
        super().__init__()
        register_themes(self, load_themes())
        self.theme = theme
        self.animation_level = "none"
        self._widgets = widgets
        self.heard: list[Message] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()

    def compose(self) -> ComposeResult:
        yield from self._widgets

    def on_mount(self) -> None:
        for widget in self._widgets:
            if widget.can_focus:
                widget.focus()
                break

    def on_line_list_highlighted(self, message: LineList.Highlighted) -> None:
        self.heard.append(message)

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        self.heard.append(message)

    def on_line_list_needed(self, message: LineList.Needed) -> None:
        self.heard.append(message)

    def on_line_list_sort_asked(self, message: LineList.SortAsked) -> None:
        self.heard.append(message)

    def on_tab_bar_chosen(self, message: TabBar.Chosen) -> None:
        self.heard.append(message)

    def screen_lines(self) -> list[str]:
        strips = self.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def heard_of(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]


COLUMNS = (
    Column(key="id", title="ID", width=6),
    Column(key="name", title="NAME", width=10, flexible=True),
    Column(key="age", title="AGE", width=7, right=True, leaves=1),
    Column(key="why", title="WHY", width=20, leaves=2),
)


def rows(start: int, stop: int, offset: int = 0) -> list[Row]:
    return [
        Row(n, {"id": str(n), "name": f"job {n}", "age": f"{n}s", "why": Ink("–", "dim")})
        for n in range(start + offset, stop + offset)
    ]


# --- parts ---


@given(st.lists(st.text(max_size=12), max_size=5), st.integers(1, 30), st.booleans())
def test_parts_fit_exactly(texts: list[str], width: int, right: bool) -> None:
    fitted = fit([Ink(text) for text in texts], width, right=right)

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
    app = Stage(LineList(COLUMNS))
    async with app.run_test(size=size) as pilot:
        app.query_one(LineList).show(rows(0, 3))
        await pilot.press("j")
        lines = app.screen_lines()

        assert lines[0].split() == ["ID", "NAME", "AGE", "WHY"]
        assert lines[1].split() == ["0", "job", "0", "0s", "–"]
        assert lines[2].startswith(" ▌ 1")
        assert all(cell_len(line) == size[0] for line in lines)


async def test_the_cursor_stays_on_its_row_through_a_refresh() -> None:
    app = Stage(LineList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(LineList)
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
    app = Stage(LineList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(LineList)
        await pilot.press("enter")
        lines.set_reading()
        await pilot.press("enter")
        assert app.heard_of(LineList.Chosen) == []

        lines.set_empty([])
        lines.show(rows(3, 5))
        lines.show(rows(3, 5))
        await pilot.pause()
        assert [message.key for message in app.heard_of(LineList.Chosen)] == [3]


@pytest.mark.parametrize("meanwhile", ["cleared", "moved", "empty"])
async def test_an_enter_that_something_else_came_after_opens_nothing(meanwhile: str) -> None:
    app = Stage(LineList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(LineList)
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
        assert app.heard_of(LineList.Chosen) == []


async def test_the_row_being_read_stands_still_on_the_screen() -> None:
    app = Stage(LineList(COLUMNS))
    async with app.run_test(size=(60, 12)) as pilot:
        lines = app.query_one(LineList)
        lines.show(rows(0, 200))
        await pilot.pause()
        await pilot.press(*["j"] * 30)
        y = next(y for y, line in enumerate(app.screen_lines()) if "▌" in line)

        lines.show([*rows(500, 507), *rows(0, 200)])
        await pilot.pause()

        assert lines.cursor_key == 30
        assert next(y for y, line in enumerate(app.screen_lines()) if "▌" in line) == y


async def test_a_hundred_thousand_rows_are_asked_for_by_the_page() -> None:
    app = Stage(LineList(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(LineList)
        lines.set_page(100_000, 0, rows(0, 50))
        await pilot.press("G")
        await pilot.pause()
        needed = app.heard_of(LineList.Needed)[-1]
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
    app = Stage(LineList(COLUMNS))
    async with app.run_test(size=(80, 24)) as pilot:
        lines = app.query_one(LineList)
        lines.set_page(1_000, 0, rows(0, 100))
        lines.set_page(1_000, 100, rows(100, 200))
        await pilot.pause()

        assert app.heard_of(LineList.Needed)[-1].start == 0


async def test_marks_follow_the_rows_and_go_with_them() -> None:
    app = Stage(LineList(COLUMNS, markable=True))
    async with app.run_test() as pilot:
        lines = app.query_one(LineList)
        lines.show(rows(0, 5))
        await pilot.press("space", "space")
        assert lines.marks == {0, 1}
        assert lines.cursor_key == 2

        lines.show(rows(1, 6))
        assert lines.marks == {1}


async def test_the_mouse_does_what_keys_do() -> None:
    app = Stage(LineList(COLUMNS))
    async with app.run_test() as pilot:
        lines = app.query_one(LineList)
        lines.show(rows(0, 5))
        await pilot.click(LineList, offset=(10, 3))
        assert lines.cursor_key == 2
        await pilot.double_click(LineList, offset=(10, 3))
        assert app.heard_of(LineList.Chosen)[-1].key == 2
        await pilot.click(LineList, offset=(4, 0))
        assert app.heard_of(LineList.SortAsked)[-1].column == "id"
        await pilot.press("enter")
        assert len(app.heard_of(LineList.Chosen)) == 2


async def test_the_sorted_column_says_so_and_an_empty_list_explains_itself() -> None:
    app = Stage(LineList(COLUMNS, empty=[[Ink("No jobs. Add one with glidemq add.")]]))
    async with app.run_test() as pilot:
        app.query_one(LineList).set_sort("age", descending=True)
        await pilot.pause()

        assert "AGE▾" in app.screen_lines()[0]
        assert "No jobs. Add one" in app.screen_lines()[2]


async def test_an_empty_list_is_painted_again_only_for_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    lines = LineList([Column(key="name", title="NAME", width=10)])
    draw = lines.render_line
    monkeypatch.setattr(lines, "render_line", lambda y: (painted.append(y), draw(y))[1])
    async with Stage(lines).run_test() as pilot:
        for words, paints in (("nothing yet", True), ("nothing yet", False), ("nothing matches", True)):
            painted.clear()
            lines.set_empty([[Ink(words)]])
            lines.show([])
            await pilot.pause()
            assert bool(painted) is paints


@pytest.mark.parametrize("name", CORPUS)
async def test_hostile_cells_are_drawn_inert(name: str) -> None:
    text = CORPUS[name][:5_000]
    app = Stage(LineList(COLUMNS), TokenPane(), PayloadCard())
    async with app.run_test(size=(60, 30)) as pilot:
        app.query_one(LineList).styles.height = 8
        app.query_one(TokenPane).styles.height = 8
        app.query_one(LineList).show([Row(0, {"id": text, "name": Ink(text), "why": [Ink(text, "dim")]})])
        app.query_one(TokenPane).feed("content", text)
        app.query_one(TokenPane).feed("tool", text)
        app.query_one(TokenPane).flush()
        app.query_one(PayloadCard).show({text: text, "list": [text]})
        await pilot.pause()

        for line in app.screen_lines():
            assert dangerous(line, newlines=False) == []
            assert cell_len(line) == 60


# --- tokens ---


def _wrapped(chunks: Sequence[str], width: int) -> list[tuple[str, int, bool]]:
    wrapper = Wrapper(width)
    wrapper.start("content")
    for chunk in chunks:
        wrapper.add(chunk)
    return [(line.text, line.width, line.soft) for line in wrapper.lines]


@given(
    st.text(alphabet=st.sampled_from("ab \n\t漢字é😀\u0301xyz"), max_size=80), st.integers(2, 20), st.data()
)
def test_wrapping_does_not_depend_on_how_text_was_cut(text: str, width: int, data: st.DataObject) -> None:
    safe = clean(text)
    cut = data.draw(st.integers(0, len(safe)))
    whole = _wrapped([safe], width)

    assert _wrapped([safe[:cut], safe[cut:]], width) == whole
    assert _wrapped(list(safe), width) == whole
    for line, cells, _ in whole:
        assert cell_len(line) == cells <= width


def test_words_move_to_the_next_line_and_long_ones_are_cut() -> None:
    assert [line for line, _, _ in _wrapped(["one two three"], 8)] == ["one two ", "three"]
    assert [line for line, _, _ in _wrapped(["ab abcdefghij"], 4)] == ["ab ", "abcd", "efgh", "ij"]
    assert [line for line, _, _ in _wrapped(["漢字漢"], 5)] == ["漢字", "漢"]


async def test_kinds_of_tokens_are_told_apart() -> None:
    app = Stage(TokenPane())
    async with app.run_test(size=(60, 12)) as pilot:
        pane = app.query_one(TokenPane)
        pane.live = True
        for kind, chunk in (
            ("reasoning", "short "),
            ("reasoning", "thought"),
            ("content", "Hello "),
            ("content", "world"),
            ("tool", 'search {"q":\n"x"}'),
            ("content", "Done"),
        ):
            pane.feed(kind, chunk)  # type: ignore[arg-type]  # literals lose their type in a tuple
        assert pane.flush()
        assert not pane.flush()
        await pilot.pause()
        lines = [line.rstrip() for line in app.screen_lines()]

        assert lines[:4] == ["┊ thinking  short thought", "  Hello world", '» search {"q":↵"x"}', "  Done▌"]
        assert pane.text == 'short thought\nHello world\nsearch {"q":↵"x"}\nDone'


async def test_following_ends_when_the_reader_scrolls_up_and_resumes_at_the_end() -> None:
    app = Stage(TokenPane())
    async with app.run_test(size=(40, 10)) as pilot:
        pane = app.query_one(TokenPane)
        pane.feed("content", "".join(f"line {n}\n" for n in range(50)))
        pane.flush()
        await pilot.pause()
        assert "line 49" in app.screen_lines()[-2]

        await pilot.press("k", "k", "k")
        await pilot.pause()
        before = [line[:38] for line in app.screen_lines()[:-1]]
        pane.feed("content", "".join(f"new {n}\n" for n in range(12)))
        pane.flush()
        await pilot.pause()
        assert not pane.following
        assert [line[:38] for line in app.screen_lines()[:-1]] == before
        assert "12 new lines below · end to follow" in app.screen_lines()[-1]

        await pilot.press("end")
        await pilot.pause()
        assert pane.following
        assert "new 11" in app.screen_lines()[-2]


async def test_a_pane_is_bounded_and_says_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_LINES", 100)
    monkeypatch.setattr(tokens, "MAX_CHARACTERS", 5_000)
    app = Stage(TokenPane())
    async with app.run_test(size=(40, 10)) as pilot:
        pane = app.query_one(TokenPane)
        for n in range(3_000):
            pane.feed("content", f"line {n}\n")
            if n % 100 == 0:
                pane.flush()
        pane.flush()
        await pilot.press("g")
        await pilot.pause()

        assert len(pane._wrapped.lines) <= 100
        assert len(pane.text) <= 5_000
        assert "what came before is not kept" in app.screen_lines()[0]


async def test_search_finds_across_wrapped_lines() -> None:
    app = Stage(TokenPane())
    async with app.run_test(size=(23, 6)) as pilot:
        pane = app.query_one(TokenPane)
        pane.feed("content", "\n" * 30 + "one two three four five\n" + "\n" * 30 + "FIVE")
        pane.flush()
        await pilot.pause()

        assert pane.search("four five") == 1
        assert pane.search("five") == 2
        assert pane.next_match()
        await pilot.pause()
        assert any("five" in line.lower() for line in app.screen_lines())
        assert pane.search("absent") == 0
        assert not pane.next_match()
        assert pane.search("") == 0


async def test_a_resize_wraps_again() -> None:
    app = Stage(TokenPane())
    async with app.run_test(size=(60, 10)) as pilot:
        pane = app.query_one(TokenPane)
        pane.feed("content", "word " * 40)
        pane.flush()
        await pilot.pause()
        await pilot.resize_terminal(30, 10)
        await pilot.pause()

        assert all(cell_len(line) == 30 for line in app.screen_lines())
        assert max(line.width for line in pane._wrapped.lines) <= 27


# --- payloads ---


def _tree_text(tree: Tree, width: int = 60) -> list[str]:
    return ["".join(part.text for part in line.parts).rstrip() for line in tree.lines(width)]


def test_a_tree_folds_what_is_large_and_names_its_size() -> None:
    tree = Tree({"a": 1, "long": list(range(250)), "text": "x" * 200, "e": {}, "n": None})

    assert _tree_text(tree)[:2] == ["a     1", "long  ▸ 250 items"]
    assert _tree_text(tree)[2].startswith('text  ▸ "xxx')
    assert _tree_text(tree)[2].endswith("200 B")

    tree.toggle(tree.lines(60)[1])
    opened = _tree_text(tree)
    assert opened[101].split() == ["99", "99"]
    assert "150 more" in opened[102]
    tree.toggle(tree.lines(60)[102])
    assert "50 more" in _tree_text(tree)[202]


async def test_secrets_stay_masked_until_they_are_asked_for() -> None:
    app = Stage(PayloadCard())
    async with app.run_test() as pilot:
        card = app.query_one(PayloadCard)
        card.show({"api_key": "the secret", "prompt": "[/red] hi"})
        await pilot.pause()
        assert "the secret" not in "\n".join(app.screen_lines())
        assert "the secret" not in card.text
        assert card.masked_count == 1
        assert "[/red] hi" in app.screen_lines()[1]

        await pilot.press("v")
        await pilot.pause()
        assert "the secret" in "\n".join(app.screen_lines())

        card.show({"api_key": "another", "prompt": ""})
        await pilot.pause()
        assert "another" not in "\n".join(app.screen_lines())


async def test_a_payload_folds_by_key_and_mouse_and_shows_raw() -> None:
    app = Stage(PayloadCard())
    async with app.run_test() as pilot:
        card = app.query_one(PayloadCard)
        card.show({"options": {"deep": 1}, "x": "y"})
        await pilot.pause()
        await pilot.press("left")
        await pilot.pause()
        assert "1 key" in app.screen_lines()[0]
        assert "deep" not in "".join(app.screen_lines())
        await pilot.click(PayloadCard, offset=(6, 0))
        await pilot.pause()
        assert "deep" in "".join(app.screen_lines())
        await pilot.press("j", "left")
        await pilot.pause()
        assert "deep" not in "".join(app.screen_lines())
        await pilot.press("e")
        await pilot.pause()
        assert json.loads("".join(app.screen_lines()).replace("▌", " ")) == {"options": {"deep": 1}, "x": "y"}
        card.show_note("payload of 3 MB is not loaded")
        await pilot.pause()
        assert "not loaded" in app.screen_lines()[0]


# --- lines, meters, charts ---


async def test_lines_show_their_parts_at_every_width() -> None:
    line = StatusLine([Ink("left " * 10)], [Ink("right", "person")])
    gauge, spark = gauge_parts(1.04, 10, "104 / 100"), sparkline_parts([0, 1, 2], 6)
    app = Stage(line, Rule("title"), PartsView([gauge, spark, [Ink("a")], [Ink("b")]]))
    async with app.run_test(size=(30, 8)) as pilot:
        await pilot.pause()
        lines = app.screen_lines()

        assert lines[0].endswith("… right ")
        assert lines[1].startswith("── title ──")
        assert lines[2] == "▕██████████▏ 104 % exceeded  …"
        assert lines[3].rstrip() == "   ▁▄█"
        assert [text.strip() for text in lines[4:6]] == ["a", "b"]


async def test_tabs_shorten_and_are_clicked() -> None:
    app = Stage(TabBar())
    async with app.run_test(size=(24, 3)) as pilot:
        bar = app.query_one(TabBar)
        bar.show(
            [
                (name, [Ink(f"{n} {name}")], [Ink(str(n))])
                for n, name in enumerate(("queues", "jobs", "streams"), 1)
            ],
            "jobs",
        )
        await pilot.pause()
        assert app.screen_lines()[0].rstrip() == " 1  2 jobs  3"

        await pilot.click(TabBar, offset=(12, 0))
        assert app.heard_of(TabBar.Chosen)[-1].key == "streams"


@pytest.mark.parametrize("theme", ["glidemq-dark", "glidemq-ansi"])
async def test_a_chart_draws_its_lines_and_an_empty_one_says_so(theme: str) -> None:
    app = Stage(Plot("done a minute"), theme=theme)
    async with app.run_test(size=(50, 12)) as pilot:
        await pilot.pause()
        assert "no data yet" in app.screen_lines()[1]

        app.query_one(Plot).show(
            [Series(name="done", values=(100.0, None, 250.0, 400.0))], labels=("-1h", "now")
        )
        await pilot.pause()
        text = "\n".join(app.screen_lines())
        assert "400" in text
        assert "-1h" in text
        assert "now" in text


# --- questions ---


async def test_the_safe_answer_has_the_focus() -> None:
    app = Stage()
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        for keys in (["enter"], ["escape"], ["n"], ["right", "enter"], ["y"]):
            app.push_screen(ConfirmDialog("Remove [/red] inference:42?", yes="Remove"), answers.append)
            await pilot.pause()
            assert "[/red]" in "\n".join(app.screen_lines())
            await pilot.press(*keys)
            await pilot.pause()

    assert answers == [False, False, False, True, True]


async def test_what_destroys_wants_the_name_typed() -> None:
    app = Stage()
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        app.push_screen(ConfirmDialog("Drain?", yes="Drain", type_this="mail"), answers.append)
        await pilot.pause()
        await pilot.press("m", "a", "i", "enter")
        await pilot.pause()
        assert answers == []
        assert "not the name" in "\n".join(app.screen_lines())
        await pilot.click("#dialog-yes")
        await pilot.pause()
        assert answers == []
        await pilot.press("l", "enter")
        await pilot.pause()

    assert answers == [True]


async def test_a_prompt_takes_only_what_is_valid() -> None:
    app = Stage()
    answers: list[str | None] = []
    async with app.run_test() as pilot:
        ask = PromptDialog(
            "Reject?", label="reason", validate=lambda text: None if text.strip() else "say why"
        )
        app.push_screen(ask, answers.append)
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert "say why" in "\n".join(app.screen_lines())
        await pilot.press("n", "o", "enter")
        await pilot.pause()
        app.push_screen(PromptDialog("Again?"), answers.append)
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()

    assert answers == ["no", None]
