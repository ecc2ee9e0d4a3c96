"""What can be done with a flow, in the list and on its page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..model.flows import TopUpRequest, caps_of, root_of
from ..text.format import plural
from ..text.safe import short
from . import keys, shared
from .base import Action, Actions, Context, P_co, PageContext, Question, Unchanged, Words, on_screen
from .bulk import one_at_a_time
from .jobs import control as jobs
from .jobs import many, timing
from .protocols import Page

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow, FlowBudget, FlowNode, TopUp

    from ..model.snapshot import FlowView


#: Asks the server what a request would do, and changes nothing.
Preview = Callable[[TopUpRequest], "Awaitable[TopUp]"]


class FlowsPage(Page, Protocol):
    """The list of flows or the page of one, as their actions know them."""

    def open_selected(self) -> None: ...

    async def ask_top_up(
        self, name: str, budget: FlowBudget, view: FlowView | None, preview: Preview
    ) -> TopUpRequest | None:
        """Ask how much to add to a budget; None for nothing. `name` is safe text."""


class FlowPage(FlowsPage, shared.FindingPage, Protocol):
    """The page of one flow, as its actions know it."""

    def fold(self, folded: bool) -> None: ...


@dataclass(frozen=True, kw_only=True)
class FlowContext(PageContext[P_co]):
    """What was on screen when the key was pressed, with the flow it was about."""

    #: The flow as its page shows it; None in the list.
    view: FlowView | None = None
    flow: Flow | None = None


FlowListContext: TypeAlias = FlowContext[FlowsPage]
FlowPageContext: TypeAlias = FlowContext[FlowPage]
_LIST: Actions[FlowListContext] = Actions("flows")
_PAGE: Actions[FlowPageContext] = Actions("flow")
_OPEN: Actions[Context] = Actions()


def _blocked(context: FlowListContext) -> dict[JobRef, tuple[JobRef, ...]]:
    return dict(context.view.blocked) if context.view is not None else {}


def _node(context: FlowListContext, ref: JobRef) -> FlowNode | None:
    nodes = context.flow.nodes if context.flow is not None else ()
    return next((node for node in nodes if node.ref == ref), None)


def _named(context: FlowListContext, ref: JobRef) -> str:
    node = _node(context, ref)
    return f"{short(str(ref))} {short(node.name, 60) if node is not None else ''}".strip()


def _needs_flow(context: FlowListContext) -> str | None:
    return None if context.flow is not None else "no flow is selected"


@_LIST("flows.open", keys.OPEN, why_not=_needs_flow, footer=10)
def _open(context: FlowListContext) -> None:
    """Open the selected flow: its jobs, its budget, what keeps it."""
    context.page.open_selected()


@_PAGE("flow.open", keys.OPEN, title="job", why_not=jobs.needs_job, footer=10)
def _open_job(context: FlowListContext) -> None:
    """Open the page of the selected job."""
    context.page.open_selected()


# --- budgets -----------------------------------------------------------------------------------------------


def _cannot_top_up(context: FlowListContext) -> str | None:
    flow = context.flow
    if (reason := one_at_a_time(context, "flow")) is not None:
        return reason
    if flow is None:
        return "no flow is selected"
    if flow.budget is None:
        return "this flow has no budget"
    return None if caps_of(flow.budget) else "its budget has no cap that could be raised"


@_LIST.changes("flows.top-up", keys.TOP_UP, why_not=_cannot_top_up, prompts=True, footer=20)
async def _top_up(context: FlowListContext) -> str:
    """Raise the caps of the flow's budget and let its parked jobs go on; shows first what would happen."""
    assert context.flow is not None
    assert context.flow.budget is not None
    budget, root = context.flow.budget, root_of(context.flow)
    name = short(root.name if root is not None else "", 60)

    async def preview(request: TopUpRequest) -> TopUp:
        return await _apply(context, budget, request, preview=True)

    asked = f"{name} {short(str(budget.flow))}".strip()
    request = await context.page.ask_top_up(asked, budget, context.view, preview)
    if request is None:
        return Unchanged("nothing was added")
    answer = await _apply(context, budget, request, preview=False)
    done = f"{short(str(budget.flow))} topped up"
    if answer.still_exceeded:
        return f"{done}, but a cap is still exceeded: nothing was released"
    return f"{done}: {plural(len(answer.released), 'job')} released" if answer.released else done


_PAGE.append(replace(_top_up, id="flow.top-up", scope="flow"))


