"""The config file: where it is, what may stand in it, reading and changing it."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ..cli.errors import Refusal, UsageProblem
from ..cli.option_types import duration
from .text import edited

#: What one may set at the top level and in each `[profiles.NAME]`, with the type of its value.
KEYS: Mapping[str, type] = {
    "url": str,
    "prefix": str,
    "user": str,
    "password_file": str,
    "insecure": bool,
    "read_only": bool,
    "queues": list,
    "theme": str,
    "ascii": bool,
    "refresh": str,
}
#: What may stand at the top level only.
TOP_KEYS: Mapping[str, type] = {"profile": str, **KEYS}

_KINDS = {str: "text in quotes", bool: "true or false", list: "a list of names"}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


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
        content = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageProblem(f"cannot read config file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"config file {path} is broken: {error}") from None
    _check(content, path)
    return content


def _check(content: dict[str, Any], path: Path) -> None:
    for key, value in content.items():
        if key == "profiles":
            _check_profiles(value, path)
        else:
            _check_value(key, value, TOP_KEYS, key, path)


def _check_profiles(profiles: Any, path: Path) -> None:
    if not isinstance(profiles, dict):
        raise UsageProblem(f"config file {path}: key 'profiles' must be tables like [profiles.prod]")
    for name, profile in profiles.items():
        if not isinstance(profile, dict):
            raise UsageProblem(f"config file {path}: key 'profiles.{name}' must be a table")
        for key, value in profile.items():
            _check_value(key, value, KEYS, f"profiles.{name}.{key}", path)


def _check_value(key: str, value: Any, known: Mapping[str, type], full_key: str, path: Path) -> None:
    expected = known.get(key)
    if expected is None:
        near = difflib.get_close_matches(key, known, 1)
        advice = f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
        raise UsageProblem(f"config file {path}: unknown key '{full_key}'{advice}")
    names_only = expected is not list or (isinstance(value, list) and all(isinstance(v, str) for v in value))
    if not isinstance(value, expected) or not names_only:
        raise UsageProblem(f"config file {path}: key '{full_key}' must be {_KINDS[expected]}")
    if key == "refresh" and isinstance(value, str):
        try:
            duration(value)
        except typer.BadParameter as error:
            raise UsageProblem(f"config file {path}: key '{full_key}': {error}") from None


def set_key(path: Path, key: str, text: str) -> None:
    """Store one value under `key` (`theme`, `profiles.prod.url`), keeping all the others; atomic.

    Comments stay, unless the file is written in a way that only a whole new one can change.
    """
    content = load(path)
    table, known, last, header = content, TOP_KEYS, key, ""
    parts = key.split(".")
    if len(parts) == 3 and parts[0] == "profiles" and parts[1]:
        table = content.setdefault("profiles", {}).setdefault(parts[1], {})
        known, last, header = KEYS, parts[2], f"[profiles.{_name(parts[1])}]"
    elif len(parts) != 1:
        raise Refusal(f"unknown key '{key}'; known: {', '.join(TOP_KEYS)}, profiles.NAME.KEY")
    if last not in known:
        raise Refusal(f"unknown key '{key}'; known: {', '.join(known)}")
    table[last] = _value(text, known[last], key)
    _check(content, path)
    text = path.read_bytes().decode("utf-8") if path.exists() else ""
    _replace(path, edited(text, header, last, _toml(table[last]), content) or _text(content))


def _value(text: str, kind: type, key: str) -> Any:
    if not text.strip() and kind is not list:
        raise UsageProblem(f"'{key}' would be empty: to remove it, glidemq config edit")
    last = key.rpartition(".")[2]
    if last == "url":
        _check_url(text)
    elif last == "theme":
        _check_theme(text)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageProblem(f"'{key}' must be true or false")
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
        raise UsageProblem(error.message) from None


def _check_theme(text: str) -> None:
    from glidemq_console.theme.files import load_themes, unusable

    if problem := unusable(text, load_themes()):
        raise UsageProblem(problem)


def create(path: Path) -> None:
    """Make an empty file."""
    _replace(path, "")


def _text(content: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in content.items() if key != "profiles"}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for name, profile in content.get("profiles", {}).items():
        lines += [
            "",
            f"[profiles.{_name(name)}]",
            *(f"{key} = {_toml(value)}" for key, value in profile.items()),
        ]
    return "\n".join(lines) + "\n"


def _name(profile: str) -> str:
    return profile if _BARE_KEY.fullmatch(profile) else _toml(profile)


def _replace(path: Path, text: str) -> None:
    """Replace the file in one step, where a link points to too; only its owner may read it."""
    path = path.resolve()
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(new, "w", encoding="utf-8", newline="", opener=_private) as file:
            file.write(text)
        os.replace(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UsageProblem(f"cannot write config file {path}: {error.strerror}") from None


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _toml(value: Any) -> str:
    """Write a value as TOML; its strings, booleans and lists of strings are written as in JSON."""
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
