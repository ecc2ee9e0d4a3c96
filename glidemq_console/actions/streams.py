"""What can be done with live tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .base import Action, Context
from .protocols import Page


class StreamsPage(Page, Protocol):
    """The wall of tokens, as its actions know it; what a method returns is shown."""

    @property
    def is_replaying(self) -> bool: ...

    def toggle_pause(self) -> str | None: ...

    def next_pane(self, step: int) -> None: ...

    def next_wall(self) -> str: ...

    def toggle_zoom(self) -> None: ...

    async def toggle_replay(self) -> str | None: ...

    def change_speed(self, step: int) -> str | None: ...

    def next_match(self, step: int) -> str | None: ...

    def copy(self) -> str | None: ...

    async def save(self) -> str | None: ...

    async def close_pane(self) -> None: ...

    def choose_running(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class StreamsContext(Context):
    """A key pressed on the wall."""

    page: StreamsPage


def _needs_pane(context: Context) -> str | None:
    return None if context.job is not None else "no stream is open"


def _needs_replay(context: StreamsContext) -> str | None:
    if context.job is None:
        return "no stream is open"
    return None if context.page.is_replaying else "nothing is replayed; r starts it"


ACTIONS: tuple[Action[StreamsContext], ...] = (
    Action(
        id="streams.pause",
        title="pause",
        help="Hold the tokens of this pane back, or go on where it was left.",
        keys=("space",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.toggle_pause(),
        footer=10,
    ),
    Action(
        id="streams.next",
        title="pane",
        help="Go to the next pane.",
        keys=("right", "l", "tab"),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.next_pane(1),
        footer=20,
    ),
    Action(
        id="streams.previous",
        title="previous pane",
        help="Go to the pane before.",
        keys=("left", "h", "shift+tab"),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.next_pane(-1),
    ),
    Action(
        id="streams.wall",
        title="wall",
        help="Show one pane, or a wall of two, four or nine.",
        keys=("w",),
        scope="streams",
        run=lambda context: context.page.next_wall(),
        footer=30,
    ),
    Action(
        id="streams.zoom",
        title="zoom",
        help="Give this pane the whole screen, or go back to the wall.",
        keys=("enter",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.toggle_zoom(),
        footer=45,
    ),
    Action(
        id="streams.replay",
        title="replay",
        help="Show the stream again at the pace it came; pressed again, go back to live.",
        keys=("r",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.toggle_replay(),
        footer=40,
    ),
    Action(
        id="streams.slower",
        title="slower",
        help="Replay at half the speed.",
        keys=("less_than_sign",),
        scope="streams",
        why_not=_needs_replay,
        run=lambda context: context.page.change_speed(-1),
    ),
    Action(
        id="streams.faster",
        title="faster",
        help="Replay at twice the speed.",
        keys=("greater_than_sign",),
        scope="streams",
        why_not=_needs_replay,
        run=lambda context: context.page.change_speed(1),
    ),
    Action(
        id="streams.find-next",
        title="next match",
        help="Go to the next place where the text you searched for (/) stands.",
        keys=("n",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.next_match(1),
    ),
    Action(
        id="streams.find-previous",
        title="previous match",
        help="Go to the place before where the text stands.",
        keys=("N",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.next_match(-1),
    ),
    Action(
        id="streams.copy",
        title="copy",
        help="Copy the text of this pane to the clipboard.",
        keys=("y",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.copy(),
        footer=72,
    ),
    Action(
        id="streams.save",
        title="save",
        help="Save the text of this pane to a file, made safe to read on a terminal.",
        keys=("S",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.save(),
        prompts=True,
        footer=74,
    ),
    Action(
        id="streams.close",
        title="close",
        help="Close this pane.",
        keys=("x",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.page.close_pane(),
        footer=76,
    ),
    Action(
        id="streams.job",
        title="job",
        help="Open the page of this job.",
        keys=("o",),
        scope="streams",
        why_not=_needs_pane,
        run=lambda context: context.console.go("jobs", context.job),
        footer=78,
    ),
    Action(
        id="streams.auto",
        title="running",
        help="Show whatever runs and streams right now, changing as jobs end.",
        keys=("a",),
        scope="streams",
        run=lambda context: context.page.choose_running(),
    ),
    Action(
        id="tail",
        title="tail",
        help="Follow the tokens of a job, as in `:tail chat:42`.",
        run=lambda context: context.console.go("streams", context.job),
        command="tail",
        takes="job",
    ),
)
