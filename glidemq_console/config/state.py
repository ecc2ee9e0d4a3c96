"""The state file: what the console remembers from one run to the next, an entry a profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ..model.memory import Memory
from ..text.safe import clean
from .private_file import replace_private

#: Bytes from which on a file is none of ours, and profiles that are remembered.
_LIMIT: Final = 4 * 1_048_576
_PROFILES: Final = 50
_VERSION: Final = 1


def state_path() -> Path:
    """Return where the console's state belongs on this platform."""
    from platformdirs import user_state_path

    return user_state_path("glidemq", appauthor=False) / "console.json"


class StateFile:
    """The entry of one profile in a state file. What another console wrote of other profiles stays."""

    def __init__(self, path: Path, profile: str) -> None:
        self._path = path
        self._profile = profile
        #: What was read or written last.
        self._entry: dict[str, Any] | None = None

    def read(self) -> tuple[Memory, str | None]:
        """Return what is remembered, and what to tell where the file cannot be used; never raises."""
        try:
            profiles, told = self._load(), None
        except OSError as error:
            profiles, told = {}, f"cannot read {self._shown}: {error.strerror}"
        except ValueError:
            profiles, told = {}, self._set_aside()
        memory = Memory.from_json(profiles.get(self._profile))
        self._entry = memory.to_json()
        return memory, told

    def write(self, entry: dict[str, Any]) -> str | None:
        """Write an entry where it differs from the one before; return what to tell when that fails."""
        if entry == self._entry:
            return None
        try:
            try:
                profiles = self._load()
            except ValueError:
                profiles, _ = {}, self._set_aside()
            # The profile that is used now comes last, so that the oldest are forgotten.
            others = [(name, one) for name, one in profiles.items() if name != self._profile]
            kept = dict([*others[-_PROFILES + 1 :], (self._profile, entry)])
            text = json.dumps({"version": _VERSION, "profiles": kept}, ensure_ascii=False, indent=1)
            replace_private(self._path, f"{text}\n")
        except (OSError, UnicodeEncodeError) as error:
            return f"what you set up is not remembered: {self._shown}: {error}"
        self._entry = entry
        return None

    @property
    def _shown(self) -> str:
        return clean(str(self._path), single_line=True)

    def _load(self) -> dict[str, Any]:
        """Return all entries; a missing file has none.

        Raises:
            OSError: It cannot be read.
            ValueError: It is broken, or none of ours.
        """
        try:
            if self._path.stat().st_size > _LIMIT:
                raise ValueError("too long")
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except RecursionError:
            raise ValueError("nested too deep") from None
        profiles = content.get("profiles") if isinstance(content, dict) else None
        if not isinstance(profiles, dict) or content.get("version") != _VERSION:
            raise ValueError("no profiles")
        return profiles

    def _set_aside(self) -> str:
        """Keep a broken file under another name; return what to tell."""
        aside = self._path.with_name(f"{self._path.name}.broken")
        try:
            self._path.replace(aside)
        except OSError as error:
            return f"{self._shown} is broken and cannot be set aside: {error.strerror}"
        return f"{self._shown} was broken: it is now {clean(aside.name)}, and nothing is remembered"
