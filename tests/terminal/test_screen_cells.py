"""What is written of a frame: the cells that changed, and the terminal shows the same as after a full redraw."""

from __future__ import annotations

import random
from typing import Any

import pytest
from kits.emulator import Emulator
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate, LayoutUpdate
from textual.app import App, ComposeResult
from textual.geometry import Region, Size
from textual.pilot import Pilot
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip

from glidemq_console.terminal.screen_cells import ScreenCells

SIZE = Size(60, 12)
#: Narrow and wide letters, some that combine, signs of the console, an emoji of several characters.
LETTERS = [
    *"abcdefghij",
    *"      ",
    "é",
    "ж",
    "│",
    "●",
    "◆",
    "語",
    "国",
    "한",
    "🙂",
    "e\u0301",
    "o\u0308",
    "a\u0323",
]
STYLES = [
    Style.parse(words)
    for words in (
        "white on black",
        "red on black",
        "bold red on black",
        "dim on black",
        "underline white on black",
        "reverse",
        "#102030 on #405060",
        "#102030 on #405061",
        "italic",
        "",
    )
]
TRUE = ColorSystem.TRUECOLOR


def frame(*lines: str | list[Segment], width: int = 10) -> tuple[LayoutUpdate, Size]:
    """A full frame of texts."""
    strips = [Strip([Segment(line)] if isinstance(line, str) else line) for line in lines]
    padded = [strip.adjust_cell_length(width) for strip in strips]
    return LayoutUpdate([[strip] for strip in padded], Region(0, 0, width, len(lines))), Size(
        width, len(lines)
    )


def written(cells: ScreenCells, *lines: str | list[Segment], width: int = 10) -> str:
    update, size = frame(*lines, width=width)
    assert cells.take(update, size, TRUE)
    return cells.changes()


def test_a_frame_that_is_the_same_is_not_written() -> None:
    cells = ScreenCells()

    assert written(cells, "hello", "world") != ""
    assert written(cells, "hello", "world") == ""


def test_one_changed_cell_is_one_move_and_one_character() -> None:
    cells = ScreenCells()
    written(cells, "age 41s", "still")

    assert written(cells, "age 42s", "still") == "\x1b[1;6H2"


@pytest.mark.parametrize(("apart", "moves"), [(8, 1), (9, 2)])
def test_changes_up_to_eight_cells_apart_are_one_run(apart: int, moves: int) -> None:
    cells = ScreenCells()
    middle = "-" * apart
    written(cells, f"1{middle}1", width=20)

    assert written(cells, f"2{middle}2", width=20).count("H") == moves


def test_a_look_is_selected_by_what_differs_and_reset_at_the_end() -> None:
    cells = ScreenCells()
    on = " on #000001"
    written(cells, [Segment("ab", Style.parse("#010101" + on)), Segment("cd", Style.parse("#020202" + on))])

    text = written(
        cells, [Segment("xy", Style.parse("#010101" + on)), Segment("zw", Style.parse("#020202" + on))]
    )

    assert text == "\x1b[1;1H\x1b[38;2;1;1;1;48;2;0;0;1mxy\x1b[38;2;2;2;2mzw\x1b[0m"


def test_a_space_of_another_colour_looks_the_same_and_is_not_written() -> None:
    cells = ScreenCells()
    written(cells, [Segment("a ", Style.parse("red"))])

    assert written(cells, [Segment("a", Style.parse("red")), Segment(" ", Style.parse("blue"))]) == ""
    assert written(cells, [Segment("a", Style.parse("red")), Segment(" ", Style.parse("on blue"))]) != ""
    assert written(cells, [Segment("a", Style.parse("red")), Segment(" ", Style.parse("underline"))]) != ""


@pytest.mark.parametrize("wide", ["語", "e\u0301", "🙂"])
def test_a_line_with_anything_but_cells_one_wide_goes_whole(wide: str) -> None:
    cells = ScreenCells()
    written(cells, f"a{wide}b 1")

    text = written(cells, f"a{wide}b 2")
    assert text.startswith("\x1b[1;1Ha")
    assert wide in text

    # Also when the wide character is what goes.
    assert written(cells, "a--b 2").startswith("\x1b[1;1Ha--b 2")


def test_what_follows_a_wide_character_is_placed_wherever_the_terminal_thinks_it_is() -> None:
    assert "\x1b[1;2H語\x1b[1;4Hb" in written(ScreenCells(), "a語b")


def test_a_control_character_is_never_written() -> None:
    assert "\x07" not in written(ScreenCells(), "a\x07b語")


def test_all_is_written_again_after_forgetting_and_for_another_size() -> None:
    cells = ScreenCells()
    written(cells, "hello", "world")

    cells.forget()
    assert "hello" in written(cells, "hello", "world")
    assert "hello" in written(cells, "hello", "world", width=12)


