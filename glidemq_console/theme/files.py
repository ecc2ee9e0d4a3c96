"""Themes: one TOML file each, read from the package and from the user's config folder, checked before use.

A file names the colours of Textual's design system under `[colors]` and may override what the console adds
under `[variables]` (`state-waiting`, `person`, ...). What a theme leaves out follows from its colours.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from platformdirs import user_config_path
from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from ..text.safe import clean

DEFAULT_THEME: Final = "glidemq-dark"
ANSI_THEME: Final = "glidemq-ansi"

#: A theme file is a page of text; anything larger is not one.
_MAX_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

_REQUIRED: Final = ("primary", "foreground", "background")
_COLORS: Final = (
    *_REQUIRED,
    *("secondary", "accent", "surface", "panel", "boost", "success", "warning", "error"),
)
#: What the console adds to Textual's variables -> the colour it follows when a theme does not say.
VARIABLES: Final[Mapping[str, str]] = {
    "state-waiting": "primary",
    "state-active": "success",
    "state-delayed": "warning",
    "state-prioritized": "primary",
    "state-group-waiting": "primary",
    "state-waiting-children": "secondary",
    "state-suspended": "person",
    "state-completed": "success",
    "state-failed": "error",
    "state-paused": "warning",
    "state-stalled": "error",
    "person": "accent",
    "dim": "foreground",
    "focus": "accent",
    "hairline": "panel",
    "cursor-background": "panel",
    "cursor-blurred-background": "surface",
    "error-background": "surface",
    "warning-background": "surface",
    "success-background": "surface",
    "gauge-ok": "success",
    "gauge-warn": "warning",
    "gauge-high": "error",
    "gauge-over": "error",
    "gauge-unknown": "dim",
    "gauge-empty": "hairline",
    "spark": "primary",
    "chart-first": "primary",
    "chart-second": "warning",
    "reasoning": "dim",
    "tool": "secondary",
    "label": "dim",
    "match-background": "warning",
    "match-foreground": "background",
}
_KEYS: Final = ("name", "dark", "ansi", "colors", "variables")


class ThemeProblem(ValueError):
    """A theme file that cannot be used; the message names the file, the key and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Themes:
    """The themes that can be used, and one line for each file that cannot."""

    themes: tuple[Theme, ...]
    problems: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order to offer them."""
        return tuple(theme.name for theme in self.themes)


def no_color(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the user asked for no colours at all (`NO_COLOR` set to anything).

    Start the app with `ansi_color=True` then: it writes no colour, only bold, dim and reverse.
    """
    return bool(environ.get("NO_COLOR"))


def pick_theme(
    asked: str | None, known: Themes, environ: Mapping[str, str] = os.environ
) -> tuple[str, str | None]:
    """Return the name of the theme to use, and a line that says why when it is not the one asked for."""
    if no_color(environ):
        return ANSI_THEME, None
    if asked is None or asked in known.names:
        return asked or DEFAULT_THEME, None
    shown = clean(asked, single_line=True, limit=60)
    return DEFAULT_THEME, f"no theme '{shown}'; there are {', '.join(known.names)}"


def unusable(asked: str | None, known: Themes) -> str | None:
    """Say in one line why a theme cannot be had, with the files that may be the reason; None: it can."""
    _, problem = pick_theme(asked, known, {})
    return None if problem is None else "; ".join([problem, *known.problems])


def register_themes(app: App[Any], known: Themes) -> None:
    """Offer the themes in an app, which still has to choose one (`app.theme = name`)."""
    for theme in known.themes:
        app.register_theme(theme)


@cache
def variable_defaults() -> dict[str, str]:
    """Return our variables for themes that do not know them; for `App.get_theme_variable_defaults`."""
    theme = read_theme(packaged_folder() / f"{DEFAULT_THEME}.toml")
    return {name: theme.variables[name] for name in VARIABLES}


def packaged_folder() -> Path:
    """Return the folder of the themes that come along: in the wheel, else at the top of a checkout."""
    packaged = Path(str(files("glidemq_console"))) / "themes"
    return packaged if packaged.is_dir() else packaged.parent.parent / "themes"


def user_folder() -> Path:
    """Return the folder where users keep themes of their own."""
    return user_config_path("glidemq") / "themes"


def load_themes(user: Path | None = None) -> Themes:
    """Read the packaged themes and the user's; a user's theme replaces a packaged one of its name.

    A file that cannot be used is skipped and told about in `problems`.
    """
    found: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in (packaged_folder(), user_folder() if user is None else user):
        for path in _theme_files(folder, problems):
            try:
                theme = read_theme(path)
            except ThemeProblem as problem:
                problems.append(str(problem))
            else:
                found[theme.name] = theme
    ordered = sorted(found.values(), key=lambda theme: (theme.name != DEFAULT_THEME, theme.name))
    return Themes(themes=tuple(ordered), problems=tuple(problems))


