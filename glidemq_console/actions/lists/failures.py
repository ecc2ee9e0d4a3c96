"""What can be done with failures of one cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ...text.format import plural
from ...text.safe import short
from .. import keys, shared
from ..base import Actions, PageContext, Question, Unchanged, on_screen
from ..bulk import in_parts, touched
from ..jobs import control as jobs

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor, JobRef
    from glidemq_core.records import FailureGroup


class HalfPage(shared.MarkingPage, shared.SortedPage, Protocol):
    """A half of the failures, as its actions know it; what a method returns is shown."""

    def open_selected(self) -> None: ...

    def other_half(self) -> None: ...

    def toggle_detail(self) -> None: ...

    def toggle_reveal(self) -> str: ...

    def toggle_bare(self) -> str: ...


class FailuresPage(HalfPage, Protocol):
    """The failures by cause."""

    def next_window(self, step: int) -> str: ...


@dataclass(frozen=True, kw_only=True)
class FailuresContext(PageContext[FailuresPage]):
    """A key pressed on the failures; `job` is the member that is shown."""

    group: FailureGroup | None = None
    #: The jobs of each group that the filter takes; none without a filter.
    members: Mapping[str, Sequence[JobRef]] = field(default_factory=dict)

    @property
    def needed_group(self) -> FailureGroup:
        assert self.group is not None
        return self.group


#: What both halves have.
ON_A_HALF: Actions[PageContext[HalfPage]] = Actions()
_LIST: Actions[FailuresContext] = Actions("failures")


def _needs_group(context: FailuresContext) -> str | None:
    return None if context.group is not None or context.marked else "no failure is selected"


# --- both halves -------------------------------------------------------------------------------------------


@ON_A_HALF("other-half", keys.NEXT_PART, keys.PREVIOUS_PART, title="other half", footer=30)
def _other_half(context: PageContext[HalfPage]) -> None:
    """Turn from failures to dead letters, and back."""
    context.page.other_half()


@ON_A_HALF("detail", keys.DETAIL, footer=45)
def _detail(context: PageContext[HalfPage]) -> None:
    """Show the selected one alone and whole, or the list beside it again."""
    context.page.toggle_detail()


@ON_A_HALF("reveal", keys.REVEAL)
def _reveal(context: PageContext[HalfPage]) -> str:
    """Show masked secrets of the selected one, or mask them again."""
    return context.page.toggle_reveal()


@ON_A_HALF("bare", keys.BARE)
def _bare(context: PageContext[HalfPage]) -> str:
    """Show the payload as it is stored, or laid out again."""
    return context.page.toggle_bare()


ON_A_HALF += shared.SORTING


# --- failures ----------------------------------------------------------------------------------------------


@_LIST("failures.open", keys.OPEN, title="members", why_not=_needs_group, footer=10)
def _open(context: FailuresContext) -> None:
    """List the failed jobs of this cause."""
    context.page.open_selected()


def _groups(context: FailuresContext) -> tuple[FailureGroup, ...]:
    return context.marked or (context.needed_group,)


def _ask_retry(context: FailuresContext) -> Question:
    if marked := context.marked:
        count = sum(group.count for group in marked)
        told = touched([group.message for group in marked], [group.queue for group in marked])
        return Question(
            title=f"Retry {plural(count, 'failed job')} of {plural(len(marked), 'marked cause')}?",
            body=f"{told}\n\nThey wait again and run with all attempts. Those that have changed meanwhile are skipped. "
            "This cannot be undone.",
            yes=f"Retry {count:,}",
        )
    group = context.needed_group
    many = group.count > 1
    return Question(
        title=f"Retry {plural(group.count, 'failed job')} of {context.shown_queue}?",
        body=f"{short(group.error_type, 60)} {short(group.message, 300)}\n\n"
        f"{'They wait' if many else 'It waits'} again and {'run' if many else 'runs'} with all attempts. "
        "Those that have changed meanwhile are skipped. This cannot be undone.",
        yes=f"Retry {group.count:,}",
    )


@_LIST.changes("failures.retry", keys.RUN, title="run again", why_not=_needs_group, ask=_ask_retry, footer=20)
async def _retry(context: FailuresContext) -> str:
    """Let the failed jobs of the marked causes, else of this one, run again; those that have changed are skipped."""
    members: list[JobRef] = []
    for group in _groups(context):
        members += await _members(context, group)

    async def retry(queue: Queue[Any, Any], actor: Actor, part: Sequence[JobRef]) -> list[str]:
        from glidemq_core.jobs.bulk.shown import Shown, act_on_shown

        shown = [Shown(ref.id, "failed") for ref in part]
        return await act_on_shown(await queue.context(), "retry", shown, actor=actor)

    tally = await in_parts(
        context, members, retry, {"retried"}, queue_of=lambda ref: ref.queue, doing="retrying in parts"
    )
    if not context.marked and len(tally.done) == len(members) > 0:
        count = len(members)
        return f"{count:,} of {context.shown_queue} wait again" if count != 1 else "1 job waits again"
    if not tally.done and not tally.problem:
        return Unchanged("nothing was retried: none of them is failed any more")
    return tally.message("job", "retried")


async def _members(context: FailuresContext, group: FailureGroup) -> list[JobRef]:
    """The members of a cause that the question counted: the newest so many."""
    from glidemq_core.options.job import JobRef

    if (taken := context.members.get(group.key)) is not None:
        return list(taken[: group.count])
    ids = await context.console.feed.failed_jobs(group.queue, group.key)
    return [JobRef(group.queue, job_id) for job_id in ids[: group.count]]


@_LIST("failures.next-window", keys.NEXT, title="look further back")
def _next_window(context: FailuresContext) -> str:
    """Look further back."""
    return context.page.next_window(1)


@_LIST("failures.previous-window", keys.PREVIOUS, title="look less far back")
def _previous_window(context: FailuresContext) -> str:
    """Look less far back."""
    return context.page.next_window(-1)


_LIST += on_screen("failures", (*ON_A_HALF, *shared.MARKS, *jobs.LINKS, *shared.SIBLINGS, shared.hold))
ACTIONS = tuple(_LIST)
