"""Parse once in a process what each console and each command under test would parse anew: stylesheets, options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet


@pytest.fixture(scope="session", autouse=True)
def stylesheets_parsed_once() -> Iterator[None]:
    """Share the rules of a stylesheet between apps that give the same text and the same variables."""
    parsed: dict[Any, list[RuleSet]] = {}
    parse = Stylesheet._parse_rules

    def parse_once(sheet: Stylesheet, css: str, read_from: Any, *words: Any, **options: Any) -> list[RuleSet]:
        key = (css, read_from, words, *options.items(), frozenset(sheet._variables.items()))
        if key not in parsed:
            parsed[key] = parse(sheet, css, read_from, *words, **options)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def options_read_once() -> Iterator[None]:
    """Read the options of all commands from their signatures once, as one process of a user does."""
    made: dict[Any, Any] = {}
    make = typer.main.get_command

    def make_once(app: typer.Typer) -> Any:
        key = (app, len(app.registered_commands))
        if key not in made:
            made[key] = make(app)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", make_once)
        yield
