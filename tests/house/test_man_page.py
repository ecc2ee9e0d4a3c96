"""The man page: formatted without a warning, whole, and in the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer
from kits.snippets import ROOT

from glidemq_console.cli import commands
from glidemq_console.cli.examples import EXAMPLES
from glidemq_console.cli.program import program

PAGE = ROOT / "docs" / "glidemq.1"

pytestmark = pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")


def formatted() -> str:
    """The page as a wide terminal shows it, in plain characters."""
    words = ["groff", "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=300n"]
    ran = subprocess.run([*words, str(PAGE)], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return ran.stdout


def test_it_names_every_command_option_and_example() -> None:
    text = formatted()
    commands.register()
    group: Any = typer.main.get_command(program)
    for name, command in group.commands.items():
        assert f"   glidemq {name} " in text
        for param in command.params:
            for option in param.opts if param.param_type_name == "option" else ():
                assert option in text, (name, option)
    for lines in EXAMPLES.values():
        for line in lines:
            assert re.search(rf"^ +{re.escape(line)}$", text, re.MULTILINE), line
    for heading in ("NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "EXAMPLES"):
        assert re.search(rf"^{heading}$", text, re.MULTILINE)


def test_a_wheel_installs_it(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("data/share/man/man1/glidemq.1")]
        assert archive.read(name) == PAGE.read_bytes()
