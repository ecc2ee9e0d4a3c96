"""Themes are readable, complete, and a broken one is a line of text rather than a crash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.app import App
from textual.color import Color
from textual.theme import Theme

from glidemq_console.text.format import STATES
from glidemq_console.theme import files as themes
from glidemq_console.theme.style import theme_style

#: Where text stands.
GROUNDS = (
    *("background", "surface", "panel", "cursor-background", "cursor-blurred-background"),
    *("error-background", "warning-background", "success-background"),
)
NOT_TEXT = {
    "hairline",
    "gauge-empty",
    "match-foreground",
    *(name for name in themes.VARIABLES if "background" in name),
}
PACKAGED = themes.load_themes(Path("/no such folder"))


def _luminance(color: str) -> float:
    channels = [value / 255 for value in Color.parse(color).rgb]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _variables(theme: Theme) -> dict[str, str]:
    return theme.to_color_system().generate() | theme.variables


def test_the_packaged_themes_are_all_usable() -> None:
    assert PACKAGED.problems == ()
    assert PACKAGED.names[0] == themes.DEFAULT_THEME
    assert {"glidemq-dark", "glidemq-light", "glidemq-colorblind", "glidemq-ansi"} <= set(PACKAGED.names)


@pytest.mark.parametrize(
    "theme", [theme for theme in PACKAGED.themes if not theme.ansi], ids=lambda theme: theme.name
)
def test_every_text_stands_out_from_every_ground(theme: Theme) -> None:
    variables = _variables(theme)
    texts = ["foreground", *(name for name in themes.VARIABLES if name not in NOT_TEXT)]

    low = {
        (text, ground): round(_contrast(variables[text], variables[ground]), 2)
        for text in texts
        for ground in GROUNDS
        if _contrast(variables[text], variables[ground]) < 4.5
    }

    assert low == {}
    assert _contrast(variables["match-foreground"], variables["match-background"]) >= 4.5
    assert _contrast(variables["background"], variables["focus"]) >= 4.5
    assert _contrast(variables["background"], variables["error"]) >= 4.5


@pytest.mark.parametrize("theme", PACKAGED.themes, ids=lambda theme: theme.name)
def test_every_state_has_a_colour_and_only_a_person_is_magenta(theme: Theme) -> None:
    variables = _variables(theme)

    assert {look.style for look in STATES.values()} <= set(variables)
    assert variables["state-suspended"] == variables["person"]
    others = [variables[name] for name in themes.VARIABLES if name not in ("person", "state-suspended")]
    assert variables["person"] not in others


@pytest.mark.parametrize("theme", [*PACKAGED.themes, None], ids=lambda theme: theme.name if theme else "nord")
async def test_an_app_starts_with_every_theme(theme: Theme | None) -> None:
    class Themed(App[None]):
        CSS = "Screen { color: $dim; background: $cursor-background; border: round $person; }"

        def get_theme_variable_defaults(self) -> dict[str, str]:
            return themes.variable_defaults()

    app = Themed()
    themes.register_themes(app, PACKAGED)
    async with app.run_test():
        app.theme = theme.name if theme else "nord"

        assert theme_style(app, "person", "bold").bold
        assert theme_style(app, "foreground", on="cursor-background").bgcolor is not None


GOOD = '[colors]\nprimary = "#112233"\nforeground = "white"\nbackground = "#000"\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("= nonsense", "not TOML"),
        ("\x00\x1b]52;c;x\x07", "not TOML"),
        ("name = 'x'", "colors.primary is missing"),
        (GOOD + "wrong = 'red'", "colors.wrong is unknown; allowed: primary"),
        (GOOD + "[variables]\nperson = 'no colour'", "variables.person must be a colour"),
        (GOOD + "[variables]\nperson = 5", "variables.person must be a colour"),
        (GOOD + "[variables]\nstate-gone = 'red'", "variables.state-gone is unknown"),
        ("dark = 'yes'\n" + GOOD, "dark must be true or false"),
        ("name = '../x'\n" + GOOD, "name must be lower-case letters"),
        ("colors = 3", "colors must be a table"),
        ("extra = 1\n" + GOOD, "extra is unknown; allowed: name"),
        ("#" * 70_000, "larger than 64 kB"),
    ],
)
def test_a_broken_theme_is_one_clear_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "mine.toml").write_text(content)

    loaded = themes.load_themes(tmp_path)

    assert loaded.names == PACKAGED.names
    (problem,) = loaded.problems
    assert "mine.toml" in problem
    assert says in problem
    assert re.search(r"[\x00-\x1f\x7f-\x9f]", problem) is None


def test_bytes_that_are_not_text_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.toml").mkdir()

    assert len(themes.load_themes(tmp_path).problems) == 2


def test_a_theme_of_the_user_needs_three_colours_only(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)

    loaded = themes.load_themes(tmp_path)

    mine = next(theme for theme in loaded.themes if theme.name == "mine")
    assert loaded.problems == ()
    assert set(themes.VARIABLES) <= set(mine.variables)


def test_a_theme_of_the_user_replaces_the_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("name = 'glidemq-dark'\n" + GOOD)

    loaded = themes.load_themes(tmp_path)

    assert loaded.names == PACKAGED.names
    assert loaded.themes[0].primary == "#112233"


def test_an_unknown_name_falls_back_and_says_so() -> None:
    name, problem = themes.pick_theme("neon\x1b", PACKAGED, {})

    assert name == themes.DEFAULT_THEME
    assert problem is not None
    assert "no theme 'neon␛'; there are glidemq-dark" in problem
    assert themes.pick_theme("glidemq-light", PACKAGED, {}) == ("glidemq-light", None)
    assert themes.pick_theme(None, PACKAGED, {}) == (themes.DEFAULT_THEME, None)


def test_no_color_is_honoured() -> None:
    assert themes.pick_theme("glidemq-light", PACKAGED, {"NO_COLOR": "1"}) == (themes.ANSI_THEME, None)
    assert not themes.no_color({"NO_COLOR": ""})


def test_colours_stand_in_themes_only() -> None:
    package = Path(themes.__file__).parent.parent
    sources = [*package.rglob("*.py"), *package.rglob("*.tcss")]

    literal = re.compile(r"#[0-9a-fA-F]{6}\b|\bansi_(?:red|green|blue|yellow|magenta|cyan)\b")
    found = [
        path.name
        for path in sources
        if path.parent.name != "theme" and literal.search(path.read_text("utf-8"))
    ]

    assert found == []
