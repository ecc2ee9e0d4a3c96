"""The keys that hints and messages name: those that actions have as they are mapped."""

from __future__ import annotations

from collections.abc import Mapping

_shown: dict[str, str] = {}


def show_keys(texts: Mapping[str, str]) -> None:
    """Name these keys from now on, by the id of their action."""
    _shown.clear()
    _shown.update(texts)


def key_of(action: str, usual: str) -> str:
    """Return the key of an action as people write it, `usual` where no console maps any."""
    return _shown.get(action, usual)
