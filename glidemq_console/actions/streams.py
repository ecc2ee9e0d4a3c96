"""What can be done with live tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .base import Action, Context, on_screen

if TYPE_CHECKING:
    from ..screens.streams.screen import StreamsScreen


def _needs_pane(context: Context) -> str | None:
    return None if context.job is not None else "no stream is open"


def _needs_replay(context: Context) -> str | None:
    if context.job is None:
        return "no stream is open"
    return None if cast("StreamsScreen", context.screen).is_replaying else "nothing is replayed; r starts it"


async def _job(context: Context) -> None:
    context.app.go("jobs", context.job)


async def _open(context: Context) -> None:
    context.app.go("streams", context.job)


ACTIONS = (
    Action(
        id="streams.pause",
        title="pause",
        help="Hold the tokens of this pane back, or go on where it was left.",
        keys=("space",),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("toggle_pause"),
        footer=10,
    ),
    Action(
        id="streams.next",
        title="pane",
        help="Go to the next pane.",
        keys=("right", "l", "tab"),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("next_pane", 1),
        footer=20,
    ),
    Action(
        id="streams.previous",
        title="previous pane",
        help="Go to the pane before.",
        keys=("left", "h", "shift+tab"),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("next_pane", -1),
    ),
    Action(
        id="streams.wall",
        title="wall",
        help="Show one pane, or a wall of two, four or nine.",
        keys=("w",),
        scope="streams",
        run=on_screen("next_wall"),
        footer=30,
    ),
    Action(
        id="streams.zoom",
        title="zoom",
        help="Give this pane the whole screen, or go back to the wall.",
        keys=("enter",),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("toggle_zoom"),
        footer=45,
    ),
    Action(
        id="streams.replay",
        title="replay",
        help="Show the stream again at the pace it came; pressed again, go back to live.",
        keys=("r",),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("toggle_replay"),
        footer=40,
    ),
    Action(
        id="streams.slower",
        title="slower",
        help="Replay at half the speed.",
        keys=("less_than_sign",),
        scope="streams",
        why_not=_needs_replay,
        run=on_screen("change_speed", -1),
    ),
    Action(
        id="streams.faster",
        title="faster",
        help="Replay at twice the speed.",
        keys=("greater_than_sign",),
        scope="streams",
        why_not=_needs_replay,
        run=on_screen("change_speed", 1),
    ),
    Action(
        id="streams.find-next",
        title="next match",
        help="Go to the next place where the text you searched for (/) stands.",
        keys=("n",),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("next_match", 1),
    ),
    Action(
        id="streams.find-previous",
        title="previous match",
        help="Go to the place before where the text stands.",
        keys=("N",),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("next_match", -1),
    ),
    Action(
        id="streams.copy",
        title="copy",
        help="Copy the text of this pane to the clipboard.",
        keys=("y",),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("copy"),
        footer=72,
    ),
    Action(
        id="streams.save",
        title="save",
        help="Save the text of this pane to a file, made safe to read on a terminal.",
        keys=("S",),
        scope="streams",
        why_not=_needs_pane,
        run=on_screen("save"),
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
        run=on_screen("close_pane"),
        footer=76,
    ),
    Action(
        id="streams.job",
        title="job",
        help="Open the page of this job.",
        keys=("o",),
        scope="streams",
        why_not=_needs_pane,
        run=_job,
        footer=78,
    ),
    Action(
        id="streams.auto",
        title="running",
        help="Show whatever runs and streams right now, changing as jobs end.",
        keys=("a",),
        scope="streams",
        run=on_screen("choose_running"),
    ),
    Action(
        id="tail",
        title="tail",
        help="Follow the tokens of a job, as in `:tail chat:42`.",
        run=_open,
        command="tail",
        takes="job",
    ),
)
