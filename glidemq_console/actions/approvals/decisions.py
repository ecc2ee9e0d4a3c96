"""What can be done with a job that waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from .. import keys, shared
from ..base import Actions, PageContext, on_screen
from ..jobs import control as jobs

if TYPE_CHECKING:
    from glidemq_core.records import Approval

    from ...model.decisions import Verb


class ApprovalsPage(shared.MarkingPage, shared.FindingPage, shared.SortedPage, Protocol):
    """The list of jobs that wait for a person, as its actions know it.

    `shown` is the job as it was on screen when the key was pressed; what a method returns is shown.
    """

    def why_not_decide(self, verb: Verb) -> str | None: ...

    def why_not_approve(self) -> str | None: ...

    def why_not_change(self) -> str | None: ...

    def why_not_send(self) -> str | None: ...

    def why_nothing(self) -> str: ...

    async def decide(self, verb: Verb, shown: Approval) -> str | None: ...

    async def edit(self, shown: Approval) -> str | None: ...

    async def comment(self, shown: Approval) -> str | None: ...

    def open_selected(self) -> None: ...

    def toggle_reveal(self) -> str: ...

    def toggle_raw(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ApprovalContext(PageContext[ApprovalsPage]):
    """What was on screen when the key was pressed, with what a decision is bound to."""

    shown: Approval | None = None

    @property
    def needed(self) -> Approval:
        """The job that was shown; actions check before that there is one."""
        assert self.shown is not None
        return self.shown

    def why_not_write(self, scope: str) -> str | None:
        # A decision goes to the server of its job, whatever server is shown.
        return self.page.why_not_send() if scope == self.page.SCOPE else super().why_not_write(scope)


def _needs_one(context: ApprovalContext) -> str | None:
    return None if context.shown is not None else context.page.why_nothing()


def _cannot_decide(verb: Verb) -> Callable[[ApprovalContext], str | None]:
    def why_not(context: ApprovalContext) -> str | None:
        # Typed as a command it may come from another screen.
        if context.page.SCOPE != "approvals":
            return "only on the approvals screen"
        return context.page.why_not_decide(verb)

    return why_not


ACTIONS: Actions[ApprovalContext] = Actions("approvals")


@ACTIONS.changes(
    "approvals.approve", keys.APPROVE, why_not=_cannot_decide("approve"), footer=10, command="approve"
)
async def _approve(context: ApprovalContext) -> str | None:
    """Approve the marked jobs, else the job as shown; pressed again, send the decision at once."""
    return await context.page.decide("approve", context.needed)


@ACTIONS.changes(
    "approvals.reject",
    keys.REJECT,
    why_not=_cannot_decide("reject"),
    prompts=True,
    footer=20,
    command="reject",
)
async def _reject(context: ApprovalContext) -> str | None:
    """Reject the marked jobs, else the job as shown, with a reason; pressed again, send the decision at once."""
    return await context.page.decide("reject", context.needed)


@ACTIONS.changes(
    "approvals.edit",
    keys.EDIT,
    why_not=lambda context: context.page.why_not_approve(),
    prompts=True,
    footer=30,
)
async def _edit(context: ApprovalContext) -> str | None:
    """Edit the payload, look at the difference, and approve with it."""
    return await context.page.edit(context.needed)


@ACTIONS.changes(
    "approvals.comment",
    keys.COMMENT,
    why_not=lambda context: context.page.why_not_change(),
    prompts=True,
    footer=60,
)
async def _comment(context: ApprovalContext) -> str | None:
    """Write a comment that goes with the approval."""
    return await context.page.comment(context.needed)


ACTIONS += on_screen("approvals", (replace(shared.mark, footer=40), *shared.MARKS[1:]))


@ACTIONS("approvals.open", keys.OPEN, why_not=_needs_one, footer=45)
def _open(context: ApprovalContext) -> None:
    """Open the job, and all of it where something was left out; take note of what changed."""
    context.page.open_selected()


@ACTIONS("approvals.reveal", keys.REVEAL, why_not=_needs_one)
def _reveal(context: ApprovalContext) -> str:
    """Show masked secrets of payload, draft and tool calls, or mask them again."""
    return context.page.toggle_reveal()


@ACTIONS("approvals.bare", keys.BARE, why_not=_needs_one)
def _bare(context: ApprovalContext) -> str:
    """Show the payload as it is stored, or laid out again."""
    return context.page.toggle_raw()


@ACTIONS("approvals.sort", keys.SORT, footer=68)
def _sort(context: ApprovalContext) -> str:
    """Sort by deadline, by how long it waits, by cost, reason or name."""
    return context.page.sort_next()


ACTIONS += on_screen("approvals", (shared.reverse,))

ACTIONS += on_screen("approvals", (jobs.open_page, jobs.follow, jobs.open_flow, jobs.audit))
ACTIONS += on_screen("approvals", (shared.hold, *shared.SIBLINGS, *shared.FINDS))
