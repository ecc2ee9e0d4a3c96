"""The `glidemq` command: runs one command and turns whatever ends it into one line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TextIO

from .errors import Exit, ReaderGone, Refusal, cannot_write, report
from .output import write_error

#: Set by the completion script of a shell that asks what may stand at the cursor.
SHELL_ASKS = "_GLIDEMQ_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` by default) and return its exit code."""
    _open_missing_streams()
    if SHELL_ASKS in os.environ:
        from .completion import answer

        return answer()
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = words[: words.index("--")] if "--" in words else words
    try:
        code = _dispatch(words)
    except (ReaderGone, BrokenPipeError):
        code = Exit.DONE
        _forget(sys.stdout)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  # the one place for all of them
        code = _tell(error, options)
    unwritten = _unwritten()
    if unwritten is not None and code == Exit.DONE:
        code = _tell(unwritten, options)
    _flush_last()
    return int(code)


def _dispatch(words: list[str]) -> int:
    from . import commands
    from .program import program

    commands.register()
    return int(program(args=words, prog_name="glidemq", standalone_mode=False) or 0)


def _tell(error: BaseException, options: Sequence[str]) -> int:
    if type(sys.stdout).__name__ == "PacifyFlushWrapper":  # the option parser found its reader gone
        return Exit.DONE
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else Exit.DONE
    if type(error).__name__ == "NoArgsIsHelpError":
        print(getattr(error, "message", error))
        return Exit.USAGE
    shown = report(error)
    debug = "--debug" in options
    if _logs_json(options):
        from .worker_log import error_record

        write_error(error_record(shown, error if debug else None))
        return shown.exit_code
    if debug:
        import traceback

        traceback.print_exception(error)
    write_error(shown.as_json() if "--json" in options else f"glidemq: {shown.message}")
    return shown.exit_code


def _logs_json(options: Sequence[str]) -> bool:
    """Whether whoever reads stderr expects log records; also asked of a command line that is wrong elsewhere."""
    return "--log-format=json" in options or ("--log-format", "json") in pairwise(options)


def _open_missing_streams() -> None:
    """Give a process that was started without stdout or stderr somewhere to write."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for as long as we live


def _unwritten() -> Refusal | None:
    """Why standard output is not whole, as where a disk is full; a reader or a terminal that is gone misses nothing."""
    try:
        sys.stdout.flush()
    except ValueError:
        return None
    except OSError as error:
        gone = error.errno in (errno.EPIPE, errno.EIO)
        return None if gone else Refusal(cannot_write(error))
    return None


def _flush_last() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _forget(stream)


def _forget(stream: TextIO) -> None:
    """Point a stream nowhere, so that the interpreter's last flush has nothing to complain about."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
