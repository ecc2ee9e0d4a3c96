"""Where a text can be saved: whatever is typed gets an answer, and nothing is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from glidemq_console.saving.files import save, suggested, why_not_save


def test_a_new_file_is_written_once(tmp_path: Path) -> None:
    where = str(tmp_path / "stream.txt")
    assert why_not_save(where) is None

    assert save(where, "text") == f"saved to {where}"

    assert Path(where).read_text() == "text\n"
    assert why_not_save(where) == "that file exists; name another one"
    assert save(where, "other") == "not saved: that file exists; name another one"
    assert Path(where).read_text() == "text\n"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("  ", "name a file"),
        ("{folder}", "name a file"),
        ("{folder}/none/x", "there is no such folder"),
        ("{folder}/" + "x" * 300, "file name too long"),
        ("~nobody-of-this-name/x", "could not determine home directory"),
        ("{folder}/a\0b", "null"),
    ],
)
def test_what_cannot_be_a_file_is_told(tmp_path: Path, where: str, words: str) -> None:
    place = where.replace("{folder}", str(tmp_path))

    assert words in (why_not_save(place) or save(place, "text"))
    assert save(place, "text").startswith("not saved: ")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_name_makes_a_plain_file_name() -> None:
    assert suggested("../chat:\x1b]0;x\x07 7") == str(Path.cwd() / "chat-0-x-7.txt")
    assert suggested("::") == str(Path.cwd() / "stream.txt")
