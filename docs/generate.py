"""Write the pages that the code itself knows: `cli.md` from the commands, `json.md` from what they print, `keys.md`
from the console's actions, `python.md` from signatures and docstrings.

    python docs/generate.py [--check]

With `--check` nothing is written; the exit code is 1 when a page is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the code instead. -->"
_BARS = str.maketrans({"|": "\\|", "\n": " "})


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.translate(_BARS) for cell in row) + " |"
    yield ""


def cli_page() -> str:
    """The command line reference."""
    import typer

    from glidemq_console.cli import commands
    from glidemq_console.cli.program import GLOBAL_PARAMETERS, program

    commands.register()
    group: Any = typer.main.get_command(program)
    lines = [
        "# The command line",
        "",
        NOTE,
        "",
        "`glidemq COMMAND ...`. What is asked for goes to stdout, everything else to stderr; `--json` writes one",
        "object (a command that follows writes one a line). JOB is `QUEUE:ID`, an id with `-q QUEUE`, or an id that",
        "only one known queue has. Durations are `500ms`, `30s`, `5m`, `2h`, `1d`; a plain number is seconds. JSON",
        "arguments are text, `@FILE`, or `-` for standard input.",
        "",
        *table(
            ("Exit code", "Means"),
            [
                ("0", "done"),
                ("1", "the answer is no: not found, failed, not suspended any more, any of several refused"),
                ("2", "a command line that cannot mean anything"),
                ("3", "the server cannot be reached or does not answer"),
                (
                    "4",
                    "not allowed: password, ACL, `--read-only`, a password over plain text to a public address",
                ),
                ("70", "a defect of glidemq"),
                ("130", "interrupted"),
            ],
        ),
        "With `--json` a command writes [objects of fixed keys](json.md), and an error as one line on stderr:",
        '`{"error": {"type": ..., "message": ..., "exit_code": ...}}`.',
        "",
        "## Options of every command",
        "",
        "They stand before or after the command; `-h` or `--help` shows what a command takes.",
        "",
        *_options(p for p in group.params if p.name in GLOBAL_PARAMETERS),
    ]
    for name, command in group.commands.items():
        own = [p for p in command.params if p.name not in (*GLOBAL_PARAMETERS, "help")]
        arguments = [p for p in own if p.param_type_name == "argument"]
        options = [p for p in own if p.param_type_name == "option"]
        usage = " ".join(["glidemq", name, *(["[OPTIONS]"] if options else []), *map(_metavar, arguments)])
        lines += [f"## {name}", "", " ".join((command.help or "").split()), "", f"    {usage}", ""]
        if arguments:
            lines += table(("Argument", "Means"), ((f"`{_name(a)}`", _help(a)) for a in arguments))
        if options:
            lines += _options(options)
    return "\n".join(lines).rstrip() + "\n"


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper()


def _metavar(argument: Any) -> str:
    text = _name(argument) + ("..." if argument.nargs == -1 else "")
    return text if argument.required else f"[{text}]"


def _help(parameter: Any) -> str:
    return str(parameter.help or "")


def _options(options: Iterable[Any]) -> Iterator[str]:
    rows = []
    for option in options:
        names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
        if option.secondary_opts:
            names += ", " + ", ".join(f"`{name}`" for name in option.secondary_opts)
        value = "" if option.is_flag else f" `{option.metavar or 'VALUE'}`"
        rows.append((names + value, _help(option) + _default(option)))
    yield from table(("Option", "Means"), rows)


def _default(option: Any) -> str:
    value = option.default
    if callable(value) or value in (None, False, True, (), []):
        return ""
    return f" Default: `{value}`."


def keys_page() -> str:
    """The key reference of the console."""
    from glidemq_console.actions.base import EVERYWHERE, Danger
    from glidemq_console.screens.help import _MOVES
    from glidemq_console.screens.registry import ACTIONS, key_text

    asks = {
        Danger.NONE: "",
        Danger.CHANGE: "changes",
        Danger.CONFIRM: "changes, asks first",
        Danger.TYPED: "destroys, the name has to be typed",
    }
    lines = [
        "# Keys of the console",
        "",
        NOTE,
        "",
        "`?` shows the keys of the screen you are on, with the reason where one does not work now. `^` is ctrl. What",
        "has a name on the `:` line can be typed there; tab completes it.",
        "",
    ]
    scopes = dict.fromkeys([EVERYWHERE, *(action.scope for action in ACTIONS.values())])
    for scope in scopes:
        rows = [
            (
                " ".join(f"`{key_text(key)}`" for key in action.keys),
                f"`:{action.command}`" if action.command else "",
                action.help,
                asks[action.danger],
            )
            for action in ACTIONS.values()
            if action.scope == scope
        ]
        lines += [f"## {scope}", "", *table(("Keys", "Command", "Does", "Changes anything?"), rows)]
    lines += ["## lists", "", *table(("Keys", "Do"), ((f"`{keys}`", words) for keys, words in _MOVES))]
    return "\n".join(lines).rstrip() + "\n"


def json_page() -> str:
    """What `--json` writes."""
    from json_page import ANSWERS, INTRODUCTION, STATES, object_rows

    lines = [
        "# What --json writes",
        "",
        NOTE,
        "",
        INTRODUCTION,
        "",
        "## Commands",
        "",
        *table(("Command", "Writes"), ((f"`{name}`", _coded(answer)) for name, answer in ANSWERS)),
        "## Objects",
        "",
        *table(("Object", "Keys"), object_rows()),
        STATES,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _coded(answer: str) -> str:
    """Set the objects of an answer in code, the words between them not."""
    return re.sub(r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}\??", r"`\g<0>`", answer)


def python_page() -> str:
    """The reference of the Python names."""
    from python_page import INTRODUCTION, sections

    lines = ["# The Python names", "", NOTE, "", INTRODUCTION, ""]
    for heading, words, head, rows in sections():
        lines += [f"## {heading}", "", *([words, ""] if words else []), *table(head, rows)]
    return "\n".join(lines).rstrip() + "\n"


PAGES = {"cli.md": cli_page, "json.md": json_page, "keys.md": keys_page, "python.md": python_page}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are stale."""
    stale = 0
    for name, page in PAGES.items():
        path, text = HERE / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"docs/{name} is stale: run python docs/generate.py", file=sys.stderr)
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
