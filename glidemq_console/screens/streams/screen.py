"""Live tokens of chosen jobs, or of whatever runs: one pane, or a wall of two, four or nine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.timer import Timer

from ...actions.streams import StreamsContext
from ...feed.token_stream import SPEEDS, Follower
from ...model.memory import Kept
from ...model.snapshot import Interests, LinkState, Snapshot
from ...text import format as fmt
from ...text.safe import short
from ...text.shown_keys import key_of
from ...widgets.status_line import PartsView
from ...widgets.styled import Parts, Styled, dim
from ...widgets.token_pane import TokenPane
from ..registry import bindings
from ..typed.command_line import CommandLine
from . import text as say
from .pane import Slot, StreamPane, columns_for
from .texts import WallTexts

if TYPE_CHECKING:
    from glidemq_core import JobRef, JobRow

WALLS, WALL = (1, 2, 4, 9), 4
MOST = WALLS[-1]
#: Tokens of each pane are drawn this often, s, in turns that share the panes: a key waits for one turn at most.
FRAME_S, TURNS = 0.125, 2
#: A stream slower than this, tokens a second, is drawn when a token comes.
SLOW = 60
#: Figures are drawn every so many turns.
TURNS_A_FIGURE = 4 * TURNS
#: After a key or a click the tokens wait this long, s, so that the answer is painted first; for few turns in a row.
YIELD_S, MOST_YIELDED = 0.06, 3 * TURNS
#: A stream that ended, or whose job waits, makes room for a running one after this time, when the panes were not
#: chosen by hand.
LINGER_MS = 8_000


class StreamsScreen(WallTexts):
    """The wall of tokens."""

    SCOPE = "streams"
    TAB = "streams"
    BINDINGS = bindings(SCOPE)
    DEFAULT_CSS: ClassVar[str] = """
    StreamsScreen #wall { layout: grid; grid-gutter: 0 1; height: 1fr; }
    StreamsScreen #no-streams { display: none; height: 1fr; }
    StreamsScreen.-none #wall { display: none; }
    StreamsScreen.-none #no-streams { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        self._wall = WALL
        self._zoomed = False
        #: Panes follow what runs, until somebody chooses.
        self._auto = True
        self._timer: Timer | None = None
        self._turn = 0
        self._yielded = 0

    def body(self) -> ComposeResult:
        yield Container(id="wall")
        yield PartsView(say.EMPTY, id="no-streams")

    def on_mount(self) -> None:
        self._timer = self.set_interval(FRAME_S / TURNS, self._draw_turn)

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    def on_screen_resume(self) -> None:
        if self._timer is not None:
            self._timer.resume()

    async def on_unmount(self) -> None:
        for slot in self._slots:
            await slot.follower.stop()

    # --- what is remembered ---------------------------------------------------------------------------------

    def kept(self) -> Kept:
        return {} if self._wall == WALL else {"wall": str(self._wall)}

    def recall(self, kept: Kept) -> None:
        self._wall = next((size for size in WALLS if str(size) == kept.get("wall")), WALL)

    # --- what the frame calls -------------------------------------------------------------------------------

    @property
    def slot(self) -> Slot | None:
        return self._slots[self._at] if self._slots else None

    @property
    def is_replaying(self) -> bool:
        return self.slot is not None and self.slot.follower.speed is not None

    def main_widget(self) -> TokenPane | None:
        return self.slot.pane.tokens if self.slot is not None else None

    def interests(self) -> Interests:
        pick = min(self._wall, MOST) if self._auto else 0
        return Interests(streams=tuple(slot.ref for slot in self._slots), pick=pick)

    def context(self) -> StreamsContext:
        shown = StreamsContext(console=self.console, page=self, snapshot=self.snapshot)
        slot = self.slot
        if slot is None:
            return shown
        state = slot.row.state if slot.row is not None else None
        return replace(shown, queue=slot.ref.queue, job=slot.ref, job_state=state, row=slot.row)

    def title_of(self, action_id: str) -> str | None:
        slot = self.slot
        if action_id == "filter":
            return "find"
        if slot is not None and action_id == "streams.pause" and slot.follower.paused:
            return "go on"
        if slot is not None and action_id == "streams.slower" and self.is_replaying:
            return "slower"
        return super().title_of(action_id)

    def status(self, snapshot: Snapshot) -> Parts:
        if not self._slots:
            return []
        now = self.console.now_ms()
        rate = sum(slot.follower.meter.rate(now) for slot in self._slots if not slot.follower.ended)
        pace = fmt.rate(rate, "tok/s") if rate else "no tokens now"
        parts = [dim(f"{fmt.plural(len(self._slots), 'stream')} · {pace}")]
        shown = len(self._visible())
        if shown < len(self._slots):
            parts = [dim(f"{self._at + 1} of {len(self._slots)} · "), *parts]
        if self._auto:
            parts.append(dim(" · what runs"))
        if self._search:
            parts = [Styled(f"/{short(self._search, 40)}  ", "focus"), *parts]
        return parts

    def open(self, target: object) -> None:
        from glidemq_core.options.job import JobRef

        if isinstance(target, JobRef):
            self._auto = False
            self.run_worker(self._follow(target, focus=True), group="wall", exit_on_error=False)

    def leave(self) -> bool:
        if self.clear_filter():
            return True
        if self._zoomed:
            self.toggle_zoom()
            return True
        return False

    # --- panes ---------------------------------------------------------------------------------------------

    async def _follow(self, ref: JobRef, *, row: JobRow | None = None, focus: bool = False) -> None:
        """Add a pane for a job, or go to the one it has."""
        known = next((slot for slot in self._slots if slot.ref == ref), None)
        if known is None:
            if len(self._slots) >= MOST:
                leaving = min(self._slots, key=lambda slot: slot.quiet_ms or self.console.now_ms())
                await self._drop(leaving)
                self.show_message(f"{MOST} panes at most: that of {leaving.ref} was closed", token="warning")
            follower = Follower(ref, self.console.feed, self.console.now_ms, partial(self._draw_slow, ref))
            known = Slot(follower, StreamPane(), row)
            self._slots.append(known)
            await self.query_one("#wall", Container).mount(known.pane)
            known.follower.start()
        if focus or len(self._slots) == 1:
            self._at = self._slots.index(known)
        self._arrange()
        self.console.set_interests()

    async def _drop(self, slot: Slot) -> None:
        index = self._slots.index(slot)
        self._slots.remove(slot)
        if self._at > index or self._at >= len(self._slots):
            self._at = max(0, self._at - 1)
        await slot.follower.stop()
        await slot.pane.remove()

    def _visible(self) -> list[Slot]:
        size = 1 if self._zoomed else self._wall
        first = self._at // size * size
        return self._slots[first : first + size]

    def _arrange(self) -> None:
        """Lay out as many panes as the wall has room for, the current one among them."""
        shown = self._visible()
        count = max(1, len(shown))
        columns = columns_for(count, self.app.size.width)
        wall = self.query_one("#wall", Container)
        wall.styles.grid_size_columns = columns
        wall.styles.grid_size_rows = -(-count // columns)
        for slot in self._slots:
            slot.pane.display = slot in shown
        for index, slot in enumerate(shown):
            slot.pane.set_class(index % columns > 0, "-inner")
        self.set_class(not self._slots, "-none")
        main = self.main_widget()
        if main is not None and not self.query_one(CommandLine).is_open:
            main.focus(scroll_visible=False)
        self._draw_figures()
        self.show_keys()

    def resized(self) -> None:
        self._arrange()
        super().resized()

    # --- drawing -------------------------------------------------------------------------------------------

    def draw(self, snapshot: Snapshot) -> None:
        now = self.console.now_ms()
        for slot in self._slots:
            if slot.ref in snapshot.streams:
                slot.row = snapshot.streams[slot.ref]
            is_quiet = slot.follower.ended or (slot.row is not None and slot.row.state != "active")
            slot.quiet_ms = None if not is_quiet else now if slot.quiet_ms is None else slot.quiet_ms
        if self._auto and snapshot.running:
            self._cast(snapshot.running, now)
        self.set_class(not self._slots, "-none")
        is_lost = snapshot.link.state is LinkState.LOST
        self.query_one("#no-streams", PartsView).show(say.NOT_KNOWN if is_lost else say.EMPTY)
        self._draw_figures()

    def _cast(self, running: tuple[JobRow, ...], now: int) -> None:
        """Give running jobs the free panes, then those of streams that have been quiet for a while."""
        room = self._wall - len(self._slots)
        leaving = [
            slot
            for slot in self._slots
            if slot.quiet_ms is not None
            and now - slot.quiet_ms >= LINGER_MS
            and slot.pane.tokens.following
            and not slot.follower.paused
            and slot.follower.speed is None
        ]
        fresh = [row for row in running if all(row.ref != slot.ref for slot in self._slots)]
        replaced = leaving[: max(0, len(fresh) - max(0, room))]
        chosen = fresh[: max(0, room) + len(replaced)]
        if chosen:
            self.run_worker(self._recast(replaced, chosen), group="wall", exit_on_error=False)

    async def _recast(self, leaving: list[Slot], coming: list[JobRow]) -> None:
        for slot in leaving:
            if slot in self._slots:
                await self._drop(slot)
        for row in coming:
            if len(self._slots) < self._wall:
                await self._follow(row.ref, row=row)

    def _draw_turn(self) -> None:
        """Draw what has come for some of the panes; now and then the figures."""
        if monotonic() - self.console.last_input < YIELD_S and self._yielded < MOST_YIELDED:
            self._yielded += 1
            return
        self._yielded = 0
        self._turn += 1
        for slot in self._visible()[self._turn % TURNS :: TURNS]:
            slot.draw_tokens()
        if self._turn % TURNS_A_FIGURE == 0 and self._slots:
            self._draw_figures()

    def _draw_slow(self, ref: JobRef) -> None:
        """Draw what has come for a pane at once, unless it comes fast."""
        if not self.is_current:
            return
        for slot in self._visible():
            if slot.ref == ref and slot.follower.meter.rate(self.console.now_ms()) < SLOW:
                slot.draw_tokens()

    def _draw_figures(self) -> None:
        now, zone, shown = self.console.now_ms(), self.console.config.zone, self._visible()
        # Before a pane is laid out, it has the width that it will have.
        usual = self.app.size.width // columns_for(max(1, len(shown)), self.app.size.width)
        for slot in shown:
            width = slot.pane.size.width or usual
            lit = slot is self.slot and len(self._slots) > 1
            left, right = say.head(slot.follower, slot.row, now, lit=lit, width=width)
            ended = slot.follower.ended and not slot.follower.has_rest
            slot.pane.tokens.live = not ended and slot.row is not None and slot.row.state == "active"
            slot.pane.show(left, right, say.end(slot.follower, slot.row, now, zone))

    # --- events --------------------------------------------------------------------------------------------

    def on_descendant_focus(self) -> None:
        """A click chose another pane."""
        for index, slot in enumerate(self._slots):
            if slot.pane.tokens.has_focus and index != self._at:
                self._at = index
                self._draw_figures()
                self.show_keys()

    # --- actions -------------------------------------------------------------------------------------------

    def toggle_pause(self) -> str | None:
        if self.slot is None:
            return None
        self.slot.follower.toggle_pause()
        self._draw_figures()
        self.show_keys()
        return "paused; what comes waits on the server" if self.slot.follower.paused else "going on"

    def next_pane(self, step: int) -> None:
        if self._slots:
            self._at = (self._at + step) % len(self._slots)
            self._arrange()

    def next_wall(self) -> str:
        self._zoomed = False
        self._wall = WALLS[(WALLS.index(self._wall) + 1) % len(WALLS)]
        self._arrange()
        self.console.set_interests()
        return "one pane" if self._wall == 1 else f"a wall of {self._wall}"

    def toggle_zoom(self) -> None:
        self._zoomed = not self._zoomed
        self._arrange()

    async def change_speed(self, step: int) -> str | None:
        """Start a replay, or make it slower (-1) or faster (1); past the fastest it is live again."""
        slot = self.slot
        if slot is None:
            return None
        speed = slot.follower.speed
        if speed is None:
            return await self._restart(slot, 1.0) if step < 0 else None
        index = SPEEDS.index(speed) + step
        if index >= len(SPEEDS):
            return await self._restart(slot, None)
        slot.follower.speed = SPEEDS[max(0, index)]
        self._draw_figures()
        return f"replay at {slot.follower.speed:g}x"

    async def _restart(self, slot: Slot, speed: float | None) -> str:
        """Show the stream of a pane from its beginning: at a pace, or all of it and what comes."""
        slot.pane.tokens.clear()
        await slot.follower.restart(speed)
        slot.quiet_ms = None
        self._draw_figures()
        self.show_keys()
        keys = f"{key_of('streams.slower', '<')} {key_of('streams.faster', '>')}"
        return f"replaying at the pace it came; {keys} change the speed" if speed else "live again"

    async def close_pane(self) -> None:
        if self.slot is not None:
            self._auto = False
            await self._drop(self.slot)
            self._arrange()
            self.console.set_interests()

    def choose_running(self) -> str:
        self._auto = True
        self.console.set_interests()
        return "showing what runs and streams"
