"""The command line under test: run in this process where that is enough, as a real process where it is not."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glidemq_console.cli import main
from glidemq_core.server.connection import Connection

from .harness import Ran, within


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("GLIDEMQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GLIDEMQ_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("GLIDEMQ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def server(server_url: str, environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty server that commands find through the environment."""
    monkeypatch.setenv("GLIDEMQ_URL", server_url)
    within(server_url, _emptied)
    return server_url


async def _emptied(connection: Connection) -> None:
    await connection.client.custom_command(["FLUSHALL"])


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command in this process."""

    def call(*words: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfdbinary.readouterr()
        code = main(list(words))
        out, err = capfdbinary.readouterr()
        assert b"Traceback" not in err
        return Ran(code, out.decode(), err.decode())

    return call
