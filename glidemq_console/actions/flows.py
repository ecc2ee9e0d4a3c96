"""What can be done with a flow, in the list and on its page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..model.flows import TopUpRequest, caps_of, root_of
from ..text.format import plural
from ..text.safe import clean
from .base import Action, Context, Danger, Question, Unchanged
from .jobs import control as jobs
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
        ...


class FlowPage(FlowsPage, jobs.CopyPage, Protocol):
    """The page of one flow, as its actions know it."""


@dataclass(frozen=True, kw_only=True)
class FlowContext(Context):
    """What was on screen when the key was pressed, with the flow it was about."""

    page: FlowsPage
    #: The flow as its page shows it; None in the list.
    view: FlowView | None = None
    flow: Flow | None = None


@dataclass(frozen=True, kw_only=True)
class FlowPageContext(FlowContext, jobs.CopyContext):
    """What was on the page of a flow when the key was pressed."""

    page: FlowPage


def _blocked(context: FlowContext) -> dict[JobRef, tuple[JobRef, ...]]:
    return dict(context.view.blocked) if context.view is not None else {}


def _node(context: FlowContext, ref: JobRef) -> FlowNode | None:
    flow = context.flow
    return next((node for node in flow.nodes if node.ref == ref), None) if flow is not None else None


def _shown(ref: JobRef) -> str:
    return clean(str(ref), single_line=True, limit=120)


def _named(context: FlowContext, ref: JobRef) -> str:
    node = _node(context, ref)
    name = clean(node.name, single_line=True, limit=60) if node is not None else ""
    return f"{_shown(ref)} {name}".strip()


# --- budgets -----------------------------------------------------------------------------------------------


def _cannot_top_up(context: FlowContext) -> str | None:
    flow = context.flow
    if flow is None:
        return "no flow is selected"
    if flow.budget is None:
        return "this flow has no budget"
    return None if caps_of(flow.budget) else "its budget has no cap that could be raised"


async def _top_up(context: FlowContext) -> str:
    assert context.flow is not None
    assert context.flow.budget is not None
    budget, root = context.flow.budget, root_of(context.flow)
    name = clean(root.name if root is not None else "", single_line=True, limit=60)

    async def preview(request: TopUpRequest) -> TopUp:
        return await _apply(context, budget, request, preview=True)

    asked = f"{name} {_shown(budget.flow)}".strip()
    request = await context.page.ask_top_up(asked, budget, context.view, preview)
    if request is None:
        return Unchanged("nothing was added")
    answer = await _apply(context, budget, request, preview=False)
    done = f"{_shown(budget.flow)} topped up"
    if answer.still_exceeded:
        return f"{done}, but a cap is still exceeded: nothing was released"
    return f"{done}: {plural(len(answer.released), 'job')} released" if answer.released else done


async def _apply(context: FlowContext, budget: FlowBudget, request: TopUpRequest, *, preview: bool) -> TopUp:
    """Top up, or ask what that would do; refused when the caps are not the ones that were shown."""
    more: dict[str, Any] = {
        "add_tokens": request.add_tokens,
        "add_cost": request.add_cost,
        "add_tokens_by": request.add_tokens_by,
        "add_costs_by": request.add_costs_by,
        "retry_failed": request.retry_failed,
        "expect": budget,
        "preview": preview,
    }
    return await context.change(
        budget.flow.queue, lambda queue, actor: queue.top_up_budget(budget.flow.id, actor=actor, **more)
    )


# --- parents that cannot go on -----------------------------------------------------------------------------


def _stuck_parent(context: FlowContext) -> JobRef | None:
    """The blocked parent that the selected row is about: itself, or the one its failed child keeps."""
    blocked = _blocked(context)
    if context.job in blocked:
        return context.job
    return next((parent for parent, children in blocked.items() if context.job in children), None)


def _failed_job(context: FlowContext) -> JobRef | None:
    """The failed job that the selected row is about: itself, or what keeps the selected parent."""
    if context.job_state == "failed":
        return context.job
    children = _blocked(context).get(context.job, ()) if context.job is not None else ()
    return next(
        (c for c in children if (node := _node(context, c)) is not None and node.state == "failed"), None
    )


def _cannot_retry(context: FlowContext) -> str | None:
    if reason := jobs.needs_job(context):
        return reason
    return None if _failed_job(context) is not None else "neither this job nor what it waits for has failed"


async def _retry(context: FlowContext) -> str:
    job = _failed_job(context)
    assert job is not None
    await context.change(job.queue, lambda queue, actor: queue.retry_job(job.id, actor=actor))
    return f"{_named(context, job)} waits again"


def _cannot_release(context: FlowContext) -> str | None:
    if reason := jobs.needs_job(context):
        return reason
    return (
        None if _stuck_parent(context) is not None else "it does not wait for a child that failed or is gone"
    )


def _ask_release(context: FlowContext) -> Question | None:
    parent = _stuck_parent(context)
    if parent is None:
        return None
    children = "\n".join(_named(context, child) for child in _blocked(context)[parent][:8])
    return Question(
        title=f"Release {_named(context, parent)}?",
        body=f"It will not wait any more for\n{children}\nand runs without their results. This cannot be undone.",
        yes="Release",
        no="Keep waiting",
    )


async def _release(context: FlowContext) -> str:
    parent = _stuck_parent(context)
    assert parent is not None
    children = _blocked(context)[parent]
    counted = await context.change(
        parent.queue,
        lambda queue, actor: queue.release_parent(parent.id, children=children, actor=actor),
    )
    return f"{_named(context, parent)} goes on without {plural(len(counted), 'child', 'children')}"


# --- the registry ------------------------------------------------------------------------------------------


def _open_flow(context: Context) -> None:
    assert context.job is not None
    context.console.open_page("flow", context.job)


def _like(name: str, footer: int | None) -> Action[jobs.CopyContext]:
    """An action of jobs, on the selected job of a flow."""
    action = next(action for action in jobs.ON_A_JOB if action.id == name)
    return replace(action, id=f"flow.{name}", scope="flow", footer=footer, command=None)


def _top_up_action(scope: str) -> Action[FlowContext]:
    return Action(
        id=f"{scope}.top-up",
        title="top up",
        help="Raise the caps of the flow's budget and let its parked jobs go on; shows first what would happen.",
        keys=("T",),
        scope=scope,
        danger=Danger.CHANGE,
        why_not=_cannot_top_up,
        run=_top_up,
        prompts=True,
        footer=20,
    )


_LIST: tuple[Action[FlowContext], ...] = (
    Action(
        id="flows.open",
        title="open",
        help="Open the selected flow: its jobs, its budget, what keeps it.",
        keys=("enter",),
        scope="flows",
        why_not=lambda context: None if context.flow is not None else "no flow is selected",
        run=lambda context: context.page.open_selected(),
        footer=10,
    ),
    _top_up_action("flows"),
)

_PAGE: tuple[Action[FlowPageContext], ...] = (
    Action(
        id="flow.open",
        title="job",
        help="Open the page of the selected job.",
        keys=("enter",),
        scope="flow",
        why_not=jobs.needs_job,
        run=lambda context: context.page.open_selected(),
        footer=10,
    ),
    _top_up_action("flow"),
    Action(
        id="flow.retry",
        title="retry",
        help="Let the selected failed job run again, or the failed child that keeps the selected parent.",
        keys=("R",),
        scope="flow",
        danger=Danger.CHANGE,
        why_not=_cannot_retry,
        run=_retry,
        footer=30,
    ),
    Action(
        id="flow.release",
        title="release parent",
        help="Release a parent from the children that failed or are gone: it runs without them.",
        keys=("L",),
        scope="flow",
        danger=Danger.CONFIRM,
        why_not=_cannot_release,
        ask=_ask_release,
        run=_release,
        footer=40,
    ),
    _like("remove", 50),
    _like("tokens", 60),
    _like("copy", None),
)

#: What leads to a flow from elsewhere.
_OPEN: tuple[Action[Context], ...] = (
    *(
        Action(
            id=f"{scope}.flow",
            title="flow",
            help="Open the flow that the job belongs to.",
            keys=("f",),
            scope=scope,
            why_not=jobs.needs_job,
            run=_open_flow,
            footer=52,
        )
        for scope in ("jobs", "job")
    ),
    Action(
        id="open-flow",
        title="flow",
        help="Open the flow of a job by its name, as in `:flow ai:5001`.",
        run=_open_flow,
        why_not=jobs.needs_job,
        command="flow",
        takes="job",
    ),
)

ACTIONS: tuple[Action[Any], ...] = (*_LIST, *_PAGE, *_OPEN)
