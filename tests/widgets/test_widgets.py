"""The generic widgets: payloads that fold, lines, meters, charts, safe questions."""

from __future__ import annotations

import json

import pytest
from kits.stage import Stage

from glidemq_console.widgets.chart import Chart, Series
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog, PromptDialog
from glidemq_console.widgets.meters import gauge_parts, sparkline_parts
from glidemq_console.widgets.payload.json_tree import Tree
from glidemq_console.widgets.payload.payload_view import PayloadCard
from glidemq_console.widgets.status_line import PartsView, Rule, StatusLine, TabBar
from glidemq_console.widgets.styled import Styled

# --- payloads ---


def _tree_text(tree: Tree, width: int = 60) -> list[str]:
    return ["".join(part.text for part in line.parts).rstrip() for line in tree.lines(width)]


def test_a_tree_folds_what_is_large_and_names_its_size() -> None:
    tree = Tree({"a": 1, "long": list(range(250)), "text": "x" * 200, "e": {}, "n": None})

    assert _tree_text(tree)[:2] == ["a     1", "long  ▸ 250 items"]
    assert _tree_text(tree)[2].startswith('text  ▸ "xxx')
    assert _tree_text(tree)[2].endswith("200 B")

    tree.toggle(tree.lines(60)[1])
    opened = _tree_text(tree)
    assert opened[101].split() == ["99", "99"]
    assert "150 more" in opened[102]
    tree.toggle(tree.lines(60)[102])
    assert "50 more" in _tree_text(tree)[202]


def test_a_long_name_does_not_push_its_value_off_the_card() -> None:
    name = "amount_" * 22

    lines = _tree_text(Tree({name: 129, "to": "C-1042"}), 50)

    assert "".join(lines[:4]) == name
    assert lines[4:] == ["  129", 'to                "C-1042"']
    assert all(len(line) <= 50 for line in lines)


def test_a_long_number_and_a_deep_value_are_shown_whole() -> None:
    digits = "9" * 300
    deep: object = "the end"
    for _ in range(60):
        deep = {"x": deep}
    tree = Tree({"n": int(digits), "deep": deep})
    while closed := [line for line in tree.lines(50) if line.folds and "▸" in line.parts[-2].text]:
        tree.toggle(closed[-1])

    lines = _tree_text(tree, 50)

    number = lines[: next(at for at, line in enumerate(lines) if line.startswith("deep"))]
    assert "".join(line.removeprefix("n").strip() for line in number) == digits
    assert '"the end"' in lines[-1]
    assert all(len(line) <= 50 for line in lines)


async def test_secrets_stay_masked_until_they_are_asked_for() -> None:
    app = Stage(PayloadCard())
    async with app.run_test() as pilot:
        card = app.query_one(PayloadCard)
        card.show({"api_key": "the secret", "prompt": "[/red] hi"})
        await pilot.pause()
        assert "the secret" not in "\n".join(app.screen_lines())
        assert "the secret" not in card.text
        assert card.masked_count == 1
        assert "[/red] hi" in app.screen_lines()[1]

        card.revealed = True
        await pilot.pause()
        assert "the secret" in "\n".join(app.screen_lines())

        card.show({"api_key": "another", "prompt": ""})
        await pilot.pause()
        assert "another" not in "\n".join(app.screen_lines())


async def test_a_payload_folds_by_key_and_mouse_and_shows_raw() -> None:
    app = Stage(PayloadCard())
    async with app.run_test() as pilot:
        card = app.query_one(PayloadCard)
        card.show({"options": {"deep": 1}, "x": "y"})
        await pilot.pause()
        await pilot.press("left")
        await pilot.pause()
        assert "1 key" in app.screen_lines()[0]
        assert "deep" not in "".join(app.screen_lines())
        await pilot.click(PayloadCard, offset=(6, 0))
        await pilot.pause()
        assert "deep" in "".join(app.screen_lines())
        await pilot.press("j", "left")
        await pilot.pause()
        assert "deep" not in "".join(app.screen_lines())
        card.raw = True
        await pilot.pause()
        assert json.loads("".join(app.screen_lines()).replace("▌", " ")) == {"options": {"deep": 1}, "x": "y"}
        card.show_note("payload of 3 MB is not loaded")
        await pilot.pause()
        assert "not loaded" in app.screen_lines()[0]


# --- lines, meters, charts ---


