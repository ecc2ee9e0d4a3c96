"""Notice that the config file has changed, and read it again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from ..config.console import ConfigSource
from ..config.file import ConfigError

#: Between two looks at the file, s.
LOOK_S: Final = 2.0


class Reloading:
    """The config file of one console, as it was read last."""

    def __init__(self, source: ConfigSource) -> None:
        """Take note of how the file is now."""
        self._source = source
        self._stamp = self._look()
        self._known: Mapping[str, Any] | None = None
        # What is wrong with it was told when it was read.
        with suppress(ConfigError):
            self._known = source.live()

    async def changes(self) -> Mapping[str, Any]:
        """Return the settings that have changed in the file since the last time, by their field.

        Raises:
            ConfigError: It has changed and cannot be used.
        """
        return await asyncio.to_thread(self._changes)

    def _changes(self) -> Mapping[str, Any]:
        stamp = self._look()
        if stamp == self._stamp:
            return {}
        self._stamp = stamp
        before, self._known = self._known or {}, self._source.live()
        return {
            name: value for name, value in self._known.items() if name not in before or before[name] != value
        }

    def _look(self) -> tuple[int, int, int] | None:
        """Return what tells one version of the file from another; None where there is none."""
        try:
            found = self._source.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