def test_what_comes_before_a_frame_is_written_is_put_together() -> None:
    cells = ScreenCells()
    written(cells, "1 1", "2 2")
    for text in ("3 3", "4 4", "1 4"):
        update, size = frame(text, "2 2")
        cells.take(update, size, TRUE)

    assert cells.changes() == "\x1b[1;3H4"


class Noise(ScrollView):
    """Lines of random letters in random styles, of which some change at a time."""

    DEFAULT_CSS = "Noise { overflow: hidden; }"

    def __init__(self, dice: random.Random, letters: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.dice, self.letters = dice, letters
        self.lines: dict[int, Strip] = {}

    def render_line(self, y: int) -> Strip:
        if y not in self.lines:
            self.lines[y] = self.make()
        return self.lines[y].crop_extend(0, self.size.width, None)

    def make(self) -> Strip:
        dice, only_narrow = self.dice, self.dice.random() < 0.7
        letters = self.letters[:20] if only_narrow else self.letters
        return Strip(
            [
                Segment("".join(dice.choices(letters, k=dice.randint(1, 12))), dice.choice(STYLES))
                for _ in range(12)
            ]
        )

    def change(self) -> None:
        if not self.size:
            return
        y = self.dice.randrange(self.size.height)
        self.lines[y] = self.make()
        self.refresh(Region(0, y, self.size.width, 1))


class Shaken(App[None]):
    """An app in which everything moves; its frames go through our layer to one emulated terminal."""

    CSS = """
    Screen { layers: below above; }
    #whole { layer: below; width: 100%; height: 100%; }
    #first, #second { layer: above; width: 20; height: 5; }
    #second { width: 11; height: 8; }
    """

    def __init__(self, seed: int, letters: list[str]) -> None:
        super().__init__()
        self.dice, self.letters = random.Random(seed), letters
        self.written = ScreenCells()
        self.terminal = Emulator(*SIZE)
        self.frames = 0

    def compose(self) -> ComposeResult:
        for name in ("whole", "first", "second"):
            yield Noise(self.dice, self.letters, id=name)

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        if isinstance(renderable, CompositorUpdate):
            self.frames += 1
            assert self.written.take(renderable, screen._compositor.size, TRUE)
            # A terminal that has not answered yet gets several frames as one.
            if self.dice.random() < 0.7:
                self.terminal.feed(self.written.changes())
        super()._display(screen, renderable)

    def shake(self) -> None:
        dice = self.dice
        noises = list(self.query(Noise))
        for _ in range(dice.randint(1, 4)):
            dice.choice(noises).change()
        if dice.random() < 0.2:
            moved = dice.choice(noises[1:])
            moved.styles.offset = (dice.randint(-8, SIZE.width - 4), dice.randint(-3, SIZE.height - 2))
        if dice.random() < 0.05:
            shown = dice.choice(noises[1:])
            shown.display = not shown.display
        if dice.random() < 0.02:
            self.screen.refresh()
        if dice.random() < 0.01:
            self.written.forget()
            self.screen.refresh()


#: Where a cut parts a letter from what combines with it, Textual puts that onto the widget beside it, and we do not.
WITHOUT_COMBINING = [letter for letter in LETTERS if len(letter) == 1]


@pytest.mark.thorough
@pytest.mark.parametrize("letters", [LETTERS, WITHOUT_COMBINING], ids=["all", "like Textual"])
async def test_after_a_thousand_random_frames_the_terminal_shows_what_a_full_redraw_shows(
    letters: list[str],
) -> None:
    app = Shaken(len(letters), letters)
    async with app.run_test(size=SIZE) as pilot:
        compared = 0
        while app.frames < 1_000:
            app.shake()
            await pilot.pause(0)
            if app.frames // 50 > compared:
                compared = app.frames // 50
                await drawn(app, pilot)
                app.terminal.feed(app.written.changes())
                assert app.terminal.looks == redrawn(app)
                if letters is WITHOUT_COMBINING:
                    assert app.terminal.looks == redrawn_by_textual(app)
        assert compared == 20


async def drawn(app: Shaken, pilot: Pilot[None]) -> None:
    """Wait until nothing is left to be drawn."""
    screen = app.screen
    while screen._dirty_widgets or screen._layout_required or screen._compositor._dirty_regions:
        await pilot.pause(0.01)


def redrawn(app: Shaken) -> list[list[Any]]:
    """What a terminal shows of which nothing is known when it is drawn."""
    cells, terminal = ScreenCells(), Emulator(*SIZE)
    cells.take(app.screen._compositor.render_full_update(), SIZE, TRUE)
    terminal.feed(cells.changes())
    return terminal.looks


def redrawn_by_textual(app: Shaken) -> list[list[Any]]:
    console = Console(force_terminal=True, color_system="truecolor")
    terminal = Emulator(*SIZE)
    terminal.feed(app.screen._compositor.render_full_update().render_segments(console))
    return terminal.looks