async def _apply(
    context: FlowListContext, budget: FlowBudget, request: TopUpRequest, *, preview: bool
) -> TopUp:
    """Top up, or ask what that would do; refused when the caps are not the ones that were shown."""
    return await context.change(
        lambda queue, actor: queue.top_up_budget(
            budget.flow.id, expect=budget, preview=preview, actor=actor, **vars(request)
        ),
        budget.flow.queue,
    )


# --- parents that cannot go on -----------------------------------------------------------------------------


def _stuck_parent(context: FlowListContext) -> JobRef | None:
    """The blocked parent that the selected row is about: itself, or the one its failed child keeps."""
    blocked = _blocked(context)
    if context.job in blocked:
        return context.job
    return next((parent for parent, children in blocked.items() if context.job in children), None)


def _failed_job(context: FlowListContext) -> JobRef | None:
    """The failed job that the selected row is about: itself, or what keeps the selected parent."""
    if context.job_state == "failed":
        return context.job
    children = _blocked(context).get(context.job, ()) if context.job is not None else ()
    return next(
        (c for c in children if (node := _node(context, c)) is not None and node.state == "failed"), None
    )


def _cannot_retry(context: FlowListContext) -> str | None:
    found = None if _failed_job(context) is not None else "neither this job nor what it waits for has failed"
    return jobs.needs_job(context) or found


def _ask_retry(context: FlowListContext) -> Question:
    job = _failed_job(context)
    assert job is not None
    return Question(
        title=f"Retry {_named(context, job)}?",
        body="It waits again and runs with all its attempts. This cannot be undone.",
        yes="Retry",
    )


@_PAGE.changes("flow.retry", keys.RUN, why_not=_cannot_retry, ask=_ask_retry, footer=30)
async def _retry(context: FlowListContext) -> str:
    """Let the selected failed job run again, or the failed child that keeps the selected parent."""
    job = _failed_job(context)
    assert job is not None
    shown = replace(context, job=job, job_state="failed")
    return await many.act_on_one(shown, "retry", "waits again", name=_named(context, job))


def _cannot_release(context: FlowListContext) -> str | None:
    stuck = _stuck_parent(context) is not None
    return jobs.needs_job(context) or (
        None if stuck else "it does not wait for a child that failed or is gone"
    )


def _ask_release(context: FlowListContext) -> Question:
    parent = _stuck_parent(context)
    assert parent is not None
    children = "\n".join(_named(context, child) for child in _blocked(context)[parent][:8])
    return Question(
        title=f"Release {_named(context, parent)}?",
        body=f"It will not wait any more for\n{children}\nand runs without their results. This cannot be undone.",
        yes="Release",
        no="Keep waiting",
    )


@_PAGE.changes(
    "flow.release", keys.RELEASE, title="release parent", why_not=_cannot_release, ask=_ask_release, footer=40
)
async def _release(context: FlowListContext) -> str:
    """Release a parent from the children that failed or are gone: it runs without them."""
    parent = _stuck_parent(context)
    assert parent is not None
    children = _blocked(context)[parent]
    counted = await context.change(
        lambda queue, actor: queue.release_parent(parent.id, children=children, actor=actor), parent.queue
    )
    return f"{_named(context, parent)} goes on without {plural(len(counted), 'child', 'children')}"


# --- what jobs have too, and what leads to a flow from elsewhere -------------------------------------------

_PAGE += (
    replace(action, id=f"flow.{action.id}", scope="flow", footer=footer, command=None)
    for action, footer in (
        (jobs.promote, None),
        (jobs.remove, 50),
        (timing.edit, None),
        (jobs.follow, 60),
        (jobs.open_page, None),
        *((sibling, None) for sibling in shared.SIBLINGS),
    )
)


@_PAGE("flow.fold", keys.PREVIOUS, why_not=jobs.needs_job)
def _fold(context: FlowPageContext) -> None:
    """Fold what the selected job waits for."""
    context.page.fold(True)


@_PAGE("flow.unfold", keys.NEXT, why_not=jobs.needs_job)
def _unfold(context: FlowPageContext) -> None:
    """Unfold what the selected job waits for."""
    context.page.fold(False)


@_OPEN("open-flow", title="flow", why_not=jobs.needs_job, command="flow", takes=Words("job"))
def _open_flow_by_name(context: Context) -> None:
    """Open the flow of a job by its name, as in `:flow ai:5001`."""
    context.console.open_page("flow", context.needed_job)


_LIST += on_screen("flows", (shared.hold,))
_PAGE += on_screen("flow", shared.FINDS)
_ON_ROWS: tuple[Action[Any], ...] = (*on_screen("flows", shared.SORTING), *on_screen("flows", shared.MARKS))
ACTIONS: tuple[Action[Any], ...] = (*_LIST, *_ON_ROWS, *_PAGE, *_OPEN)
