"""Which files are watched, and what counts as a change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from glidemq_console.cli.serving.sources import SourceWatch, folders_of


def written(path: Path, text: str = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    written(tmp_path / "app.py")
    written(tmp_path / "package" / "part.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["app.py", "package/part.py", "package/new.py", "new/deeper/one.py"], ids=lambda name: name
)
async def test_a_change_is_told_by_name(here: Path, name: str) -> None:
    watch = SourceWatch([here])
    watch.look()
    written(here / name, "longer = 12345\n")
    assert await asyncio.wait_for(watch.changed(), 20) == name


async def test_a_file_that_goes_is_a_change(here: Path) -> None:
    watch = SourceWatch([here])
    watch.look()
    (here / "package" / "part.py").unlink()
    assert await asyncio.wait_for(watch.changed(), 20) == "package/part.py"


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        ".git/hook.py",
        "__pycache__/app.py",
        "node_modules/a/b.py",
        "env/lib/site-packages/c.py",
        "venv/d.py",
    ],
)
async def test_what_is_no_code_of_the_application_is_left_out(here: Path, name: str) -> None:
    written(here / "venv" / "pyvenv.cfg")
    watch = SourceWatch([here])
    watch.look()
    written(here / name)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.changed(), 1.3)


async def test_links_in_a_circle_and_folders_that_are_closed(here: Path) -> None:
    (here / "round").symlink_to(here)
    closed = here / "closed"
    closed.mkdir(mode=0)
    try:
        watch = SourceWatch([here, here / "no such folder"])
        watch.look()
        written(here / "app.py", "longer = 12345\n")
        assert await asyncio.wait_for(watch.changed(), 20) == "app.py"
    finally:
        closed.chmod(0o700)


def test_an_application_elsewhere_is_watched_too(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    written(elsewhere / "their_app" / "__init__.py", "raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert folders_of(["app:worker", "package.part:x"]) == [here]
    assert folders_of(["their_app.part:worker", "no_such_module:x"]) == [here, elsewhere / "their_app"]
    assert folders_of(["pytest:main"]) == [here], "what is installed is not the application"
