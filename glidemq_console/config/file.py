"""The config file: where it is, what may stand in it, reading and changing it."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..terminal.notices import CHOICES
from ..text.format import window
from ..text.parse import parse_duration
from .filters import SCREENS, filters_problem
from .private_file import replace_private

#: What one may set at the top level and in each `[profiles.NAME]`, with the type of its value.
KEYS: Mapping[str, type] = {
    "url": str,
    "prefix": str,
    "user": str,
    "password_file": str,
    "insecure": bool,
    "read_only": bool,
    "prod": bool,
    "queues": list,
    "theme": str,
    "ascii": bool,
    "refresh": str,
    "calm": bool,
    "notify": str,
    "bell": bool,
    "undo": str,
}
#: What may stand at the top level only.
TOP_KEYS: Mapping[str, type] = {"profile": str, **KEYS}

#: The header of a table, and a key before its value.
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|[^\s=\"']+)\s*=")

#: Tables that hold tables alone.
_PARTED = ("profiles", "filters")

_KINDS = {str: "text in quotes", bool: "true or false", list: "a list of names"}


#: Settings that are times, with the least and the most milliseconds of each.
BOUNDS_MS: Mapping[str, tuple[int, int]] = {"refresh": (100, 3_600_000), "undo": (0, 600_000)}


class ConfigError(Exception):
    """The config file or the environment cannot be used as it is."""

    def __init__(self, message: str, *, key: str = "") -> None:
        """Make an error; `key` is the key of the file that is wrong, if one is."""
        super().__init__(message)
        self.key = key


class UnknownKeyError(ConfigError):
    """A key that the config file does not have."""


def config_path() -> Path:
    """Path of the config file: `GLIDEMQ_CONFIG`, else `config.toml` in the platform's config folder."""
    chosen = os.environ.get("GLIDEMQ_CONFIG")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_config_path

    return user_config_path("glidemq") / "config.toml"


def load(path: Path) -> dict[str, Any]:
    """Read and check the file; a missing one is empty."""
    try:
        text = path.read_bytes().decode("utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read config file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} is broken: {error}") from None
    try:
        _check(content, path)
    except ConfigError as error:
        line = line_of(text, *_place(error.key))
        raise error if line is None else ConfigError(f"{error} (at line {line})") from None
    return content


def _place(key: str) -> tuple[str, str]:
    """Return table and key of a key of the file; ids of actions have dots of their own."""
    if key.startswith("keys."):
        return "keys", key.removeprefix("keys.")
    table, _, last = key.rpartition(".")
    return table, last


def _check(content: dict[str, Any], path: Path) -> None:
    for key, value in content.items():
        if key == "profiles":
            _check_profiles(value, path)
        elif key == "keys":
            _check_keys(value, path)
        elif key == "filters":
            _check_filters(value, path)
        else:
            _check_value(key, value, TOP_KEYS, key, path)


def _check_profiles(profiles: Any, path: Path) -> None:
    if not isinstance(profiles, dict):
        raise ConfigError(f"config file {path}: key 'profiles' must be tables like [profiles.prod]")
    for name, profile in profiles.items():
        if not isinstance(profile, dict):
            raise ConfigError(f"config file {path}: key 'profiles.{name}' must be a table")
        for key, value in profile.items():
            _check_value(key, value, KEYS, f"profiles.{name}.{key}", path)


def _check_keys(keys: Any, path: Path) -> None:
    as_shown = 'as "queue.pause-or-resume" = "K"'
    if not isinstance(keys, dict):
        words = f"[keys] holds ids of actions with their keys in quotes, {as_shown}"
        raise ConfigError(f"config file {path}: {words}", key="keys")
    for name, value in keys.items():
        if not isinstance(value, str):
            raise ConfigError(
                f"config file {path}: the keys of '{name}' in [keys] must be {_KINDS[str]}, {as_shown}",
                key=f"keys.{name}",
            )


def _check_filters(filters: Any, path: Path) -> None:
    if (found := filters_problem(filters)) is not None:
        key, problem = found
        raise ConfigError(f"config file {path}: key '{key}': {problem}", key=key)


def line_of(text: str, table: str, key: str) -> int | None:
    """Return the line of a TOML text on which a key of a table stands, counted from 1."""
    here = ""
    for number, line in enumerate(text.splitlines(), 1):
        if (head := _HEADER.match(line)) is not None:
            here = head[1].replace('"', "").replace("'", "").replace(" ", "")
        elif here == table and (found := _KEY.match(line)) is not None:
            # A name without quotes that has dots is read as tables in tables.
            name = found[1].strip("\"'")
            if name == key or (found[1] == name and name.startswith(f"{key}.")):
                return number
    return None


def _check_value(key: str, value: Any, known: Mapping[str, type], full_key: str, path: Path) -> None:
    expected = known.get(key)
    if expected is None:
        near = difflib.get_close_matches(key, known, 1)
        advice = f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
        raise ConfigError(f"config file {path}: unknown key '{full_key}'{advice}", key=full_key)
    names_only = expected is not list or (isinstance(value, list) and all(isinstance(v, str) for v in value))
    if not isinstance(value, expected) or not names_only:
        raise ConfigError(f"config file {path}: key '{full_key}' must be {_KINDS[expected]}", key=full_key)
    if key == "notify" and value not in CHOICES:
        raise ConfigError(
            f"config file {path}: key '{full_key}' must be one of {', '.join(CHOICES)}", key=full_key
        )
    if key in BOUNDS_MS and (problem := duration_problem(str(value), *BOUNDS_MS[key])) is not None:
        raise ConfigError(f"config file {path}: key '{full_key}': {problem}", key=full_key)


