"""Who did what to a job: its entries in the audit of its queue, newest first."""

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


def audit_lines(name: str, entries: Sequence[AuditEntry], console: Console) -> list[Parts]:
    """The overlay's lines. `name` is safe text."""
    lines: list[Parts] = [[dim("audit "), Styled(name, "", "bold")], []]
    if not entries:
        return [*lines, [dim("No person has changed anything about this job through glidemq.")]]
    now, zone = console.now_ms(), console.config.zone
    for entry in entries:
        by, via = (short(text, 60) for text in (entry.by, entry.via))
        lines.append(
            [
                dim(f"{fmt.moment(epoch_ms(entry.at), now, zone)}  "),
                Styled(by, "", "bold"),
                Styled(f"  {short(entry.action, 40)}"),
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


class AuditScreen(Overlay):
    """The audit over the screen it was opened on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("u,enter", "close", "close", show=False)]

    def __init__(self, name: str, entries: Sequence[AuditEntry], console: Console) -> None:
        super().__init__(audit_lines(name, entries, console))
