"""The Textual app: wires screens, feed, actions and themes together; no logic of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.binding import BindingType
from textual.filter import LineFilter
from textual.message import Message
from textual.screen import ModalScreen
from textual.worker import Worker, WorkerError

from .actions.approvals.outbox import DecisionOutbox
from .actions.base import EVERYWHERE, Action, Context
from .actions.lists.export import Exports
from .actions.perform import is_capital, may_leave, perform
from .actions.protocols import PageName
from .actions.undo import UndoLog
from .config.console import ConsoleConfig
from .feed.live import LiveFeed
from .feed.protocol import Feed
from .model.memory import Memory
from .model.messages import MessageLog
from .model.snapshot import Snapshot, settle_link
from .model.trouble import TroubleWords, news
from .model.typed import TypedLines
from .runtime.configured_app import ConfiguredApp
from .runtime.defects import DefectLog
from .runtime.gc_tuning import GcTuning
from .runtime.navigation import Navigation, add_screens, replace_screens
from .runtime.reloading import LOOK_S
from .runtime.remembering import EVERY_S, Remembering
from .runtime.type_ahead import TypeAhead
from .screens.frame import ConsoleScreen, is_too_small
from .screens.links import destination, following
from .screens.registry import ACTIONS, bindings
from .screens.table import SCREENS
from .screens.typed.command_line import CommandLine
from .screens.typed.commands import parse
from .screens.typed.palette import PaletteCommands
from .text.ascii_fallback import ascii_filter
from .text.safe import clean, short
from .theme.files import variable_defaults

if TYPE_CHECKING:
    from glidemq_core import JobRef

#: Actions that open the line at the bottom.
_LINES = ("command", "filter")
#: Characters that go to the clipboard at most: terminals drop longer ones.
COPY_LIMIT = 64 * 1024


class SnapshotReady(Message):
    """A new snapshot; it replaces an older one that is still in the queue."""

    def __init__(self, snapshot: Snapshot, feed: Feed) -> None:
        super().__init__()
        self.snapshot = snapshot
        self.feed = feed

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SnapshotReady)


class ConsoleApp(ConfiguredApp):
    """The console."""

    TITLE = "glidemq"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = {PaletteCommands}
    BINDINGS: ClassVar[list[BindingType]] = bindings(EVERYWHERE)

    def __init__(self, config: ConsoleConfig, gc_tuning: GcTuning | None = None) -> None:
        """Make the console.

        Args:
            gc_tuning: the garbage collector of this process, when the process is the console's own.
        """
        super().__init__(config)
        self._gc_tuning = gc_tuning
        self._reader: Worker[None] | None = None
        self.now_ms = config.clock
        self._defects = DefectLog(config.log_path)
        self.last_input = 0.0
        self.messages = MessageLog()
        self._typed_ahead = TypeAhead(self)
        self._begin()
        add_screens(self)

    def _begin(self) -> None:
        """Make what belongs to one server, so that nothing of it is left when another one is shown."""
        config = self.config
        self.feed: Feed = config.feed if config.feed is not None else LiveFeed(config)
        self.snapshot: Snapshot = self.feed.latest
        self.outbox = DecisionOutbox(self, config.undo_ms)
        self.exports = Exports(self)
        #: The queue under the cursor of the queues screen.
        self.queue_looked_at: str | None = None
        self.typed_lines = TypedLines()
        self.undo = UndoLog()
        #: A snapshot came since the last look at the clock: ages are drawn already.
        self._is_drawn = False
        self.trouble_words = TroubleWords()
        #: The word of the line of trouble that was gone to last.
        self._trouble_last: str | None = None
        self._remembering = Remembering(config, self.typed_lines, lambda: self.current_mode)
        self._navigation = Navigation(self, self._arrived)
        self._ascii_filter = ascii_filter(config.ascii_glyphs)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = super().get_line_filters()
        return filters if self._ascii_filter is None else [*filters, self._ascii_filter]

    # --- life ----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        start = self._first_screen()
        self.switch_mode(start)
        if start == "jobs" and self.config.queues:
            self.call_after_refresh(self.go, "jobs", self.config.queues[0])
        # The client library is heavy: what is on screen first must not wait for it.
        self.call_after_refresh(self._start)
        self._tell_notes()

    def _first_screen(self) -> str:
        wanted = self.config.screen or self.memory.screen
        return wanted if wanted in {spec.name for spec in SCREENS} else SCREENS[0].name

    def _tell_notes(self) -> None:
        for note in (*self.config_notes, *([self._remembering.told] if self._remembering.told else [])):
            self.call_after_refresh(self.show_message, note, "warning")

    def _start(self) -> None:
        self._read()
        self.set_interval(1.0, self._second)
        self.set_interval(EVERY_S, self._remember)
        self.set_interval(LOOK_S, self.read_config)

    def _read(self) -> None:
        reading = self.feed.run(partial(self._publish, self.feed))
        self._reader = self.run_worker(reading, name="feed", group="feed", exclusive=True)

    async def show_server(self, config: ConsoleConfig) -> None:
        self.memory.screen = self.current_mode
        # Held back is nothing any more; what is clicked at this moment would go to the other server.
        self.outbox.give_up()

        async def swap() -> str:
            await self._remembering.write()
            if self._reader is not None:
                self._reader.cancel()
                with suppress(WorkerError):
                    await self._reader.wait()
            self.take_settings(config)
            self._begin()
            return self._first_screen()

        await replace_screens(self, swap)
        self._read()
        self._tell_notes()

    async def _remember(self) -> None:
        if (told := await self._remembering.write()) is not None:
            self.show_message(told, "warning")

    def on_unmount(self) -> None:
        self._remembering.finish()

    def _publish(self, feed: Feed, snapshot: Snapshot) -> None:
        self.post_message(SnapshotReady(snapshot, feed))

    def on_snapshot_ready(self, event: SnapshotReady) -> None:
        if event.feed is not self.feed:
            return  # the last one of a server that is not shown any more
        before, self._is_drawn = self.snapshot, True
        self._take(event.snapshot)
        if words := news(before, self.snapshot):
            self.tell_away(words)

    def _take(self, snapshot: Snapshot) -> None:
        link = settle_link(snapshot.link, self.now_ms(), self.config.refresh_ms)
        self.snapshot = snapshot if link is snapshot.link else replace(snapshot, link=link)
        screen = self.console_screen
        if screen is not None:
            screen.show(self.snapshot)
            self.set_interests()

    def _second(self) -> None:
        """Ages and countdowns go on when nothing comes."""
        if not self._is_drawn:
            self._take(self.snapshot)
        self._is_drawn = False
        self._hide_dialogs()
        self.notify_when_due()
        if self._gc_tuning is not None:
            self._gc_tuning.tick(monotonic(), self.last_input)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.InputEvent):
            if not self.screen_stack:
                return  # typed while the console closes
            self.last_input = monotonic()
        if self._typed_ahead.holds(event) or self._hits_unseen(event):
            return
        if not isinstance(event, events.Key):
            await super().on_event(event)
            return
        is_new = not event.is_forwarded
        if not self._opens_line(event.key):
            if isinstance(self.screen, ConsoleScreen):
                # New, and again when no widget wanted it: what hides and shows the list in between takes the focus.
                self.screen.keep_focus()
            await super().on_event(event)
        if not (is_new and event.is_forwarded):
            await self._typed_ahead.came_back(event)

    def _hits_unseen(self, event: events.Event) -> bool:
        """Drop what is typed or clicked into a dialog of which nothing is drawn; it can only be left."""
        if not isinstance(event, events.InputEvent | events.Paste) or not is_too_small(self.size):
            return False
        if not isinstance(self.screen, ModalScreen):
            return False
        return not (isinstance(event, events.Key) and event.key in ("escape", "ctrl+q", "ctrl+c"))

    def on_resize(self) -> None:
        self._hide_dialogs()

    def _hide_dialogs(self) -> None:
        """Draw nothing of a dialog on a terminal that cannot show all of it."""
        for screen in self.screen_stack:
            if isinstance(screen, ModalScreen):
                screen.set_class(is_too_small(self.size), "-too-small")

    def _opens_line(self, key: str) -> bool:
        """Open the line at the bottom for a key that does; True when it did.

        At once, not as an action of its own: what is pasted or typed in one go after the key has to land there
        and not on the list, where letters retry and approve.
        """
        screen = self.screen
        action = next((name for name in _LINES if key in self.keymap.keys(ACTIONS[name])), None)
        if not isinstance(screen, ConsoleScreen) or action is None or screen.is_typing or not screen.is_up:
            return False
        reason = ACTIONS[action].unavailable(screen.context())
        if reason is not None:
            self.show_message(f"{ACTIONS[action].title}: {reason}", "warning")
        elif action == "filter":
            screen.open_filter()
        else:
            screen.open_command_line()
        return True

    # --- screens -------------------------------------------------------------------------------------------

    @property
    def console_screen(self) -> ConsoleScreen | None:
        """The console screen on top, below any dialog."""
        if not self._running:
            return None
        return next((s for s in reversed(self.screen_stack) if isinstance(s, ConsoleScreen)), None)

    def set_interests(self) -> None:
        screen = self.console_screen
        if screen is not None and screen.is_up:
            self.feed.set_interests(replace(screen.interests(), deciding=self.outbox.servers))

    def go_to_trouble(self, kind: str | None = None) -> str | None:
        found = self.trouble_words.take(self.snapshot, self.now_ms())
        if kind is None:
            trouble = following(found, self._trouble_last)
        else:
            trouble = next((one for one in found if one.kind == kind and one.count), None)
        if trouble is None:
            return "nothing is wrong"
        self._trouble_last = trouble.kind
        self.go(destination(trouble))
        return None

    def go(self, name: str, target: object = None) -> None:
        self._navigation.go(name, target)

    def _arrived(self, left: str) -> None:
        self.show_held(left)
        self.set_interests()

    @property
    def is_going(self) -> bool:
        return self._navigation.is_going

    def first_visit(self, scope: str) -> bool:
        return self._remembering.first_visit(scope)

    @property
    def memory(self) -> Memory:
        return self._remembering.memory

    @property
    def crumbs(self) -> Sequence[str]:
        return self._navigation.crumbs()

    def back(self) -> None:
        self._navigation.back()

    def open_page(self, name: PageName, ref: JobRef) -> None:
        self._navigation.open_page(name, ref)

    def show_message(self, text: str, token: str = "foreground") -> None:
        screen = self.console_screen
        if screen is not None:
            screen.show_message(text, token=token)

    def clear_message(self) -> None:
        screen = self.console_screen
        if screen is not None:
            screen.clear_message()

    def copy_text(self, text: str, what: str) -> str:
        self.copy_to_clipboard(clean(text, limit=COPY_LIMIT, line_limit=COPY_LIMIT, max_lines=COPY_LIMIT))
        return f"{what} sent to the clipboard, if this terminal allows it"

    async def leave(self) -> None:
        """End, once every decision is sent or taken back; nothing is dropped silently."""
        if await may_leave(self, self.outbox):
            self.exit(0)

    async def show_audit(self, queue: str, job_id: str | None = None) -> None:
        from .screens.overlays.audit import AuditScreen

        entries = await self.feed.audit(queue, job_id)
        name = short(queue if job_id is None else f"{queue}:{job_id}", 120)
        self.push_screen(AuditScreen(name, entries, self, of_queue=job_id is None))

    async def show_why(self, queue: str, job_id: str | None = None) -> None:
        from .screens.overlays.why import WhyScreen

        self.push_screen(WhyScreen(await self.feed.why(queue, job_id), self.now_ms()))

    def show_messages(self) -> None:
        from .screens.overlays.messages import MessagesScreen

        self.push_screen(MessagesScreen(self))

    def show_help(self) -> None:
        from .screens.overlays.help import HelpScreen

        screen = self.console_screen
        if screen is not None:
            self.push_screen(HelpScreen(screen.SCOPE, screen.context()))

    # --- actions -------------------------------------------------------------------------------------------

    def action_act(self, action_id: str) -> None:
        screen = self.console_screen
        if screen is None:
            return
        if self.is_going:
            # What is on screen is not yet what the key was meant for.
            self.call_after_refresh(self.action_act, action_id)
            return
        self.act(ACTIONS[action_id], screen.context())

    def act(self, action: Action[Any], context: Context) -> None:
        reason = action.unavailable(context)
        if reason is not None:
            self.show_message(f"{action.title}: {reason}", "warning")
            return
        worker = self.run_worker(
            perform(action, context), name=action.id, group="actions", exit_on_error=False
        )
        if action.opens_dialog or (self.config.is_prod and is_capital(action)):
            self._typed_ahead.asks(worker)

    def on_command_line_submitted(self, event: CommandLine.Submitted) -> None:
        screen = self.console_screen
        if screen is None:
            return
        parsed = parse(event.text, screen.context())
        if isinstance(parsed, str):
            self.show_message(parsed, "warning")
        else:
            self.act(*parsed)
