"""What actions and screens may ask of the app, and what actions may ask of the screen they were started on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from ..model.snapshot import Snapshot

if TYPE_CHECKING:
    from textual.screen import Screen

    from glidemq_core import JobRef

    from ..config.console import ConsoleConfig
    from ..feed.protocol import Feed
    from ..model.memory import Memory
    from ..model.messages import MessageLog
    from ..model.trouble import TroubleWords
    from ..model.typed import TypedLines
    from ..saving.exports import SavedList, SavedOne
    from .approvals.outbox import DecisionOutbox
    from .keymap import Keymap
    from .lists.export import Exports
    from .undo import UndoLog

T = TypeVar("T")
PageName = Literal["job", "flow"]


class Console(Protocol):
    """The app, as actions and screens know it."""

    #: The queue under the cursor of the screens that list queues.
    queue_looked_at: str | None

    @property
    def config(self) -> ConsoleConfig: ...

    @property
    def feed(self) -> Feed: ...

    @property
    def snapshot(self) -> Snapshot:
        """What is known now."""

    @property
    def outbox(self) -> DecisionOutbox: ...

    @property
    def undo(self) -> UndoLog:
        """What was done last and can be taken back."""

    @property
    def exports(self) -> Exports:
        """The file that is being written."""

    def run_worker(
        self, work: Coroutine[Any, Any, None], *, group: str = "default", exit_on_error: bool = True
    ) -> object:
        """Run something beside the console until it ends."""

    @property
    def trouble_words(self) -> TroubleWords:
        """The line of trouble, from one snapshot to the next."""

    @property
    def now_ms(self) -> Callable[[], int]: ...

    @property
    def last_input(self) -> float:
        """When a key or the mouse was used last (monotonic s)."""

    @property
    def keymap(self) -> Keymap:
        """The keys of the actions, as they are mapped."""

    @property
    def theme_names(self) -> Sequence[str]: ...

    def choose_theme(self, name: str | None) -> str:
        """Take a theme by name, or the next one; return what to show."""

    def go_to_trouble(self, kind: str | None = None) -> str | None:
        """Go where a word of the line of trouble leads, or the word after the one gone to last; return what to show."""

    def go(self, name: str, target: object = None) -> None:
        """Go to a screen, and there to a queue, a job or what else it shows."""

    @property
    def memory(self) -> Memory:
        """What is remembered of this profile from one run to the next."""

    def first_visit(self, scope: str) -> bool:
        """Tell whether a screen is visited for the first time that is remembered, and take note of it."""

    @property
    def crumbs(self) -> Sequence[str]:
        """The words of the way to the screen on top."""

    def back(self) -> None:
        """Return to where one came from."""

    def open_page(self, name: PageName, ref: JobRef) -> None:
        """Lay the page of a job or of its flow over the screen on top."""

    def set_interests(self) -> None:
        """Pass on to the feed what the screen on top needs now."""

    def show_message(self, text: str, token: str = "foreground") -> None:
        """Show a message in the status line of the screen on top."""

    @property
    def typed_lines(self) -> TypedLines:
        """What was typed at the bottom before."""

    @property
    def messages(self) -> MessageLog:
        """What was said in this session."""

    def show_messages(self) -> None:
        """Show what was said, over the screen on top."""

    def clear_message(self) -> None:
        """Take the last message off the status line: something else has begun."""

    def report_defect(self, error: BaseException, doing: str) -> None:
        """Show and log an unexpected exception."""

    def copy_text(self, text: str, what: str) -> str:
        """Put text on the clipboard; return what to show."""

    def configure(self, config: ConsoleConfig) -> None:
        """Take other settings, see `config.live`."""

    async def show_server(self, config: ConsoleConfig) -> None:
        """Show another server from now on; the connection to the one before is closed."""

    @property
    def is_acting(self) -> bool:
        """Whether an action other than the one that asks is not done yet."""

    @property
    def notify_words(self) -> str:
        """How whoever looks elsewhere is notified."""

    def redraw(self) -> None:
        """Draw the whole terminal again."""

    async def show_audit(self, queue: str, job_id: str | None = None) -> None:
        """Show who changed what about a queue or one job, over the screen on top."""

    async def show_why(self, queue: str, job_id: str | None = None) -> None:
        """Show why a job is not running, or what holds a queue back, over the screen on top."""

    def show_help(self) -> None: ...

    def action_act(self, action_id: str) -> None:
        """Run an action on what is selected at this moment."""

    def action_command_palette(self) -> None: ...

    async def leave(self) -> None:
        """End the console, once every decision is sent."""

    def push_screen(self, screen: Screen[Any]) -> object: ...

    async def push_screen_wait(self, screen: Screen[T]) -> T:
        """Open a dialog and wait for its answer."""


class Page(Protocol):
    """A screen, as actions know it. Each file of actions says what its own screen can do beyond that."""

    SCOPE: ClassVar[str]
    IS_PAGE: ClassVar[bool]

    def title_of(self, action_id: str) -> str | None:
        """Return the title that an action has here, where that depends on what is selected."""

    def is_ready(self, snapshot: Snapshot) -> bool:
        """Tell whether there is something to draw: an answer has come."""

    def why_not_here(self) -> str | None:
        """Say where what is selected is, when that is a server whose pages cannot be shown here."""

    def why_not_drawn(self) -> str | None:
        """Say why what is selected cannot be seen, and so cannot be changed."""

    def filters(self) -> bool:
        """Tell whether there is something to filter."""

    def open_filter(self) -> None: ...

    @property
    def filter_text(self) -> str | None:
        """What is filtered by; None where there is nothing to filter."""

    def filter_problem(self, text: str) -> str | None:
        """Say why a text is no filter here, and where."""

    def change_filter(self, text: str) -> None:
        """Filter by another text in one step, which undo takes back."""

    @property
    def saved_as(self) -> str | None:
        """Under which name its filters are saved; None where none is."""

    def open_command_line(self) -> None: ...

    def step_back(self) -> None:
        """Close the innermost that is open; with nothing open, go back."""

    def go_back(self) -> None:
        """Go back where one came from."""

    def hold_still(self) -> str:
        """Hold what is listed still, or let it go on; return what to show."""

    def next_sibling(self, step: int) -> str | None:
        """Go to the thing after (1) or before (-1) the one that is shown; return what to show."""

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        """Return the text that a copy takes, or its other form, and what it is; None where there is none."""

    @property
    def marked_items(self) -> Sequence[Any]:
        """What is marked, as it is shown."""

    def take_marks(self) -> None:
        """Take all marks away while an act works on what was marked."""

    def mark_again(self, items: Sequence[Any]) -> None:
        """Mark what an act left as it was."""

    def saves(self, *, payload: bool) -> SavedList | SavedOne | None:
        """Return what a file takes, with payloads or without; None where there is nothing."""

    def undoes(self) -> JobRef | None:
        """Return the job whose decision undo takes back here, if one is held."""

    def taken_back(self, ref: JobRef) -> None:
        """Show a job whose decision was taken back."""
