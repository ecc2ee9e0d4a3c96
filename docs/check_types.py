"""Check the types of every program in the README, the pages and `examples/`, as strictly as the packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from kits.snippets import blocks  # noqa: E402 - the folder of the tests must be known first


def main() -> int:
    """Run mypy over the programs; returns its exit code."""
    # Without the packages of the configuration: these programs only import them.
    cache = str(ROOT / ".mypy_cache" / "programs")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache]
    with TemporaryDirectory() as scratch:
        together = Path(scratch, "together")
        together.mkdir()
        own = [*sorted((ROOT / "examples").glob("*.py")), ROOT / "docs" / "python_examples.py"]
        calls = [([*command, *map(str, own), str(together)], ROOT)]
        for page in (
            ROOT / "README.md",
            ROOT / "packaging" / "core" / "README.md",
            *sorted((ROOT / "docs").glob("*.md")),
        ):
            programs = blocks(page, "python")
            if sum(block.title is not None for block in programs) > 1:  # they may import one another
                folder = Path(scratch, page.stem)
                folder.mkdir()
                calls.append(([*command, "."], folder))
            else:
                folder = together
            for number, block in enumerate(programs, 1):
                name = f"{page.stem}_{number}.py".lower().replace("-", "_")
                (folder / (block.title or name)).write_text(block.text, encoding="utf-8")
        # An application is a package of its own, tests included.
        calls.append(([*command, "-p", "chat_service"], ROOT))
        environment = {**os.environ, "MYPYPATH": str(ROOT / "examples")}
        return max([subprocess.call(words, cwd=folder, env=environment) for words, folder in calls])


if __name__ == "__main__":
    sys.exit(main())
