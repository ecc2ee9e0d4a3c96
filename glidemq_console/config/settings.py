"""What a command runs with.

An option beats a profile named with an option, which beats the environment, which beats another profile, which beats
the top of the config file.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import file
from .file import ConfigError
from .filters import SavedFilters

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off", "")
_ENVIRONMENT = {
    "url": "GLIDEMQ_URL",
    "prefix": "GLIDEMQ_PREFIX",
    "user": "GLIDEMQ_USER",
    "insecure": "GLIDEMQ_INSECURE",
    "read_only": "GLIDEMQ_READ_ONLY",
    "ascii": "GLIDEMQ_ASCII",
}
_FLAGS = ("insecure", "read_only", "ascii")
#: Without a URL from anywhere the command line uses a server of its own.
DEFAULT_URL = "embedded:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Global options as they stood on the command line; None and False: not given."""

    url: str | None = None
    prefix: str | None = None
    profile: str | None = None
    password_file: Path | None = None
    insecure: bool = False
    read_only: bool = False
    timeout: int | None = None
    json: bool = False
    reveal: bool = False
    no_color: bool = False
    debug: bool = False

    def over(self, other: Given) -> Given:
        """Merge two places of the command line; what stands here wins."""
        return Given(**{name: getattr(self, name) or getattr(other, name) for name in self.__slots__})


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything resolved, each value with the name of its source."""

    given: Given
    url: str
    prefix: str | None
    profile: str | None
    user: str
    password_file: str | None
    insecure: bool
    read_only: bool
    prod: bool
    queues: tuple[str, ...]
    theme: str | None
    ascii: bool
    refresh: str | None
    calm: bool
    notify: str
    bell: bool
    undo: str | None
    keys: Mapping[str, str]
    filters: SavedFilters
    path: Path
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def connect_options(self) -> dict[str, Any]:
        """Keywords for `connect` beside URL and prefix; it finds `GLIDEMQ_PASSWORD` by itself."""
        names = ("password_file", "insecure", "read_only")
        return {name: value for name in names if (value := getattr(self, name))}


def resolve(given: Given) -> Settings:
    """Read environment and config file and decide every setting."""
    path = file.config_path()
    content = file.load(path)
    profiles: dict[str, dict[str, Any]] = content.get("profiles", {})
    name, name_source = _profile(given, content)
    if name is not None and name not in profiles:
        listed = ", ".join(profiles) or "none"
        raise ConfigError(f"no profile '{name}' in {path} (key 'profiles.{name}'; profiles: {listed})")
    sources: dict[str, str] = {"profile": name_source}
    profile = (f"profile {name}", profiles.get(name, {}) if name is not None else {})
    environment = ("environment", _environment())
    # Who names a profile on the line means its server, whatever the shell still holds.
    middle = [profile, environment] if name_source == "option" else [environment, profile]
    options = {
        "url": given.url,
        "prefix": given.prefix,
        "password_file": str(given.password_file) if given.password_file else None,
        "insecure": given.insecure or None,
        "read_only": given.read_only or None,
    }
    layers: list[tuple[str, Mapping[str, Any]]] = [("option", options), *middle, ("file", content)]

    def pick(key: str, default: Any) -> Any:
        for source, layer in layers:
            if layer.get(key) is not None:
                sources[key] = source
                return layer[key]
        sources[key] = "default"
        return default

    return Settings(
        given=given,
        url=pick("url", DEFAULT_URL),
        prefix=pick("prefix", None),
        profile=name,
        user=pick("user", None) or _login_name(),
        password_file=pick("password_file", None),
        insecure=bool(pick("insecure", False)),
        read_only=bool(pick("read_only", False)),
        prod=bool(pick("prod", False)),
        queues=tuple(pick("queues", ())),
        theme=pick("theme", None),
        ascii=bool(pick("ascii", False)),
        refresh=pick("refresh", None),
        calm=bool(pick("calm", False)),
        notify=pick("notify", "auto"),
        bell=bool(pick("bell", False)),
        undo=pick("undo", None),
        keys=content.get("keys", {}),
        filters=content.get("filters", {}),
        path=path,
        sources=sources,
    )


def _profile(given: Given, content: Mapping[str, Any]) -> tuple[str | None, str]:
    if given.profile:
        return given.profile, "option"
    if os.environ.get("GLIDEMQ_PROFILE"):
        return os.environ["GLIDEMQ_PROFILE"], "environment"
    if content.get("profile"):
        return str(content["profile"]), "file"
    return None, "default"


def _environment() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, variable in _ENVIRONMENT.items():
        text = os.environ.get(variable)
        if text is None or (text == "" and key not in _FLAGS):
            continue
        values[key] = _flag(variable, text) if key in _FLAGS else text
    return values


def _flag(variable: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ConfigError(f"{variable} must be 1 or 0, not '{text}'")


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid-{os.getuid()}"
