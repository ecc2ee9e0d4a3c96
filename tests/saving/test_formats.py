"""Rows as CSV, JSON and Markdown: nothing in them runs in a spreadsheet, moves a terminal or breaks the form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from kits.hostile import CORPUS, dangerous

from glidemq_console.saving.formats import FORMATS, About, SavedRow, csv_cell
from glidemq_console.saving.payloads import without_payloads

ABOUT = About(screen="jobs", queue="chat", narrowed={"state": "failed"}, at_ms=5, titles=("ID", "WHY"))


def written(form: str, rows: Sequence[Mapping[str, Any]], partial: str | None = None) -> str:
    saved = [SavedRow({"ID": str(row.get("id")), "WHY": str(row.get("why"))}, row) for row in rows]
    made = FORMATS[form]()
    return made.begin(ABOUT, saved) + "".join(map(made.row, saved)) + made.end(partial)


def test_csv_has_the_values_by_name_and_nested_ones_as_json() -> None:
    rows = [
        {"id": "1", "cost": 0.5, "on": True, "none": None, "models": ["a", "b"], "why": 'say "no", he said'}
    ]

    [head, line] = csv.reader(io.StringIO(written("csv", rows)))

    assert head == ["id", "cost", "on", "none", "models", "why"]
    assert line == ["1", "0.5", "true", "", '["a","b"]', 'say "no", he said']


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_of_csv_is_a_formula(start: str) -> None:
    assert csv_cell(start) == f"'{start}"
    assert csv_cell([start]).startswith('"[') or csv_cell([start]).startswith("[")
    [[cell]] = csv.reader(io.StringIO(csv_cell(f'{start},"x"')))
    assert cell == f'\'{start},"x"'


def test_json_is_one_object_that_says_what_it_lacks() -> None:
    whole = json.loads(written("json", [{"id": "1"}, {"id": "2"}]))
    assert whole == {
        "list": "jobs",
        "queue": "chat",
        "state": "failed",
        "at_ms": 5,
        "rows": [{"id": "1"}, {"id": "2"}],
        "partial": None,
    }
    assert json.loads(written("json", [], "stopped by hand"))["partial"] == "stopped by hand"
    assert json.loads(written("json", []))["rows"] == []


def test_markdown_is_the_table_that_was_seen_and_no_markup_of_others() -> None:
    lines = written("md", [{"id": "a|b", "why": "**x** <b>"}], "stopped by hand").splitlines()
    assert lines == [
        "| ID | WHY |",
        "| --- | --- |",
        "| a\\|b | \\*\\*x\\*\\* \\<b\\> |",
        "",
        "partial: stopped by hand",
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_foreign_text_is_inert(form: str) -> None:
    text = written(form, [{"id": item, "why": item, item: [item]} for item in CORPUS])

    assert not dangerous(text.replace("\r\n", "\n"))
    if form == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1
        assert len(rows) == len(CORPUS) + 1


def test_payloads_are_left_out_at_any_depth() -> None:
    record = {"id": "1", "data": {"a": 1}, "signals": [{"name": "go", "data": 2}], "progress": {"x": 1}}

    assert without_payloads(record) == {"id": "1", "signals": [{"name": "go"}]}
    assert without_payloads({"progress": 40, "result": "x"}) == {"progress": 40}
