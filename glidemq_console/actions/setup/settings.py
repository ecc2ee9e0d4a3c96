"""Settings that are changed while the console runs: for this session, or in the config file too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches

from ...config.console import ConsoleConfig
from ...config.file import ConfigError
from ...config.live import SETTINGS
from ...text.safe import short
from ..base import Actions, Context, Unchanged, Words

ACTIONS: Actions[Context] = Actions()


def _complete(context: Context) -> Sequence[str]:
    themes = context.console.theme_names
    return [f"{name} {word}" for name, setting in SETTINGS.items() for word in setting.words(themes)]


_WORDS = Words("text", _complete)


@ACTIONS("set", takes=_WORDS)
def _set(context: Context) -> str:
    """Change a setting until the console ends: undo, refresh, notify, bell, calm or theme; alone, list them."""
    if not context.words:
        config = context.console.config
        return "   ".join(f"{name} {setting.shown(config)}" for name, setting in SETTINGS.items())
    found = _changed(context)
    return Unchanged(found) if isinstance(found, str) else _take(context, found)


@ACTIONS("set-in-config", takes=_WORDS, command="set!")
async def _set_in_config(context: Context) -> str:
    """Change a setting, and write it into the config file: undo, refresh, notify, bell, calm or theme."""
    found = _changed(context)
    if isinstance(found, str):
        return Unchanged(found)
    source = found.source
    if source is None:
        return Unchanged("this console was started without a config file; :set changes this session")
    name, text = context.words[0], " ".join(context.words[1:])
    if SETTINGS[name].is_flag:
        text = "true" if text == "on" else "false"
    try:
        where = await asyncio.to_thread(source.write, name, text)
    except ConfigError as error:
        return Unchanged(str(error))
    return f"{_take(context, found)}, written to {short(where, 300)}"


def _changed(context: Context) -> ConsoleConfig | str:
    """Return the settings as the words change them, or why they do not."""
    if not context.words:
        return f"set what? there are {', '.join(SETTINGS)}"
    name, *rest = context.words
    config, setting = context.console.config, SETTINGS.get(name)
    if setting is None:
        near = get_close_matches(name, SETTINGS, 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(SETTINGS)}"
        return f"no setting '{short(name, 40)}'; {advice}"
    if not rest:
        return f"{name} is {setting.shown(config)}; :set {name} VALUE changes it"
    themes = context.console.theme_names
    text = " ".join(rest)
    if name == "theme" and text not in themes:
        return f"theme is one of {', '.join(themes)}"
    found = setting.take(config, text)
    return f"{name} {found}" if isinstance(found, str) else found


def _take(context: Context, config: ConsoleConfig) -> str:
    name = context.words[0]
    context.console.configure(config)
    if name == "notify":
        return context.console.notify_words
    return f"{name} {SETTINGS[name].shown(config)}"
