"""The Rich style of a theme variable, for widgets that draw their own lines."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rich.style import Style
from textual.app import App
from textual.color import Color


@lru_cache(maxsize=512)
def _ink(color: str, background: str | None, attributes: str) -> Style:
    style = Style.from_color(
        Color.parse(color).rich_color,
        Color.parse(background).rich_color if background else None,
    )
    return style + Style.parse(attributes) if attributes else style


def theme_style(app: App[Any], style: str, attributes: str = "", *, on: str | None = None) -> Style:
    """Return the Rich style of a theme variable, for widgets that draw their own lines.

    A variable that no theme has is drawn as plain text: a colour is never worth a screen. Variables have no
    dollar sign here; `on` is that of the background, `attributes` are Rich's, such as `bold` or `dim italic`.
    """
    variables = app.theme_variables
    color = variables.get(style, variables["foreground"])
    return _ink(color, variables.get(on) if on else None, attributes)
