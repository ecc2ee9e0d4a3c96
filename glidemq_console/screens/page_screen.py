"""What pages share that are made for one job and lie over a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..actions.protocols import PageName
from .blank import BlankScreen
from .frame import ConsoleScreen

if TYPE_CHECKING:
    from glidemq_core import JobRef


def no_sibling(step: int) -> str:
    """Say that there is nothing after (1) or before (-1) what is shown."""
    return "that is the last one" if step > 0 else "that is the first one"


class PageScreen(ConsoleScreen):
    """A page over another screen; `[` and `]` show its siblings in the list below."""

    IS_PAGE = True
    #: Its name in the table of pages.
    PAGE: ClassVar[PageName]

    def __init__(self, ref: JobRef) -> None:
        super().__init__()
        self.ref = ref

    def next_sibling(self, step: int) -> str | None:
        stack = self.app.screen_stack
        below = stack[stack.index(self) - 1] if self in stack[1:] else None
        ref = below.step_row(step) if isinstance(below, BlankScreen) else None
        if ref is None:
            return no_sibling(step)
        self.ref = ref
        self.turned()
        self.show(self.snapshot)
        self.console.set_interests()
        return None

    def turned(self) -> None:
        """Forget what was shown of the sibling before."""
