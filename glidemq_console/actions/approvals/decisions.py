"""What can be done with a job that waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..base import Actions, Context, PageContext
from ..protocols import Page

if TYPE_CHECKING:
    from glidemq_core.records import Approval

    from ...model.decisions import Verb


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
class ApprovalContext(PageContext[ApprovalsPage]):
    """What was on screen when the key was pressed, with what a decision is bound to."""

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
    def why_not(context: ApprovalContext) -> str | None:
        # Typed as a command it may come from another screen.
        if context.page.SCOPE != "approvals":
            return "only on the approvals screen"
        return context.page.why_not_decide(verb)

    return why_not


def _cannot_all(verb: Verb) -> Callable[[ApprovalContext], str | None]:
    return lambda context: context.page.why_not_all(verb)


ACTIONS: Actions[ApprovalContext] = Actions("approvals")


@ACTIONS.changes("approvals.approve", "a", why_not=_cannot_decide("approve"), footer=10, command="approve")
async def _approve(context: ApprovalContext) -> str | None:
    """Approve the job as shown; pressed again, send the decision at once."""
    return await context.page.decide("approve", context.needed)


@ACTIONS.changes(
    "approvals.reject", "r", why_not=_cannot_decide("reject"), prompts=True, footer=20, command="reject"
)
async def _reject(context: ApprovalContext) -> str | None:
    """Reject the job as shown, with a reason; pressed again, send the decision at once."""
    return await context.page.decide("reject", context.needed)


@ACTIONS.changes(
    "approvals.edit", "e", why_not=lambda context: context.page.why_not_approve(), prompts=True, footer=30
)
async def _edit(context: ApprovalContext) -> str | None:
    """Edit the payload, look at the difference, and approve with it."""
    return await context.page.edit(context.needed)


@ACTIONS.changes(
    "approvals.comment", "c", why_not=lambda context: context.page.why_not_change(), prompts=True, footer=60
)
async def _comment(context: ApprovalContext) -> str | None:
    """Write a comment that goes with the approval."""
    return await context.page.comment(context.needed)


@ACTIONS("approvals.mark", "space", title="select", why_not=_needs_one, footer=40)
def _mark(context: ApprovalContext) -> None:
    """Select the job, or take it out of the selection."""
    context.page.mark()


@ACTIONS.changes("approvals.approve-all", "A", title="approve selected", why_not=_cannot_all("approve"))
async def _approve_all(context: ApprovalContext) -> str | None:
    """Approve every selected job; pressed again, send what is held back at once."""
    return await context.page.decide_all("approve")


@ACTIONS.changes(
    "approvals.reject-all", "R", title="reject selected", why_not=_cannot_all("reject"), prompts=True
)
async def _reject_all(context: ApprovalContext) -> str | None:
    """Reject every selected job with one reason; pressed again, send what is held back at once."""
    return await context.page.decide_all("reject")


@ACTIONS("approvals.open", "enter", why_not=_needs_one, footer=45)
def _open(context: ApprovalContext) -> None:
    """Open the job, and all of it where something was left out; take note of what changed."""
    context.page.open_selected()


@ACTIONS("approvals.audit", "u", why_not=_needs_one, footer=65)
async def _audit(context: ApprovalContext) -> None:
    """Show who decided what on this job before."""
    await context.page.show_audit(context.needed)


@ACTIONS("approvals.copy", "y", why_not=_needs_one, footer=66)
def _copy(context: ApprovalContext) -> str:
    """Copy the draft, or the payload when there is none, to the clipboard."""
    return context.page.copy(context.needed)


@ACTIONS("approvals.reveal", "v", why_not=_needs_one)
def _reveal(context: ApprovalContext) -> str:
    """Show masked secrets of payload, draft and tool calls, or mask them again."""
    return context.page.toggle_reveal()


@ACTIONS("approvals.tokens", "t", why_not=_needs_one)
def _tokens(context: Context) -> None:
    """Follow the job's tokens on the streams screen."""
    context.console.go("streams", context.job)


@ACTIONS("approvals.sort", "s", footer=68)
def _sort(context: ApprovalContext) -> str:
    """Sort by deadline, by how long it waits, or by cost."""
    return context.page.sort_next()
