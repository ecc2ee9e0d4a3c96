"""How a terminal is made to tell its user something."""

from __future__ import annotations

import pytest

from glidemq_console.terminal.notices import Kind, kind_of, notice


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({"TERM_PROGRAM": "iTerm.app"}, "osc9"),
        ({"TERM_PROGRAM": "tmux", "LC_TERMINAL": "iTerm2"}, "osc9"),
        ({"TERM_PROGRAM": "WezTerm"}, "osc777"),
        ({"TERM": "xterm-kitty"}, "osc777"),
        ({"TERM": "foot-extra"}, "osc777"),
        ({"TERM": "xterm-256color"}, "bell"),
        ({}, "bell"),
    ],
)
def test_the_terminal_decides_how_it_is_told(environ: dict[str, str], kind: Kind) -> None:
    assert kind_of(environ) == kind


def test_each_kind_has_its_sequence() -> None:
    assert notice("3 jobs wait", "off") == ""
    assert notice("3 jobs wait", "bell") == "\a"
    assert notice("3 jobs wait", "osc9") == "\x1b]9;3 jobs wait\a"
    assert notice("3 jobs wait", "osc777") == "\x1b]777;notify;glidemq;3 jobs wait\a"


def test_inside_tmux_it_is_wrapped_and_the_bell_goes_with_it() -> None:
    assert notice("hi", "osc9", in_tmux=True) == "\x1bPtmux;\x1b\x1b]9;hi\a\x1b\\\a"
    assert notice("hi", "bell", in_tmux=True) == "\a"
    assert notice("hi", "off", in_tmux=True) == ""


def test_nothing_in_a_text_ends_the_sequence_or_begins_another() -> None:
    text = notice("a\x1b]52;c;eA==\x07b\x9cc;d\n" + "x" * 500, "osc777")

    assert text.count("\x1b") == 1
    assert text.count("\a") == 1
    assert text.endswith("\a")
    assert text.count(";") == 3
    assert "\x9c" not in text
    assert len(text) < 160
