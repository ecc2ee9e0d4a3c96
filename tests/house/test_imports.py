"""What is loaded when: the engine knows no terminal, and help needs nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import glidemq_core
from glidemq_core import errors

LOADED = "import sys; {what}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def loaded(what: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter holds after running `what`."""
    run = subprocess.run(
        [sys.executable, "-c", LOADED.format(what=what)], capture_output=True, text=True, check=True
    )
    return set(run.stdout.splitlines()[-1].split())


def test_the_engine_loads_no_terminal_library() -> None:
    assert not loaded("import glidemq_core") & {"textual", "rich", "typer", "glidemq_console"}


def test_queues_and_workers_load_no_optional_package() -> None:
    names = loaded("from glidemq_core import Queue, Worker")

    assert not names & {
        "pydantic",
        "pydantic_core",
        "opentelemetry",
        "msgspec",
        "numpy",
        "pytest",
        "glide",
        "uvloop",
    }


def test_queues_and_workers_load_nothing_of_what_a_console_reads() -> None:
    """A queue shares with it how limits are read; the rest would make every program start later."""
    names = "print(*(name for name in sys.modules if name.startswith('glidemq_core.watch.')))"
    code = f"import sys; from glidemq_core import Queue, Worker; {names}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {name.removeprefix("glidemq_core.watch.") for name in run.stdout.split()} <= {
        "discovery",
        "limits",
        "snapshot",
    }


def test_the_engine_loads_its_driver_only_to_connect() -> None:
    assert "glide" not in loaded("import glidemq_core, glidemq_core.server.connection")


@pytest.mark.parametrize(
    "words", ["--help", "--version", "jobs --help", "config path", "server url --port 1"]
)
def test_a_command_that_only_prints_loads_neither_console_nor_driver_nor_pydantic(words: str) -> None:
    call = (
        f"import contextlib; from glidemq_console.cli import main; sys.argv = ['glidemq', *{words.split()}]\n"
        "with contextlib.suppress(SystemExit): main()\n"
    )
    code = f"import sys\n{call}print()\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not set(run.stdout.splitlines()[-1].split()) & {"textual", "glide", "glide_shared", "pydantic"}


def test_every_error_has_a_public_name() -> None:
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }

    assert raised <= set(glidemq_core.__all__)
