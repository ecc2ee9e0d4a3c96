"""What can be done with a job that waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .base import Action, Context, Danger
from .protocols import Page

if TYPE_CHECKING:
    from glidemq_core.records import Approval

    from ..model.decisions import Verb


class ApprovalsPage(Page, Protocol):
    """The list of jobs that wait for a person, as its actions know it.

    `shown` is the job as it was on screen when the key was pressed; what a method returns is shown.
    """

    def why_not_decide(self, verb: Verb) -> str | None: ...

    def why_not_approve(self) -> str | None: ...

    def why_not_change(self) -> str | None: ...

    def why_not_all(self, verb: Verb) -> str | None: ...

    async def decide(self, verb: Verb, shown: Approval) -> str | None: ...

    async def decide_all(self, verb: Verb) -> str | None: ...

    async def edit(self, shown: Approval) -> str | None: ...

    async def comment(self, shown: Approval) -> str | None: ...

    async def show_audit(self, shown: Approval) -> None: ...

    def copy(self, shown: Approval) -> str: ...

    def mark(self) -> None: ...

    def open_selected(self) -> None: ...

    def toggle_reveal(self) -> str: ...

    def sort_next(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ApprovalContext(Context):
    """What was on screen when the key was pressed, with what a decision is bound to."""

    page: ApprovalsPage
    shown: Approval | None = None

    @property
    def needed(self) -> Approval:
        """The job that was shown; actions check before that there is one."""
        assert self.shown is not None
        return self.shown


def _needs_one(context: Context) -> str | None:
    if context.job is not None:
        return None
    return "still reading" if context.snapshot.inbox is None else "nothing waits for you"


def _cannot_decide(verb: Verb) -> Callable[[ApprovalContext], str | None]:
    return lambda context: _needs_one(context) or context.page.why_not_decide(verb)


ACTIONS: tuple[Action[ApprovalContext], ...] = (
    Action(
        id="approvals.approve",
        title="approve",
        help="Approve the job as shown; pressed again, send the decision at once.",
        keys=("a",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=_cannot_decide("approve"),
        run=lambda context: context.page.decide("approve", context.needed),
        needs=ApprovalContext,
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
        run=lambda context: context.page.decide("reject", context.needed),
        needs=ApprovalContext,
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
        why_not=lambda context: _needs_one(context) or context.page.why_not_approve(),
        run=lambda context: context.page.edit(context.needed),
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
        why_not=lambda context: _needs_one(context) or context.page.why_not_change(),
        run=lambda context: context.page.comment(context.needed),
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
        run=lambda context: context.page.mark(),
        footer=40,
    ),
    Action(
        id="approvals.approve-all",
        title="approve selected",
        help="Approve every selected job; pressed again, send what is held back at once.",
        keys=("A",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=lambda context: context.page.why_not_all("approve"),
        run=lambda context: context.page.decide_all("approve"),
    ),
    Action(
        id="approvals.reject-all",
        title="reject selected",
        help="Reject every selected job with one reason; pressed again, send what is held back at once.",
        keys=("R",),
        scope="approvals",
        danger=Danger.CHANGE,
        why_not=lambda context: context.page.why_not_all("reject"),
        run=lambda context: context.page.decide_all("reject"),
        prompts=True,
    ),
    Action(
        id="approvals.open",
        title="open",
        help="Open the job, and all of it where something was left out; take note of what changed.",
        keys=("enter",),
        scope="approvals",
        why_not=_needs_one,
        run=lambda context: context.page.open_selected(),
        footer=45,
    ),
    Action(
        id="approvals.audit",
        title="audit",
        help="Show who decided what on this job before.",
        keys=("u",),
        scope="approvals",
        why_not=_needs_one,
        run=lambda context: context.page.show_audit(context.needed),
        footer=65,
    ),
    Action(
        id="approvals.copy",
        title="copy",
        help="Copy the draft, or the payload when there is none, to the clipboard.",
        keys=("y",),
        scope="approvals",
        why_not=_needs_one,
        run=lambda context: context.page.copy(context.needed),
        footer=66,
    ),
    Action(
        id="approvals.reveal",
        title="reveal",
        help="Show masked secrets of payload, draft and tool calls, or mask them again.",
        keys=("v",),
        scope="approvals",
        why_not=_needs_one,
        run=lambda context: context.page.toggle_reveal(),
    ),
    Action(
        id="approvals.tokens",
        title="tokens",
        help="Follow the job's tokens on the streams screen.",
        keys=("t",),
        scope="approvals",
        why_not=_needs_one,
        run=lambda context: context.console.go("streams", context.job),
    ),
    Action(
        id="approvals.sort",
        title="sort",
        help="Sort by deadline, by how long it waits, or by cost.",
        keys=("s",),
        scope="approvals",
        run=lambda context: context.page.sort_next(),
        footer=68,
    ),
)
