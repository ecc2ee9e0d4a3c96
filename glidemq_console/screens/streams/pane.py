"""One pane of the wall: whose tokens, how fast, the tokens, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical

from ...feed.token_stream import Follower
from ...widgets.status_line import StatusLine
from ...widgets.styled import Parts
from ...widgets.token_pane import TokenPane

if TYPE_CHECKING:
    from glidemq_core import JobRef, JobRow

#: Below this width two panes stand on top of one another.
SIDE_WIDTH = 100


class StreamPane(Vertical):
    """A head line, the tokens, and a last line that is there only when there is something to say."""

    DEFAULT_CSS = """
    StreamPane { height: 1fr; width: 1fr; }
    StreamPane.-inner { border-left: vkey $hairline; }
    StreamPane .stream-head { background: $surface; }
    StreamPane:focus-within .stream-head { background: $cursor-background; }
    StreamPane TokenPane { height: 1fr; }
    StreamPane .stream-end { display: none; }
    StreamPane.-end .stream-end { display: block; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.head = StatusLine(classes="stream-head")
        self.tokens = TokenPane()
        self.end = StatusLine(classes="stream-end")

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.tokens
        yield self.end

    def show(self, left: Parts, right: Parts, end: Parts) -> None:
        """Show the head's halves, and the last line if there is one."""
        self.head.show(left, right)
        self.end.show(end)
        self.set_class(bool(end), "-end")


def columns_for(panes: int, width: int) -> int:
    """Return how many panes stand side by side on a terminal of a width."""
    if panes == 2 and width < SIDE_WIDTH:
        return 1
    return {1: 1, 2: 2}.get(panes, 2 if panes <= 4 else 3)


@dataclass(eq=False)
class Slot:
    """A followed stream and the pane it is drawn in."""

    follower: Follower
    pane: StreamPane
    row: JobRow | None = None
    #: Since when nothing comes: its job has ended, or waits for something.
    quiet_ms: int | None = None

    @property
    def ref(self) -> JobRef:
        return self.follower.ref

    def draw_tokens(self) -> None:
        """Draw what has come and is not drawn yet."""
        if self.follower.has_rest:
            for kind, text in self.follower.take():
                self.pane.tokens.feed(kind, text)
            self.pane.tokens.flush()
