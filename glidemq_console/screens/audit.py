"""Who did what to a job: its entries in the audit of its queue, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from .. import format as fmt
from ..safe import clean
from ..store import epoch_ms
from ..widgets.ink import Ink, Parts
from ..widgets.statusline import PartsView

if TYPE_CHECKING:
    from glidemq_core.records import AuditEntry

    from ..app import ConsoleApp


def audit_lines(name: str, entries: Sequence[AuditEntry], console: ConsoleApp) -> list[Parts]:
    """The overlay's lines. `name` is safe text."""
    lines: list[Parts] = [[Ink("audit ", "dim"), Ink(name, "", "bold")], []]
    if not entries:
        return [*lines, [Ink("No person has changed anything about this job through glidemq.", "dim")]]
    now, zone = console.now_ms(), console.config.zone
    for entry in entries:
        by, via = (clean(text, single_line=True, limit=60) for text in (entry.by, entry.via))
        lines.append(
            [
                Ink(f"{fmt.moment(epoch_ms(entry.at), now, zone)}  ", "dim"),
                Ink(by, "", "bold"),
                Ink(f"  {clean(entry.action, single_line=True, limit=40)}"),
                Ink(f"  {clean(entry.outcome, single_line=True, limit=40)}", "dim"),
                Ink(f"  via {via} on {clean(entry.host, single_line=True, limit=60)}", "dim"),
            ]
        )
        if entry.comment:
            lines.append([Ink(f"          “{clean(entry.comment, single_line=True, limit=400)}”")])
        if entry.shown_hash:
            lines.append(
                [
                    Ink(
                        f"          was shown {clean(entry.shown_hash, single_line=True, limit=16)}  entry {entry.seq}",
                        "dim",
                    )
                ]
            )
    return lines


class AuditScreen(ModalScreen[None]):
    """The audit over the screen it was asked on."""

    DEFAULT_CSS: ClassVar[str] = """
    AuditScreen { align: center middle; background: $background 60%; }
    AuditScreen VerticalScroll {
        width: 92; max-width: 96%; height: auto; max-height: 80%;
        padding: 1 2; background: $panel; border: round $hairline;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,u,q,enter", "close_audit", "close", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def __init__(self, name: str, entries: Sequence[AuditEntry], console: ConsoleApp) -> None:
        super().__init__()
        self._lines = audit_lines(name, entries, console)

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield PartsView(self._lines)

    def action_close_audit(self) -> None:
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
