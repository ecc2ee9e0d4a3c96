"""What ends a command early, and what the user reads about it: one line and an exit code."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ..config.file import ConfigError, UnknownKeyError

#: A disk that is full, in its ways.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NO_SERVER = 3
    NOT_ALLOWED = 4
    DEFECT = 70
    INTERRUPTED = 130


class UsageProblem(Exception):
    """The command line makes no sense."""


class Refusal(Exception):
    """The answer is no; the message is the reason."""


class ReaderGone(Exception):
    """Whoever read our standard output has closed it; nothing is left to say."""


@dataclass(frozen=True, slots=True)
class Report:
    """An error as it is shown: its kind, one line, the exit code."""

    type: str
    message: str
    exit_code: Exit

    def as_json(self) -> str:
        return json.dumps(
            {"error": {"type": self.type, "message": self.message, "exit_code": int(self.exit_code)}},
            ensure_ascii=True,
            separators=(",", ":"),
        )


def report(error: BaseException) -> Report:
    """Turn whatever a command raised into what is shown for it."""
    if isinstance(error, KeyboardInterrupt):
        return Report("Interrupted", "interrupted", Exit.INTERRUPTED)
    if isinstance(error, UsageProblem | ConfigError) and not isinstance(error, UnknownKeyError):
        return Report("UsageError", one_line(str(error)), Exit.USAGE)
    if isinstance(error, Refusal | UnknownKeyError):
        return Report("Refused", one_line(str(error)), Exit.REFUSED)
    usage = _usage_message(error)
    if usage is not None:
        return Report("UsageError", one_line(usage), Exit.USAGE)
    return _engine_report(error)


def _usage_message(error: BaseException) -> str | None:
    """Message of an error of the option parser, whichever module its version keeps the class in."""
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    text = str(describe()).replace("Value error, ", "", 1)  # what the validation library puts in front
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "")
    return f"{text.rstrip('.')}; try '{path} --help'" if path else text


def _engine_report(error: BaseException) -> Report:
    from glidemq_core import errors

    name = type(error).__name__
    if isinstance(error, errors.GlideMQError):
        text = f"{error.message} ({error.hint})" if error.hint else error.message
        return Report(name, one_line(text), _engine_code(error))
    if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
        # What is written to a file names it; this is from the option parser, which prints help by itself.
        return Report("Refused", one_line(cannot_write(error)), Exit.REFUSED)
    if isinstance(error, OSError) and error.filename is not None:
        return Report(name, one_line(f"{error.filename}: {error.strerror}"), Exit.USAGE)
    return Report(name, one_line(f"{name}: {error} (a defect: run with --debug to see more)"), Exit.DEFECT)


def cannot_write(error: OSError) -> str:
    """What is told where standard output takes nothing more."""
    return f"cannot write to standard output: {error.strerror or error}"


def _engine_code(error: Any) -> Exit:
    from glidemq_core import errors

    no_server = errors.ServerUnavailableError | errors.CallTimeoutError
    kinds = {
        Exit.NOT_ALLOWED: errors.PermissionDeniedError | errors.AuthenticationError,
        Exit.NO_SERVER: no_server | errors.UnsupportedServerError | errors.EmbeddedServerError,
        Exit.USAGE: errors.InvalidOptionError | errors.SerializationError,
        Exit.DEFECT: errors.ClosedError,
    }
    return next((code for code, kind in kinds.items() if isinstance(error, kind)), Exit.REFUSED)


def one_line(text: str) -> str:
    """Fold a message into one line that is safe to print."""
    from glidemq_console.text.safe import clean, masked_text

    return clean(masked_text(" ".join(text.split())), limit=2_000, single_line=True)
