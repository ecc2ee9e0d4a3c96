"""The typer program and the one way a command is registered: global options, session, time limit, exit code."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ..config.settings import Given
from .errors import UsageProblem
from .examples import EXAMPLES
from .fast_parsing import LightCommand, LightGroup
from .option_types import positive_duration, some_path, some_text
from .options import option

if TYPE_CHECKING:
    from .session import Session

#: How long a command that only asks and answers may take, ms.
DEFAULT_TIMEOUT_MS = 10_000

#: Limit that leaves `--timeout` to the command, for which it has a meaning of its own.
OWN = 0

Values = dict[str, Any]
#: Time limit of a command in ms, or how it follows from its options; None: it may run for ever.
Limit = int | Callable[[Values], int | None] | None


def unless(option: str) -> Limit:
    """Limit a command except when `option` makes it follow."""
    return lambda values: None if values.get(option) else DEFAULT_TIMEOUT_MS


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"glidemq {version('glidemq')}")
        raise typer.Exit


def _global_options(
    url: Annotated[
        str | None, option("--url -u", "URL", "Server: valkey://host:port, or embedded:NAME.", some_text)
    ] = None,
    prefix: Annotated[str | None, option("--prefix", "TEXT", "Key prefix (glide).", some_text)] = None,
    profile: Annotated[
        str | None, option("--profile -P", "NAME", "Profile of the config file.", some_text)
    ] = None,
    password_file: Annotated[
        Path | None, option("--password-file", "FILE", "File that holds the password.", some_path)
    ] = None,
    insecure: Annotated[
        bool, Option("--insecure", help="Allow a password over plain text to a public address.")
    ] = False,
    read_only: Annotated[bool, Option("--read-only", help="Refuse everything that writes.")] = False,
    timeout: Annotated[
        int | None, option("--timeout", "DUR", "Give up after this time (10s).", positive_duration)
    ] = None,
    json: Annotated[bool, Option("--json", help="Write JSON for programs.")] = False,
    reveal: Annotated[bool, Option("--reveal", help="Show secrets instead of masking them.")] = False,
    no_color: Annotated[bool, Option("--no-color", help="No colours.")] = False,
    debug: Annotated[bool, Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, Option("--version", "-V", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Declare what every command takes, also before its name."""


def _keyword_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]


GLOBAL_PARAMETERS = {parameter.name: parameter for parameter in _keyword_parameters(_global_options)}

program = typer.Typer(
    name="glidemq",
    cls=LightGroup,
    help="Watch and steer AI job queues on Valkey.",
    epilog="\n".join(EXAMPLES[""]),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _with_signature(function: Callable[..., Any], own: list[inspect.Parameter]) -> Callable[..., Any]:
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *own, *GLOBAL_PARAMETERS.values()]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by typer
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _given(values: Values) -> Given:
    chosen = {name: values.pop(name) for name in GLOBAL_PARAMETERS}
    chosen.pop("version")
    return Given(**chosen)


def _completion(*words: str) -> Callable[[bool], None]:
    """Make what an option does that is short for the command `completion`."""

    def run(wanted: bool) -> None:
        if wanted:
            raise typer.Exit(
                int(program(args=["completion", *words], prog_name="glidemq", standalone_mode=False))
            )

    return run


def _own_options(
    show_completion: Annotated[
        bool,
        Option(
            "--show-completion",
            is_eager=True,
            callback=_completion(),
            help="Show the completion of your shell.",
        ),
    ] = False,
    install_completion: Annotated[
        bool,
        Option(
            "--install-completion",
            is_eager=True,
            callback=_completion("--install"),
            help="Install completion for your shell.",
        ),
    ] = False,
) -> None:
    """Declare what the program takes only without a command."""


def _root(**values: Any) -> None:
    context = values.pop("context")
    for name in inspect.signature(_own_options).parameters:
        del values[name]
    context.obj = _given(values)


program.callback()(_with_signature(_root, _keyword_parameters(_own_options)))


def command(
    name: str, *, limit: Limit = DEFAULT_TIMEOUT_MS, fast: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command. Its first parameter is the `Session`; what it returns is the exit code (None: 0).

    Args:
        fast: it runs for long and does much: uvloop runs it where that is installed.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        own = _keyword_parameters(function)[1:]

        def run(**values: Any) -> int:
            context = values.pop("context")
            given = _given(values).over(context.obj or Given())
            return _run(function, given, values, limit, fast=fast)

        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        # Given whole, the first line wraps in the list of commands; otherwise it would be cut.
        summary = (function.__doc__ or "").strip().partition("\n")[0]
        examples = "\n".join(EXAMPLES.get(name, ()))
        program.command(name, cls=LightCommand, short_help=summary, epilog=examples)(
            _with_signature(run, own)
        )
        return function

    return register


def _run(function: Callable[..., Any], given: Given, values: Values, limit: Limit, *, fast: bool) -> int:
    from .session import Session

    default_ms = limit(values) if callable(limit) else limit
    session = Session(given)
    if not inspect.iscoroutinefunction(function):
        return int(function(session, **values) or 0)
    if default_ms == OWN:
        with asyncio.Runner(loop_factory=_fast_loop() if fast else None) as runner:
            return runner.run(_inside(function, session, values))
    return asyncio.run(
        _bounded(function, session, values, given.timeout or default_ms, follows=default_ms is None)
    )


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes an event loop of the extra `fast`; None where it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make


async def _inside(function: Callable[..., Any], session: Session, values: Values) -> int:
    async with session:
        return int(await function(session, **values) or 0)


async def _bounded(
    function: Callable[..., Any], session: Session, values: Values, limit_ms: int | None, *, follows: bool
) -> int:
    try:
        async with asyncio.timeout(None if limit_ms is None else limit_ms / 1_000) as bound:
            session.bound = bound
            return await _inside(function, session, values)
    except TimeoutError:
        if limit_ms is None or not bound.expired():
            raise
        if follows:
            return 0
        raise session.timed_out(function.__name__, limit_ms) from None


def require(condition: object, message: str) -> None:
    """Refuse a command line that cannot mean anything (exit 2)."""
    if not condition:
        raise UsageProblem(message)
