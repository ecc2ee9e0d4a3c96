"""Files of many rows: for their owner alone, never over another one, whole in their form however they end."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from glidemq_console.saving import exports
from glidemq_console.saving.exports import Export, SavedList
from glidemq_console.saving.formats import About, Json, SavedRow

ABOUT = About(screen="jobs", at_ms=5, titles=("N",))


def numbered(item: int) -> SavedRow:
    return SavedRow({"N": str(item)}, {"n": item})


def listing(*pages: Sequence[int], after: Callable[[], None] = lambda: None, **more: Any) -> SavedList:
    async def read() -> AsyncIterator[Sequence[int]]:
        for page in pages:
            yield page
            after()

    return SavedList(about=ABOUT, pages=read, row_of=numbered, **more)


def export_to(path: Path) -> Export:
    return Export(str(path), Json(), ABOUT)


def numbers(path: Path) -> tuple[list[int], str | None]:
    found = json.loads(path.read_text())
    return [row["n"] for row in found["rows"]], found["partial"]


async def test_all_pages_are_written_to_a_file_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"

    words = await export_to(path).write(listing(range(1_200), range(1_200, 1_300)))

    assert words == f"1,300 rows in {path}"
    assert numbers(path) == (list(range(1_300)), None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_stopped_file_is_whole_json_and_says_that_it_is_partial(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    export = export_to(path)

    words = await export.write(listing(range(10), range(10, 20), after=export.stop))

    assert words == f"partial: the first 10 rows in {path}; stopped by hand"
    assert numbers(path) == (list(range(10)), "stopped by hand")


@pytest.mark.parametrize(
    ("limit", "value", "rows", "words"),
    [
        ("MOST_ROWS", 7, 7, "a file holds 7 rows at most"),
        ("MOST_BYTES", 100, 6, "a file holds 100 B at most"),
    ],
)
async def test_a_file_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, rows: int, words: str
) -> None:
    monkeypatch.setattr(exports, limit, value)
    path = tmp_path / "jobs.json"
    export = export_to(path)

    said = await export.write(listing(range(20)))

    assert export.rows == rows
    assert said.endswith(f"; {words}")
    assert numbers(path) == (list(range(rows)), words)


async def test_what_the_list_lacks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    words = await export_to(path).write(listing([1], lacks="the list holds the first 1 flows"))
    assert words == f"partial: the first 1 row in {path}; the list holds the first 1 flows"
    assert numbers(path)[1] == "the list holds the first 1 flows"


async def test_an_error_leaves_whole_json_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"

    def fail() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await export_to(path).write(listing([1, 2], [3], after=fail))

    assert numbers(path) == ([1, 2], "it ended early")


async def test_leaving_the_console_leaves_whole_json(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"

    async def endless() -> AsyncIterator[Sequence[int]]:
        yield [1]
        await asyncio.Event().wait()

    export = export_to(path)
    task = asyncio.create_task(export.write(SavedList(about=ABOUT, pages=endless, row_of=numbered)))
    await eventually(lambda: export.rows == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert numbers(path) == ([1], "it ended early")


async def test_no_file_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    path.write_text("mine")

    with pytest.raises(FileExistsError):
        await export_to(path).write(listing([1]))

    assert path.read_text() == "mine"
