"""What can be done with a job that waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .base import Action, Context, Danger, Reason, Run, on_screen

if TYPE_CHECKING:
    from glidemq_core.records import Approval

    from ..model.decisions import Verb
    from ..screens.approvals.screen import ApprovalsScreen


@dataclass(frozen=True, kw_only=True)
class ApprovalContext(Context):
    """What was on screen when the key was pressed, with what a decision is bound to."""

    shown: Approval | None = None


def _with_shown(method: str, *args: Any) -> Run:
    """Run a method of the screen on the job that was shown when the key was pressed."""

    async def run(context: Context) -> str | None:
        assert isinstance(context, ApprovalContext)
        return await on_screen(method, *args, context.shown)(context)

    return run


def _screen(context: Context) -> ApprovalsScreen:
    return cast("ApprovalsScreen", context.screen)


def _needs_one(context: Context) -> str | None:
    if context.job is not None:
        return None
    return "still reading" if context.snapshot.inbox is None else "nothing waits for you"


def _cannot_decide(verb: Verb) -> Reason:
    def why_not(context: Context) -> str | None:
        return _needs_one(context) or _screen(context).why_not_decide(verb)

    return why_not


def _cannot_edit(context: Context) -> str | None:
    return _needs_one(context) or _screen(context).why_not_approve()


def _cannot_change(context: Context) -> str | None:
    return _needs_one(context) or _screen(context).why_not_change()


def _needs_marks(verb: str) -> Reason:
    def why_not(context: Context) -> str | None:
        return _screen(context).why_not_all(verb)

    return why_not


async def _tokens(context: Context) -> None:
    context.app.go("streams", context.job)


ACTIONS = (
    Action(
        id="approvals.approve",
        title="approve",
        help="Approve the job as shown; pressed again, send the decision at once.",
        keys=("a",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=_cannot_decide("approve"),
        run=_with_shown("decide", "approve"),
        footer=10,
        command="approve",
    ),
    Action(
        id="approvals.reject",
        title="reject",
        help="Reject the job as shown, with a reason; pressed again, send the decision at once.",
        keys=("r",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=_cannot_decide("reject"),
        run=_with_shown("decide", "reject"),
        prompts=True,
        footer=20,
        command="reject",
    ),
    Action(
        id="approvals.edit",
        title="edit",
        help="Edit the payload, look at the difference, and approve with it.",
        keys=("e",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=_cannot_edit,
        run=_with_shown("edit"),
        prompts=True,
        footer=30,
    ),
    Action(
        id="approvals.comment",
        title="comment",
        help="Write a comment that goes with the approval.",
        keys=("c",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=_cannot_change,
        run=_with_shown("comment"),
        prompts=True,
        footer=60,
    ),
    Action(
        id="approvals.mark",
        title="select",
        help="Select the job, or take it out of the selection.",
        keys=("space",),
        scope="approvals",
        why_not=_needs_one,
        run=on_screen("mark"),
        footer=40,
    ),
    Action(
        id="approvals.approve-all",
        title="approve selected",
        help="Approve every selected job; pressed again, send what is held back at once.",
        keys=("A",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=_needs_marks("approve"),
        run=on_screen("decide_all", "approve"),
    ),
    Action(
        id="approvals.reject-all",
        title="reject selected",
        help="Reject every selected job with one reason; pressed again, send what is held back at once.",
        keys=("R",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=_needs_marks("reject"),
        run=on_screen("decide_all", "reject"),
        prompts=True,
    ),
    Action(
        id="approvals.open",
        title="open",
        help="Open the job, and all of it where something was left out; take note of what changed.",
        keys=("enter",),
        scope="approvals",
        why_not=_needs_one,
        run=on_screen("open_selected"),
        footer=45,
    ),
    Action(
        id="approvals.audit",
        title="audit",
        help="Show who decided what on this job before.",
        keys=("u",),
        scope="approvals",
        why_not=_needs_one,
        run=_with_shown("show_audit"),
        footer=65,
    ),
    Action(
        id="approvals.copy",
        title="copy",
        help="Copy the draft, or the payload when there is none, to the clipboard.",
        keys=("y",),
        scope="approvals",
        why_not=_needs_one,
        run=_with_shown("copy"),
        footer=66,
    ),
    Action(
        id="approvals.reveal",
        title="reveal",
        help="Show masked secrets of payload, draft and tool calls, or mask them again.",
        keys=("v",),
        scope="approvals",
        why_not=_needs_one,
        run=on_screen("toggle_reveal"),
    ),
    Action(
        id="approvals.tokens",
        title="tokens",
        help="Follow the job's tokens on the streams screen.",
        keys=("t",),
        scope="approvals",
        why_not=_needs_one,
        run=_tokens,
    ),
    Action(
        id="approvals.sort",
        title="sort",
        help="Sort by deadline, by how long it waits, or by cost.",
        keys=("s",),
        scope="approvals",
        run=on_screen("sort_next"),
        footer=68,
    ),
)
