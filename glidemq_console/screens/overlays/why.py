"""Why a job is not running, or what holds a queue back: the most decisive first, with the key that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeAlias

from textual.binding import Binding, BindingType

from ...actions.keys import WHY
from ...model.snapshot import age_ms, epoch_ms
from ...text import format as fmt
from ...text.safe import short
from ...text.shown_keys import key_of
from ...widgets.overlay import Overlay
from ...widgets.styled import Parts, Styled, dim, hotkey

if TYPE_CHECKING:
    from glidemq_core.records import Why
    from glidemq_core.records.jobs import Blocker

#: Actions that mend a kind of blocker, with their usual keys, and what they do.
_Mends: TypeAlias = "tuple[tuple[tuple[str, str], ...], str]"
_CAPS: _Mends = ((("go.limits", "6"), ("limits.edit", "e")), "changes the caps")
_TOP_UP: _Mends = ((("job.flow", "f"), ("flow.top-up", "T")), "tops up its budget")
_PROMOTE: _Mends = ((("job.promote", "P"),), "lets it start now")
_MENDS: dict[str, _Mends] = {
    "queue_paused": ((("go.queues", "1"), ("queue.pause-or-resume", "p")), "resumes the queue"),
    "workers_busy": ((("go.workers", "7"),), "shows what they run"),
    "stalled": ((("go.workers", "7"),), "shows the workers that are left"),
    "rpm": _CAPS,
    "tpm": _CAPS,
    "global_concurrency": _CAPS,
    "budget_parked": _TOP_UP,
    "budget_exceeded": _TOP_UP,
    "children": ((("job.flow", "f"),), "shows its flow"),
    "delayed": _PROMOTE,
    "backoff": _PROMOTE,
    "suspended": ((("go.approvals", "4"),), "shows what is to be decided"),
}
_RETRY: _Mends = ((("job.retry", "R"),), "runs it again")
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
    mends = _MENDS.get(blocker.kind)
    if blocker.kind == "ended" and why.state == "failed":
        mends = _RETRY
    if mends is not None:
        actions, does = mends
        keys = " ".join(key_of(action, usual) for action, usual in actions)
        return [line, [dim("    "), hotkey(keys), dim(f" {does}")]]
    if blocker.command is not None:
        return [line, [dim("    "), Styled(short(blocker.command, 200))]]
    return [line]


class WhyScreen(Overlay):
    """The blockers over the screen they were asked on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(",".join(WHY.keys), "close", "close", show=False)]

    def __init__(self, why: Why, now: int) -> None:
        super().__init__(why_lines(why, now), hang=6)
