"""Write the pages that the code itself knows: `cli.md` and the man page `glidemq.1` from the commands, `json.md` from
what they print, `keys.md` from the console's actions, `python.md` from signatures and docstrings; and the users of
the server in `security.md` and `operations.md`.

    python docs/generate.py [--check]

With `--check` nothing is written; the exit code is 1 when a page is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tables import table

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the code instead. -->"


def cli_page() -> str:
    """The command line reference."""
    from man_page import EXIT_CODES

    group = _group()
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
        *table(("Exit code", "Means"), EXIT_CODES),
        "With `--json` a command writes [objects of fixed keys](json.md), and an error as one line on stderr:",
        '`{"error": {"type": ..., "message": ..., "exit_code": ...}}`.',
        "",
        "`glidemq --install-completion` makes bash, zsh or fish complete commands, options and their words, and names",
        "of queues and recent jobs; the server has a second to tell them. `glidemq completion SHELL` shows the script.",
        "Names that a shell could take for more than a name are left out.",
        "",
        "## Options of every command",
        "",
        "They stand before or after the command; `-h` or `--help` shows what a command takes.",
        "",
        *_options(p for p in group.params if p.name in _shared()),
    ]
    for name, command in group.commands.items():
        own = [p for p in command.params if p.name not in (*_shared(), "help")]
        arguments = [p for p in own if p.param_type_name == "argument"]
        options = [p for p in own if p.param_type_name == "option"]
        lines += [
            f"## {name}",
            "",
            " ".join((command.help or "").split()),
            "",
            f"    {_usage(name, command)}",
            "",
        ]
        if arguments:
            lines += table(("Argument", "Means"), ((f"`{_name(a)}`", _help(a)) for a in arguments))
        if options:
            lines += _options(options)
        lines += [*(f"    {line}" for line in (command.epilog or "").splitlines()), ""]
    return "\n".join(lines).rstrip() + "\n"


def _usage(name: str, command: Any) -> str:
    own = [p for p in command.params if p.name not in (*_shared(), "help")]
    arguments = [_metavar(p) for p in own if p.param_type_name == "argument"]
    has_options = any(p.param_type_name == "option" for p in own)
    return " ".join(["glidemq", name, *(["[OPTIONS]"] if has_options else []), *arguments])


def _shared() -> tuple[str, ...]:
    """Names of the options of every command."""
    from glidemq_console.cli.program import GLOBAL_PARAMETERS

    return tuple(GLOBAL_PARAMETERS)


def _group() -> Any:
    """The tree of commands."""
    import typer

    from glidemq_console.cli import commands
    from glidemq_console.cli.program import program

    commands.register()
    return typer.main.get_command(program)


def manual() -> str:
    """The man page."""
    from man_page import man_page

    return man_page(_group(), _shared(), _usage)


def _name(argument: Any) -> str:
    from man_page import value_name

    return value_name(argument)


def _metavar(argument: Any) -> str:
    text = _name(argument) + ("..." if argument.nargs == -1 else "")
    return text if argument.required else f"[{text}]"


def _help(parameter: Any) -> str:
    return str(parameter.help or "")


def _options(options: Iterable[Any]) -> Iterator[str]:
    from man_page import value_name

    rows = []
    for option in options:
        names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
        if option.secondary_opts:
            names += ", " + ", ".join(f"`{name}`" for name in option.secondary_opts)
        value = "" if option.is_flag else f" `{value_name(option)}`"
        rows.append((names + value, _help(option) + _default(option)))
    yield from table(("Option", "Means"), rows)


def _default(option: Any) -> str:
    value = option.default
    if callable(value) or value in (None, False, True, (), []):
        return ""
    return f" Default: `{value}`."


#: What stands in the table of keys where a key works: it looks, changes, asks first, or has a name typed.
_DANGER_MARKS = ("•", "•", "?", "!")


def keys_page() -> str:
    """The key reference of the console."""
    from glidemq_console.actions import keys
    from glidemq_console.actions.base import EVERYWHERE, Action
    from glidemq_console.screens.registry import ACTIONS

    def mark(meaning: keys.Meaning, scope: str) -> str:
        found = [a for a in ACTIONS.values() if meaning in a.meanings and a.scope in (scope, EVERYWHERE)]
        return _DANGER_MARKS[max(action.danger for action in found)] if found else ""

    shown = {
        letter: scope
        for letter, scope in keys.SCREEN_LETTERS.items()
        if any(action.scope == scope for action in ACTIONS.values())
    }
    tabs = [meaning for action in ACTIONS.values() for meaning in action.meanings if action.id[:3] == "go."]
    rows = []
    for meaning in (*tabs, *(one for one in keys.TABLE if any(mark(one, scope) for scope in shown.values()))):
        cells = [mark(meaning, scope) for scope in shown.values()]
        rows.append((" ".join(f"`{keys.key_text(key)}`" for key in meaning.keys), meaning.words, *cells))
    typed: list[Action[Any]] = [action for action in ACTIONS.values() if action.command is not None]
    ids = [
        (f"`{action.id}`", " ".join(f"`{keys.key_text(key)}`" for key in action.keys), action.help)
        for action in sorted(ACTIONS.values(), key=lambda action: action.id)
        if action.keys
    ]
    letters = ", ".join(f"**{letter}** {scope}" for letter, scope in shown.items())
    return (
        "\n".join(
            [
                "# Keys of the console",
                "",
                NOTE,
                "",
                "A key means one thing or nothing. Lower case looks or can be undone, capitals change for good and",
                "ask. `?` in the console shows the keys of the screen you are on, with the reason where one does",
                "not work now.",
                "",
                f"{letters.replace('**P** job', '**P** one job').replace('**G** flow,', '**G** one flow,')}.",
                "• works, ? asks first, ! wants the name typed; `^` is ctrl.",
                "",
                *table(("Key", "Means", *shown), rows),
                "## Moving",
                "",
                *table(("Keys", "Do"), ((f"`{names}`", words) for names, words in keys.MOVES)),
                "## Dialogs",
                "",
                *table(("Keys", "Do"), ((f"`{names}`", words) for names, words in keys.DIALOG_KEYS)),
                "## Keys of your own",
                "",
                "`[keys]` in the [config file](configuration.md#keys-of-your-own) maps keys to these",
                "actions by their ids.",
                "",
                *table(("Action", "Keys", "Does"), ids),
                "## Commands",
                "",
                "Typed after `:`; tab completes them, and what they work on.",
                "",
                *table(("Command", "Does"), ((f"`:{action.command}`", action.help) for action in typed)),
            ]
        ).rstrip()
        + "\n"
    )


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
    from python_page import INTRODUCTION, class_lines, sections

    lines = ["# The Python names", "", NOTE, "", INTRODUCTION, "", *class_lines()]
    for heading, words, head, rows in sections():
        lines += [f"## {heading}", "", *([words, ""] if words else []), *table(head, rows)]
    return "\n".join(lines).rstrip() + "\n"


def security_page() -> str:
    """The page of the users of the server, with their rights as the doctor names them."""
    from glidemq_core.doctor.rights import USERS, VERSIONED
    from glidemq_core.server.functions import LIBRARY

    text = _with_users((HERE / "security.md").read_text(encoding="utf-8"), USERS)
    return re.sub(rf"`{VERSIONED}\d+`", f"`{LIBRARY}`", text)


def operations_page() -> str:
    """The page about running it, with the rights of a user who may only look."""
    return _with_users((HERE / "operations.md").read_text(encoding="utf-8"), ("viewer",))


def _with_users(text: str, users: Iterable[str]) -> str:
    from glidemq_core.doctor.rights import rules

    lines = "".join(f"ACL SETUSER {user} on >PASSWORD {rules(user)}\n" for user in users)
    return re.sub(r"(?<=```acl\n).*?(?=```)", lambda _: lines, text, flags=re.DOTALL)


PAGES = {
    "cli.md": cli_page,
    "glidemq.1": manual,
    "json.md": json_page,
    "keys.md": keys_page,
    "operations.md": operations_page,
    "python.md": python_page,
    "security.md": security_page,
}


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
