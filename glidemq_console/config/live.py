"""The settings that can be changed while the console runs: what they may be, and how they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..terminal.notices import CHOICES
from ..text.format import window
from ..text.parse import parse_duration
from .console import ConsoleConfig
from .file import BOUNDS_MS, duration_problem


@dataclass(frozen=True)
class Setting:
    """One setting. Its name is its key in the config file too."""

    #: What `:set NAME VALUE` is completed to, of the names of all themes.
    words: Callable[[Sequence[str]], Sequence[str]]
    #: How it reads.
    shown: Callable[[ConsoleConfig], str]
    #: Returns the settings with another value, or says what is wrong with it.
    take: Callable[[ConsoleConfig, str], ConsoleConfig | str]
    #: Whether the config file holds it as true or false.
    is_flag: bool = False


def _shown(wait_ms: int) -> str:
    return window(wait_ms) if wait_ms else "0s"


def _time(key: str, *examples: str) -> Setting:
    field = f"{key}_ms"

    def take(config: ConsoleConfig, text: str) -> ConsoleConfig | str:
        if (problem := duration_problem(text, *BOUNDS_MS[key])) is not None:
            return problem
        changes: dict[str, Any] = {field: parse_duration(text)}
        return replace(config, **changes)

    return Setting(lambda _: examples, lambda config: _shown(getattr(config, field)), take)


def _flag(field: str) -> Setting:
    def take(config: ConsoleConfig, text: str) -> ConsoleConfig | str:
        if text not in ("on", "off"):
            return "is one of on, off"
        changes: dict[str, Any] = {field: text == "on"}
        return replace(config, **changes)

    def shown(config: ConsoleConfig) -> str:
        return "on" if getattr(config, field) else "off"

    return Setting(lambda _: ("on", "off"), shown, take, is_flag=True)


def _take_notify(config: ConsoleConfig, text: str) -> ConsoleConfig | str:
    return replace(config, notify=text) if text in CHOICES else f"is one of {', '.join(CHOICES)}"


#: By name. Which themes there are is known to the console: it refuses others.
SETTINGS: Final[Mapping[str, Setting]] = {
    "undo": _time("undo", "0s", "5s", "10s", "30s"),
    "refresh": _time("refresh", "500ms", "1s", "2s", "5s"),
    "notify": Setting(lambda _: CHOICES, lambda config: config.notify, _take_notify),
    "bell": _flag("bell"),
    "calm": _flag("calm"),
    "theme": Setting(
        lambda themes: themes,
        lambda config: config.theme or "glidemq-dark",
        lambda config, text: replace(config, theme=text),
    ),
}
