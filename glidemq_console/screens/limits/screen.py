"""What holds queues back: starts and tokens a window, jobs at once, ordering groups; and who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from ...model.limits import QueueMeters, is_known
from ...model.lists.queues import QueueLine
from ...model.snapshot import Interests, Snapshot
from ...widgets.lists.columns import Row
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import PartsView, Rule
from ...widgets.styled import Parts, Styled, dim
from ..lists.queue_list import QueueListScreen
from ..lists.sections import Section, SectionedScreen
from ..registry import bindings
from . import text as say
from .columns import COLUMNS

if TYPE_CHECKING:
    from glidemq_core.records import Limits, QueueSnapshot

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("No queues here yet, so nothing is limited.", "foreground")],
    [],
    [
        dim(
            "A worker with limiter= or token_limiter= shows its caps here; so does a queue with caps of its own."
        )
    ],
)


#: From this width on every row has its histories.
SPARKS_WIDTH = 120
#: Lines of the detail at least: where it is laid out with air, and where it is not.
TALL_DETAIL, DETAIL = 14, 12
#: Lines of the list at least, with its header.
LEAST_ROWS = 5


class LimitsScreen(SectionedScreen[QueueLine], QueueListScreen):
    """The meters of every known queue, the selected one explained below."""

    SCOPE = "limits"
    BINDINGS = bindings(SCOPE)
    TAB = "limits"
    # The groups stand beside the meters.
    BREAKPOINTS: ClassVar = {"-tall": (0, 32), "-wide": (120, 0)}
    LIST, TITLE, OPEN = "limit-list", "limit-title", "limits.open"
    COLUMNS, EMPTY = COLUMNS, _EMPTY
    SECTIONS = (Section("limited", ""), Section("rest", "nothing is limited", folded=True))
    DEFAULT_CSS: ClassVar[str] = """
    LimitsScreen #limit-detail { height: 1fr; }
    LimitsScreen.-short #limit-detail { display: none; }
    LimitsScreen.-zoomed #limit-detail { display: block; }
    LimitsScreen.-zoomed #limit-list { display: none; }
    LimitsScreen.-zoomed #limit-detail { height: 1fr; }
    LimitsScreen #limit-panes { height: 1fr; layout: vertical; }
    LimitsScreen.-wide #limit-panes { layout: horizontal; }
    LimitsScreen #limit-meters { width: 1fr; height: auto; padding: 0 1 0 3; }
    LimitsScreen #limit-groups { width: 1fr; height: 1fr; padding: 0 1 0 3; }
    LimitsScreen.-none #limit-detail { display: none; }
    """

    def body(self) -> ComposeResult:
        yield RowList(COLUMNS, markable=True, id="limit-list", empty=_EMPTY)
        with Vertical(id="limit-detail"):
            yield Rule(id="limit-title")
            with Horizontal(id="limit-panes"):
                yield PartsView(id="limit-meters", wraps=True, hang=8)
                yield PartsView(id="limit-groups")

    # --- what the frame calls ---

    def interests(self) -> Interests:
        return Interests(rows=self._visible_names(), limits=self._detailed)

    def status(self, snapshot: Snapshot) -> Parts:
        return self.with_filter(say.summary([line.queue for line in self.listed], self.console.now_ms()))

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        super().draw(snapshot)
        # While queues are still being found, the list is not what was opened yet.
        self.fit("#body", is_last=snapshot.complete)

    def height_in(self, room: int) -> int | str:
        if self.has_class("-short"):
            return "1fr"
        detail = TALL_DETAIL if self.has_class("-tall") else DETAIL
        wanted = len(self.entries) + self.lines.header_lines + 1
        return max(LEAST_ROWS, min(wanted, room - detail))

    def section_of(self, item: QueueLine) -> str:
        return "limited" if _has_limits(item.queue) else "rest"

    def row_for(self, item: QueueLine, now_ms: int) -> Row:
        row = super().row_for(item, now_ms)
        if self.app.size.width < SPARKS_WIDTH and item.name != self.lines.cursor_key:
            # Where there is little room, a history stands only beside what is looked at.
            row.cells["rpm-spark"] = row.cells["tpm-spark"] = ""
        return row

    def row_highlighted(self) -> None:
        super().row_highlighted()
        self.draw_rows()

    def open(self, target: object) -> None:
        if isinstance(target, str):
            self.unfold_for(target)
        super().open(target)

    def _draw_detail(self, row: QueueSnapshot, snapshot: Snapshot, now: int) -> None:
        width = self.app.size.width
        pane = width // 2 if self.has_class("-wide") else width
        meters = snapshot.meters.get(row.name) or QueueMeters()
        lines: list[Parts] = []
        for title, rate, history in (("RPM", row.rpm, meters.rpm), ("TPM", row.tpm, meters.tpm)):
            lines += say.meter_lines(title, rate, history, now, pane)
            if self.has_class("-tall"):
                lines.append([])
        lines += [say.slots_line(row), say.who_waits(row, now)]
        if not self.has_class("-wide"):
            lines.append([])
        self.query_one("#limit-meters", PartsView).show(lines)
        limits = self._limits(snapshot, row.name)
        self.query_one("#limit-groups", PartsView).show(say.group_lines(limits, pane, now))

    def _limits(self, snapshot: Snapshot, name: str) -> Limits | None:
        return snapshot.limits if snapshot.limits is not None and snapshot.limits.queue == name else None


def _has_limits(row: QueueSnapshot) -> bool:
    return is_known(row.rpm) or is_known(row.tpm) or row.global_concurrency is not None
