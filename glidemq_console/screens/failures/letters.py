"""Dead letters: copies that workers leave of jobs that have failed for good, with what put them there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...actions.lists.letters import Edited, LettersContext
from ...model.lists.failures import AN_HOUR, LettersView
from ...model.lists.looked import Looked
from ...model.snapshot import Interests, Snapshot, Sorting
from ...text import format as fmt
from ...text.safe import mask, short
from ...text.shown_keys import key_of
from ...widgets.styled import Parts, Styled, dim
from ..approvals.editor import EDIT_LIMIT, REPLAY, PayloadEditor
from ..registry import bindings
from . import text as say
from .columns import LETTER_COLUMNS
from .halves import HalfScreen

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import DeadLetter

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("No dead letters.")],
    [],
    [dim("A worker leaves one of each job that has failed for good when it is told where:")],
    [Styled('  Worker("mail", process, dead_letter_queue="mail-dead")')],
)
_NO_MATCH: tuple[Parts, ...] = ([], [dim("No dead letter matches the filter; esc clears it.")])


class LettersScreen(HalfScreen["DeadLetter"]):
    """Dead letters of all queues."""

    SCOPE = "deadletters"
    BINDINGS = bindings(SCOPE)
    HALF, OPEN = "dead letters", "deadletters.open"
    ALL_OF_THEM = "glidemq dlq list"
    COLUMNS, EMPTY, NO_MATCH = LETTER_COLUMNS, _EMPTY, _NO_MATCH
    FIRST = Sorting("age")

    # --- what the frame asks ---

    def interests(self) -> Interests:
        return Interests(
            failures=AN_HOUR, letters=True, letters_where=self.filter_text, further=self._further
        )

    def context(self) -> LettersContext:
        letter = self.selected_item
        shown = LettersContext(console=self.console, page=self, snapshot=self.snapshot, letter=letter)
        shown = replace(shown, marked=self.marked_items)
        if letter is None or letter.origin is None:
            return shown
        return replace(shown, queue=letter.origin.queue, job=letter.origin)

    @property
    def saved_as(self) -> str:
        return "letters"

    # --- what is listed ---

    def items(self, snapshot: Snapshot) -> Sequence[DeadLetter] | None:
        view = self._view(snapshot)
        if view is None or (view.progress is not None and view.progress.finds):
            return None
        return view.letters if view.letters or snapshot.complete else None

    def _view(self, snapshot: Snapshot) -> LettersView | None:
        """What is known of the letters that the filter takes."""
        view = snapshot.letters
        return view if view is not None and view.where == self.filter_text else None

    @property
    def progress(self) -> Looked | None:
        view = self._view(self.snapshot)
        return view.progress if view is not None else None

    def key_of(self, item: DeadLetter) -> JobRef:
        return item.ref

    def status(self, snapshot: Snapshot) -> Parts:
        # Beside the tabs there is room for the filter alone.
        return [dim(self.progress.words)] if self.progress is not None else []

    def summary(self, snapshot: Snapshot) -> Parts:
        view = self._view(snapshot)
        return say.letters_summary(view) if view is not None else []

    def detail(self, item: DeadLetter, snapshot: Snapshot, now: int) -> tuple[str, list[Parts]]:
        zone = self.console.config.zone
        lines = say.letter_lines(item, now, zone, reveal=self.is_revealed, bare=self.is_bare)
        return say.letter_title(item), lines

    # --- actions ---

    def open_selected(self) -> None:
        if not self.has_class("-zoomed"):
            self.toggle_detail()

    def next_sibling(self, step: int) -> str | None:
        self.lines.move_to(self.lines.cursor_index + step)
        return None

    async def edit_payload(self, letter: DeadLetter) -> Edited | str:
        size = len(json.dumps(letter.data, default=str))
        if size > EDIT_LIMIT:
            return f"too long to edit here ({fmt.byte_size(size)}); glidemq dlq replay takes --data"
        if mask(letter.data)[1] and not self.is_revealed:
            return (
                f"it holds secrets that editing would show; {key_of('deadletters.reveal', 'v')} reveals them, "
                f"then {key_of('deadletters.edit', 'e')} edits"
            )
        name = short(str(letter.origin), 80)
        edited = await self.app.push_screen_wait(PayloadEditor(name, letter.data, REPLAY))
        return edited if edited is not None else "nothing was replayed"

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        letter = self.selected_item
        if letter is None:
            return None
        if other:
            return json.dumps(letter.data, ensure_ascii=False, default=str), "the payload"
        return str(letter.ref), "the letter's name"
