"""Where the settings of a console come from: what stood on the command line, the environment and the config file."""

from __future__ import annotations

from dataclasses import dataclass

from . import file, settings
from .settings import Given


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
