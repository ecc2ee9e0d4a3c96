"""What can be done with live tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeAlias

from ..text.shown_keys import key_of
from . import keys, shared
from .base import Action, Actions, Context, PageContext, Words, on_screen
from .jobs import control as jobs


class StreamsPage(shared.FindingPage, Protocol):
    """The wall of tokens, as its actions know it; what a method returns is shown."""

    @property
    def is_replaying(self) -> bool: ...

    def toggle_pause(self) -> str | None: ...

    def next_pane(self, step: int) -> None: ...

    def next_wall(self) -> str: ...

    def toggle_zoom(self) -> None: ...

    async def change_speed(self, step: int) -> str | None: ...

    async def save(self) -> str | None: ...

    async def close_pane(self) -> None: ...

    def choose_running(self) -> str: ...


StreamsContext: TypeAlias = PageContext[StreamsPage]
_WALL: Actions[StreamsContext] = Actions("streams")
_OPEN: Actions[Context] = Actions()


def _needs_pane(context: Context) -> str | None:
    return None if context.job is not None else "no stream is open"


def _needs_replay(context: StreamsContext) -> str | None:
    reason = _needs_pane(context)
    return reason or (
        None
        if context.page.is_replaying
        else f"nothing is replayed; {key_of('streams.slower', '<')} starts it"
    )


@_WALL("streams.pause", keys.HOLD, why_not=_needs_pane, footer=10)
def _pause(context: StreamsContext) -> str | None:
    """Hold the tokens of this pane back, or go on where it was left."""
    return context.page.toggle_pause()


@_WALL("streams.next", keys.NEXT, keys.NEXT_PART, title="pane", why_not=_needs_pane, footer=20)
def _next(context: StreamsContext) -> None:
    """Go to the next pane."""
    context.page.next_pane(1)


@_WALL("streams.previous", keys.PREVIOUS, keys.PREVIOUS_PART, title="previous pane", why_not=_needs_pane)
def _previous(context: StreamsContext) -> None:
    """Go to the pane before."""
    context.page.next_pane(-1)


@_WALL("streams.wall", keys.WALL, footer=30)
def _wall(context: StreamsContext) -> str:
    """Show one pane, or a wall of two, four or nine."""
    return context.page.next_wall()


@_WALL("streams.zoom", keys.OPEN, why_not=_needs_pane, footer=45)
def _zoom(context: StreamsContext) -> None:
    """Give this pane the whole screen, or go back to the wall."""
    context.page.toggle_zoom()


@_WALL("streams.slower", keys.SLOWER, title="replay", why_not=_needs_pane, footer=40)
async def _slower(context: StreamsContext) -> str | None:
    """Show the stream again at the pace it came, and then at half the speed with every press."""
    return await context.page.change_speed(-1)


@_WALL("streams.faster", keys.FASTER, why_not=_needs_replay)
async def _faster(context: StreamsContext) -> str | None:
    """Replay at twice the speed; past the fastest, go back to live."""
    return await context.page.change_speed(1)


_WALL += on_screen("streams", shared.FINDS)


@_WALL("streams.save", keys.SAVE, why_not=_needs_pane, prompts=True, footer=74)
async def _save(context: StreamsContext) -> str | None:
    """Save the text of this pane to a file, made safe to read on a terminal."""
    return await context.page.save()


@_WALL("streams.close", keys.CLOSE_PANE, why_not=_needs_pane, footer=76)
async def _close(context: StreamsContext) -> None:
    """Close this pane."""
    await context.page.close_pane()


@_WALL("streams.auto", keys.AUTO, title="running")
def _auto(context: StreamsContext) -> str:
    """Show whatever runs and streams right now, changing as jobs end."""
    return context.page.choose_running()


@_OPEN("tail", takes=Words("job"))
def _tail(context: Context) -> None:
    """Follow the tokens of a job, as in `:tail chat:42`."""
    context.console.go("streams", context.job)


_WALL += on_screen("streams", (replace(jobs.open_page, footer=78), jobs.open_flow))
ACTIONS: tuple[Action[Any], ...] = (*_WALL, *_OPEN)
