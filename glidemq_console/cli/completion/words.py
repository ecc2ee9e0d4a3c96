"""Where a command line ends: after which command, at which argument or option."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .values import Candidate, Values, values_of


@cache
def group() -> Any:
    """The tree of all commands."""
    import typer

    from .. import commands
    from ..program import program

    commands.register()
    return typer.main.get_command(program)


def split(line: str) -> tuple[list[str], str]:
    """Split a line as a shell does, quotes may be open; also returns the last word as it was typed.

    The last word is empty after a blank.
    """
    words, word, begun, start = [], "", False, 0
    quote = ""
    at = 0
    while at < len(line):
        char = line[at]
        if quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote, begun = char, True
        elif char == "\\":
            at += 1
            word, begun = word + line[at : at + 1], True
        elif char.isspace():
            if begun or word:
                words.append(word)
            word, begun, start = "", False, at + 1
        else:
            word += char
        at += 1
    return [*words, word], line[start:]


@dataclass
class Position:
    """The end of a line: what stands before it, and what is being typed."""

    #: The word being typed, and the same as it was typed.
    word: str
    typed: str
    command: Any = None
    arguments: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    #: The option whose value is being typed.
    value_of: Any = None
    only_arguments: bool = False
    is_unknown: bool = False

    @classmethod
    def of(cls, line: str) -> Position:
        """Read a line up to the cursor; its first word is the program."""
        words, typed = split(line)
        while len(words) > 1 and re.match(r"[A-Za-z_][A-Za-z0-9_]*=", words[0]):
            del words[0]  # a variable for this one command
        position = cls(words[-1], typed)
        for word in words[1:-1]:
            position._read(word)
        return position

    def _read(self, word: str) -> None:
        if self.value_of is not None:
            self.options[self.value_of.name] = word
            self.value_of = None
        elif word == "--" and not self.only_arguments:
            self.only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not self.only_arguments:
            self._read_option(word)
        elif self.command is None:
            self.command = group().commands.get(word)
            self.is_unknown = self.command is None
        else:
            self.arguments.append(word)

    def _read_option(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            name, value = word[:2], word[2:]
        option = self._known().get(name)
        if option is None:
            return
        if option.is_flag:
            self.options[option.name] = "1"
        elif equals or value:
            self.options[option.name] = value
        else:
            self.value_of = option

    def _known(self) -> dict[str, Any]:
        """Options that may stand here, by each of their names."""
        params = (self.command or group()).params
        return {
            name: param
            for param in params
            if param.param_type_name == "option" and not param.hidden
            for name in (*param.opts, *param.secondary_opts)
        }

    def candidates(self) -> Values:
        """Return what may stand at the end of the line."""
        if self.is_unknown:
            return Values()
        if self.value_of is not None:
            return values_of(self.value_of, self.word, self)
        if self.word.startswith("-") and not self.only_arguments:
            return self._options()
        if self.command is None:
            commands = group().commands.items()
            return Values(
                Candidate(name, command.get_short_help_str(200))
                for name, command in commands
                if name.startswith(self.word) and not command.hidden
            )
        argument = self._argument()
        return Values() if argument is None else values_of(argument, self.word, self)

    def _options(self) -> Values:
        """Names of options, or the value that one has behind its equals sign."""
        known = self._known()
        name, equals, value = self.word.partition("=")
        if equals and self.word.startswith("--"):
            option = known.get(name)
            return (
                Values() if option is None or option.is_flag else values_of(option, value, self, f"{name}=")
            )
        return Values(
            Candidate(name, option.help or "")
            for name, option in known.items()
            if name.startswith(self.word) and (option.name not in self.options or option.multiple)
        )

    def _argument(self) -> Any:
        """The argument that is being typed; the last one may take all that follow."""
        params: Iterable[Any] = (p for p in self.command.params if p.param_type_name == "argument")
        place = len(self.arguments)
        for number, param in enumerate(params):
            if param.nargs == -1 or number == place:
                return param
        return None
