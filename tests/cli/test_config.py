"""The config file and the themes: what is refused, and what a change leaves as it stood."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glidemq_console.config.file import edited
from glidemq_console.screens.table import SCREENS
from glidemq_console.theme.files import load_themes, user_folder

from .harness import Ran, through_a_pty

Run = Callable[..., Ran]

COMMENTED = """\
# What all share.
refresh = "2s"  # not too often
queues = [
    "chat",  # people
]

# The real thing.
[profiles.prod]
url = 'valkey://prod' # by the door
"""


@pytest.fixture
def mine(environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folder of the user's own themes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    folder = user_folder()
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("refresh", "5s", '"2s"  # not', '"5s"  # not'),
        ("theme", "glidemq-light", "]\n\n# The", ']\ntheme = "glidemq-light"\n\n# The'),
        ("profiles.prod.url", "valkey://b", "'valkey://prod' #", '"valkey://b" #'),
        ("profiles.prod.read_only", "true", "door\n", "door\nread_only = true\n"),
        (
            "profiles.other one.url",
            "valkey://o",
            "door\n",
            'door\n\n[profiles."other one"]\nurl = "valkey://o"\n',
        ),
    ],
)
def test_config_set_keeps_the_rest_of_the_file(
    run: Run, environment: None, tmp_path: Path, key: str, value: str, old: str, new: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(COMMENTED)
    assert run("config", "set", key, value).code == 0
    assert path.read_text() == COMMENTED.replace(old, new)
    assert path.stat().st_mode & 0o777 == 0o600


def test_config_set_replaces_a_list_over_several_lines(run: Run, environment: None, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(COMMENTED)
    assert run("config", "set", "queues", "a,b").code == 0
    assert path.read_text() == COMMENTED.replace('[\n    "chat",  # people\n]', '["a", "b"]')


def test_config_set_follows_a_link(run: Run, environment: None, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("# mine\n")
    (tmp_path / "config.toml").symlink_to(real)
    assert run("config", "set", "refresh", "3s").code == 0
    assert real.read_text() == '# mine\nrefresh = "3s"\n'
    assert (tmp_path / "config.toml").is_symlink()


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("", {"theme": "x"}, 'theme = "x"\n'),
        ("user = 'u'", {"user": "u", "theme": "x"}, "user = 'u'\ntheme = \"x\"\n"),
        ("# a\r\ntheme = 'y' # b\r\n", {"theme": "x"}, '# a\r\ntheme = "x" # b\r\n'),
        (
            "# prod\n[profiles.p]\n",
            {"theme": "x", "profiles": {"p": {}}},
            'theme = "x"\n\n# prod\n[profiles.p]\n',
        ),
        ("[profiles.p]\ntheme = 'y'\n", {"theme": "x", "profiles": {"p": {"theme": "y"}}}, None),
        ("profiles.p.url = 'y'\n", {"theme": "x", "profiles": {"p": {"url": "y"}}}, None),
        ("theme = '''y'''\n", {"theme": "x"}, 'theme = "x"\n'),
    ],
)
def test_an_edit_changes_one_value_only(text: str, wanted: dict[str, Any], expected: str | None) -> None:
    found = edited(text, ["theme"], "x")
    assert tomllib.loads(found) == wanted
    if expected:
        assert found == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name = 'mine'\ndark = tru", "mine.toml: not TOML"),
        ("name = 'mine'\n[colors]\nprimary = '#123456'\n", "colors.foreground is missing"),
        ("name = 'mine'\n[colors]\nprimary = '#12zz'\n", "colors.primary must be a colour"),
        (None, "no theme 'mine'; there are glidemq-dark"),
    ],
)
def test_a_theme_that_cannot_be_used_is_refused_before_the_screen(
    run: Run, mine: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (mine / "mine.toml").write_text(content)
    ran = run("config", "set", "theme", "mine")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert says in ran.err

    code, seen = through_a_pty("console", "--theme", "mine", "--url", "embedded:")
    assert (code, seen.count(b"\n")) == (2, 1)
    assert says in seen.decode()
    assert b"\x1b" not in seen


@pytest.mark.parametrize("command", ["console", "demo"])
def test_an_unknown_theme_in_the_config_is_refused_before_the_screen(
    mine: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "config.toml").write_text("theme = 'neon'\n")
    code, seen = through_a_pty(command)
    assert (code, seen.count(b"\n")) == (2, 1)
    assert b"no theme 'neon'; there are glidemq-dark" in seen
    assert not (tmp_path / "data").exists()


def test_a_theme_of_ones_own_can_be_set(run: Run, mine: Path) -> None:
    (mine / "mine.toml").write_text(
        "[colors]\nprimary = '#ffb000'\nforeground = '#ffcc66'\nbackground = '#100c00'\n"
    )
    assert run("config", "set", "theme", "mine").code == 0
    assert run("config", "show", "--json").object["config"]["theme"] == "mine"


def test_a_password_file_in_the_home_folder(
    run: Run, environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ran = run("queues", "--url", "valkey://127.0.0.1:1", "--password-file", "~/secret")
    assert (ran.code, "cannot read password file" in ran.err) == (2, True)
    (tmp_path / "secret").write_text("sesame\n")
    assert run("queues", "--url", "valkey://127.0.0.1:1", "--password-file", "~/secret").code == 3
    (tmp_path / "config.toml").write_text("password_file = '~/secret'\nurl = 'valkey://127.0.0.1:1'\n")
    assert run("queues").code == 3


def test_help_shows_names_and_no_python_types(run: Run, environment: None) -> None:
    for command in ("add", "approve", "config", "tail", "worker"):
        told = run(command, "--help").out
        assert "<str>" not in told
        assert "list[str]" not in told
    assert re.search(r"^  JOB  +QUEUE:ID", told := run("tail", "--help").out, re.MULTILINE), told
    assert "show|path|edit|set|profiles" in run("config", "--help").out


def test_the_help_of_console_names_every_screen_and_theme(run: Run, environment: None) -> None:
    told = run("console", "--help").out
    assert not {spec.name for spec in SCREENS} - set(re.findall(r"[a-z]+", told))
    for name in load_themes(Path("/no such folder")).names:
        assert f"-{name.partition('-')[2]}" in told


@pytest.mark.parametrize(
    "url", ["h:1?password=pw123456789", "u:pw123456789@h", "host=h password=pw123456789"]
)
@pytest.mark.parametrize("how", [["show"], ["show", "--json"], ["profiles"], ["profiles", "--json"]])
def test_whatever_stands_for_a_url_is_shown_without_its_password(
    run: Run, environment: None, tmp_path: Path, url: str, how: list[str]
) -> None:
    (tmp_path / "config.toml").write_text(f'url = "{url}"\n[profiles.p]\nurl = "{url}"\n')

    ran = run("config", *how)

    assert ran.code == 0
    assert "pw123" not in ran.out + ran.err


def test_how_the_console_notifies_is_one_of_a_few(run: Run, environment: None, tmp_path: Path) -> None:
    refused = run("config", "set", "notify", "loudly")
    assert refused.code == 2
    assert "must be one of auto, off, bell, osc9, osc777" in refused.err

    assert run("config", "set", "notify", "osc9").code == 0
    assert run("config", "set", "calm", "true").code == 0
    shown = run("config", "show").out
    assert re.search(r"notify +osc9", shown)
    assert re.search(r"calm +(?:true|yes)", shown)


def test_an_unknown_notice_is_refused_before_the_screen_is_taken(environment: None) -> None:
    code, shown = through_a_pty("console", "--notify", "loudly")
    assert code == 2
    assert b"--notify 'loudly' is unknown" in shown
    assert b"\x1b[?1049h" not in shown
