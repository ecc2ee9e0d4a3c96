"""Going to the server of another profile of the config file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...config.console import ConsoleConfig
from ...config.file import ConfigError
from ...text.safe import short
from ..base import Actions, Context, Unchanged, Words
from ..perform import may_leave

ACTIONS: Actions[Context] = Actions()
#: Said where profiles are asked for and there is no config file.
NO_FILE = "this console was started without a config file, so there are no profiles"


def _names(context: Context) -> Sequence[str]:
    source = context.console.config.source
    return source.profiles() if source is not None else ()


@ACTIONS("profile", takes=Words("text", _names), prompts=True)
async def _profile(context: Context) -> str:
    """Show the server of another profile, as in `:profile staging`; alone, list them."""
    console = context.console
    config, name = console.config, " ".join(context.words)
    source = config.source
    if source is None:
        return Unchanged(NO_FILE)
    names = await asyncio.to_thread(source.profiles)
    listed = ", ".join(short(one, 40) for one in names) or "none"
    if not name:
        return f"profile {short(config.label, 40) if config.label else '–'}; there are {listed}"
    if name not in names:
        return Unchanged(f"no profile '{short(name, 40)}'; there are {listed}")
    if name == config.label:
        return Unchanged(f"this is {short(name, 40)}")
    try:
        chosen = await asyncio.to_thread(_config_of, context, name)
    except ConfigError as error:
        return Unchanged(str(error))
    if not await may_leave(console, console.outbox):
        return Unchanged(f"still on {short(config.label or config.shown_url, 60)}")
    if console.is_acting:
        return Unchanged("something is still being done here; try again when it is")
    await console.show_server(chosen)
    return f"now on {short(name, 40)}"


def _config_of(context: Context, name: str) -> ConsoleConfig:
    """Return the settings of another profile; where it is remembered and logged stays."""
    now = context.console.config
    assert now.source is not None
    return now.source.of_profile(name).config(
        state_path=now.state_path, log_path=now.log_path, clock=now.clock, zone=now.zone
    )