async def test_lines_show_their_parts_at_every_width() -> None:
    line = StatusLine([Styled("left " * 10)], [Styled("right", "person")])
    gauge, spark = gauge_parts(1.04, 10, "104 / 100"), sparkline_parts([0, 1, 2], 6)
    app = Stage(line, Rule("title"), PartsView([gauge, spark, [Styled("a")], [Styled("b")]]))
    async with app.run_test(size=(30, 8)) as pilot:
        await pilot.pause()
        lines = app.screen_lines()

        assert lines[0].endswith("… right ")
        assert lines[1].startswith("── title ──")
        assert lines[2] == "▕██████████▏ 104 % exceeded  …"
        assert lines[3].rstrip() == "   ▁▄█"
        assert [text.strip() for text in lines[4:6]] == ["a", "b"]


async def test_tabs_shorten_and_are_clicked() -> None:
    app = Stage(TabBar())
    async with app.run_test(size=(24, 3)) as pilot:
        bar = app.query_one(TabBar)
        bar.show(
            [
                (name, [Styled(f"{n} {name}")], [Styled(str(n))])
                for n, name in enumerate(("queues", "jobs", "streams"), 1)
            ],
            "jobs",
        )
        await pilot.pause()
        assert app.screen_lines()[0].rstrip() == " 1  2 jobs  3"

        await pilot.click(TabBar, offset=(12, 0))
        assert app.heard_of(TabBar.Chosen)[-1].key == "streams"


@pytest.mark.parametrize("theme", ["glidemq-dark", "glidemq-ansi"])
async def test_a_chart_draws_its_lines_and_an_empty_one_says_so(theme: str) -> None:
    app = Stage(Chart("done a minute"), theme=theme)
    async with app.run_test(size=(50, 12)) as pilot:
        await pilot.pause()
        assert "no data yet" in app.screen_lines()[1]

        app.query_one(Chart).show(
            [Series(name="done", values=(100.0, None, 250.0, 400.0))], labels=("-1h", "now")
        )
        await pilot.pause()
        text = "\n".join(app.screen_lines())
        assert "400" in text
        assert "-1h" in text
        assert "now" in text


@pytest.mark.parametrize(
    ("width", "title"),
    [(50, "done a minute  ━ done 2  ━ failed 2"), (24, "done a minute"), (12, "done a min…")],
)
async def test_the_titles_of_charts_side_by_side_never_touch(width: int, title: str) -> None:
    app = Stage(Chart("done a minute"))
    async with app.run_test(size=(width, 12)) as pilot:
        both = [Series(name=name, values=(1.0, 2.0)) for name in ("done", "failed")]
        app.query_one(Chart).show(both, labels=("-1h", "now"))
        await pilot.pause()

        assert app.screen_lines()[0].rstrip() == title


# --- questions ---


async def test_the_safe_answer_has_the_focus() -> None:
    app = Stage()
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        for keys in (["enter"], ["escape"], ["n"], ["right", "enter"], ["y"]):
            app.push_screen(ConfirmDialog("Remove [/red] inference:42?", yes="Remove"), answers.append)
            await pilot.pause()
            assert "[/red]" in "\n".join(app.screen_lines())
            await pilot.press(*keys)
            await pilot.pause()

    assert answers == [False, False, False, True, True]


async def test_what_destroys_wants_the_name_typed() -> None:
    app = Stage()
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        app.push_screen(ConfirmDialog("Drain?", yes="Drain", type_this="mail"), answers.append)
        await pilot.pause()
        await pilot.press("m", "a", "i", "enter")
        await pilot.pause()
        assert answers == []
        assert "not the name" in "\n".join(app.screen_lines())
        await pilot.click("#dialog-yes")
        await pilot.pause()
        assert answers == []
        await pilot.press("l", "enter")
        await pilot.pause()

    assert answers == [True]


async def test_a_prompt_takes_only_what_is_valid() -> None:
    app = Stage()
    answers: list[str | None] = []
    async with app.run_test() as pilot:
        ask = PromptDialog(
            "Reject?", label="reason", validate=lambda text: None if text.strip() else "say why"
        )
        app.push_screen(ask, answers.append)
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert "say why" in "\n".join(app.screen_lines())
        await pilot.press("n", "o", "enter")
        await pilot.pause()
        app.push_screen(PromptDialog("Again?"), answers.append)
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()

    assert answers == ["no", None]
