"""The console in ASCII: who asks for it, and that nothing else reaches the screen then."""

from __future__ import annotations

import pytest
from console.fixed import config, script
from console.test_terminal import console
from rich.cells import cell_len

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.text.encoding import ASCII_FALLBACK, to_ascii
from glidemq_console.text.format import STATES
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

pytestmark = pytest.mark.thorough


def test_every_stand_in_is_one_ascii_cell_like_what_it_stands_for() -> None:
    for glyph, stand_in in ASCII_FALLBACK.items():
        assert cell_len(glyph) == 1
        assert stand_in.isascii()
        assert stand_in.isprintable()
        assert len(stand_in) == 1
    assert {look.glyph: look.ascii for look in STATES.values()}.items() <= ASCII_FALLBACK.items()


@pytest.mark.parametrize("text", ["◆ 三品 é", "e\u0301 🙂 ✓", "─┬─ ▕██▊ ▏", "", "plain"])
def test_what_a_terminal_cannot_show_keeps_its_width(text: str) -> None:
    drawn = to_ascii(text, "iso8859-1")
    assert cell_len(drawn) == cell_len(text)
    assert drawn.encode("latin-1").decode("latin-1") == drawn


def test_only_the_signs_are_replaced_where_the_terminal_has_unicode() -> None:
    assert to_ascii("◆ 三品 é …") == "! 三品 é ~"


@pytest.mark.parametrize("keys", [(), ("enter",), ("enter", "enter"), ("question_mark",), ("colon",)])
async def test_who_asks_for_ascii_gets_nothing_else(keys: tuple[str, ...]) -> None:
    app = ConsoleApp(config(ScriptedFeed(script()), ascii_glyphs=True))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()
        for strip in app.screen._compositor.render_strips():
            text = "".join(segment.text for segment in strip)
            assert text.isascii(), text


@pytest.mark.parametrize(
    ("environ", "place", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "Łódź 三品", '"??d? ????"'),
        ({"LC_ALL": "C"}, "Łódź 三品", '"??d? ????"'),
        ({"GLIDEMQ_ASCII": "1"}, "Lodz", '"Lodz"'),
    ],
    ids=["terminal", "locale", "asked"],
)
async def test_a_terminal_that_needs_it_and_a_person_who_asks_get_ascii(
    connection: Connection, server_url: str, environ: dict[str, str], place: str, shown: str
) -> None:
    queue: Queue[object, object]
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {"place": place})
        with console(server_url, size=(100, 30), **environ) as terminal:
            await terminal.shows("scan complete")
            since = terminal.press("\r")
            await terminal.shows("answer", since)
            since = terminal.press("\r")
            await terminal.shows("o waiting", since)
            await terminal.shows(shown, since)
            terminal.press("q")
            assert await terminal.ends() == 0

            raw = bytes(terminal.got)
            assert raw.isascii()
            assert b"\\u" not in raw
            assert b"\\x" not in raw
