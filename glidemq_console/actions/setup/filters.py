"""Filters with names: saved for a screen in the config file, used again by `:filter NAME` and in commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...config.file import ConfigError
from ...config.filters import LIST, REMOVE, SAVE, SCREENS, VERBS, name_problem, unknown_filter
from ...text.safe import short
from ..base import Actions, Context, Unchanged, Words

if TYPE_CHECKING:
    from ..protocols import Console

ACTIONS: Actions[Context] = Actions()
_NO_FILE = "this console was started without a config file, where filters are saved"
#: Characters of a filter that are shown.
_SHOWN = 300


def _saved(console: Console, screen: str) -> Mapping[str, str]:
    return console.config.filters.get(screen, {})


def _complete(context: Context) -> Sequence[str]:
    screen = context.page.saved_as
    names = sorted(_saved(context.console, screen)) if screen is not None else []
    return [
        *names,
        *VERBS[:1],
        *(f"{SAVE} {name}" for name in names),
        *(f"{REMOVE} {name}" for name in names),
        LIST,
    ]


def _why_not(context: Context) -> str | None:
    return None if context.page.saved_as in SCREENS else "this screen has no list to filter"


@ACTIONS(
    "saved-filter",
    title="saved filters",
    why_not=_why_not,
    command="filter",
    takes=Words("text", _complete),
)
async def _saved_filter(context: Context) -> str:
    """Filter the list as saved under a name; `save NAME` saves what it is filtered by, `remove NAME`, `list`."""
    screen = context.page.saved_as
    assert screen is not None
    if not context.words or context.words == (LIST,):
        return Unchanged(_listed(context, screen))
    word, *names = context.words
    if word == LIST:
        return Unchanged(":filter list stands alone")
    if word not in VERBS:
        return Unchanged("the name of a filter has no spaces") if names else _use(context, screen, word)
    if len(names) != 1:
        return Unchanged(f"{word} which? :filter {word} NAME")
    return await (_save if word == SAVE else _remove)(context, screen, names[0])


def _listed(context: Context, screen: str) -> str:
    saved = _saved(context.console, screen)
    if not saved:
        return f"no filter is saved for {screen}; / filters, then :filter save NAME saves it"
    return "   ".join(f"{name}  {short(saved[name], _SHOWN)}" for name in sorted(saved))


def _use(context: Context, screen: str, name: str) -> str:
    filters = context.console.config.filters
    text = filters.get(screen, {}).get(name)
    if text is None:
        return Unchanged(unknown_filter(filters, screen, short(name, 40)))
    if (problem := context.page.filter_problem(text)) is not None:
        return Unchanged(f"filter {name}: {problem}")
    context.page.change_filter(text)
    return f"filtered by {name}: {short(text, _SHOWN)}"


async def _save(context: Context, screen: str, name: str) -> str:
    text = (context.page.filter_text or "").strip()
    if (problem := name_problem(name)) is not None:
        return Unchanged(problem)
    if not text:
        return Unchanged("the list is not filtered; / filters it, then :filter save NAME")
    before = _saved(context.console, screen).get(name)
    if before == text:
        return Unchanged(f"{name} is saved like this already")
    said = "saved" if before is None else f"changed, it was {short(before, _SHOWN)}"
    return await _write(context, screen, name, text, f"filter {name} {said}")


async def _remove(context: Context, screen: str, name: str) -> str:
    filters = context.console.config.filters
    if name not in filters.get(screen, {}):
        return Unchanged(unknown_filter(filters, screen, short(name, 40)))
    return await _write(context, screen, name, None, f"filter {name} removed")


async def _write(context: Context, screen: str, name: str, text: str | None, said: str) -> str:
    """Write a filter, or (None) remove it, and take note of the inverse."""
    console = context.console
    before = _saved(console, screen).get(name)
    if (problem := await _written(console, screen, name, text)) is not None:
        return Unchanged(problem)
    console.undo.note(f"filter {name}", console.now_ms(), _back(console, screen, name, before))
    return f"{said}; z undoes it"


def _back(console: Console, screen: str, name: str, text: str | None) -> Callable[[], Awaitable[str]]:
    async def back() -> str:
        problem = await _written(console, screen, name, text)
        return problem or f"filter {name} is {'gone again' if text is None else 'as before'}"

    return back


async def _written(console: Console, screen: str, name: str, text: str | None) -> str | None:
    """Write the config file, and use what it holds now; return what is wrong, None where nothing is."""
    source = console.config.source
    if source is None:
        return _NO_FILE
    try:
        await asyncio.to_thread(source.write_filter, screen, name, text)
    except ConfigError as error:
        return str(error)
    saved = {key: value for key, value in _saved(console, screen).items() if key != name}
    saved |= {name: text} if text is not None else {}
    console.configure(replace(console.config, filters={**console.config.filters, screen: saved}))
    return None
