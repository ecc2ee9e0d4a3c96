"""What a job is about, beside the list that it stands in: its story and its payload."""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from ...model.snapshot import JobView, shown_state
from ...text import format as fmt
from ...text.safe import short
from ...widgets.status_line import PartsView, Rule
from ...widgets.styled import Parts, Styled, dim, hotkey
from ..lists.values import value_lines
from . import page_text as say

if TYPE_CHECKING:
    from glidemq_core.records import JobDetail, JobRow


class JobBeside(Vertical):
    """The job under the cursor, as it was read last; no secrets are shown here."""

    DEFAULT_CSS = """
    JobBeside VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Rule(id="beside-title")
        with VerticalScroll(can_focus=False):
            yield PartsView(id="beside-lines", wraps=True)

    def show(self, row: JobRow | None, view: JobView | None, now: int, zone: tzinfo | None) -> None:
        """Show a job of the list; `view` is what was read of it, if that is the one that was read."""
        self.query_one("#beside-title", Rule).show(short(row.id, 60) if row is not None else "")
        self.query_one("#beside-lines", PartsView).show(_lines(row, view, now, zone))


def _lines(row: JobRow | None, view: JobView | None, now: int, zone: tzinfo | None) -> list[Parts]:
    if row is None:
        return []
    if view is None or view.ref != row.ref:
        return [[dim("reading …")]]
    if view.detail is None:
        return [[Styled("is gone: removed, or it left when it was done", "warning")]]
    look = fmt.state_look(shown_state(view.detail))
    head = [Styled(look.label(), look.style, "bold"), Styled(f"  {short(view.detail.name, 200)}")]
    money = say.money_parts(view.detail)
    lines = [[*head, *([Styled("  "), *money] if money else [])], []]
    return [*lines, *say.story(view.detail, now, zone, reveal=False), *_payload(view.detail)]


def _payload(job: JobDetail) -> list[Parts]:
    size = fmt.byte_size(job.data_bytes)
    if job.truncated:
        return [[dim(f"payload  {size}, too long to show here; "), hotkey("enter"), dim(" opens the job")]]
    if job.data_error is not None:
        return [[Styled(f"payload cannot be decoded: {short(job.data_error, 200)}", "warning")]]
    return value_lines(job.data, size, False, bare=False)
