"""Finding a text in what widgets show: in folded values and wrapped lines, bounded, and inert."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kits.stage import Stage
from textual.containers import VerticalScroll
from textual.strip import Strip
from textual.widget import Widget

from glidemq_console.text.safe import clean
from glidemq_console.text.wrap import line_starts, untabbed, wrapped
from glidemq_console.widgets.finding import finder as finder_module
from glidemq_console.widgets.finding.finder import Finder
from glidemq_console.widgets.finding.places import Found, Place, Searched
from glidemq_console.widgets.finding.story import StoryView
from glidemq_console.widgets.payload.json_tree import Tree, texts_of
from glidemq_console.widgets.payload.payload_view import PayloadCard
from glidemq_console.widgets.styled import Styled, dim
from glidemq_console.widgets.wrapped_text import Prose

_BACKGROUND = "match-background"


async def _look(text: str, *widgets: Searched) -> Finder:
    finder = Finder(lambda: widgets, lambda: None)
    finder.begin(text)
    await finder.look()
    return finder


def _words(finder: Finder) -> str:
    return "".join(part.text for part in finder.words)


def _lit(widget: Widget) -> list[str]:
    """What a widget lights up, from the top."""
    color = widget.app.get_css_variables()[_BACKGROUND]
    lines: Sequence[Strip] = [widget.render_line(y) for y in range(widget.size.height)]
    return [
        segment.text
        for line in lines
        for segment in line
        if segment.style is not None
        and segment.style.bgcolor is not None
        and segment.style.bgcolor.name == color
    ]


@given(st.text(alphabet=st.sampled_from("ab  \n\t漢é😀xyz"), max_size=80), st.integers(2, 20))
def test_wrapped_lines_are_found_in_the_text_they_come_from(text: str, width: int) -> None:
    shown = untabbed(clean(text))
    lines = wrapped(shown, width)

    starts = line_starts(shown, lines)

    assert [shown[start : start + len(line)] for start, line in zip(starts, lines, strict=True)] == lines
    between = shown
    for line in lines:
        between = between.replace(line, "", 1) if line.strip() else between
    assert not between.strip()


def test_a_tree_is_searched_in_the_order_of_its_lines_folded_or_not() -> None:
    value = {"model": "gpt", "deep": {"a": {"b": [{"model": 7}, None]}}, "text": "x model\ty"}

    texts = [(name.path, name.is_name, text) for name, text in texts_of(value)]

    assert texts == [
        (("model",), True, "model"),
        (("model",), False, "gpt"),
        (("deep",), True, "deep"),
        (("deep", "a"), True, "a"),
        (("deep", "a", "b"), True, "b"),
        (("deep", "a", "b", 0, "model"), True, "model"),
        (("deep", "a", "b", 0, "model"), False, "7"),
        (("deep", "a", "b", 1), False, "null"),
        (("text",), True, "text"),
        (("text",), False, "x model y"),
    ]


def test_a_value_nested_as_deep_as_json_allows_is_searched() -> None:
    value: Any = "needle"
    for _ in range(900):
        value = [value]

    assert [text for _, text in texts_of(value)] == ["needle"]


def test_unfolding_shows_a_child_behind_the_first_page() -> None:
    tree = Tree({"list": [{"n": n} for n in range(450)]})

    tree.unfold(("list", 420, "n"))

    assert any(line.path == ("list", 420, "n") for line in tree.lines(60))


async def test_a_payload_unfolds_what_hides_a_place_and_lights_it_up() -> None:
    app = Stage(PayloadCard())
    async with app.run_test(size=(60, 12)) as pilot:
        card = app.query_one(PayloadCard)
        words = " ".join(f"word{n}" for n in range(400))
        card.show({"a": {"b": {"c": {"Needle": "here"}}}, "long": f"{words} a needle\tat last", "end": 1})
        await pilot.pause()
        assert "Needle" not in "\n".join(app.screen_lines())

        finder = await _look("needle", card)
        await pilot.pause()

        assert _words(finder) == "/needle  1 of 2"
        assert card.path == "a.b.c.Needle"
        assert _lit(card) == ["Needle"]

        assert finder.step(1) is None
        await pilot.pause()
        assert card.path == "long"
        assert _words(finder) == "/needle  2 of 2"
        assert _lit(card) == ["needle"]
        assert finder.step(1) == "on from the top"
        assert finder.step(-1) == "on from the end"

        finder.begin("")
        await finder.look()
        await pilot.pause()
        assert _lit(card) == []
        assert finder.words == []


async def test_masked_secrets_are_found_only_when_they_are_shown() -> None:
    app = Stage(PayloadCard())
    async with app.run_test(size=(60, 12)) as pilot:
        card = app.query_one(PayloadCard)
        card.show({"api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f"})
        finder = await _look("4f1c9e", card)
        assert _words(finder).endswith("not found")

        card.revealed = True
        await pilot.pause()
        assert finder.needs_look()
        await finder.look_again()
        assert finder.count == 1
        assert finder.step(1) is None
        await pilot.pause()
        assert _lit(card) == ["4f1c9e"]


async def test_a_bare_payload_is_searched_as_it_is_drawn() -> None:
    app = Stage(PayloadCard())
    async with app.run_test(size=(40, 12)) as pilot:
        card = app.query_one(PayloadCard)
        card.show({"text": "one two three " * 20 + "the end"})
        card.raw = True
        await pilot.pause()

        finder = await _look('the end"', card)
        await pilot.pause()

        assert finder.count == 1
        assert "".join(_lit(card)) in ('the end"', 'theend"'), "a space at the end of a line is not drawn"


async def test_a_place_across_wrapped_lines_is_lit_in_both() -> None:
    app = Stage(Prose())
    async with app.run_test(size=(20, 12)) as pilot:
        prose = app.query_one(Prose)
        prose.show_paragraphs([Styled("first of all"), Styled("a needle in a very large haystack")])

        finder = await _look("large haystack", prose)
        await pilot.pause()

        assert (finder.count, "".join(_lit(prose))) == (1, "large haystack")


async def test_a_story_scrolls_to_a_place_in_a_line_that_is_wrapped() -> None:
    app = Stage(VerticalScroll(StoryView()))
    async with app.run_test(size=(24, 6)) as pilot:
        story = app.query_one(StoryView)
        lines = [[dim(f"{n}  "), Styled("some words that go on and on"), dim(f" end{n}.")] for n in range(30)]
        story.show(lines)
        await pilot.pause()

        finder = await _look("end17.", story)
        await pilot.pause()

        assert finder.count == 1
        assert "end17." in "\n".join(app.screen_lines())
        assert "".join(_lit(story)) == "end17."
        story.show([[dim("other")], *lines])
        assert finder.needs_look()
        await finder.look_again()
        assert _words(finder) == "/end17.  1 of 1"


async def test_a_search_of_a_large_payload_leaves_the_console_its_turns() -> None:
    app = Stage(PayloadCard())
    async with app.run_test(size=(60, 12)):
        card = app.query_one(PayloadCard)
        card.show([{"id": n, "text": f"line {n} of a payload that is long"} for n in range(20_000)])
        gaps: list[float] = []

        async def watch() -> None:
            last = monotonic()
            while True:
                await asyncio.sleep(0)
                gaps.append(monotonic() - last)
                last = monotonic()

        watching = asyncio.create_task(watch())
        finder = await _look("line 19999", card)
        watching.cancel()

        assert finder.count == 1
        assert len(gaps) > 5


async def test_so_many_places_are_found_at_most(monkeypatch: Any) -> None:
    monkeypatch.setattr(finder_module, "MOST_FOUND", 50)
    app = Stage(PayloadCard())
    async with app.run_test(size=(60, 12)):
        card = app.query_one(PayloadCard)
        card.show(["abc"] * 80)

        finder = await _look("b", card)

        assert _words(finder) == "/b  1 of 50+"


async def test_hostile_text_stays_inert_when_it_is_lit() -> None:
    app = Stage(PayloadCard())
    async with app.run_test(size=(60, 12)) as pilot:
        card = app.query_one(PayloadCard)
        card.show({"\x1b[31mkey": "a\x1b]0;title\x07b [bold]x[/] \u202egnp"})

        finder = await _look("[bold]", card)
        await pilot.pause()

        drawn = "\n".join(app.screen_lines())
        assert finder.count == 1
        assert _lit(card) == ["[bold]"]
        assert not {"\x1b", "\x07", "\u202e"} & set(drawn)
        assert (await _look("\x1b", card)).count == 0


def test_places_are_lit_where_a_part_shows_them() -> None:
    found = Found()
    for start, end in ((2, 4), (4, 6), (10, 12)):
        found.add(Place("t", start, end))
    found.current = Place("t", 4, 6)

    parts = found.lit(Styled("defgh", "dim"), "t", 3)

    shown = [(part.text, part.on, part.attributes) for part in parts if part.text]
    assert shown == [
        ("d", _BACKGROUND, ""),
        ("ef", _BACKGROUND, "bold underline"),
        ("gh", None, ""),
    ]
    assert found.lit(Styled("defgh"), "other", 0) == [Styled("defgh")]
