"""A dialog with some fields to fill in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from ...text.safe import clean
from ..safe_input import Entry
from .dialog import FilledDialog


@dataclass(frozen=True, kw_only=True)
class Field:
    """One line of a form; all texts are made safe."""

    label: str
    value: str = ""
    placeholder: str = ""
    #: What is wrong with a text, or None.
    problem: Callable[[str], str | None]


class FormDialog(FilledDialog[tuple[str, ...]]):
    """Ask for the fields of a form; None means the person thought better of it."""

    DEFAULT_CSS: ClassVar[str] = """
    FormDialog .form-row { height: 1; width: 1fr; }
    FormDialog .form-label { width: 20; height: 1; color: $dim; }
    FormDialog .form-row Input { width: 1fr; }
    """

    def __init__(self, title: str, body: str, fields: Sequence[Field], *, yes: str = "Set") -> None:
        """Make a form; it stays while a field says what is wrong with its text."""
        super().__init__(title, body, yes, "Keep", danger=False)
        self._fields = tuple(fields)

    def compose_fields(self) -> ComposeResult:
        for index, field in enumerate(self._fields):
            with Horizontal(classes="form-row"):
                yield Static(
                    clean(field.label, single_line=True, limit=18), classes="form-label", markup=False
                )
                yield Entry(
                    value=clean(field.value, single_line=True, limit=40),
                    placeholder=clean(field.placeholder, single_line=True, limit=40),
                    id=f"field-{index}",
                    max_length=40,
                    compact=True,
                )
        yield Static("", id="dialog-problem", markup=False)

    def begin(self) -> None:
        self.query_one("#field-0", Input).focus()

    def on_input_changed(self) -> None:
        self.query_one("#dialog-problem", Static).update("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        index = int((event.input.id or "").rpartition("-")[2])
        if index + 1 < len(self._fields):
            self.query_one(f"#field-{index + 1}", Input).focus()
        else:
            self.action_go_on()

    def action_go_on(self) -> None:
        entries = [self.query_one(f"#field-{index}", Input) for index in range(len(self._fields))]
        for field, entry in zip(self._fields, entries, strict=True):
            problem = field.problem(entry.value)
            if problem is not None:
                words = clean(f"{field.label}: {problem}", single_line=True, limit=200)
                self.query_one("#dialog-problem", Static).update(words)
                entry.focus()
                return
        self.dismiss(tuple(entry.value for entry in entries))
