"""Answers of the terminal in what is typed."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events

from glidemq_console.terminal.driver import ReportParser


def parsed(*pieces: str) -> list[Any]:
    parser = ReportParser()
    return [message for piece in pieces for message in parser.feed(piece)]


def keys(messages: list[Any]) -> list[str]:
    return [message.key for message in messages if isinstance(message, events.Key)]


def reports(messages: list[Any]) -> list[tuple[int, int]]:
    return [(one.x, one.y) for one in messages if isinstance(one, events.CursorPosition)]


@pytest.mark.parametrize(
    "pieces",
    [
        ("a\x1b[12;34Rb",),
        ("a\x1b[", "12;34Rb"),
        ("a\x1b[1", "2;3", "4Rb"),
        ("a\x1b[12;34", "Rb"),
        ("a\x1b", "[12;34Rb"),
    ],
)
def test_an_answer_is_taken_out_wherever_it_is_cut(pieces: tuple[str, ...]) -> None:
    messages = parsed(*pieces)

    assert keys(messages) == ["a", "b"]
    assert reports(messages) == [(33, 11)]


def test_an_answer_in_a_paste_is_no_part_of_it() -> None:
    messages = parsed("\x1b[200~one \x1b[5;6Rtwo\x1b[201~")

    assert [message.text for message in messages if isinstance(message, events.Paste)] == ["one two"]
    assert reports(messages) == [(5, 4)]


def test_other_keys_that_begin_alike_are_keys() -> None:
    assert keys(parsed("\x1b[1;5", "A", "\x1b[A", "\x1b[15~")) == ["ctrl+up", "up", "f5"]


def test_what_only_begins_like_an_answer_is_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = ReportParser()
    assert list(parser.feed("\x1b[")) == []
    assert list(parser.tick()) == []

    monkeypatch.setattr("glidemq_console.terminal.driver.REST_S", 0.0)
    monkeypatch.setattr("textual.constants.ESCAPE_DELAY", 0.0)
    released = [*parser.tick(), *parser.tick()]
    assert keys(released) != []
