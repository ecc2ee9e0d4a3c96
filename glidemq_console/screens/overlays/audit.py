"""Who did what to a job, or to a queue and its jobs: entries of the audit, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from ...actions.protocols import Console
from ...model.snapshot import epoch_ms
from ...text import format as fmt
from ...text.audit import detail_words
from ...text.safe import short
from ...widgets.overlay import Overlay
from ...widgets.styled import Parts, Styled, dim

if TYPE_CHECKING:
    from glidemq_core.records import AuditEntry


def audit_lines(
    name: str, entries: Sequence[AuditEntry], console: Console, *, of_queue: bool = False
) -> list[Parts]:
    """The overlay's lines, with the jobs of each entry where it is the audit `of_queue`. `name` is safe text."""
    lines: list[Parts] = [[dim("audit "), Styled(name, "", "bold")], []]
    if not entries:
        return [*lines, [dim("No person has changed anything about it through glidemq.")]]
    now, zone = console.now_ms(), console.config.zone
    for entry in entries:
        by, via = (short(text, 60) for text in (entry.by, entry.via))
        lines.append(
            [
                dim(f"{fmt.moment(epoch_ms(entry.at), now, zone)}  "),
                Styled(by, "", "bold"),
                Styled(f"  {short(entry.action, 40)}"),
                *([Styled(f" {_jobs(entry)}")] if of_queue else []),
                dim(f"  {short(entry.outcome, 40)}"),
                dim(f"  via {via} on {short(entry.host, 60)}"),
            ]
        )
        if detail := detail_words(entry.detail):
            lines.append([dim(f"          {short(detail, 200)}")])
        if entry.comment:
            lines.append([Styled(f"          “{short(entry.comment, 400)}”")])
        if entry.shown_hash:
            lines.append([dim(f"          was shown {short(entry.shown_hash, 16)}  entry {entry.seq}")])
    return lines


def _jobs(entry: AuditEntry) -> str:
    """The jobs that an entry is about, few by id and many by number."""
    count = len(entry.job_ids) if entry.count is None else entry.count
    if 0 < len(entry.job_ids) <= 3:
        return " ".join(short(job_id, 40) for job_id in entry.job_ids)
    return fmt.plural(count, "job") if count else ""


class AuditScreen(Overlay):
    """The audit over the screen it was opened on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("u", "close", "close", show=False)]

    def __init__(
        self, name: str, entries: Sequence[AuditEntry], console: Console, *, of_queue: bool = False
    ) -> None:
        super().__init__(audit_lines(name, entries, console, of_queue=of_queue))
