"""Deciding on jobs that wait for a person: what a decision is bound to, why none can be made, and making it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ...actions.base import Unchanged
from ...model.approvals import Listed, Opened, Seen
from ...model.decisions import DONE, Pending, Verb, name_of, server_of
from ...model.memory import Kept
from ...model.snapshot import Snapshot
from ...text import format as fmt
from ...text.safe import short
from ...text.shown_keys import key_of
from ...widgets.dialogs.dialog import PromptDialog
from ...widgets.lists.columns import Row
from ...widgets.payload.payload_view import PayloadCard
from ...widgets.styled import Parts
from ..lists.list_screen import ListScreen
from . import text as say
from .card import Review
from .columns import COLUMNS, FIRST, SORTS, ApprovalLine

if TYPE_CHECKING:
    from glidemq_core import JobRef
    from glidemq_core.records import Approval, Inbox

#: A list that moved by itself takes no decision for this long: the key was meant for another row.
SETTLE_S = 0.3


class DecidingScreen(ListScreen[ApprovalLine]):
    """A screen with a list of jobs that wait and a card; subclasses draw both."""

    def __init__(self) -> None:
        super().__init__()
        self._listed = Listed()
        self._opened = Opened()
        self._seen = Seen()
        #: What is being read for the card.
        self.is_reading = False
        self._marked: dict[JobRef, Approval] = {}
        self._comments: dict[JobRef, str] = {}
        self._moved_at = 0.0
        self._sorted_by = FIRST
        #: Whether the order of that column is turned round.
        self._is_turned = False

    @property
    def review(self) -> Review:
        return self.query_one("#review", Review)

    @property
    def payload(self) -> PayloadCard:
        return self.review.payload

    # --- whose jobs are listed: where they are those of several servers, see `everywhere` ---

    @property
    def scope_words(self) -> str:
        """What is listed, for the head of the list."""
        return "all queues"

    @property
    def is_old(self) -> bool:
        """Whether everything that is listed is older than it should be."""
        return self.has_class("-old")

    def line_of(self, one: Approval) -> ApprovalLine:
        outbox = self.console.outbox
        return ApprovalLine(one, outbox.of(one.ref), outbox.is_sending(one.ref))

    def notes(self, now: int) -> list[Row]:
        """Rows above the jobs, each in the place of what could not be read."""
        return []

    def head_of(self, card: Approval, now: int) -> list[Parts]:
        """The lines above everything on the card."""
        return say.head(card, now, self.console.config.zone)

    def inbox_of(self, snapshot: Snapshot) -> Inbox | None:
        """What waits, None while it is being read."""
        return snapshot.inbox

    def lists(self, ref: JobRef) -> bool:
        """Whether a job stands in the list as long as it waits."""
        return server_of(ref) is None

    def user_of(self, ref: JobRef | None) -> str:
        """Who decides on a job."""
        return self.console.config.user

    def why_not_write_on(self, ref: JobRef) -> str | None:
        """Why nothing can be decided on a job now, whoever wants it."""
        return self.snapshot.why_not_write()

    def why_not_send(self) -> str | None:
        """Why nothing can be decided on any job that is marked, else on the one shown."""
        shown = self.shown
        refs = [*self._marked] or ([shown.ref] if shown is not None else [])
        reasons = [self.why_not_write_on(ref) for ref in refs] or [self.snapshot.why_not_write()]
        return None if None in reasons else reasons[0]

    def why_nothing(self) -> str:
        """Why no job is under the cursor."""
        return "still reading" if self._listed.inbox is None else "nothing waits for you"

    # --- what is remembered ---

    def kept(self) -> Kept:
        kept: dict[str, str | bool] = {"filter": self._listed.filter}
        if self._sorted_by is not FIRST:
            kept["sort"] = self._sorted_by.key
        return {**kept, "turned": True} if self._is_turned else kept

    def recall(self, kept: Kept) -> None:
        if (key := kept.get("sort")) in SORTS:
            self._sorted_by = next(column for column in COLUMNS if column.key == key)
        self._is_turned = kept.get("turned") is True
        text = str(kept.get("filter", ""))
        self._listed.filter = "" if self.filter_problem(text) else text

    # --- what a decision is bound to ---

    @property
    def current(self) -> Approval | None:
        key = self.lines.cursor_key if self.is_up else None
        return next((one for ref, one in self._listed.items.items() if ref == key), None)

    @property
    def shown(self) -> Approval | None:
        """The job under the cursor as it was opened: what a decision is bound to."""
        return self._opened.shown(self.current)

    @property
    def has_changed(self) -> bool:
        return self._opened.has_changed(self.current)

    @property
    def is_cut(self) -> bool:
        """Something of the job under the cursor is left out, and was not read yet."""
        shown = self.shown
        return shown is not None and self._opened.lacks_whole(shown)

    @property
    def is_seen(self) -> bool:
        """The job under the cursor was shown whole, as it is bound now."""
        shown = self.shown
        return shown is not None and self._seen.bound(shown) is not None

    # --- what a file takes ---

    def record_of(self, item: ApprovalLine) -> Approval:
        return item.one

    @property
    def reveals_secrets(self) -> bool:
        return self.review.is_revealed

    def ref_of(self, item: ApprovalLine) -> JobRef:
        return item.one.ref

    def why_not_change(self) -> str | None:
        """Why nothing can be decided on what is under the cursor."""
        shown = self.shown
        if shown is None:
            return self.why_nothing()
        if monotonic() - self._moved_at < SETTLE_S:
            return "the list has just moved on; press again"
        if self.console.outbox.of(shown.ref) is not None:
            return f"a decision is on its way; {key_of('undo', 'z')} takes it back"
        if self.has_changed:
            return "it changed since you opened it; enter when you have looked"
        return None

    def why_not_approve(self) -> str | None:
        """As `why_not_change`; moreover nothing is approved that was not shown whole."""
        reason, shown = self.why_not_change(), self.shown
        if reason is not None or shown is None or self.is_seen:
            return reason
        if self.is_reading:
            return "the rest of it is still being read"
        missing = shown.unshown or "it was not shown yet"
        if self.is_cut or shown.unshown is None:
            return f"{missing}; enter opens the whole"
        return f"{missing}; only glidemq approve --unseen decides on it"

    def why_not_decide(self, verb: Verb = "approve") -> str | None:
        """Why a key cannot decide on what is marked or shown; what is held back of it can be sent at once."""
        if self._marked:
            return self._why_not_marked(verb)
        shown, outbox = self.shown, self.console.outbox
        if shown is not None and outbox.of(shown.ref) is not None:
            return "it is being sent" if outbox.is_sending(shown.ref) else None
        return self.why_not_approve() if verb == "approve" else self.why_not_change()

    def _why_not_marked(self, verb: Verb) -> str | None:
        unseen = verb == "approve" and not any(map(self._seen.bound, self._marked.values()))
        return f"{len(self._marked)} never shown whole: enter opens them" if unseen else None

    @property
    def _pending_shown(self) -> Pending | None:
        """The decision on the job shown that is held back or on its way."""
        shown = self.shown
        return self.console.outbox.of(shown.ref) if shown is not None else None

    def undoes(self) -> JobRef | None:
        shown = self.shown
        return shown.ref if shown is not None else None

    def taken_back(self, ref: JobRef) -> None:
        self.lines.move_to_key(ref)

    # --- decisions ---

    async def _reason(self, verb: Verb, whom: str) -> str | None:
        """Ask for the reason of a rejection; empty for an approval, None when it was given up."""
        if verb == "approve":
            return ""
        dialog = PromptDialog(
            f"Reject {whom}?",
            "The reason goes to the processor and into the audit.",
            placeholder="why",
            yes="Reject",
            no="Keep waiting",
            validate=lambda text: None if text.strip() else "a rejection needs a reason",
            danger=True,
        )
        answer = await self.console.push_screen_wait(dialog)
        return answer.strip() if answer is not None else None

    async def decide(self, verb: Verb, shown: Approval) -> str | None:
        """Hold a decision on what is marked, or else shown, back for its undo time, or send the one that is held."""
        if self._marked:
            return await self._decide_marked(verb)
        outbox = self.console.outbox
        pending = outbox.of(shown.ref)
        if pending is not None:
            if pending.verb != verb:
                return Unchanged(
                    f"it is about to be {DONE[pending.verb]}; {key_of('undo', 'z')} takes that back"
                )
            for held in outbox.undoable(shown.ref):
                outbox.send_now(held.ref)
            return None
        bound = self._bound(shown, verb)
        if bound is None:
            return self._refusal()
        reason = await self._reason(verb, name_of(shown.ref))
        if reason is None:
            return Unchanged("nothing was decided")
        outbox.hold([bound], verb, comment=self._comments.get(shown.ref), reason=reason)
        self.show(self.snapshot)
        return None

    async def _decide_marked(self, verb: Verb) -> str | None:
        """Hold the same decision back on every marked job that is still what was marked."""
        outbox = self.console.outbox
        chosen = [one for one in self._marked.values() if self._listed.holds(one)]
        changed = len(self._marked) - len(chosen)
        # Those of several servers have rights of their own each.
        refused = [reason for one in chosen if (reason := self.why_not_write_on(one.ref)) is not None]
        chosen = [one for one in chosen if self.why_not_write_on(one.ref) is None]
        bound = [one for one in (self._bound(one, verb) for one in chosen) if one is not None]
        unseen = len(chosen) - len(bound)
        left_out = [f"{unseen} never shown whole: enter opens them"] if unseen else []
        left_out += [f"{changed} changed since you marked them"] if changed else []
        left_out += [f"{len(refused)} left out: {short(refused[0], 200)}"] if refused else []
        if not bound:
            return Unchanged("; ".join(["nothing was decided", *left_out]))
        reason = await self._reason(verb, fmt.plural(len(bound), "job"))
        if reason is None:
            return Unchanged("nothing was decided")
        count = outbox.hold(bound, verb, reason=reason)
        decided = {one.ref for one in bound}
        # What could not be decided stays marked; the cursor is on the act, so that the key pressed again sends it.
        left = {one.ref for one in self._marked.values() if self._listed.holds(one)} - decided
        self.mark_items({ref: line for ref, line in self._marked_items.items() if ref in left})
        self.lines.move_to_key(bound[0].ref)
        self.show(self.snapshot)
        them = "it" if count == 1 else "them"
        undo = f"{key_of('undo', 'z')} takes {them} back"
        words = f"{fmt.plural(count, 'job')} about to be {DONE[verb]}; {undo}"
        return "; ".join([words, *left_out])

    def _bound(self, one: Approval, verb: Verb) -> Approval | None:
        """A job bound to what was shown of it; None when it may not be decided on as it was shown."""
        return self._seen.bound(one) or (one if verb == "reject" else None)

    def _refusal(self) -> Unchanged | None:
        """Why nothing is approved, as the message of a key."""
        reason = self.why_not_approve()
        return None if reason is None else Unchanged(reason)

    async def edit(self, shown: Approval) -> str | None:
        """Edit the payload; approve with it once the difference was looked at."""
        from .editor import EDIT_LIMIT, PayloadEditor

        bound = self._bound(shown, "approve")
        if bound is None or shown.data_error is not None:
            return self._refusal()
        if self.payload.masked_count and not self.payload.revealed:
            return Unchanged(
                f"it holds secrets that editing would show; {key_of('approvals.reveal', 'v')} reveals them, "
                f"then {key_of('approvals.edit', 'e')} edits"
            )
        if shown.data_bytes > EDIT_LIMIT:
            return Unchanged(
                f"too long to edit here ({fmt.byte_size(shown.data_bytes)}); glidemq approve takes --data"
            )
        edited = await self.app.push_screen_wait(PayloadEditor(name_of(shown.ref), shown.data))
        if edited is None:
            return Unchanged("nothing was decided")
        comment = self._comments.get(shown.ref)
        self.console.outbox.hold([bound], "approve", comment=comment, data=edited.value)
        self.show(self.snapshot)
        return None

    async def comment(self, shown: Approval) -> str | None:
        dialog = PromptDialog(
            f"Comment on {name_of(shown.ref)}",
            "It goes to the processor with your approval, and into the audit.",
            value=self._comments.get(shown.ref, ""),
            yes="Keep it",
        )
        text = await self.console.push_screen_wait(dialog)
        if text is None:
            return None
        if text.strip():
            self._comments[shown.ref] = text.strip()
        else:
            self._comments.pop(shown.ref, None)
        self.show(self.snapshot)
        return "the comment goes with your approval" if text.strip() else "no comment"
