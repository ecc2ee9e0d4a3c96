"""Build from the files of the engine where they are: two folders up in a checkout, beside this file in an sdist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "glidemq_core"


class SameFiles(BuildHookInterface[Any]):
    """Add the engine's package to what is built; hatchling finds by itself what lies beside this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the folder of the package.

        Raises:
            FileNotFoundError: this folder was taken out of its checkout.
        """
        here = Path(self.root)
        if (here / PACKAGE).is_dir():
            return
        outside = here.parent.parent / PACKAGE
        if not outside.is_dir():
            raise FileNotFoundError(f"{PACKAGE} is neither in {here} nor in {outside.parent}")
        build_data["force_include"][str(outside)] = PACKAGE
