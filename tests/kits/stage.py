"""An app for a few widgets, without the console around them."""

from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult
from textual.message import Message
from textual.widget import Widget

from glidemq_console.theme.files import DEFAULT_THEME, load_themes, register_themes, variable_defaults
from glidemq_console.widgets.lists.row_list import RowList
from glidemq_console.widgets.status_line import TabBar


class Stage(App[None]):
    """An app that shows some widgets and keeps the messages they send."""

    def __init__(self, *widgets: Widget, theme: str = DEFAULT_THEME) -> None:
        super().__init__()
        register_themes(self, load_themes())
        self.theme = theme
        self.animation_level = "none"
        self._widgets = widgets
        self.heard: list[Message] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()

    def compose(self) -> ComposeResult:
        yield from self._widgets

    def on_mount(self) -> None:
        for widget in self._widgets:
            if widget.can_focus:
                widget.focus()
                break

    def on_row_list_highlighted(self, message: RowList.Highlighted) -> None:
        self.heard.append(message)

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        self.heard.append(message)

    def on_row_list_needed(self, message: RowList.Needed) -> None:
        self.heard.append(message)

    def on_row_list_sort_asked(self, message: RowList.SortAsked) -> None:
        self.heard.append(message)

    def on_tab_bar_chosen(self, message: TabBar.Chosen) -> None:
        self.heard.append(message)

    def screen_lines(self) -> list[str]:
        strips = self.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def heard_of(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]
