"""Where the settings of a console come from: what stood on the command line, the environment and the config file."""

from __future__ import annotations

from dataclasses import dataclass

from . import file, settings
from .settings import Given, Settings


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """The config file of a console that was started by the command line."""

    given: Given

    def write(self, name: str, text: str) -> str:
        """Write one setting: into the profile where that has it already, so that it counts, else at the top.

        Returns the path of the file, with the profile.
        """
        chosen = settings.resolve(self.given)
        profiles = file.load(chosen.path).get("profiles", {})
        in_profile = chosen.profile is not None and name in profiles.get(chosen.profile, {})
        file.set_key(chosen.path, f"profiles.{chosen.profile}.{name}" if in_profile else name, text)
        return f"{chosen.path} (profile {chosen.profile})" if in_profile else str(chosen.path)


def key_lines(chosen: Settings) -> dict[str, int]:
    """Return the lines of the config file where the keys of actions stand, by the action's id."""
    if not chosen.keys:
        return {}
    text = chosen.path.read_text("utf-8", "replace")
    found = {name: file.line_of(text, "keys", name) for name in chosen.keys}
    return {name: line for name, line in found.items() if line is not None}
