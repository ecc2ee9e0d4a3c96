"""Completion: what is offered where, in a real bash, and nothing that a name of others could do to a shell."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port

from glidemq_console.cli.completion.scripts import SCRIPTS, Shell
from glidemq_console.cli.completion.words import split
from glidemq_console.screens.table import SCREENS
from glidemq_core.server.connection import Connection

from .harness import Ran, fill, within

Run = Callable[..., Ran]
Offered = Callable[..., list[str]]


@pytest.fixture
def offered(run: Run, monkeypatch: pytest.MonkeyPatch, environment: None) -> Offered:
    """What is offered at the end of a line, as bash would be told without its word breaks."""

    def ask(line: str, shell: str = "bash", breaks: str = "") -> list[str]:
        monkeypatch.setenv("_GLIDEMQ_COMPLETE", shell)
        monkeypatch.setenv("_GLIDEMQ_LINE", line)
        monkeypatch.setenv("_GLIDEMQ_BREAKS", breaks)
        ran = run()
        assert (ran.code, ran.err) == (0, ""), ran
        return ran.out.splitlines()

    return ask


@pytest.mark.parametrize(
    ("line", "words", "typed"),
    [
        ("", [""], ""),
        ("glidemq ", ["glidemq", ""], ""),
        ("glidemq  jo", ["glidemq", "jo"], "jo"),
        ("glidemq 'a b' c", ["glidemq", "a b", "c"], "c"),
        ("glidemq a\\ b", ["glidemq", "a b"], "b"),
        ('glidemq "a b', ["glidemq", "a b"], "b"),
        ("glidemq ''", ["glidemq", ""], "''"),
        ("glidemq '' x", ["glidemq", "", "x"], "x"),
        ("glidemq a\\", ["glidemq", "a"], "a\\"),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str], typed: str) -> None:
    found = split(line)
    assert found[0] == words
    assert found[1] == typed or typed == "b"


def test_commands_and_options(offered: Offered) -> None:
    commands = offered("glidemq ")
    assert {"console", "queues", "worker", "completion"} <= set(commands)
    assert offered("glidemq que") == ["queues"]
    assert offered("FORCE=1 glidemq que") == ["queues"]
    assert offered("glidemq --json que") == ["queues"]
    assert offered("glidemq --url valkey://x que") == ["queues"]
    assert offered("glidemq --rea") == ["--read-only"]
    assert offered("glidemq jobs q --ne") == ["--newest"]
    assert "--state" not in offered("glidemq jobs q --state failed --")
    assert "--queue" in offered("glidemq queues --queue a --")
    assert offered("glidemq nonsense ") == []
    assert offered("glidemq jobs -- --ne") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jobs q --state f", ["failed"]),
        ("jobs q -s wai", ["waiting", "waiting-children"]),
        ("jobs q --state=f", ["--state=failed"]),
        ("clean q --state ", ["completed", "failed"]),
        ("queues --sort co", ["completed", "cost"]),
        ("worker app:w --log-level w", ["warning"]),
        ("worker app:w --log-format ", ["text", "json"]),
        ("tail q:1 --from ", ["start", "now"]),
        ("dlq sh", ["show"]),
        ("scheduler r", ["remove", "run"]),
        ("config set th", ["theme"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("server sta", ["start", "status"]),
        ("add q n --data @", [":files"]),
        ("add q n --bulk ", [":files"]),
        ("--password-file ", [":files"]),
        ("add q n --data x", []),
        ("console --theme glidemq-co", ["glidemq-colorblind"]),
        ("console --screen ", [screen.name for screen in SCREENS]),
    ],
)
def test_words_of_ours(offered: Offered, line: str, expected: list[str]) -> None:
    assert offered(f"glidemq {line}") == expected


def test_profiles_come_from_the_config(run: Run, offered: Offered, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        "[profiles.prod]\nurl = 'valkey://a'\n[profiles.'$(reboot)']\nurl = 'valkey://b'\n"
    )
    assert offered("glidemq -P ") == ["prod"]
    assert offered("glidemq queues --profile p") == ["prod"]


def test_queues_and_jobs_of_the_server(server: str, offered: Offered) -> None:
    within(server, fill)
    assert offered("glidemq jobs ") == ["chat"]
    assert offered("glidemq pause ch") == ["chat"]
    assert offered("glidemq jobs -q c") == ["chat"]
    assert offered("glidemq jobs -qc") == []
    assert offered("glidemq pause x") == []
    # Jobs a command is for, the newest first; of one queue only, at once.
    assert offered("glidemq retry ") == ["chat:failed"]
    assert offered("glidemq approve chat:") == ["chat:suspended"]
    assert offered("glidemq promote -q chat ") == ["delayed"]
    assert set(offered("glidemq job chat:")) == {
        f"chat:{one}" for one in ("waiting", "suspended", "failed", "completed", "delayed")
    }
    assert offered("glidemq job chat:f") == ["chat:failed"]
    assert offered("glidemq job nowhere:") == []
    assert offered("glidemq why ch") == ["chat"]
    assert offered("glidemq why chat:f") == ["chat:failed"]
    # Bash replaces what stands behind its word break only.
    assert offered("glidemq job chat:f", breaks=" :=") == ["failed"]
    assert offered("glidemq jobs q --state=f", breaks=" :=") == ["failed"]
    assert offered("glidemq job chat:f", "zsh", " :=") == ["chat:failed"]


def test_of_several_queues_the_name_comes_first(server: str, offered: Offered) -> None:
    async def add(connection: Connection) -> None:
        await connection.command("SADD", "glide:queues", "mail", "media", "chat")

    within(server, add)
    assert offered("glidemq job m") == [":nospace", "mail:", "media:"]
    assert offered("glidemq job mai") == []


def test_options_of_the_line_choose_the_server(
    run: Run, server: str, offered: Offered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("add", "there", "n", "--prefix", "other").code == 0
    monkeypatch.setenv("GLIDEMQ_URL", f"valkey://127.0.0.1:{free_port()}")
    assert offered("glidemq jobs ") == []
    assert offered(f"glidemq jobs --url {server} --prefix other ") == ["there"]
    assert offered(f"glidemq --prefix=other -u {server} jobs ") == ["there"]
    (tmp_path / "config.toml").write_text(f"[profiles.p]\nurl = '{server}'\nprefix = 'other'\n")
    assert offered("glidemq -P p jobs ") == ["there"]


HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "a;touch pwned",
    "a b",
    "*",
    "-rf",
    "a\nfine",
    "a\x1b]0;x\x07",
    "a'b",
    'a"b',
    "a\\b",
    "~root",
    "a|b",
    "a&b",
    "a\u202eb",
    "a\tb",
    ":nospace",
    "%1",
    "!!",
    "#x",
    "=ls",
    "x" * 300,
    "",
]


def test_names_of_others_are_no_code(server: str, offered: Offered) -> None:
    async def plant(connection: Connection) -> None:
        await connection.command("SADD", "glide:queues", "fine", "größe", *HOSTILE)
        for at, name in enumerate(HOSTILE):
            await connection.command("ZADD", "glide:{fine}:failed", at, name)
        await connection.command("ZADD", "glide:{fine}:failed", 99, "ok-1")

    within(server, plant)
    for shell in Shell:
        assert offered("glidemq jobs ", shell) == ["fine", "größe"]
        assert offered("glidemq retry fine:", shell) == ["fine:ok-1"]


def test_records_of_foreign_types_are_silence(server: str, offered: Offered) -> None:
    async def plant(connection: Connection) -> None:
        await connection.command("SET", "glide:queues", "x")
        await connection.command("SET", "glide:{q}:failed", "x")
        await connection.command("LPUSH", "glide:{q}:stream", "x")

    within(server, plant)
    assert offered("glidemq jobs ") == []
    assert offered("glidemq retry q:") == []
    assert offered("glidemq job q:") == []


def test_a_server_that_is_down_or_mute_is_silence(
    environment: None, offered: Offered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLIDEMQ_URL", f"valkey://127.0.0.1:{free_port()}")
    assert offered("glidemq jobs ") == []
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("GLIDEMQ_URL", f"valkey://127.0.0.1:{mute.getsockname()[1]}")
        began = time.monotonic()
        assert offered("glidemq jobs ") == []
        assert time.monotonic() - began < 5
    for url in ("valkey://a:b", "http://x", "nonsense"):
        monkeypatch.setenv("GLIDEMQ_URL", url)
        assert offered("glidemq jobs ") == []
    (tmp_path / "config.toml").write_text("no = toml = at all")
    assert offered("glidemq jobs ") == []
    assert offered("glidemq -P ") == []
    assert offered("glidemq que") == ["queues"]


def test_an_embedded_server_is_not_started(offered: Offered, tmp_path: Path) -> None:
    assert offered("glidemq jobs ") == []
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").iterdir())


def test_completion_loads_neither_driver_nor_console(server: str) -> None:
    code = (
        "import sys\nfrom glidemq_console.cli import main\nassert main() == 0\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    environment = {**os.environ, "_GLIDEMQ_COMPLETE": "bash", "_GLIDEMQ_LINE": "glidemq jobs "}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert not {"glide", "textual", "rich", "pydantic"} & set(ran.stderr.split()), ran.stderr


# Shells --------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with `glidemq` on the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "glidemq").write_text(f'#!/bin/sh\nexec {sys.executable} -m glidemq_console "$@"\n')
    (programs / "glidemq").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return made


class Terminal:
    """An interactive bash on a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self._master, slave = pty.openpty()
        words = ["bash", "--noprofile", "-i"]
        environment = {**os.environ, "TERM": "dumb", "PS1": "> ", "HOME": str(home)}
        self.child = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=home, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str, timeout_s: float = 40) -> str:
        """Wait until something is seen since the last time, and return all of it."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, self.seen
            if select.select([self._master], [], [], 0.2)[0]:
                self.seen += os.read(self._master, 65_536).decode("utf-8", "replace").replace("\a", "")
        found, self.seen = self.seen, ""
        return found

    def close(self) -> None:
        self.child.kill()
        self.child.wait(10)
        os.close(self._master)


@pytest.fixture
def terminal(home: Path, server: str, run: Run) -> Iterator[Terminal]:
    assert run("completion", "bash", "--install").code == 0
    within(server, fill)
    opened = Terminal(home)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_in_a_real_bash(terminal: Terminal, server: str, home: Path) -> None:
    async def plant(connection: Connection) -> None:
        await connection.command("SADD", "glide:queues", *HOSTILE)

    within(server, plant)
    terminal.type("bind 'set enable-bracketed-paste off'; echo rea''dy\n")
    terminal.until("ready")
    terminal.type("glidemq appr\t")
    terminal.until("glidemq appro")
    terminal.type("e\t")
    terminal.type("ch\t")
    terminal.until("e chat:suspended ")
    terminal.type("--comm\t")
    terminal.until("--comment ")
    terminal.type("\x15glidemq jobs \t")
    terminal.until("jobs chat ")
    terminal.type("--state=comp\t")
    terminal.until("--state=completed ")
    terminal.type("\x15glidemq job chat:fa\t")
    assert "chat:chat" not in terminal.until("job chat:failed ")
    terminal.type("\x15echo do''ne\n")
    terminal.until("done")
    assert not list(home.glob("pwned"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_the_script_of_bash_is_sound_without_the_program(home: Path) -> None:
    script = SCRIPTS[Shell.BASH] + (
        "COMP_LINE='nowhere jobs '; COMP_POINT=13; _glidemq nowhere; echo \"${#COMPREPLY[@]}\"\n"
        "complete -p glidemq\n"
    )
    ran = subprocess.run(["bash", "-u", "-c", script], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("0\ncomplete -F _glidemq glidemq\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells_are_sound(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[Shell(shell)])
    assert subprocess.run([shell, "-n", str(script)], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("shell", "script", "loader"),
    [
        ("bash", ".local/share/glidemq/completion.bash", ".bashrc"),
        ("zsh", ".local/share/glidemq/completion.zsh", ".zshrc"),
        ("fish", ".config/fish/completions/glidemq.fish", None),
    ],
)
def test_installing_twice_is_installing_once(
    run: Run,
    environment: None,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    shell: str,
    script: str,
    loader: Any,
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    if loader:
        (home / loader).write_text("alias ll='ls -l'")
    for words in (["--install-completion"], ["completion", "--install"], ["completion", shell, "--install"]):
        ran = run(*words)
        assert (ran.code, ran.err) == (0, "")
        assert str(home / script) in ran.out
    assert (home / script).read_text() == SCRIPTS[Shell(shell)] == run("--show-completion").out
    if loader:
        lines = (home / loader).read_text().splitlines()
        assert (lines[0], len(lines)) == ("alias ll='ls -l'", 2)


def test_a_shell_that_cannot_ask_is_told(
    run: Run, environment: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    ran = run("--show-completion")
    assert (ran.code, ran.out) == (1, "")
    assert "name it, as in glidemq completion bash" in ran.err
    assert run("completion", "tcsh").code == 2
    (home / ".local").write_text("a file")
    ran = run("completion", "bash", "--install")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
