"""The reference of the Python names: each call says what its parameters mean, and its example runs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

from kits.snippets import ROOT, environment

from glidemq_core import Connection

sys.path.insert(0, str(ROOT / "docs"))

import python_calls
import python_page

PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")


def test_each_call_stands_on_the_page_with_an_example() -> None:
    missing = [name for name in python_page.calls() if f"\n### {name}\n" not in PAGE]
    assert missing == []
    examples = python_calls.examples()
    assert [name for name in python_page.calls() if not examples.get(name)] == []
    assert [name for name in examples if "." in name and name not in python_page.calls()] == []


def test_each_parameter_says_what_it_means() -> None:
    silent = []
    for name, call in python_page.calls().items():
        text, arguments, _ = python_calls.parsed(inspect.getdoc(call) or "")
        for parameter in python_page.named_parameters(call):
            if python_calls.meaning(name, parameter, arguments, text) is None:
                silent.append(f"{name}({parameter})")
    assert silent == []


def test_no_word_for_a_parameter_is_left_over() -> None:
    used = {
        parameter for call in python_page.calls().values() for parameter in python_page.named_parameters(call)
    }
    assert python_calls.EVERYWHERE.keys() - used == set()
    assert python_calls.HERE.keys() - python_page.calls().keys() == set()


async def test_the_examples_run(connection: Connection, server_url: str, tmp_path: Path) -> None:
    surroundings = {**environment(server_url, tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "python_examples.py")],
        cwd=tmp_path,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
