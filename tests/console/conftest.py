"""Fixtures of console tests: a quiet environment, and the app on fixed data or on a real server."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from conftest import serving

from glidemq_console.runtime import type_ahead
from glidemq_console.runtime.defects import DefectLog
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine that runs the tests has set must not show in a picture."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS", "GLIDEMQ_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


@pytest.fixture(autouse=True)
def patient_typing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed in one go waits for its screen however busy the machine is."""
    monkeypatch.setattr(type_ahead, "LOST_S", 3.0)
    monkeypatch.setattr(type_ahead, "PATIENCE_S", 30.0)


@pytest.fixture(autouse=True)
def no_defects(monkeypatch: pytest.MonkeyPatch, quiet_environment: None) -> Iterator[None]:
    """Fail a test in which something could not be drawn, unless the test gave the console a log of its own."""
    told: list[str] = []
    record = DefectLog.record

    def seen(log: DefectLog, error: BaseException, doing: str) -> str:
        if log._path is not None:
            return record(log, error, doing)
        # What an action did with the answers of fixed data is no defect of the console.
        if not doing.startswith("doing "):
            told.append("".join(traceback.format_exception(error)))
        return f"{error!r}, a defect while {doing}"

    monkeypatch.setattr(DefectLog, "record", seen)
    yield
    assert not told, told[0]


@pytest.fixture
def config_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the config file is, which does not exist yet."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("GLIDEMQ_CONFIG", str(path))
    return path


@pytest.fixture(scope="session")
def second_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a second server, for consoles that show several."""
    with serving(tmp_path_factory.mktemp("second")) as port:
        yield f"valkey://127.0.0.1:{port}"


@pytest.fixture
async def second(second_url: str) -> AsyncIterator[Connection]:
    """A connection to the second server, emptied."""
    async with connect(second_url) as opened:
        await opened.command("FLUSHALL")
        yield opened