def duration_problem(text: str, least_ms: int, most_ms: int) -> str | None:
    """Say what is wrong with a time, or None."""
    wait_ms = parse_duration(text)
    if isinstance(wait_ms, str):
        return wait_ms
    if least_ms <= wait_ms <= most_ms:
        return None
    return f"must be from {window(least_ms) if least_ms else '0s'} to {window(most_ms)}"


def set_key(path: Path, key: str, text: str) -> None:
    """Store one value, keeping all else and its comments; atomic.

    Args:
        path: The file.
        key: As `theme`, `profiles.prod.url` or `filters.jobs.stuck`.
        text: The value.

    Raises:
        UnknownKeyError: No such key exists.
        ConfigError: The file or the value cannot be used.
    """
    load(path)
    parts = key.split(".")
    if len(parts) == 3 and parts[0] == "filters":
        _check_filter(parts[1], text, key)
        set_filter(path, parts[1], parts[2], text)
        return
    is_profile = len(parts) == 3 and parts[0] == "profiles" and parts[1]
    if not is_profile and len(parts) != 1:
        more = "profiles.NAME.KEY, filters.SCREEN.NAME"
        raise UnknownKeyError(f"unknown key '{key}'; known: {', '.join(TOP_KEYS)}, {more}")
    known = KEYS if is_profile else TOP_KEYS
    if parts[-1] not in known:
        raise UnknownKeyError(f"unknown key '{key}'; known: {', '.join(known)}")
    value = _value(text, known[parts[-1]], key)
    new = edited(path.read_bytes().decode("utf-8") if path.exists() else "", parts, value)
    _check(tomllib.loads(new), path)
    _replace(path, new)


def _check_filter(screen: str, text: str, key: str) -> None:
    from ..model.lists.filters import problem_of

    if screen in SCREENS and (problem := problem_of(screen, text)) is not None:
        raise ConfigError(f"'{key}': {problem}")


def set_filter(path: Path, screen: str, name: str, filter_text: str | None) -> None:
    """Save a filter of a screen, or (None) remove it, keeping all else and its comments; atomic.

    Raises:
        ConfigError: The file, the name or the filter cannot be used.
    """
    saved = dict(load(path).get("filters", {}))
    saved[screen] = {key: text for key, text in saved.get(screen, {}).items() if key != name}
    before = path.read_bytes().decode("utf-8") if path.exists() else ""
    keys = ("filters", screen, name)
    if filter_text is not None:
        saved[screen][name] = filter_text
        _check_filters(saved, path)
        new = edited(before, keys, filter_text)
    elif name in load(path).get("filters", {}).get(screen, {}):
        new = _without(before, keys)
    else:
        return
    if tomllib.loads(new).get("filters") != saved:
        raise ConfigError(
            f"config file {path} writes its filters in a form that cannot be changed here; "
            f"write it by hand, as [filters.{screen}]"
        )
    _replace(path, new)


def _without(text: str, keys: Sequence[str]) -> str:
    """Return TOML without the value at a path of keys."""
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    for name in keys[:-1]:
        table = table[name]
    del table[keys[-1]]
    return document.as_string()


def edited(text: str, keys: Sequence[str], value: Any) -> str:
    """Return TOML with a value set at a path of keys."""
    import tomlkit
    from tomlkit.items import Comment, InlineTable, Table, Whitespace

    document = tomlkit.parse(text)
    table: Any = document
    for name in keys[:-1]:
        is_inline = isinstance(table, InlineTable)
        new = tomlkit.inline_table() if is_inline else tomlkit.table(is_super_table=name in _PARTED)
        table = table.setdefault(name, new)
    body = document.body
    first = next((at for at, (_, item) in enumerate(body) if isinstance(item, Table)), None)
    if len(keys) > 1 or keys[0] in document or first is None:
        table[keys[-1]] = value
        return document.as_string()
    # tomlkit would put it below the comment that belongs to the first table.
    while first and isinstance(body[first - 1][1], Comment):
        first -= 1
    blank = [] if first and isinstance(body[first - 1][1], Whitespace) else [(None, tomlkit.nl())]
    while first and isinstance(body[first - 1][1], Whitespace):
        first -= 1
    body[first:first] = [(tomlkit.key(keys[0]), tomlkit.item(value)), *blank]
    return document.as_string()


def _value(text: str, kind: type, key: str) -> Any:
    if not text.strip() and kind is not list:
        raise ConfigError(f"'{key}' would be empty: to remove it, glidemq config edit")
    last = key.rpartition(".")[2]
    if last == "url":
        _check_url(text)
    elif last == "theme":
        _check_theme(text)
    elif last == "notify" and text not in CHOICES:
        raise ConfigError(f"'{key}' must be one of {', '.join(CHOICES)}")
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"'{key}' must be true or false")
        return text.lower() == "true"
    if kind is list:
        return [name for name in re.split(r"[,\s]+", text) if name]
    return text


def _check_url(text: str) -> None:
    from glidemq_core.errors import InvalidOptionError
    from glidemq_core.server.url import EMBEDDED, settings

    try:
        if not text.startswith(EMBEDDED):
            settings(text)
    except InvalidOptionError as error:
        raise ConfigError(error.message) from None


def _check_theme(text: str) -> None:
    from glidemq_console.theme.files import load_themes, unusable

    if problem := unusable(text, load_themes()):
        raise ConfigError(problem)


def create(path: Path) -> None:
    """Make an empty file."""
    _replace(path, "")


def _replace(path: Path, text: str) -> None:
    try:
        replace_private(path, text)
    except (OSError, UnicodeEncodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeError) else error.strerror
        raise ConfigError(f"cannot write config file {path}: {reason}") from None
