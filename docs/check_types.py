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
    with TemporaryDirectory() as folder:
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
            for number, block in enumerate(blocks(page, "python"), 1):
                name = f"{page.stem}_{number}.py".lower().replace("-", "_")
                Path(folder, name).write_text(block.text, encoding="utf-8")
        programs = [*sorted(Path(folder).glob("*.py")), *sorted((ROOT / "examples").glob("*.py"))]
        # Without the packages of the configuration: these programs only import them.
        cache = str(ROOT / ".mypy_cache" / "programs")
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache]
        code = subprocess.call([*command, *map(str, programs)], cwd=ROOT)
    # An application is a package of its own, tests included.
    where = {**os.environ, "MYPYPATH": str(ROOT / "examples")}
    return code or subprocess.call([*command, "-p", "chat_service"], cwd=ROOT, env=where)


if __name__ == "__main__":
    sys.exit(main())