def _theme_files(folder: Path, problems: list[str]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"theme folder {_shown(folder)}: {error.strerror or 'cannot be read'}")
        return []


def read_theme(path: Path) -> Theme:
    """Read one theme file.

    Raises:
        ThemeProblem: It cannot be read, is not TOML, or holds something a theme does not have.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ThemeProblem(f"theme {_shown(path)}: {error.strerror or 'cannot be read'}") from error
    if len(content) > _MAX_BYTES:
        raise ThemeProblem(f"theme {_shown(path)}: larger than 64 kB, so not a theme file")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ThemeProblem(
            f"theme {_shown(path)}: not TOML: {clean(str(error), single_line=True, limit=120)}"
        ) from error
    return _Reader(path, table).theme()


class _Reader:
    """Turn the table of one theme file into a theme."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self._path = path
        self._table = table

    def theme(self) -> Theme:
        self._known(self._table, _KEYS, "")
        name = self._table.get("name", self._path.stem)
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise self._problem("name", "must be lower-case letters, digits and hyphens, at most 40")
        dark, ansi = self._flag("dark", True), self._flag("ansi", False)
        colors = self._section("colors", _COLORS)
        for key in _REQUIRED:
            if key not in colors:
                raise self._problem(f"colors.{key}", "is missing; a theme needs " + ", ".join(_REQUIRED))
        variables = self._section("variables", tuple(VARIABLES))
        try:
            theme = Theme(name=name, primary=colors["primary"], dark=dark, ansi=ansi)
            for key, color in colors.items():
                setattr(theme, key, color)
            theme.variables = _complete(variables, colors, ansi)
            theme.to_color_system().generate()
        except (ColorParseError, ValueError, TypeError) as error:
            raise self._problem("colors", f"do not make a theme: {error}") from error
        return theme

    def _flag(self, key: str, default: bool) -> bool:
        value = self._table.get(key, default)
        if not isinstance(value, bool):
            raise self._problem(key, "must be true or false")
        return value

    def _section(self, section: str, allowed: tuple[str, ...]) -> dict[str, str]:
        table = self._table.get(section, {})
        if not isinstance(table, dict):
            raise self._problem(section, "must be a table")
        self._known(table, allowed, section + ".")
        for key, value in table.items():
            if not isinstance(value, str) or not _is_color(value):
                raise self._problem(section + "." + key, "must be a colour such as '#5fa8ff' or 'ansi_blue'")
        return dict(table)

    def _known(self, table: dict[str, Any], allowed: tuple[str, ...], prefix: str) -> None:
        for key in table:
            if key not in allowed:
                raise self._problem(prefix + key, f"is unknown; allowed: {', '.join(allowed)}")

    def _problem(self, key: str, text: str) -> ThemeProblem:
        return ThemeProblem(f"theme {_shown(self._path)}: {clean(key, single_line=True, limit=60)} {text}")


def _is_color(value: str) -> bool:
    try:
        Color.parse(value)
    except ColorParseError:
        return False
    return value != "auto" and not value.startswith("auto ")


def _complete(given: dict[str, str], colors: dict[str, str], ansi: bool) -> dict[str, str]:
    """Return every variable of the console, as given or following the colour it defaults to."""
    primary = colors["primary"]
    base = {key: colors.get(key, primary) for key in _COLORS}
    for key in ("surface", "panel"):
        base[key] = colors.get(key, colors["background"])

    def value(name: str) -> str:
        if name in given:
            return given[name]
        if name == "dim":
            return "ansi_bright_black" if ansi else _blend(colors["foreground"], colors["background"])
        return value(VARIABLES[name]) if name in VARIABLES else base[name]

    variables = {name: value(name) for name in VARIABLES}
    return {
        **(BUILTIN_THEMES["ansi-dark"].variables if ansi else {}),
        **variables,
        "block-cursor-background": variables["cursor-background"],
        "block-cursor-foreground": colors["foreground"],
        "border": variables["focus"],
        "border-blurred": variables["hairline"],
        "footer-key-foreground": variables["focus"],
    }


def _blend(foreground: str, background: str) -> str:
    return Color.parse(foreground).blend(Color.parse(background), 0.35).hex


def _shown(path: Path) -> str:
    return clean(str(path), single_line=True, limit=200)
