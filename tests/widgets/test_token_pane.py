"""The token pane: text that arrives in pieces, wrapped, bounded, searched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kits.stage import Stage
from rich.cells import cell_len

from glidemq_console.text.safe import clean
from glidemq_console.text.wrap import Wrapper
from glidemq_console.widgets import token_pane
from glidemq_console.widgets.scroll_bar import thumb, top_at
from glidemq_console.widgets.token_pane import TokenPane

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
    monkeypatch.setattr(token_pane, "MAX_LINES", 100)
    monkeypatch.setattr(token_pane, "MAX_CHARACTERS", 5_000)
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


# --- what it costs, and its bar ---


async def test_tokens_are_no_reason_to_lay_out_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Stage(TokenPane())
    async with app.run_test(size=(40, 8)) as pilot:
        pane = app.query_one(TokenPane)
        await pilot.pause()
        laid_out: list[object] = []
        refresh_layout = type(app.screen)._refresh_layout
        monkeypatch.setattr(
            type(app.screen),
            "_refresh_layout",
            lambda screen, *given, **named: (laid_out.append(given), refresh_layout(screen, *given, **named)),
        )
        for number in range(30):
            pane.feed("content", f"line {number}\n")
            pane.flush()
            await pilot.pause(0.02)

        assert laid_out == []
        assert "line 29" in app.screen_lines()[6]
        assert pane.following


@pytest.mark.parametrize(
    ("height", "lines", "top", "rows"),
    [
        (10, 5, 0, range(0)),
        (10, 10, 0, range(0)),
        (10, 20, 0, range(5)),
        (10, 20, 10, range(5, 10)),
        (10, 100_000, 0, range(1)),
        (10, 100_000, 99_990, range(9, 10)),
        (0, 5, 0, range(0)),
    ],
)
def test_the_thumb_shows_which_part_is_visible(height: int, lines: int, top: int, rows: range) -> None:
    assert thumb(height, lines, top) == rows


@given(st.integers(1, 60), st.integers(1, 10_000), st.data())
def test_the_bar_leads_to_every_end_and_never_beyond(height: int, lines: int, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, height - 1))
    last = max(0, lines - height)

    assert 0 <= top_at(row, height, lines) <= last
    if last > 0 and len(thumb(height, lines, 0)) < height:
        assert top_at(0, height, lines) == 0 or len(thumb(height, lines, 0)) == 1
        assert top_at(height - 1, height, lines) >= last - lines // height - 1


async def test_the_bar_is_dragged_with_the_mouse() -> None:
    app = Stage(TokenPane())
    async with app.run_test(size=(40, 10)) as pilot:
        pane = app.query_one(TokenPane)
        pane.feed("content", "\n".join(f"line {number}" for number in range(200)))
        pane.flush()
        await pilot.pause()
        bar = pane.size.width - 1

        await pilot.mouse_down(pane, offset=(bar, 0))
        await pilot.pause()
        assert "line 0" in app.screen_lines()[0]
        assert not pane.following
        await pilot.hover(pane, offset=(bar, pane.size.height - 1))
        await pilot.mouse_up(pane, offset=(bar, pane.size.height - 1))
        await pilot.pause()
        assert pane.following
        assert "line 199" in app.screen_lines()[pane.size.height - 1]


async def test_text_that_is_cut_within_a_flush_reads_as_one() -> None:
    app = Stage(TokenPane())
    async with app.run_test(size=(40, 8)):
        pane = app.query_one(TokenPane)
        for chunk in ("one\r", "\ntwo ", b"\xe8\xaa", b"\x9e", "\ud83d", "\ude42", "\x1b[31m"):
            pane.feed("content", chunk)
        pane.flush()

        assert pane.text.startswith("one\ntwo 語🙂")
        assert "\x1b" not in pane.text
