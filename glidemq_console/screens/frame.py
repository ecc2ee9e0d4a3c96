"""The frame of every screen: header, tabs, body, status, keys; draws a snapshot, says what it needs."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from ..model.messages import LONGEST
from ..model.snapshot import LinkState, Snapshot
from ..model.trouble import KINDS
from ..text import format as fmt
from ..text.safe import short
from ..text.shown_keys import key_of
from ..widgets.key_bar import KeyBar, LinkBar
from ..widgets.status_line import PartsView, Rule, StatusLine, TabBar
from ..widgets.styled import Parts, Styled, dim, hotkey, width_of
from . import frame_text, trouble_text
from .filtered import FilteredScreen
from .first_keys import first_keys
from .typed.command_line import CommandLine

#: Below this the frame gives way to one plain line.
LEAST_WIDTH, LEAST_HEIGHT = 60, 15
#: Below this height there is no rule, and the line of trouble shares that of the tabs.
LOW_HEIGHT = 30
#: How long a message stays, ms.
MESSAGE_MS = 8_000


def is_too_small(size: Size) -> bool:
    """Whether a terminal of this size shows one plain line only."""
    return size.width < LEAST_WIDTH or size.height < LEAST_HEIGHT


class ConsoleScreen(FilteredScreen):
    """A screen of the console."""

    def __init__(self) -> None:
        super().__init__()
        self._message: tuple[str, str, int] | None = None
        #: Until when it says some keys to who is here for the first time, epoch ms.
        self._new_until_ms = 0
        #: When it was told to hold still, epoch ms.
        self._held_at = 0
        #: It shows what it showed before something went wrong.
        self._is_undrawn = False
        #: Widgets that could not be drawn when they were painted last.
        self._broken: set[Widget] = set()

    # --- the frame -----------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield StatusLine(id="header")
        yield TabBar(id="tabs")
        yield LinkBar(id="trouble")
        yield Rule(id="rule")
        with Vertical(id="body"):
            yield from self.body()
        yield PartsView(id="lost")
        yield PartsView(id="too-small")
        yield PartsView(id="message", wraps=True, hang=0)
        yield StatusLine(id="status")
        yield CommandLine(self.context, self.console.typed_lines, id="command-line")
        yield KeyBar(id="keys")

    @property
    def is_up(self) -> bool:
        """Whether there is something to draw on: it is composed, neither closed since nor the console being left."""
        return self.is_mounted and self._is_wanted

    @property
    def _is_wanted(self) -> bool:
        return self.is_attached and self.app.is_running

    @property
    def is_too_small(self) -> bool:
        """Whether the terminal is too small to draw anything but one line."""
        return is_too_small(self.app.size)

    def why_not_drawn(self) -> str | None:
        """Why what is selected here cannot be seen, and so cannot be changed; None when it can."""
        if self.is_too_small:
            return f"the terminal is too small to show what it would change ({self._needed()})"
        if self._is_undrawn or self._broken:
            return "this screen could not be drawn: what it would change cannot be seen"
        return None

    def widget_is_drawn(self, widget: Widget, drawn: bool) -> None:
        """Take note that one of its widgets could not be drawn, or is drawn again."""
        (self._broken.discard if drawn else self._broken.add)(widget)

    async def _dispatch_message(self, message: Message) -> None:
        # A defect in a handler would end the pump of the screen, which is dead then though it is on top.
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            if not self.is_up or isinstance(message, events.Compose | events.Mount):
                raise
            self._is_undrawn = True
            self.console.report_defect(error, f"handling {type(message).__name__} on {self.SCOPE}")

    def on_mount(self) -> None:
        self.recall(self.console.memory.screens.get(self.SCOPE, {}))
        self.focus_main()

    def on_screen_resume(self) -> None:
        if self.console.first_visit(self.SCOPE):
            self._new_until_ms = self.console.now_ms() + MESSAGE_MS
        self.show(self.snapshot)
        self.console.set_interests()

    def on_resize(self) -> None:
        self.set_class(self.is_too_small, "-too-small")
        self.call_after_refresh(self._size_is_known)

    def _size_is_known(self) -> None:
        if self.is_up:
            self.resized()

    def resized(self) -> None:
        """Draw again for another size."""
        size = self.app.size
        for name, (width, height) in self.BREAKPOINTS.items():
            self.set_class(size.width >= width and size.height >= height, name)
        self.show(self.snapshot)
        self.console.set_interests()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the frame and the body; a defect in that is shown, and the next snapshot is drawn all the same."""
        if not self.is_up:
            return
        try:
            self._show(snapshot)
        except Exception as error:  # noqa: BLE001  # whatever it is, the console goes on and shows it
            self._is_undrawn = True
            self.console.report_defect(error, f"drawing {self.SCOPE}")
        else:
            self._is_undrawn = False
            if not self.IS_PAGE:
                self.console.memory.keep(self.SCOPE, self.kept())

    def _show(self, snapshot: Snapshot) -> None:
        now, config = self.console.now_ms(), self.console.config
        self.set_class(snapshot.link.state in (LinkState.STALE, LinkState.LOST), "-old")
        self.set_class(not self.is_ready(snapshot), "-no-data")
        width = self.app.size.width
        left, right = frame_text.header(
            snapshot,
            label=config.label,
            is_prod=config.is_prod,
            user=config.user,
            now_ms=now,
            zone=config.zone,
            width=width,
        )
        self.query_one("#header", StatusLine).show(left, right)
        self._show_tabs(snapshot, now)
        if self.is_ready(snapshot):
            self.draw(self.snapshot if self._held is not None else snapshot)
        else:
            self.query_one("#lost", PartsView).show(self._before_data(snapshot, now))
        self.show_keys()
        self.query_one("#rule", Rule).show(self._way())
        self._show_status(snapshot, now)
        if self.is_too_small:
            self.query_one("#too-small", PartsView).show(self._too_small_lines(now))

    def _show_tabs(self, snapshot: Snapshot, now: int) -> None:
        """Draw the tabs and the line of trouble; on a low terminal both are one line."""
        size = self.app.size
        is_low = size.height < LOW_HEIGHT
        self.set_class(is_low, "-low")
        found = self.console.trouble_words.take(snapshot, now)
        entries = trouble_text.words(found, snapshot, now, size.width, is_low=is_low)
        sums = trouble_text.totals_parts(snapshot, size.width, is_low=is_low)
        tabs = frame_text.tabs(self.TAB)
        if is_low:
            self.query_one("#tabs", TabBar).show(tabs, self.TAB, [*entries, ("", sums)])
        else:
            self.query_one("#tabs", TabBar).show(tabs, self.TAB)
            self.query_one("#trouble", LinkBar).show(entries, sums)

    def _way(self) -> str:
        """The breadcrumb; empty where a tab key led here."""
        crumbs = self.console.crumbs
        return " › ".join(crumbs) if len(crumbs) > 1 else ""

    def _needed(self) -> str:
        size = self.app.size
        return f"{size.width}x{size.height}, needs {LEAST_WIDTH}x{LEAST_HEIGHT}"

    def _too_small_lines(self, now: int) -> list[Parts]:
        """What stands in the place of everything: nothing here changes anything, but what is held can be undone."""
        held = self.held_parts(now)
        return [[Styled(f"too small: {self._needed()}")], *([held] if held else [])]

    def held_parts(self, now: int) -> Parts:
        """What is about to be sent, and how to take it back; shown wherever one is."""
        outbox = self.console.outbox
        return frame_text.held_parts(outbox.undoable(self.undoes()), len(outbox.pending), now)

    def show_keys(self) -> None:
        """Draw the key bar for what is selected now."""
        if self.is_up:
            entries = frame_text.key_entries(self.SCOPE, self.context())
            self.query_one(KeyBar).show(entries, frame_text.cost_parts(self.snapshot))

    def _show_status(self, snapshot: Snapshot, now: int) -> None:
        left: Parts = []
        wrapped: Parts = []
        if (export := self.console.exports.current) is not None:
            left = [Styled(export.progress), dim(" · "), hotkey("esc"), dim(" stops")]
        elif self._message is not None and now - self._message[2] < MESSAGE_MS:
            left = [Styled(self._message[0], self._message[1])]
            # What is too long for the line is wrapped above it.
            if width_of(left) > self.app.size.width - 4:
                wrapped, left = left, []
        elif snapshot.link.state is LinkState.LOST and snapshot.has_data:
            left = [
                Styled("connection lost, ", "error", "bold"),
                Styled(frame_text.retry_words(snapshot.link, now), "error"),
                dim(" · "),
                hotkey(key_of("refresh", "^r")),
                Styled(" tries now", "foreground"),
                Styled(f" · data {fmt.age(snapshot.link.since_ms, now)} old", "warning"),
                dim(f"  {short(snapshot.link.reason, 200)}"),
            ]
        elif snapshot.link.state is LinkState.STALE:
            left = [Styled(f"no answer for {fmt.age(snapshot.link.since_ms, now)}", "warning", "bold")]
        elif snapshot.trouble is not None:
            left = [Styled(short(snapshot.trouble, 200), "warning")]
        elif now < self._new_until_ms and not self.filter_text:
            # Long filters need the line; who filters has begun without these.
            left = first_keys(self.SCOPE, self.console.keymap, self.app.size.width - 4)
        elif self.has_class("-low") and (way := self._way()):
            left = [dim(way)]
        right: Parts = [*self.marked_parts(), *self.status(snapshot)] if self.is_ready(snapshot) else []
        if self._held is not None:
            still = f"held still {fmt.passed(max(0, now - self._held_at))}"
            right = [
                Styled(still, "warning"),
                hotkey(f"  {key_of(f'{self.SCOPE}.hold', '.')}"),
                Styled(" goes on  ", "foreground"),
                *right,
            ]
        if held := self.held_parts(now):
            # What is about to happen comes before anything else, a new message before what always stands there.
            room = self.app.size.width - 4 - width_of(held)
            left = left if width_of(left) <= room else []
            right = [*held, Styled("  "), *right] if width_of(left) + width_of(right) + 2 <= room else held
        elif left and width_of(left) + width_of(right) > self.app.size.width - 4:
            # A new message comes before what can be read at any time.
            right = []
        self.set_class(bool(wrapped), "-long-message")
        self.query_one("#message", PartsView).show([wrapped] if wrapped else [])
        self.query_one("#status", StatusLine).show(left, [*right, Styled(" ")])

    def _before_data(self, snapshot: Snapshot, now: int) -> list[Parts]:
        """What stands in the middle before the first answer."""
        address = short(snapshot.link.address, 200)
        if snapshot.link.state is not LinkState.LOST:
            return [[dim("connecting to "), Styled(address), dim(" …")]]
        return [
            [Styled("cannot reach the server", "error", "bold")],
            [],
            [dim("server   "), Styled(address)],
            *frame_text.reason_lines(snapshot.link.reason or "", self.app.size.width),
            [dim("next try "), Styled(frame_text.retry_words(snapshot.link, now).removeprefix("retry "))],
            [],
            [
                hotkey(key_of("refresh", "^r")),
                Styled(" try now   "),
                hotkey(key_of("quit", "q")),
                Styled(" quit"),
            ],
        ]

    # --- what everything uses ------------------------------------------------------------------------------

    def show_message(self, text: str, *, token: str = "foreground") -> None:
        """Say a result in the status line; it fades after a few seconds."""
        self._message = (short(text, LONGEST), token, self.console.now_ms())
        self.console.messages.note(*self._message)
        if self.is_up:
            self._show_status(self.snapshot, self.console.now_ms())

    def clear_message(self) -> None:
        """Take the last message off the status line: something else has begun."""
        self._message = None
        self._show_status(self.snapshot, self.console.now_ms())

    @property
    def message(self) -> str | None:
        return self._message[0] if self._message is not None else None

    def focus_main(self) -> None:
        """Put the focus where the work is."""
        # While it is being mounted too, but not when the console is left at that moment.
        if self._is_wanted:
            self.set_focus(self.main_widget())

    def keep_focus(self) -> None:
        """Give the focus back to where the work is when nothing has it."""
        if self.focused is None and self.is_up:
            self.set_focus(self.main_widget())

    def hold_still(self) -> str:
        """Draw what was listed at this moment from now on, or what is known again."""
        self._held = self.console.snapshot if self._held is None else None
        self._held_at = self.console.now_ms()
        self.show(self.snapshot)
        return "the list holds still" if self._held is not None else "going on"

    def go_back(self) -> None:
        self._message = None
        self.console.back()

    def step_back(self) -> None:
        """One step back: the command line, what is open here, the screen below."""
        if self.query_one(CommandLine).close():
            self.focus_main()
            return
        self._message = None
        if not self.console.exports.stop() and not self.leave():
            self.console.back()
        self._show_status(self.snapshot, self.console.now_ms())

    @property
    def is_typing(self) -> bool:
        """Whether the line at the bottom is open."""
        return self.is_up and self.query_one(CommandLine).is_open

    @property
    def line_has_focus(self) -> bool:
        """Whether what is typed goes into the line at the bottom, open or about to close."""
        return self.is_up and self.query_one(CommandLine).has_focus_within

    def open_command_line(self) -> None:
        self.query_one(CommandLine).open(":")

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        if event.bar.id == "tabs":
            event.stop()
            if event.key in KINDS:
                self.console.go_to_trouble(event.key)
            else:
                self.console.go(event.key)

    def on_link_bar_chosen(self, event: LinkBar.Chosen) -> None:
        event.stop()
        if event.bar.id == "trouble":
            self.console.go_to_trouble(event.entry)
        else:
            self.console.action_act(event.entry)

    def on_command_line_closed(self) -> None:
        self.focus_main()
