"""The difference that is looked at before a decision: nothing that differs is left out, nothing looks alike."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from glidemq_console.text.differences import value_diff
from glidemq_console.text.safe import MASK


def test_lines_that_look_like_the_head_of_a_difference_are_shown() -> None:
    before = "-- drop\n++ add\n@@ here @@\n--- a\nsame"
    after = "-- keep\n++ more\n@@ there @@\n--- b\nsame"

    lines = value_diff(before, after)

    assert [text for mark, text in lines if mark == "-"] == before.split("\n")[:4]
    assert [text for mark, text in lines if mark == "+"] == after.split("\n")[:4]


def test_lines_that_differ_late_look_different() -> None:
    lines = value_diff({"sql": "x" * 5_000 + " LIMIT 1"}, {"sql": "x" * 5_000 + " LIMIT 1000" + "y" * 900})

    [old] = [text for mark, text in lines if mark == "-"]
    [new] = [text for mark, text in lines if mark == "+"]
    assert "LIMIT 1" in old
    assert "LIMIT 1000" in new
    assert max(len(old), len(new)) < 1_500
    assert old.startswith("… x")


def test_a_second_change_far_behind_the_first_is_shown_too() -> None:
    before = "a" + "x" * 1_000 + "b" + "y" * 1_000
    after = "A" + "x" * 1_000 + "B" + "y" * 1_000

    [(_, old), (_, new)] = value_diff(before, after)

    assert "xb" in old
    assert "xB" in new
    assert new.endswith("y …")


def test_what_is_left_out_in_the_middle_of_a_line_is_counted() -> None:
    [_, (_, new)] = value_diff("[]", f"[{'x' * 10_000}END]")

    assert "… 6,005 characters …" in new
    assert new.endswith("END]")


def test_characters_that_are_drawn_alike_are_told_apart() -> None:
    [(_, old), (_, new)] = value_diff("pay\u200bpal", "pay\u200cpal")

    assert (old, new) == ("pay\\u200bpal", "pay\\u200cpal")


def test_a_long_difference_says_how_much_more_there_is() -> None:
    lines = value_diff("a", "\n".join(str(n) for n in range(100)), most=10)

    assert len(lines) == 11
    assert lines[-1] == (" ", "… 91 lines more")


def test_texts_that_are_long_and_wholly_different_are_compared_in_time() -> None:
    before = "\n".join("the same line" for _ in range(40_000))
    after = "\n".join("another line" for _ in range(40_000))

    assert value_diff(before, after)[-1] == (" ", "… 79,960 lines more")


def test_secrets_are_masked_until_they_are_revealed() -> None:
    before, after = {"api_key": "k1", "n": 1}, {"api_key": "k2", "n": 2}

    assert not any("k1" in text or "k2" in text for _, text in value_diff(before, after))
    assert MASK in value_diff(before, after)[0][1]
    assert any("k2" in text for _, text in value_diff(before, after, reveal=True))


texts = st.lists(st.text("ab-+@ \u200b\u200c", max_size=6), max_size=8).map("\n".join)


@given(texts, texts)
@example("\n\n@", "\n@\n")
def test_every_line_that_went_or_came_is_shown(before: str, after: str) -> None:
    lines = value_diff(before, after, most=1_000, reveal=True)

    assert bool(lines) == (before != after)
    went = sum(mark == "-" for mark, _ in lines)
    came = sum(mark == "+" for mark, _ in lines)
    assert came - went == after.count("\n") - before.count("\n")
    # Only a line that moved is both among those that went and among those that came.
    if sorted(before.split("\n")) != sorted(after.split("\n")):
        assert [t for m, t in lines if m == "-"] != [t for m, t in lines if m == "+"]
