"""What holds queues back: starts and tokens a window, jobs at once, ordering groups; and who waits for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer

from ..actions import Context, bindings
from ..command_line import CommandLine
from ..meters import QueueMeters, is_known
from ..safe import clean
from ..store import Interests, Snapshot, filter_queues
from ..widgets.columns import Column, Row
from ..widgets.ink import Ink, Parts
from ..widgets.lines import LineList
from ..widgets.statusline import PartsView, Rule
from . import limit_parts as say
from .base import ConsoleScreen

if TYPE_CHECKING:
    from glidemq_core.records import Limits, QueueSnapshot

#: From this width on the groups stand beside the meters.
SIDE_WIDTH = 120
#: The detail follows the cursor once it has rested this long.
REST_S = 0.2

COLUMNS = (
    Column(key="queue", title="QUEUE", width=12, flexible=True, sortable=False),
    Column(key="rpm", title="RPM", width=22, flexible=True, sortable=False),
    Column(key="rpm-resets", title="RESETS", width=6, right=True, leaves=2, sortable=False),
    Column(key="rpm-spark", title="LAST 15 MIN", width=say.ROW_SPARK, leaves=4, sortable=False),
    Column(key="tpm", title="TPM", width=28, flexible=True, sortable=False),
    Column(key="tpm-resets", title="RESETS", width=6, right=True, leaves=1, sortable=False),
    Column(key="tpm-spark", title="LAST 15 MIN", width=say.ROW_SPARK, leaves=3, sortable=False),
    Column(key="slots", title="RUN", width=9, right=True, leaves=5, sortable=False),
    Column(key="waits", title="WAIT", width=6, right=True, sortable=False),
)
_EMPTY: tuple[Parts, ...] = (
    [],
    [Ink("No queues here yet, so nothing is limited.", "foreground")],
    [],
    [
        Ink(
            "A worker with limiter= or token_limiter= shows its caps here; m sets one for a whole queue.",
            "dim",
        )
    ],
)


class LimitsScreen(ConsoleScreen):
    """The meters of every known queue, the selected one explained below."""

    SCOPE = "limits"
    BINDINGS = bindings(SCOPE)
    TAB = "limits"
    DEFAULT_CSS: ClassVar[str] = """
    LimitsScreen #limit-detail { height: 12; }
    LimitsScreen.-tall #limit-detail { height: 50%; min-height: 14; }
    LimitsScreen.-zoomed #limit-list { display: none; }
    LimitsScreen.-zoomed #limit-detail { height: 1fr; }
    LimitsScreen #limit-panes { height: 1fr; layout: vertical; }
    LimitsScreen.-wide #limit-panes { layout: horizontal; }
    LimitsScreen #limit-meters { width: 1fr; height: auto; padding: 0 1 0 3; }
    LimitsScreen #limit-groups { width: 1fr; height: 1fr; padding: 0 1 0 3; }
    LimitsScreen.-none #limit-detail { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._focus: str | None = None
        self._rest: Timer | None = None
        self._listed: list[QueueSnapshot] = []

    def body(self) -> ComposeResult:
        yield LineList(COLUMNS, id="limit-list", empty=_EMPTY)
        with Vertical(id="limit-detail"):
            yield Rule(id="limit-title")
            with Horizontal(id="limit-panes"):
                yield PartsView(id="limit-meters")
                yield PartsView(id="limit-groups")

    @property
    def lines(self) -> LineList:
        return self.query_one("#limit-list", LineList)

    @property
    def selected(self) -> str | None:
        """Name of the queue under the cursor."""
        key = self.lines.cursor_key if self.is_mounted else None
        return key if isinstance(key, str) else None

    # --- what the frame asks ---

    def main_widget(self) -> LineList:
        return self.lines

    def interests(self) -> Interests:
        rows = tuple(key for key in self.lines.visible_keys() if isinstance(key, str))
        return Interests(rows=rows, limits=self._focus)

    def context(self) -> Context:
        return replace(super().context(), queue=self.selected)

    def status(self, snapshot: Snapshot) -> Parts:
        parts = say.summary(self._listed, self.console.now_ms())
        if self._filter:
            parts = [Ink(f"/{clean(self._filter, single_line=True)}  ", "focus"), *parts]
        return parts

    def open(self, target: object) -> None:
        names = [queue.name for queue in self._listed]
        if target in names:
            self.lines.move_to(names.index(target))

    def leave(self) -> bool:
        if self.has_class("-zoomed"):
            self.toggle_detail()
            return True
        if self._filter:
            self._set_filter("")
            return True
        return False

    def resized(self) -> None:
        size = self.app.size
        self.set_class(size.height >= 32, "-tall")
        self.set_class(size.width >= SIDE_WIDTH, "-wide")
        super().resized()

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        now = self.console.now_ms()
        queues = filter_queues(snapshot.queues, self._filter)
        # What has or counts something first, by name: an order that no value changes while it is read.
        self._listed = sorted(queues, key=lambda row: (not _has_limits(row), row.name))
        lines = self.lines
        lines.stale = self.has_class("-old")
        if self._filter and not self._listed and snapshot.queues:
            lines.set_empty([[], [Ink("No queue matches the filter; esc clears it.", "dim")]])
        else:
            lines.set_empty(_EMPTY)
        self.set_class(not self._listed, "-none")
        lines.show(
            [Row(row.name, say.limit_cells(row, snapshot.meters.get(row.name), now)) for row in self._listed]
        )
        if self._focus is None:
            self._focus = self.selected
        self._draw_detail(snapshot, now)

    def _draw_detail(self, snapshot: Snapshot, now: int) -> None:
        name = self.selected
        row = snapshot.queue(name) if name is not None else None
        if row is None:
            return
        width = self.app.size.width
        pane = width // 2 if self.has_class("-wide") else width
        self.query_one("#limit-title", Rule).show(clean(row.name, single_line=True, limit=80), lit=True)
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

    # --- events ---

    def on_line_list_highlighted(self) -> None:
        self._draw_detail(self.snapshot, self.console.now_ms())
        self.show_keys()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._settle)

    def _settle(self) -> None:
        if self.selected != self._focus:
            self._focus = self.selected
            self.console.want()

    def on_line_list_chosen(self) -> None:
        self.console.action_act("limits.open")

    def on_command_line_filter_changed(self, event: CommandLine.FilterChanged) -> None:
        self._set_filter(event.text)

    # --- actions ---

    def open_selected(self) -> None:
        if self.selected is not None:
            self.console.go("jobs", self.selected)

    def open_filter(self) -> None:
        self.query_one(CommandLine).open_for_filter(self._filter)

    def _set_filter(self, text: str) -> None:
        self._filter = text
        self.show(self.snapshot)
        self.console.want()

    def toggle_detail(self) -> None:
        self.toggle_class("-zoomed")
        self.show(self.snapshot)


def _has_limits(row: QueueSnapshot) -> bool:
    return is_known(row.rpm) or is_known(row.tpm) or row.global_concurrency is not None
