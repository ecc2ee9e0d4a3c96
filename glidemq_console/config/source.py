"""Where the settings of a console come from: what stood on the command line, the environment and the config file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from glidemq_core.server.url import EMBEDDED
from glidemq_core.server.url import settings as check_url

from ..text.parse import parse_duration
from . import file, settings
from .console import ConsoleConfig
from .settings import Given, Settings


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """The command line and the config file that a console was started with."""

    given: Given
    #: Queues named on the command line.
    queues: tuple[str, ...] = ()
    #: Settings that stood on the command line, by their field of `ConsoleConfig`: the file does not change them.
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The config file."""
        return file.config_path()

    def config(self, **more: Any) -> ConsoleConfig:
        """Return all settings as they are now; `more` are fields that no config file has.

        Raises:
            ConfigError: The file or the environment cannot be used.
            InvalidOptionError: The URL cannot be used.
        """
        chosen = settings.resolve(self.given)
        if not chosen.url.startswith(EMBEDDED):
            check_url(chosen.url, prefix=chosen.prefix, **chosen.connect_options)
        return ConsoleConfig(
            url=chosen.url,
            label=chosen.profile,
            prefix=chosen.prefix,
            queues=self.queues or chosen.queues,
            only_queues=bool(self.queues),
            ascii_glyphs=chosen.ascii,
            read_only=chosen.read_only,
            is_prod=chosen.prod,
            user=chosen.user,
            connect_options=chosen.connect_options,
            source=self,
            **{**_live(chosen), **self.options},
            **more,
        )

    def live(self) -> Mapping[str, Any]:
        """Return the settings that may change while the console runs, by their field of `ConsoleConfig`."""
        return {**_live(settings.resolve(self.given)), **self.options}

    def write(self, name: str, text: str) -> str:
        """Write one setting: into the profile where that has it already, so that it counts, else at the top.

        Returns the path of the file, with the profile.
        """
        chosen = settings.resolve(self.given)
        profiles = file.load(chosen.path).get("profiles", {})
        in_profile = chosen.profile is not None and name in profiles.get(chosen.profile, {})
        file.set_key(chosen.path, f"profiles.{chosen.profile}.{name}" if in_profile else name, text)
        return f"{chosen.path} (profile {chosen.profile})" if in_profile else str(chosen.path)

    def write_filter(self, screen: str, name: str, text: str | None) -> str:
        """Save a filter of a screen, or (None) remove it; return the path of the file."""
        path = self.path
        file.set_filter(path, screen, name, text)
        return str(path)

    def profiles(self) -> tuple[str, ...]:
        """Return the names of the profiles; none where the file cannot be used."""
        try:
            return tuple(file.load(self.path).get("profiles", {}))
        except file.ConfigError:
            return ()

    def of_profile(self, name: str) -> FileSource:
        """Return where the settings of another profile come from: what named a server on the command line is gone."""
        given = replace(self.given, profile=name, url=None, prefix=None, password_file=None, insecure=False)
        return FileSource(given=given, options=self.options)


def _live(chosen: Settings) -> dict[str, Any]:
    found = {
        "calm": chosen.calm,
        "notify": chosen.notify,
        "bell": chosen.bell,
        "theme": chosen.theme,
        "keys": chosen.keys,
        "key_lines": _key_lines(chosen),
        "filters": chosen.filters,
        "refresh_ms": ConsoleConfig.refresh_ms,
        "undo_ms": ConsoleConfig.undo_ms,
    }
    times = {"refresh_ms": chosen.refresh, "undo_ms": chosen.undo}
    return found | {name: parse_duration(text) for name, text in times.items() if text is not None}


def _key_lines(chosen: Settings) -> dict[str, int]:
    """Return the lines of the config file where the keys of actions stand, by the action's id."""
    if not chosen.keys:
        return {}
    text = chosen.path.read_text("utf-8", "replace")
    found = {name: file.line_of(text, "keys", name) for name in chosen.keys}
    return {name: line for name, line in found.items() if line is not None}
