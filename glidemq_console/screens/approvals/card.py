"""The card of a job that waits for a person: head, tool calls, draft, payload, and the buttons that decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from ...text import format as fmt
from ...text.shown_keys import key_of
from ...widgets.payload.payload_view import PayloadCard
from ...widgets.scrolling import Pane
from ...widgets.status_line import PartsView, Rule, StatusLine
from ...widgets.styled import Parts, Styled
from ...widgets.wrapped_text import Paragraph, Prose
from .card_text import CardParts, parts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from glidemq_core.records import Approval

    from ...model.decisions import Pending
    from ...widgets.finding.places import Searched

_LABELS = {"approve": "✓ Approve", "reject": "✗ Reject"}
_SEND_NOW = {"approve": "✓ Send now", "reject": "✗ Send now"}
#: Parts of the card that are text, from the top: what is asked for before what was written about it.
_PANES = ("changed", "reason", "calls", "draft", "progress")


#: Lines of one of them at most, and on a high terminal the share of the card in percent.
_LINES, _SHARE = 8, 36
#: Lines of the payload at least, if it has so many.
_LEAST = 4


class Review(Vertical):
    """Shows one job exactly as a decision on it would be bound; what may be decided its owner says."""

    DEFAULT_CSS: ClassVar[str] = """
    Review #review-body { height: 1fr; overflow-y: auto; scrollbar-size-vertical: 1; }
    Review #review-head { height: auto; max-height: 50%; padding: 0 1; }
    Review .review-part { display: none; }
    Review .review-part.-there { display: block; }
    Review #review-raw, Review #review-payload { height: 1fr; }
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

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._card: Approval | None = None
        self._parts: CardParts | None = None
        self._is_revealed = False

    def compose(self) -> ComposeResult:
        yield PartsView(id="review-head", wraps=True)
        with Vertical(id="review-body"):
            for name in _PANES:
                yield Rule(name, id=f"{name}-title", classes="review-part")
                yield Prose(id=f"review-{name}", classes="review-part")
            yield Rule("payload", id="payload-title")
            payload = PayloadCard(id="review-payload")
            payload.reveal_action = "approvals.reveal"
            yield payload
            yield Prose(id="review-raw", classes="review-part")
        yield StatusLine(id="review-note")
        with Horizontal(id="review-buttons"):
            yield Button(_label("approve", _LABELS), id="approve", compact=True)
            yield Button(_label("reject", _LABELS), id="reject", compact=True)

    @property
    def payload(self) -> PayloadCard:
        return self.query_one("#review-payload", PayloadCard)

    def toggle_raw(self) -> str:
        """Show the payload as it is stored, or laid out again; return what to show."""
        self.payload.raw = not self.payload.raw
        return "as JSON" if self.payload.raw else "laid out"

    @property
    def approve(self) -> Button:
        return self.query_one("#approve", Button)

    @property
    def longest(self) -> Pane:
        """The part of which most is out of sight; the payload if all are in sight."""
        panes = [pane for pane in self.query(Pane) if pane.display and pane.size.height]
        hidden = {pane: pane.position[1] - pane.size.height for pane in panes}
        if any(lines > 0 for lines in hidden.values()):
            return max(hidden, key=lambda pane: hidden[pane])
        # The parts do not all fit at once: reading begins with the first.
        return panes[0] if panes and self.query_one("#review-body").max_scroll_y else self.payload

    @property
    def searched(self) -> Sequence[Searched]:
        """What a search looks in, from the top."""
        *parts, raw = self.query(Prose)
        return *parts, self.payload, raw

    @property
    def masked(self) -> int:
        return self.payload.masked_count + (self._parts.masked if self._parts is not None else 0)

    @property
    def is_revealed(self) -> bool:
        return self._is_revealed

    def reveal(self, revealed: bool) -> None:
        """Show the secrets of every part, or mask them again."""
        self._is_revealed = revealed
        card, self._card = self._card, None
        if card is not None:
            self._take(card)
            self._show_titles()

    def show(self, card: Approval, head: Sequence[Parts], changed: Sequence[Paragraph] = ()) -> None:
        """Show a job under its head, and what has changed of it since it was opened."""
        if self._card is None or (self._card.ref, self._card.mark) != (card.ref, card.mark):
            self._is_revealed = False
        if card is not self._card:
            self._take(card)
        lines = list(head)
        if self.masked:
            them = "it" if self.masked == 1 else "them"
            key = key_of("approvals.reveal", "v")
            words = f"shown; {key} masks {them}" if self._is_revealed else f"masked; {key} reveals {them}"
            lines.append([Styled(f"{fmt.plural(self.masked, 'secret')} {words}", "warning")])
        self.query_one("#review-head", PartsView).show(lines)
        self._show_part("changed", changed)
        self._show_titles()

    def _take(self, card: Approval) -> None:
        self._card = card
        self._parts = parts = parts_of(card, reveal=self._is_revealed)
        for name in _PANES[1:]:
            part = getattr(parts, name)
            self._show_part(name, part.lines if part is not None else ())
        raw = parts.raw
        self.query_one("#review-raw", Prose).set_class(raw is not None, "-there")
        self.query_one("#review-raw", Prose).show_paragraphs(raw.lines if raw is not None else ())
        payload = self.payload
        payload.display = raw is None
        if raw is not None:
            payload.show_note("")
        elif card.truncated:
            payload.show_note(f"{fmt.byte_size(card.data_bytes)}, not read yet")
        else:
            payload.show(card.data)
            payload.revealed = self._is_revealed

    def _show_part(self, name: str, lines: Sequence[Paragraph]) -> None:
        self.query_one(f"#{name}-title").set_class(bool(lines), "-there")
        pane = self.query_one(f"#review-{name}", Prose)
        pane.set_class(bool(lines), "-there")
        pane.show_paragraphs(lines)

    def _show_titles(self) -> None:
        """Say of each part what it is and how far down one has read."""
        card, parts = self._card, self._parts
        if card is None or parts is None:
            return
        titles = {name: name for name in _PANES} | {"changed": "what changed"}
        if parts.calls is not None:
            titles["calls"] = parts.calls.title
        for name, title in titles.items():
            self._show_title(name, title, self.query_one(f"#review-{name}", Prose))
        raw = card.data_error is not None
        pane: Pane = self.query_one("#review-raw", Prose) if raw else self.payload
        words = f"payload {fmt.byte_size(card.data_bytes)}"
        self._show_title("payload", f"{words}, as text" if raw else words, pane)

    def _show_title(self, name: str, title: str, pane: Pane) -> None:
        last, total = pane.position
        if pane.size.height and (last < total or pane.scroll_y):
            title += f" · {last:,} of {total:,} lines"
        self.query_one(f"#{name}-title", Rule).show(title, lit=pane.has_focus)

    def on_pane_moved(self) -> None:
        self._fit()
        self._show_titles()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Give every part the lines that it needs, as far as there is room: the buttons stand below the last one."""
        most = max(_LINES, self.size.height * _SHARE // 100) if self.has_class("-tall") else _LINES
        needed = 0
        for name in _PANES:
            pane = self.query_one(f"#review-{name}", Prose)
            pane.styles.max_height = most if name != "progress" else _LINES
            if pane.has_class("-there"):
                needed += 1 + min(pane.position[1], most if name != "progress" else _LINES)
        raw = self.query_one("#review-raw", Prose)
        last: Pane = raw if raw.has_class("-there") else self.payload
        lines = last.position[1]
        last.styles.min_height = min(lines, _LEAST)
        last.styles.max_height = lines
        self.query_one("#review-body").styles.max_height = needed + 1 + lines

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Keep the title of what is read in sight."""
        name = (event.widget.id or "").removeprefix("review-").replace("raw", "payload")
        for title in self.query(f"#{name}-title"):
            self.call_after_refresh(title.scroll_visible, animate=False)
        self._show_titles()

    def show_buttons(self, note: Parts, pending: Pending | None, *, waits: Collection[str]) -> None:
        """Show the line above the buttons and what they do.

        Args:
            note: The line.
            pending: A decision that is held back; its own button sends it.
            waits: Buttons that do nothing now.
        """
        self.query_one("#review-note", StatusLine).show(note)
        for button in self.query(Button):
            verb = button.id or ""
            button.disabled = verb in waits or (pending is not None and pending.verb != verb)
            label = _label(verb, _SEND_NOW if pending is not None and pending.verb == verb else _LABELS)
            if str(button.label) != label.plain:
                button.label = label


def _label(verb: str, labels: Mapping[str, str]) -> Content:
    """Write what a button does with the key that does the same; as content, because a string is read as markup."""
    return Content(f"{labels[verb]}  {key_of(f'approvals.{verb}', verb[0])}")
