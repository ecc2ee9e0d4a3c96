"""The pages that the code writes are what the code would write now."""

from __future__ import annotations

import subprocess
import sys

from kits.snippets import ROOT


def test_generated_pages_are_fresh() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
