"""Jobs that wait for a person: the list by deadline, and beside it exactly what a decision is bound to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button

from glidemq_core.errors import GlideMQError

from ...actions.approvals.decisions import ApprovalContext
from ...actions.approvals.outbox import Answer
from ...model.approvals import CARD_LIMIT, is_same
from ...model.decisions import gone_words, server_of
from ...model.snapshot import Interests, Snapshot
from ...text.safe import clean, short
from ...text.shown_keys import key_of
from ...widgets.lists.columns import sort_items
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import Rule, StatusLine
from ...widgets.styled import Parts, Styled, dim
from ..page_screen import no_sibling
from ..registry import bindings
from . import text as say
from .card import Review
from .columns import COLUMNS, SORTS, ApprovalLine, Of, saved
from .finding import CardFindingScreen
from .listing import ListingScreen

if TYPE_CHECKING:
    from glidemq_core import JobRef
    from glidemq_core.records import Approval, Inbox

#: From this height on the buttons have air round them.
TALL_HEIGHT = 36
#: From this width on the head of the list says how it is sorted.
SORT_WIDTH = 80


class ApprovalsScreen(CardFindingScreen, ListingScreen):
    """Every suspended job of every queue."""

    SCOPE = "approvals"
    TAB = "approvals"
    LIST, OPEN = "inbox-list", "approvals.open"
    COLUMNS: ClassVar[Sequence[Of]] = saved(COLUMNS)
    # The card stands beside the list.
    BREAKPOINTS: ClassVar = {"-wide": (100, 0)}
    BINDINGS = bindings(SCOPE)
    DEFAULT_CSS: ClassVar[str] = """
    ApprovalsScreen #inbox { height: 1fr; }
    ApprovalsScreen #inbox-list { width: 1fr; }
    ApprovalsScreen #review { display: none; width: 1fr; padding: 0; }
    ApprovalsScreen.-card #inbox-list { display: none; }
    ApprovalsScreen.-card #review { display: block; }
    ApprovalsScreen.-wide #inbox-list { display: block; width: 50%; }
    ApprovalsScreen.-wide #review {
        display: block; width: 50%; border-left: vkey $hairline; padding: 0 0 0 1;
    }
    ApprovalsScreen.-none #review, ApprovalsScreen.-none #inbox-rule { display: none; }
    ApprovalsScreen.-card #inbox-head, ApprovalsScreen.-card #inbox-rule { display: none; }
    ApprovalsScreen.-wide #inbox-head, ApprovalsScreen.-wide #inbox-rule { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        #: What is being read whole: a refresh meanwhile does not begin anew.
        self._reads: Approval | None = None

    def body(self) -> ComposeResult:
        yield StatusLine(id="inbox-head")
        yield Rule(id="inbox-rule")
        with Horizontal(id="inbox"):
            yield RowList(self.ALL, id="inbox-list", markable=True, holds=True, empty=say.EMPTY)
            yield Review(id="review")

    def on_mount(self) -> None:
        self.console.outbox.listeners.append(self._answered)

    # --- what the frame calls -------------------------------------------------------------------------------

    def interests(self) -> Interests:
        opened, seen = self.current, frozenset(self.lines.visible_keys())
        refs = [*([opened.ref] if opened is not None else []), *(r for r in self._listed.items if r in seen)]
        return Interests(inbox=True, inbox_shown=tuple(dict.fromkeys(refs)))

    def context(self) -> ApprovalContext:
        shown = self.shown
        context = ApprovalContext(console=self.console, page=self, snapshot=self.snapshot, shown=shown)
        if shown is None:
            return context
        return replace(context, queue=shown.queue, job=shown.ref, job_state="suspended")

    def title_of(self, action_id: str) -> str | None:
        pending = self._pending_shown
        if pending is not None and action_id == f"approvals.{pending.verb}":
            return "send now"
        if action_id == "approvals.open" and self.has_changed:
            return "looked"
        if action_id == "approvals.open" and self.is_cut:
            return "open the whole"
        return super().title_of(action_id)

    def status(self, snapshot: Snapshot) -> Parts:
        shown = self.shown
        user = short(self.user_of(shown.ref if shown is not None else None), 40)
        return [*self.found_parts(), dim(f"acting as {user}")]

    def held_parts(self, now: int) -> Parts:
        told_on_card = self.is_card or self.has_class("-wide")
        if told_on_card and not self.is_too_small and self.console.outbox.pending == (self._pending_shown,):
            return []
        return super().held_parts(now)

    def open(self, target: object) -> None:
        if isinstance(target, Hashable):
            self.lines.move_to_key(target)

    def leave(self) -> bool:
        if self.end_search():
            return True
        if self.is_card:
            self._close_card()
            return True
        if not self.lines.has_focus:
            self.focus_main()
            return True
        return self.clear_marks() or self.clear_filter()

    def resized(self) -> None:
        self.review.set_class(self.app.size.height >= TALL_HEIGHT, "-tall")
        super().resized()

    def key_of(self, item: ApprovalLine) -> JobRef:
        return item.one.ref

    # --- drawing -------------------------------------------------------------------------------------------

    def draw(self, snapshot: Snapshot) -> None:
        now = self.console.now_ms()
        inbox = self.inbox_of(snapshot)
        if inbox is None:
            self.lines.set_reading()
            self.set_class(True, "-none")
            return
        self._take(inbox)
        column = self._sorted_by
        waiting = sorted(
            self._listed.items.values(), key=lambda one: (one.queue, one.id, server_of(one.ref) or "")
        )
        self.listed = sort_items(map(self.line_of, waiting), column, descending=self.is_descending)
        lines = self.lines
        self.choose_columns()
        rows = [*self.notes(now), *(self.row_for(line, now) for line in self.listed)]
        before = lines.cursor_key
        lines.stale = self.is_old
        lines.set_sort(column.key, descending=self.is_descending)
        lines.set_empty(
            [[], [dim("Nothing here matches the filter; esc clears it.")]]
            if self._listed.filter and inbox.items
            else say.EMPTY
        )
        self.set_class(not rows, "-none")
        lines.show(rows)
        if before is not None and lines.cursor_key != before:
            self._moved_at = monotonic()
        if not rows and self.is_card:
            self._close_card()
        self._draw_head(inbox, now)
        self._draw_card(now)

    def _take(self, inbox: Inbox) -> None:
        """Keep what waits and matches; see what vanished, and what a held back decision was overtaken by."""
        fresh, before = inbox is not self._listed.inbox, self._listed.items
        waiting = self._listed.take(inbox, self.console.outbox.is_answered, self.taken_by)
        if fresh and inbox.total <= len(inbox.items):
            self.see_marked({}, [ref for ref in self._marked if ref not in waiting and self.lists(ref)])
            self._show_gone(waiting, before)

    def _show_gone(self, waiting: dict[JobRef, Approval], before: dict[JobRef, Approval]) -> None:
        outbox = self.console.outbox
        for pending in outbox.pending:
            if pending.ref not in waiting and self.lists(pending.ref):
                # Somebody or the deadline was faster: the answer says who.
                outbox.send_now(pending.ref)
        opened = self._opened.one
        if opened is None or opened.ref in waiting or opened.ref not in before or not self.lists(opened.ref):
            return
        if not outbox.is_answered(opened) and outbox.of(opened.ref) is None:
            self.run_worker(self._show_decider(opened.ref), group="gone", exit_on_error=False)

    async def _show_decider(self, ref: JobRef) -> None:
        try:
            job = await self.console.feed.of(ref).job(ref, payload_limit=0)
        except GlideMQError:
            return
        self.console.show_message(gone_words(ref, job, self.console.now_ms()), "warning")

    def _draw_head(self, inbox: Inbox, now: int) -> None:
        hidden = len(inbox.items) - sum(not self.console.outbox.is_answered(one) for one in inbox.items)
        listed = list(self._listed.items.values())
        read = len(inbox.items) - hidden
        left = say.summary(listed, read, max(read, inbox.total - hidden), now)
        shown = (
            f"/{clean(self._listed.filter, single_line=True)}" if self._listed.filter else self.scope_words
        )
        right = [Styled(shown, "focus" if self._listed.filter else "dim")]
        if self.app.size.width >= SORT_WIDTH:
            right = [dim("sort "), Styled(SORTS[self._sorted_by.key][0]), Styled("  "), *right]
        if not inbox.complete:
            right.append(dim(" · still searching queues"))
        self.query_one("#inbox-head", StatusLine).show(left, [*right, Styled(" ")])

    def _draw_card(self, now: int) -> None:
        current = self.current
        self._opened.look(current)
        if current is None:
            return
        card = current if self.has_changed else self.shown or current
        if self._card_is_visible and self._opened.lacks_card(card) and self._reads is None:
            self._read(card, CARD_LIMIT)
        head, changed = self.head_of(card, now), []
        if self.has_changed and self._opened.one is not None:
            head.append(say.changed_words(self._opened.one, current))
            changed = say.changed_lines(self._opened.one, current)
        self.payload.opens_whole = self.has_changed or self._opened.lacks_whole(card)
        self.review.show(card, head, changed)
        if self._card_is_visible and not self.has_changed and self.why_not_drawn() is None:
            self._seen.note(card, is_all=self._opened.has_all(card))
        self._draw_buttons(now)
        self.look_again()

    @property
    def _card_is_visible(self) -> bool:
        """Whether the card is on screen, beside the list or in its place."""
        return self.is_card or self.has_class("-wide")

    def _draw_buttons(self, now: int) -> None:
        shown, outbox = self.shown, self.console.outbox
        if shown is None:
            return
        pending = outbox.of(shown.ref)
        blocked = self.why_not_write_on(shown.ref)
        note: Parts = []
        if pending is not None:
            note = say.held_words(pending, now, sending=outbox.is_sending(shown.ref))
        elif blocked is not None:
            note = [Styled(short(blocked, 200), "warning")]
        elif self.has_changed:
            note = [Styled("the buttons wait until you have looked: enter", "warning")]
        elif not self.is_seen:
            note = say.unseen_words(shown, read=not self.is_cut, reading=self.is_reading)
        elif comment := self._comments.get(shown.ref):
            note = [dim("comment  "), Styled(short(comment, 200))]
        waits: set[str] = set()
        if blocked is not None or outbox.is_sending(shown.ref) or (pending is None and self.has_changed):
            waits = {"approve", "reject"}
        elif pending is None and not self.is_seen:
            waits = {"approve"}
        self.review.show_buttons(note, pending, waits=waits)

    def _read(self, card: Approval, limit: int | None) -> None:
        """Read more of a job for its card: up to a limit, or all there is."""
        self._reads, self.is_reading = card, True
        self.run_worker(self._read_more(card, limit), group="whole", exclusive=True, exit_on_error=False)

    async def _read_more(self, one: Approval, limit: int | None) -> None:
        try:
            whole = await self.console.feed.of(one.ref).review(one.ref, payload_limit=limit)
        except GlideMQError as error:
            self.show_message(error.message, token="warning")
            self.console.feed.refresh_now()
            return
        finally:
            if self._reads is one:
                self._reads, self.is_reading = None, False
        current = self.current
        if current is None or current.ref != one.ref:
            return
        self._opened.take(whole, is_all=limit is None)
        if self._opened.one is None or not is_same(whole, current):
            # It changed between list and card: the card is newer, and that is what is looked at.
            self.console.feed.refresh_now()
        self.show(self.snapshot)

    # --- events --------------------------------------------------------------------------------------------

    def row_highlighted(self) -> None:
        self._draw_card(self.console.now_ms())
        super().row_highlighted()

    def on_row_list_marks_changed(self, event: RowList.MarksChanged) -> None:
        kept = {ref: one for ref, one in self._marked.items() if ref in event.keys}
        added = {ref: one for ref, one in self._listed.items.items() if ref in event.keys and ref not in kept}
        if self.shown is not None and self.shown.ref in added and not self.has_changed:
            added[self.shown.ref] = self.shown
        self._marked = kept | added

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.console.action_act(f"approvals.{event.button.id}")

    def on_payload_card_revealed(self) -> None:
        self.show(self.snapshot)

    def _answered(self, answer: Answer | None) -> None:
        """A decision has its answer, or was taken back."""
        if answer is not None:
            self._comments.pop(answer.pending.ref, None)
        if self.is_up:
            self.show(self.snapshot)

    @property
    def filter_text(self) -> str:
        return self._listed.filter

    def set_filter(self, text: str) -> None:
        self._listed.filter = text
        self.forget_columns()
        self.show(self.snapshot)

    # --- actions -------------------------------------------------------------------------------------------

    def open_selected(self) -> None:
        """Open the card, then all of the job; take note of a change."""
        shown, current = self.shown, self.current
        if shown is None or current is None:
            return
        if self.has_changed:
            self._opened.accept(current)
            self.show(self.snapshot)
            return
        if not self._card_is_visible:
            self.add_class("-card")
            self.call_after_refresh(self._focus_card)
        elif self._opened.lacks_whole(shown):
            self._read(shown, None)
            self.call_after_refresh(self._focus_card)
        else:
            self._focus_card()
        self.show(self.snapshot)

    def _focus_card(self) -> None:
        """Go to what there is to read, longest first."""
        if self._card_is_visible:
            # Not into the middle: its title is to be seen.
            self.set_focus(self.review.longest, scroll_visible=False)

    def _close_card(self) -> None:
        self.remove_class("-card")
        self._finds = False
        self.call_after_refresh(self.focus_main)

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        shown = self.shown
        if shown is None:
            return None
        if other:
            return str(shown.ref), "its name"
        if shown.draft:
            return shown.draft, "draft"
        return (self.payload.text, "payload") if self.payload.has_value else None

    def next_sibling(self, step: int) -> str | None:
        before = self.lines.cursor_key
        super().step_row(step)
        return None if self.lines.cursor_key != before else no_sibling(step)

    def toggle_raw(self) -> str:
        told = self.review.toggle_raw()
        self.look_again()
        return told

    def toggle_reveal(self) -> str:
        if not self.review.masked:
            return "nothing is masked here"
        self.review.reveal(not self.review.is_revealed)
        self.show(self.snapshot)
        return (
            f"secrets revealed; {key_of('approvals.reveal', 'v')} masks them"
            if self.review.is_revealed
            else "secrets masked"
        )
