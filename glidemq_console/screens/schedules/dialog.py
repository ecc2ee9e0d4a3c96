"""The dialog that changes when a scheduler runs; it shows the next runs as they are typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Input, Static

from ...text.safe import clean
from ...widgets.dialogs.form import Field, FormDialog
from ...widgets.status_line import PartsView
from ...widgets.styled import Parts


class ScheduleDialog(FormDialog):
    """Three fields, and below them what they would do."""

    DEFAULT_CSS: ClassVar[str] = """
    ScheduleDialog #preview { height: 7; margin-top: 1; }
    ScheduleDialog.-short #preview { margin-top: 0; }
    """

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        problem: Callable[[Sequence[str]], str | None],
        preview: Callable[[Sequence[str]], list[Parts]],
    ) -> None:
        """Make the dialog; it stays while `problem` says what is wrong with the typed texts.

        Args:
            preview: says what they would do.
        """
        super().__init__(title, "", fields)
        self._problem = problem
        self._preview = preview

    def compose_fields(self) -> ComposeResult:
        yield from super().compose_fields()
        yield PartsView(id="preview")

    def begin(self) -> None:
        super().begin()
        self._show()

    def on_input_changed(self) -> None:
        # The handler of the form runs besides this one.
        self._show()

    @property
    def _typed(self) -> list[str]:
        return [entry.value for entry in self.query(Input)]

    def action_go_on(self) -> None:
        problem = self._problem(self._typed)
        if problem is None:
            super().action_go_on()
        else:
            self.query_one("#dialog-problem", Static).update(clean(problem, single_line=True, limit=200))

    def _show(self) -> None:
        self.query_one("#preview", PartsView).show(self._preview(self._typed))
