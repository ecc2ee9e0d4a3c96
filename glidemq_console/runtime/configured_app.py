"""The base of apps whose settings, keys and theme change while they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..actions.keymap import Keymap, told
from ..config.console import ConsoleConfig
from ..config.file import ConfigError
from ..feed.protocol import Feed
from ..model.decisions import server_of
from ..model.snapshot import Snapshot
from ..screens.registry import ACTIONS
from ..text.shown_keys import show_keys
from ..theme.files import load_themes, no_color, pick_theme, register_themes
from .reloading import Reloading
from .resilient_app import ResilientApp

if TYPE_CHECKING:
    from glidemq_core import JobRef


class ConfiguredApp(ResilientApp):
    """An app that takes other settings at any time: by `:set`, or because the config file has changed."""

    feed: Feed
    snapshot: Snapshot

    def __init__(self, config: ConsoleConfig) -> None:
        super().__init__(notify=config.notify, bell=config.bell, calm=config.calm, ansi_color=no_color())
        self._themes = load_themes()
        register_themes(self, self._themes)
        self.take_settings(config)

    def take_settings(self, config: ConsoleConfig) -> None:
        """Take all settings of a server."""
        self.config = config
        self._reloading = Reloading(config.source) if config.source is not None else None
        self.set_notify(config.notify, bell=config.bell)
        self.set_calm(config.calm)
        self.theme, theme_note = pick_theme(config.theme, self._themes)
        self._take_keys()
        #: What is wrong with the settings, to be told at the start.
        self.config_notes = [
            *([theme_note] if theme_note else []),
            *self._themes.problems,
            *self._key_problems,
        ]

    async def read_config(self) -> None:
        """Take what has changed in the config file; what cannot be used is told, and all stays as it is."""
        reloading = self._reloading
        if reloading is None:
            return
        try:
            changes = await reloading.changes()
        except ConfigError as error:
            self.show_message(f"{error}; what was read before stays", "warning")
            return
        if reloading is self._reloading:
            self._take_config(changes)

    def _take_config(self, changes: Mapping[str, Any]) -> None:
        theme = changes.get("theme")
        if theme is not None and theme not in self.theme_names:
            self.show_message(pick_theme(theme, self._themes)[1] or "", "warning")
            changes = {**changes, "theme": self.config.theme}
        config = replace(self.config, **changes)
        if config != self.config:
            self.configure(config)
            for words in ("the config file has changed and was read again", *self._key_problems):
                self.show_message(words, "warning" if self._key_problems else "foreground")

    def _take_keys(self) -> None:
        """Take the keys of the actions as they are mapped."""
        self.keymap = Keymap(ACTIONS.values(), self.config.keys)
        self._key_problems = told(self.keymap.problems, self.config.key_lines)
        self.set_keymap(self.keymap.bindings())
        show_keys(self.keymap.shown())

    def configure(self, config: ConsoleConfig) -> None:
        before, self.config = self.config, config
        self.outbox.undo_ms = config.undo_ms
        self.feed.set_refresh(config.refresh_ms)
        self.set_notify(config.notify, bell=config.bell)
        if config.keys != before.keys or config.key_lines != before.key_lines:
            self._take_keys()
        if config.calm != before.calm:
            self.set_calm(config.calm)
        if config.theme != before.theme:
            self.theme = pick_theme(config.theme, self._themes)[0]

    def undo_ms_of(self, ref: JobRef) -> int:
        elsewhere = self.snapshot.elsewhere
        far = elsewhere.server(server_of(ref)) if elsewhere is not None else None
        return self.outbox.undo_ms if far is None else far.undo_ms

    # --- themes --------------------------------------------------------------------------------------------

    @property
    def theme_names(self) -> tuple[str, ...]:
        return self._themes.names

    def choose_theme(self, name: str | None) -> str:
        names = self.theme_names
        if name is None:
            name = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]
        if name not in names:
            return f"no such theme; there are {', '.join(names)}"
        self.configure(replace(self.config, theme=name))
        return f"theme {name}"
