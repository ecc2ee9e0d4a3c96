"""The card of a job that waits for a person: head, draft, payload, and the buttons that decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from .. import format as fmt
from ..widgets.card import PayloadCard
from ..widgets.ink import Parts
from ..widgets.prose import Prose
from ..widgets.statusline import PartsView, Rule, StatusLine
from . import approval_parts as say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glidemq_core.records import Approval

    from ..decisions import Pending

_LABELS = {"approve": "✓ Approve  a", "reject": "✗ Reject  r"}
_SEND_NOW = {"approve": "✓ Send now  enter", "reject": "✗ Send now  enter"}


class ReviewCard(PayloadCard, inherit_bindings=False):
    """The payload; `e` and `v` belong to the screen here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        for binding in PayloadCard.BINDINGS
        if isinstance(binding, Binding) and binding.key not in ("e", "v")
    ]


class Review(Vertical):
    """Shows one job exactly as a decision on it would be bound; what may be decided its owner says."""

    DEFAULT_CSS: ClassVar[str] = """
    Review #review-body { height: 1fr; overflow-y: auto; scrollbar-size-vertical: 1; }
    Review #review-head { height: auto; max-height: 16; padding: 0 1; }
    Review #review-draft { max-height: 38%; }
    Review #review-payload { height: 1fr; min-height: 2; }
    Review #review-note { height: 1; }
    Review #review-buttons { height: 1; padding: 0 1; }
    Review.-tall #review-buttons { height: 3; }
    Review.-tall #review-note { margin-top: 1; }
    Review Button {
        height: 1; width: auto; min-width: 16; padding: 0 2; margin: 0 2 0 0; border: none; text-style: none;
        color: $foreground; background: $cursor-background; background-tint: $cursor-background 0%;
    }
    Review.-tall Button { height: 3; padding: 1 3; }
    Review #approve { color: $success; }
    Review #reject { color: $error; }
    Review Button:hover { text-style: bold underline; }
    Review #approve:focus { color: $background; background: $success; text-style: bold; }
    Review #reject:focus { color: $background; background: $error; text-style: bold; }
    Review Button:disabled {
        color: $dim; background: $surface; text-style: none; opacity: 1; text-opacity: 1;
    }
    """

    def compose(self) -> ComposeResult:
        with Vertical(id="review-body"):
            yield PartsView(id="review-head")
            yield Rule("draft", id="draft-title")
            yield Prose(id="review-draft")
            yield Rule("payload", id="payload-title")
            yield ReviewCard(id="review-payload")
        yield StatusLine(id="review-note")
        with Horizontal(id="review-buttons"):
            yield Button(Content(_LABELS["approve"]), id="approve", compact=True)
            yield Button(Content(_LABELS["reject"]), id="reject", compact=True)

    @property
    def payload(self) -> ReviewCard:
        return self.query_one("#review-payload", ReviewCard)

    @property
    def approve(self) -> Button:
        return self.query_one("#approve", Button)

    def show(self, card: Approval, head: Sequence[Parts]) -> None:
        """Show a job under its head."""
        self.query_one("#review-head", PartsView).show(head)
        title, paragraphs = say.reported(card)
        draft = self.query_one("#review-draft", Prose)
        draft.show_paragraphs(paragraphs)
        self.query_one("#draft-title", Rule).show(title, lit=draft.has_focus)
        self._show_payload(card)

    def _show_payload(self, card: Approval) -> None:
        payload = self.payload
        words = f"payload {fmt.byte_size(card.data_bytes)}"
        if card.truncated:
            payload.show_note("reading the whole of it …")
        else:
            payload.show(card.data)
        if payload.masked_count:
            hint = "v masks them" if payload.revealed else "v reveals them"
            words += f" · {fmt.plural(payload.masked_count, 'secret')}, {hint}"
        self.query_one("#payload-title", Rule).show(words, lit=payload.has_focus)

    def show_buttons(self, note: Parts, pending: Pending | None, *, waits: bool) -> None:
        """Show the line above the buttons and what they do; while a decision is `pending`, its own sends it."""
        self.query_one("#review-note", StatusLine).show(note)
        for button in self.query(Button):
            verb = button.id or ""
            button.disabled = waits or (pending is not None and pending.verb != verb)
            label = (_SEND_NOW if pending is not None and pending.verb == verb else _LABELS)[verb]
            if str(button.label) != label:
                button.label = Content(label)
