"""`completion`: the script that completes command lines in a shell."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from ..completion.scripts import SCRIPTS, Shell, current_shell, install
from ..errors import Exit
from ..program import command, require
from ..session import Session


@command("completion")
def completion(
    session: Session,
    shell: Annotated[
        Shell | None, Argument(metavar="SHELL", help="bash, zsh or fish; else what SHELL says.")
    ] = None,
    installs: Annotated[
        bool, Option("--install", help="Write it where the shell finds it, instead of showing it.")
    ] = False,
) -> int:
    """Show or install completion of commands, options, queues and jobs for a shell."""
    require(not session.json, "completion writes a script: --json has no meaning here")
    chosen = shell or current_shell()
    if not installs:
        session.out.write(SCRIPTS[chosen].encode())
        return Exit.DONE
    written = install(chosen)
    loads = f", loaded by {written.loader}" if written.loader else ""
    session.out.line(
        session.out.safe(f"completion of {chosen} is in {written.script}{loads}: start a new shell", 4_000)
    )
    return Exit.DONE
