"""The tour in docs/console.md: its keys and commands exist, and its excerpts are what is on screen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glidemq_console.actions import keys
from glidemq_console.actions.keys import DIALOG_KEYS, key_text
from glidemq_console.app import ConsoleApp
from glidemq_console.model.snapshot import Snapshot
from glidemq_console.screens.lists.list_screen import ListScreen
from glidemq_console.screens.registry import ACTIONS, commands
from glidemq_console.screens.table import SCREENS
from glidemq_console.widgets.lists.row_list import RowList

from .fixed import LIVE, config
from .test_every_key import _feed

PAGE = (Path(__file__).parents[2] / "docs" / "console.md").read_text(encoding="utf-8")
#: Sections of the tour with the line that names their keys.
KEYS = re.findall(r"^Keys: (.*)$", PAGE, re.MULTILINE)
EXCERPTS = dict(re.findall(r"^<!-- list of (\w+) -->\n```\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL))


def test_every_section_names_keys_that_there_are() -> None:
    known = {key_text(key) for action in ACTIONS.values() for key in action.keys}
    known |= {spec.key for spec in SCREENS} | {key for names, _ in DIALOG_KEYS for key in names.split()}
    known |= {key_text(key) for meaning in keys.TABLE for key in meaning.keys}
    assert len(KEYS) == PAGE.count("\n## ")
    for line in KEYS:
        for name in re.findall(r"`([^`]+)`", line):
            command = name.removeprefix(":").split()[0]
            assert name in known or (name.startswith(":") and command in commands()), name


@pytest.mark.parametrize("name", EXCERPTS)
async def test_an_excerpt_is_what_is_on_screen(name: str) -> None:
    assert await listed(LIVE, name) == EXCERPTS[name]


async def listed(known: Snapshot, name: str) -> str:
    """The list of a screen as text."""
    app = ConsoleApp(config(_feed(known, None)))
    async with app.run_test(size=(100, 40)) as pilot:
        app.go(name)
        for _ in range(4):
            await pilot.pause()
        screen = app.console_screen
        assert isinstance(screen, ListScreen)
        lines = screen.query_one(RowList)
        texts = ["".join(part.text for part in lines.render_line(y)) for y in range(len(screen.listed) + 1)]
    return "\n".join(text.rstrip() for text in texts)
