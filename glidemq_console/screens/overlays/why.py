"""Why a job is not running, or what holds a queue back: the most decisive first, with the key that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from ...actions.keys import WHY
from ...model.snapshot import age_ms, epoch_ms
from ...text import format as fmt
from ...text.safe import short
from ...widgets.overlay import Overlay
from ...widgets.styled import Parts, Styled, dim, hotkey

if TYPE_CHECKING:
    from glidemq_core.records import Why
    from glidemq_core.records.jobs import Blocker

#: Keys that mend a kind of blocker, and what they do.
_MENDS = {
    "queue_paused": ("1 p", "resumes the queue"),
    "workers_busy": ("7", "shows what they run"),
    "stalled": ("7", "shows the workers that are left"),
    "rpm": ("6 e", "changes the caps"),
    "tpm": ("6 e", "changes the caps"),
    "global_concurrency": ("6 e", "changes the caps"),
    "budget_parked": ("f T", "tops up its budget"),
    "budget_exceeded": ("f T", "tops up its budget"),
    "children": ("f", "shows its flow"),
    "delayed": ("P", "lets it start now"),
    "backoff": ("P", "lets it start now"),
    "suspended": ("4", "shows what is to be decided"),
}
#: What nobody has to mend.
_QUIET = frozenset(("ended", "running", "ahead"))


def why_lines(why: Why, now: int) -> list[Parts]:
    """The overlay's lines."""
    name = short(str(why.job) if why.job is not None else why.queue, 120)
    lines: list[Parts] = [[dim("why  "), Styled(name, "", "bold")]]
    if why.state is not None:
        is_stalled = any(blocker.kind == "stalled" for blocker in why.blockers)
        state = "stalled" if is_stalled else why.state
        look = fmt.state_look(state)
        lines[0] = [*lines[0], Styled(f"   {look.glyph} {short(state, 20)}", look.style)]
    for number, blocker in enumerate(why.blockers, 1):
        lines += [[], *_blocker_lines(number, blocker, why, now)]
    if not why.blockers:
        words = (
            "Nothing holds it back." if why.job is None else "Nothing holds it back: a worker takes it next."
        )
        lines += [[], [Styled(words, "success")]]
    return lines


def _blocker_lines(number: int, blocker: Blocker, why: Why, now: int) -> list[Parts]:
    token = "" if blocker.kind in _QUIET else "warning" if number == 1 else "foreground"
    line = [dim(f"{number:>2}  "), Styled(short(blocker.summary, 400), token, "bold" if number == 1 else "")]
    if blocker.since_at is not None:
        line.append(dim(f"  for {fmt.duration(age_ms(blocker.since_at, now))}"))
    if blocker.clears_at is not None:
        line.append(dim(f"  ends in {fmt.countdown(epoch_ms(blocker.clears_at), now)}"))
    key, does = _MENDS.get(blocker.kind, ("", ""))
    if blocker.kind == "ended" and why.state == "failed":
        key, does = "R", "runs it again"
    if key:
        return [line, [dim("    "), hotkey(key), dim(f" {does}")]]
    if blocker.command is not None:
        return [line, [dim("    "), Styled(short(blocker.command, 200))]]
    return [line]


class WhyScreen(Overlay):
    """The blockers over the screen they were asked on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(",".join(WHY.keys), "close", "close", show=False)]

    def __init__(self, why: Why, now: int) -> None:
        super().__init__(why_lines(why, now), hang=6)
