"""What the command hands to the console."""

from __future__ import annotations

import getpass
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from time import time_ns
from typing import Any, Protocol

from glidemq_core.errors import InvalidOptionError
from glidemq_core.server.url import EMBEDDED, redact, settings

from .filters import SavedFilters


def system_clock() -> int:
    """Epoch milliseconds."""
    return time_ns() // 1_000_000


class ConfigSource(Protocol):
    """Where a console's settings come from."""

    @property
    def path(self) -> Path:
        """The config file."""

    def profiles(self) -> Sequence[str]:
        """Return the names of the profiles; none where the file cannot be used."""

    def of_profile(self, name: str) -> ConfigSource:
        """Return where the settings of another profile come from."""

    def config(self, **more: Any) -> ConsoleConfig:
        """Return all settings as they are now; `more` are fields that no config file has.

        Raises:
            ConfigError: The file or the environment cannot be used.
            InvalidOptionError: The URL cannot be used.
        """

    def live(self) -> Mapping[str, Any]:
        """Return the settings that may change while the console runs, by their field of `ConsoleConfig`.

        Raises:
            ConfigError: The file cannot be used.
        """

    def write(self, name: str, text: str) -> str:
        """Write one setting into the config file; return where.

        Raises:
            ConfigError: The file or the value cannot be used.
        """

    def write_filter(self, screen: str, name: str, text: str | None) -> str:
        """Save a filter of a screen in the config file, or (None) remove it; return the path of the file.

        Raises:
            ConfigError: The file, the name or the filter cannot be used.
        """


@dataclass(frozen=True, kw_only=True)
class ConsoleConfig:
    """Where to look and how to show it. Durations are milliseconds."""

    url: str = EMBEDDED
    #: Name of the server in the header (a profile's name); else its address.
    label: str | None = None
    prefix: str | None = None
    #: Queues of the command line or the profile: known without a search.
    queues: tuple[str, ...] = ()
    #: Whether those are all that is shown, as for queues named on the command line.
    only_queues: bool = False
    #: Name of the first screen; None is the one that was on top last, else the first of all.
    screen: str | None = None
    refresh_ms: int = 1_000
    #: Pause between two searches for new queues.
    rescan_ms: int = 60_000
    #: Name of a theme; None is the default one.
    theme: str | None = None
    #: Draw with ASCII stand-ins, though the terminal has Unicode.
    ascii_glyphs: bool = False
    #: At most four frames a second, ages by the minute, no seconds in the clock.
    calm: bool = False
    #: How somebody who looks elsewhere is told: one of `terminal.notices.CHOICES`.
    notify: str = "auto"
    #: Ring the bell with each notice too.
    bell: bool = False
    #: Keys of actions by their id, and the lines of the config file where they stand.
    keys: Mapping[str, str] = field(default_factory=dict)
    key_lines: Mapping[str, int] = field(default_factory=dict)
    #: Saved filters by screen and name.
    filters: SavedFilters = field(default_factory=dict)
    #: A server on which nothing is to go wrong: marked in the header, and capitals always ask.
    is_prod: bool = False
    read_only: bool = False
    #: How long a decision on a suspended job can be taken back before it is sent, ms.
    undo_ms: int = 5_000
    #: Who stands in the audit.
    user: str = field(default_factory=getpass.getuser)
    #: Further keywords of `glidemq_core.connect` (password_file, insecure, ...).
    connect_options: Mapping[str, Any] = field(default_factory=dict)
    #: The config file, where settings are written and read again; None without one.
    source: ConfigSource | None = None
    #: Where it is remembered how the console was looked at; None remembers nothing.
    state_path: Path | None = None
    #: Where defects are written; None is the platform's place.
    log_path: Path | None = None
    clock: Callable[[], int] = system_clock
    #: Time zone of clock times; None is the system's.
    zone: tzinfo | None = None
    #: A `Feed` of fixed data instead of a server; its type is not known here, as feeds are made from a config.
    feed: Any = None

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return redact(self.url)

    @property
    def is_exposed(self) -> bool:
        """True for a connection without TLS beyond loopback."""
        if self.url.startswith(EMBEDDED):
            return False
        try:
            where = settings(self.url)
        except InvalidOptionError:
            return False
        return not where.tls and not all(_is_loopback(host) for host, _ in where.addresses)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
