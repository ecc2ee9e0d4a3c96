"""`glidemq` and `glidemq-core` are built from the same files and say the same of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from glidemq_core import installed

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "packaging" / "core"
#: What only the console needs.
OF_THE_CONSOLE = {"platformdirs", "textual", "rich", "typer", "textual-plotext", "tomlkit"}
#: Fields of both projects that must be equal.
SHARED = ("version", "requires-python", "license", "license-files", "optional-dependencies", "entry-points")


def project(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return read


def build(folder: Path, target: str, into: Path) -> Path:
    """Build one of the packages; returns the file."""
    words = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(into)]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    (built,) = into.iterdir()
    return built


def contents(wheel: Path, below: str) -> dict[str, bytes]:
    """The files of a wheel in one of its folders."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.startswith(f"{below}/")}


def test_both_say_the_same() -> None:
    whole, core = project(ROOT), project(CORE)
    assert {name: whole[name] for name in SHARED} == {name: core[name] for name in SHARED}
    named = {line.split(">")[0] for line in whole["dependencies"]}
    assert named >= OF_THE_CONSOLE
    assert core["dependencies"] == [
        line for line in whole["dependencies"] if line.split(">")[0] not in OF_THE_CONSOLE
    ]
    assert (CORE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_wheels_hold_the_same_engine(tmp_path: Path) -> None:
    whole = build(ROOT, "wheel", tmp_path / "whole")
    core = build(CORE, "wheel", tmp_path / "core")
    engine = contents(core, "glidemq_core")
    assert engine == contents(whole, "glidemq_core")
    tracked = {
        path
        for path in (ROOT / "glidemq_core").rglob("*")
        if path.suffix in (".py", ".lua", ".typed", ".txt")
    }
    assert engine.keys() == {path.relative_to(ROOT).as_posix() for path in tracked}
    with zipfile.ZipFile(core) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {
            "glidemq_core",
            f"glidemq_core-{project(CORE)['version']}.dist-info",
        }
    assert contents(whole, "glidemq_console")


def test_an_sdist_of_the_core_builds_the_same_wheel(tmp_path: Path) -> None:
    sdist = build(CORE, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build(unpacked, "wheel", tmp_path / "again")
    direct = build(CORE, "wheel", tmp_path / "direct")
    assert contents(again, "glidemq_core") == contents(direct, "glidemq_core")


def test_an_sdist_holds_what_its_tests_need(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout: nothing to compare with")
    with tarfile.open(build(ROOT, "sdist", tmp_path / "sdist")) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert set(listed.stdout.split()) - packed == set()


@pytest.mark.parametrize(
    ("found", "says", "extra"),
    [
        ({"glidemq": "1.0"}, "1.0", "glidemq[search]"),
        ({"glidemq-core": "2.0"}, "2.0", "glidemq-core[search]"),
        ({}, "unknown", "glidemq[search]"),
    ],
)
def test_the_package_knows_its_name(
    found: dict[str, str], says: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(name: str) -> str:
        if name in found:
            return found[name]
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", look_up)
    installed.package_version.cache_clear()
    assert installed.installed() == found
    assert (installed.package_version(), installed.extra("search")) == (says, extra)
    installed.package_version.cache_clear()


def test_the_version_of_this_environment_is_known() -> None:
    assert installed.package_version() == version("glidemq")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(file: str) -> dict[str, str]:
    """Names and versions of a requirements file, those that it includes left out; every line is exact."""
    found = {}
    for line in (ROOT / file).read_text("utf-8").splitlines():
        if line.startswith(("#", "-r ")):
            continue
        wanted = Requirement(line)
        (exact,) = wanted.specifier
        assert exact.operator == "==", line
        found[canonical(wanted.name)] = exact.version
    return found


def needed_by(name: str) -> set[str]:
    """Names of all that an installed distribution needs here, its own extras left out."""
    found: set[tuple[str, str]] = set()
    waiting = [(name, "")]
    while waiting:
        of, extra = waiting.pop()
        for wanted in map(Requirement, requires(of) or ()):
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
                continue
            needs = {(canonical(wanted.name), asked) for asked in ("", *wanted.extras)}
            waiting += needs - found
            found |= needs
    return {name for name, _ in found}


def test_the_demo_is_pinned_and_installs_nothing_else() -> None:
    assert pinned("requirements.txt").keys() == needed_by("glidemq")
    building = {"hatchling", "editables"} | needed_by("hatchling")
    assert pinned("requirements-build.txt").keys() == building - pinned("requirements.txt").keys()


def test_the_tools_are_pinned_once() -> None:
    files = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")
    names = [name for file in files for name in pinned(file)]
    assert len(names) == len(set(names))
    assert pinned("requirements-dev.txt").keys() >= {"pytest", "mypy", "ruff", "import-linter"}
    for name, wanted in {**pinned("requirements.txt"), **pinned("requirements-build.txt")}.items():
        assert version(name) == wanted, name


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize(
    ("target", "there", "installs"),
    [
        ("demo", None, "requirements.txt -r requirements-build.txt"),
        ("demo", ".ready-demo", None),
        ("demo", ".ready", None),
        ("test", ".ready-demo", "requirements-dev.txt"),
        ("test", ".ready", None),
    ],
)
def test_a_target_installs_what_it_needs(
    target: str, there: str | None, installs: str | None, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", *(path.name for path in ROOT.glob("requirements*.txt"))):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    if there:
        (tmp_path / ".venv" / there).touch()

    told = subprocess.run(
        ["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    asked = re.findall(r" -r (requirements.*)", told)
    assert asked == ([installs] if installs else [])
