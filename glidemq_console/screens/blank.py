"""What a screen of the console answers where it says nothing of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from ..actions.base import Context
from ..actions.protocols import Console, Page
from ..model.held import with_lists_of
from ..model.memory import Kept
from ..model.snapshot import Interests, Snapshot
from ..text import format as fmt
from ..widgets.styled import Parts

if TYPE_CHECKING:
    from glidemq_core import JobRef

    from ..saving.exports import SavedList, SavedOne


class BlankScreen(Screen[None]):
    """What subclasses give: `body`, `draw`, `interests`, and what their actions call."""

    #: Scope of its actions in the registry.
    SCOPE: ClassVar[str] = ""
    #: Tab that is lit.
    TAB: ClassVar[str] = ""
    #: Whether it lies over another screen, to which esc leads back.
    IS_PAGE: ClassVar[bool] = False
    #: Classes that it has on a terminal of at least so many columns and rows.
    BREAKPOINTS: ClassVar[Mapping[str, tuple[int, int]]] = {}
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        #: What was known when the lists were told to hold still.
        self._held: Snapshot | None = None

    @property
    def console(self) -> Console:
        return cast("Console", self.app)

    @property
    def snapshot(self) -> Snapshot:
        """What is known now; what is listed as it was, while the screen holds still."""
        live = self.console.snapshot
        return live if self._held is None else with_lists_of(self._held, live)

    def body(self) -> ComposeResult:
        """Compose what is between tabs and status line."""
        raise NotImplementedError

    def draw(self, snapshot: Snapshot) -> None:
        raise NotImplementedError

    def interests(self) -> Interests:
        """Say what has to be read for this screen."""
        raise NotImplementedError

    def context(self) -> Context:
        """What an action would work on now."""
        return Context(console=self.console, page=cast("Page", self), snapshot=self.snapshot)

    def open(self, target: object) -> None:
        """Show something: a queue's name, a job, or what else this screen is about."""

    def spot(self) -> object:
        """What `open` shows again when one comes back; None where there is nothing to open."""
        return None

    def kept(self) -> Kept:
        """What it shows again in the next run: how it is looked at, never what is seen."""
        return {}

    def recall(self, kept: Kept) -> None:
        """Take what `kept` gave in another run; what it does not know is left out."""

    def crumb(self) -> str:
        """Its word in the breadcrumb, safe to draw."""
        return self.TAB

    def marked_parts(self) -> Parts:
        """How many rows are marked, for the status line."""
        return []

    @property
    def marked_items(self) -> tuple[Any, ...]:
        """What is marked here."""
        return ()

    def take_marks(self) -> None:
        """Take all marks away while an act works on what was marked."""

    def mark_again(self, items: Sequence[Any]) -> None:
        """Mark what an act left as it was."""

    def status(self, snapshot: Snapshot) -> Parts:
        """Words at the right of the status line, such as what is listed."""
        return []

    def main_widget(self) -> Widget | None:
        """The widget that has the focus when nothing else does."""
        return None

    def leave(self) -> bool:
        """Undo the innermost thing that is open here; False when there is none."""
        return False

    def title_of(self, action_id: str) -> str | None:
        """Return the title that an action has now, where that depends on what is selected."""
        if action_id == "undo":
            now = self.console.now_ms()
            undoable, done = self.console.outbox.undoable(self.undoes()), self.console.undo.latest(now)
            if undoable:
                return f"undo {fmt.countdown(min(one.due_ms for one in undoable), now)}"
            return f"undo {done.words}" if done is not None else None
        if self._held is not None and action_id.endswith(".hold"):
            return "go on"
        return None

    def show_keys(self) -> None:
        """Draw the key bar for what is selected now."""

    def undoes(self) -> JobRef | None:
        """The job whose decision undo takes back here, if one is held; else it is the latest act."""
        return None

    def taken_back(self, ref: JobRef) -> None:
        """Show a job whose decision was taken back."""

    @property
    def filter_text(self) -> str | None:
        """What is filtered by or searched for; None where there is nothing to filter."""
        return None

    def set_filter(self, text: str) -> None:
        """Filter by another text; empty for none."""

    def filter_typed(self, text: str) -> None:
        """Take what the line reads that `/` opened."""
        self.set_filter(text)

    @property
    def saved_as(self) -> str | None:
        """Name of the table of the config file that keeps its filters; None where none is saved."""
        return None

    def record(self) -> object | None:
        """The record of what is selected, whose JSON `Y` copies."""
        return None

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        """The text that a copy takes, or its other form, and what it is: a name, and the record as JSON."""
        if not other:
            context = self.context()
            name = str(context.job) if context.job is not None else context.queue
            return (name, "its name") if name else None
        from glidemq_core.records.base import to_json

        record = self.record()
        if record is None:
            return None
        return json.dumps(to_json(record), indent=2, ensure_ascii=False, default=str), "its JSON"

    def saves(self, *, payload: bool) -> SavedList | SavedOne | None:
        """What a file takes; None where there is nothing to save."""
        return None

    def next_sibling(self, step: int) -> str | None:
        """Go to the thing after or before the one that is shown; return what to show."""
        return "nothing stands beside it"

    def is_ready(self, snapshot: Snapshot) -> bool:
        """Whether there is something to draw: an answer has come."""
        return snapshot.has_data

    def why_not_here(self) -> str | None:
        """Where what is selected is, when that is a server whose pages cannot be shown here."""
        return None

    def step_row(self, step: int) -> JobRef | None:
        """Move to another row of the list, for the page that lies over it; None when there is no more job."""
        return None
