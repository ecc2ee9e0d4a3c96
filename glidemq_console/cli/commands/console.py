"""`console` and `demo`: the screens, and a small workload to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ...terminal.notices import CHOICES
from .. import options
from ..errors import UsageProblem
from ..option_types import positive_duration, some_text
from ..options import option
from ..program import command, require
from ..session import Session

if TYPE_CHECKING:
    from glidemq_console.config.console import ConsoleConfig

MIN_REFRESH_MS = 100


@command("console")
def console(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    screen: Annotated[
        str | None,
        option(
            "--screen",
            "NAME",
            "First screen (the latest one): queues, jobs, streams, approvals, flows, limits, workers, failures, "
            "schedules, events, cost, inboxes (the approvals of all profiles) or letters.",
        ),
    ] = None,
    refresh: Annotated[
        int | None, option("--refresh", "DUR", "Between two looks (1s).", positive_duration)
    ] = None,
    theme: Annotated[
        str | None,
        option("--theme", "NAME", "Colours: glidemq-dark, -light, -colorblind, -ansi, or yours.", some_text),
    ] = None,
    calm: Annotated[
        bool, Option("--calm", help="At most four frames a second, ages by the minute, no seconds.")
    ] = False,
    notify: Annotated[
        str | None,
        option("--notify", "KIND", f"How you are told while you look elsewhere: {', '.join(CHOICES)}."),
    ] = None,
) -> int:
    """Open the console on the terminal."""
    require(not session.json, "console draws screens: --json has no meaning here (try glidemq queues --json)")
    _require_terminal("console", "glidemq queues --json")
    from glidemq_console.runtime.gc_tuning import GcTuning

    gc_tuning = GcTuning()
    gc_tuning.disable()
    config = console_config(
        session, options.merged(names, queue), screen, refresh, theme, calm=calm, notify=notify
    )
    from glidemq_console.app import ConsoleApp
    from glidemq_console.runtime.process import run_console
    from glidemq_console.screens.table import SCREENS

    known = [spec.name for spec in SCREENS]
    require(
        screen is None or screen in known, f"--screen '{screen}' is unknown: use one of {', '.join(known)}"
    )
    _check_theme(config.theme)
    return run_console(ConsoleApp(config, gc_tuning))


def _require_terminal(name: str, instead: str) -> None:
    from sys import stdin, stdout

    require(stdin.isatty() and stdout.isatty(), f"{name} needs a terminal (in scripts: {instead})")


def _check_theme(name: str | None) -> None:
    """Refuse a theme that cannot be used, before the screen is taken."""
    from glidemq_console.theme.files import load_themes, unusable

    problem = unusable(name, load_themes())
    require(problem is None, problem or "")


def console_config(
    session: Session,
    queues: tuple[str, ...],
    screen: str | None,
    refresh_ms: int | None,
    theme: str | None,
    *,
    calm: bool = False,
    notify: str | None = None,
) -> ConsoleConfig:
    """Make what the console starts with; a bad URL is refused before the screen is taken."""
    from glidemq_console.config.source import FileSource
    from glidemq_console.config.state import state_path

    require(notify in (None, *CHOICES), f"--notify '{notify}' is unknown: use one of {', '.join(CHOICES)}")
    require(
        refresh_ms is None or refresh_ms >= MIN_REFRESH_MS, f"--refresh must be at least {MIN_REFRESH_MS}ms"
    )
    options = {"refresh_ms": refresh_ms, "theme": theme, "calm": calm or None, "notify": notify}
    source = FileSource(
        given=session.given,
        queues=queues,
        options={name: value for name, value in options.items() if value is not None},
    )
    return source.config(screen=screen, state_path=state_path())


#: Columns and rows that a screen can be printed with.
_SIZES = ((60, 15), (400, 200))


@command("snapshot")
async def snapshot(
    session: Session,
    screen: Annotated[str, Argument(metavar="SCREEN", help="As `console --screen` has them.")] = "queues",
    queue: options.QueueOption = None,
    size: Annotated[str, option("--size", "WxH", "Columns and rows (118x40).", some_text)] = "118x40",
) -> int:
    """Print a screen of the console once, as plain text for a chat or an issue."""
    require(
        not session.json, "snapshot prints a screen: --json has no meaning here (try glidemq queues --json)"
    )
    from glidemq_console.screens.table import SCREENS

    known = [spec.name for spec in SCREENS]
    require(screen in known, f"SCREEN '{screen}' is unknown: use one of {', '.join(known)}")
    columns_and_rows = _size(size)
    config = console_config(session, options.merged(None, queue), screen, MIN_REFRESH_MS, None)
    from glidemq_console.app import ConsoleApp

    from ..printing import printed

    # Nothing is remembered of it, and nothing can be changed by it.
    config = replace(config, read_only=True, state_path=None, notify="off")
    text = await printed(ConsoleApp(config), columns_and_rows)
    session.out.line(text)
    return 0


def _size(text: str) -> tuple[int, int]:
    """Read columns and rows as in `118x40`."""
    width, _, height = text.partition("x")
    if width.isdecimal() and height.isdecimal():
        given = int(width), int(height)
        (least_width, least_height), (most_width, most_height) = _SIZES
        if least_width <= given[0] <= most_width and least_height <= given[1] <= most_height:
            return given
    least, most = (f"{width}x{height}" for width, height in _SIZES)
    raise UsageProblem(f"--size is columns x rows, as in 118x40, from {least} to {most}")


@command("demo", limit=None)
def demo(
    session: Session,
    headless: Annotated[bool, Option("--headless", help="Only the workload, no screens.")] = False,
    seed: Annotated[int, option("--seed", "N", "The same seed, the same workload.")] = 1,
    speed: Annotated[float, option("--speed", "X", "Times as fast, 0.1 to 100.", min=0.1, max=100.0)] = 1.0,
    run_for: Annotated[int | None, option("--for", "DUR", "End after this time.", positive_duration)] = None,
) -> int:
    """Show the console on a live workload of its own: simulated models, no network."""
    require(headless or not session.json, "demo draws screens: --json needs --headless")
    if not headless:
        _require_terminal("demo", "glidemq demo --headless")
        _check_theme(session.settings.theme)
    from glidemq_console.demo import run_demo
    from glidemq_console.demo.options import DemoOptions

    given = session.settings.given
    elsewhere: dict[str, Any] = {}
    if given.url is not None:
        # The environment's server is somebody's; only one named on the line may become a stage.
        elsewhere = {"url": given.url, "prefix": given.prefix, "connect_options": session.connect_options()}
    demo_options = DemoOptions(
        **elsewhere,
        headless=headless,
        seed=seed,
        speed=speed,
        duration_ms=run_for,
        json=session.json,
        theme=session.settings.theme,
        ascii_glyphs=session.settings.ascii,
        user=session.settings.user,
        read_only=session.settings.read_only,
    )
    return int(run_demo(demo_options) or 0)
