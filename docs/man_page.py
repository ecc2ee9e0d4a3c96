"""The man page `glidemq.1`: what the commands know of themselves, in roff."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

_DESCRIPTION = [
    "glidemq watches and steers AI job queues on Valkey: what waits, runs and fails, the tokens that jobs stream, "
    "approvals, budgets, limits and workers. Its queues are those of glide-mq 0.15.4, so Python and Node workers "
    "share them.",
    "What is asked for goes to standard output, everything else to standard error. JOB is QUEUE:ID, an id beside "
    "--queue, or an id that only one known queue has. Durations are 500ms, 30s, 5m, 2h or 1d; a plain number is "
    "seconds. JSON arguments are text, @FILE, or - for standard input.",
]
#: Exit codes of every command.
EXIT_CODES = [
    ("0", "done"),
    (
        "1",
        "the answer is no: not found, failed, not suspended any more, any of several refused, "
        "a full disk behind standard output",
    ),
    ("2", "a command line that cannot mean anything"),
    ("3", "the server cannot be reached or does not answer"),
    ("4", "not allowed: password, ACL, `--read-only`, a password over plain text to a public address"),
    ("70", "a defect of glidemq"),
    ("130", "interrupted"),
]
_ENVIRONMENT = [
    ("GLIDEMQ_URL", "the server, where --url names none; else the profile, else embedded:"),
    ("GLIDEMQ_PREFIX", "prefix of the keys (glide)"),
    ("GLIDEMQ_PROFILE", "profile of the config file"),
    ("GLIDEMQ_PASSWORD", "password of the server"),
    ("GLIDEMQ_USER", "your name in the audit"),
    ("GLIDEMQ_CONFIG", "the config file"),
    ("GLIDEMQ_DATA", "folder of embedded servers"),
    ("GLIDEMQ_READ_ONLY, GLIDEMQ_INSECURE, GLIDEMQ_ASCII", "1 or 0, as the options of these names"),
    ("NO_COLOR", "no colours"),
]


def roff(text: str) -> str:
    """Write text so that roff prints it as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    assert escaped.isascii(), text
    return re.sub(r"^\.", r"\\&.", escaped, flags=re.MULTILINE)


def words(text: str) -> str:
    """Fold prose into one line, code in it in bold."""
    parts = " ".join(text.split()).split("`")
    return "".join(f"\\fB{roff(part)}\\fR" if at % 2 else roff(part) for at, part in enumerate(parts))


def tagged(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield terms with what they mean below; terms are roff already."""
    for term, meaning in pairs:
        yield from (".TP", term, words(meaning) or "\\&")


def value_name(param: Any) -> str:
    """Name what is given for a parameter: as its help does, or by the words among which it chooses."""
    if param.metavar:
        return str(param.metavar)
    kind = param.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "|".join(kind)
    return str(param.name).upper()


def option_terms(options: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield each option with its help."""
    for option in options:
        names = ", ".join(
            f"\\fB{roff(name)}\\fR" for name in (*sorted(option.opts, key=len), *option.secondary_opts)
        )
        value = "" if option.is_flag else f" \\fI{roff(value_name(option))}\\fR"
        yield names + value, str(option.help or "")


def examples(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines of a shell as they are."""
    yield from (".EX", *map(roff, lines), ".EE")


def man_page(group: Any, shared: Iterable[str], usage: Any) -> str:
    """Return the page.

    Args:
        group: the tree of commands.
        shared: names of the parameters that every command has.
        usage: gives the usage of a command by its name.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    known = set(shared)
    lines = [
        '.\\" Written by docs/generate.py; change the code instead.',
        f'.TH GLIDEMQ 1 "" "glidemq {roff(version)}" "User Commands"',
        ".SH NAME",
        "glidemq \\- watch and steer AI job queues on Valkey",
        ".SH SYNOPSIS",
        "\\fBglidemq\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]...",
        ".SH DESCRIPTION",
        *(line for text in _DESCRIPTION for line in (words(text), ".PP")),
        ".SH OPTIONS",
        "They stand before or after the command.",
        *tagged(option_terms(p for p in group.params if p.name in known)),
        *tagged([("\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Show what the program or a command takes.")]),
        *tagged(option_terms(p for p in group.params if p.name not in known | {"help"})),
        ".SH COMMANDS",
    ]
    for name, command in group.commands.items():
        own = [p for p in command.params if p.name not in (*known, "help")]
        lines += [f".SS {roff(usage(name, command))}", words(command.help or "")]
        arguments = (p for p in own if p.param_type_name == "argument")
        lines += tagged((f"\\fI{roff(value_name(p))}\\fR", p.help or "") for p in arguments)
        lines += tagged(option_terms(p for p in own if p.param_type_name == "option"))
        lines += [".PP", *examples((command.epilog or "").splitlines())]
    lines += [".SH EXIT STATUS", *tagged(EXIT_CODES)]
    lines += [".SH ENVIRONMENT", *tagged((f"\\fB{roff(name)}\\fR", text) for name, text in _ENVIRONMENT)]
    lines += [".SH EXAMPLES", *examples((group.epilog or "").splitlines())]
    return "\n".join(line for line in lines if line) + "\n"
