"""Edit a payload as JSON, look at the difference, take it or go back."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static, TextArea

from ...text.differences import MARK_STYLES, value_diff
from ...text.safe import clean, json_line, short
from ...widgets.dialogs.dialog import key_label
from ...widgets.safe_input import act_in_turn
from ...widgets.styled import Styled, dim
from ...widgets.wrapped_text import Prose

#: Bytes of a payload that can be edited here.
EDIT_LIMIT = 256 * 1024
#: Lines of the difference that are shown before a decision with the edited payload.
EDIT_LINES = 4_000


@dataclass(frozen=True, slots=True)
class EditorWords:
    """What the editor calls what becomes of the payload."""

    #: Label of the button that takes it, and what ^s does then.
    take: str
    does: str
    #: What is said when nothing was changed.
    unchanged: str


APPROVE = EditorWords(
    "Approve with this", "approves with this payload", "nothing was changed; approve it as it is with a"
)
REPLAY = EditorWords(
    "Replay with this", "replays with this payload", "nothing was changed; replay it as it is with R"
)


@dataclass(frozen=True, slots=True)
class Edited:
    """The payload that was made of another one."""

    value: Any


class _Area(TextArea):
    """Takes in pasted text made safe: what is on a clipboard may come from anywhere."""

    async def _on_key(self, event: events.Key) -> None:
        await act_in_turn(self, event, of_screen=("ctrl+s", "f4"))

    async def _on_paste(self, event: events.Paste) -> None:
        # Textual calls its own handler, which inserts, after this one.
        event.text = clean(event.text, limit=EDIT_LIMIT, line_limit=EDIT_LIMIT, max_lines=EDIT_LIMIT)


class PayloadEditor(ModalScreen[Edited | None]):
    """First the text, then what differs; None when the person thought better of it."""

    AUTO_FOCUS = "#editor"
    DEFAULT_CSS: ClassVar[str] = """
    PayloadEditor { align: center middle; background: $background 60%; }
    PayloadEditor #editor-frame {
        width: 100; max-width: 96%; height: 90%; padding: 1 2; background: $panel; border: round $hairline;
    }
    PayloadEditor #editor-title { height: 1; text-style: bold; }
    PayloadEditor #editor-help, PayloadEditor #editor-problem { height: 1; color: $dim; }
    PayloadEditor #editor-problem { color: $error; }
    PayloadEditor #editor { height: 1fr; border: none; background: $background; color: $foreground; }
    PayloadEditor #difference { height: 1fr; display: none; background: $background; }
    PayloadEditor.-difference #editor { display: none; }
    PayloadEditor.-difference #difference { display: block; }
    PayloadEditor #editor-buttons { height: 1; align-horizontal: right; }
    PayloadEditor Button {
        height: 1; width: auto; min-width: 10; margin-left: 2; padding: 0 2; border: none; text-style: none;
        color: $foreground; background: $cursor-background;
    }
    PayloadEditor Button:focus { text-style: bold; color: $background; background: $focus; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "step_back", "back", show=False),
        Binding("ctrl+s", "go_on", "go on", show=False),
        Binding("f4", "external", "$EDITOR", show=False),
    ]

    def __init__(self, name: str, value: Any, words: EditorWords = APPROVE) -> None:
        """Edit `value`; `name` is safe text that says whose it is."""
        super().__init__()
        self._words = words
        self._name = name
        self._value = value
        self._edited: Edited | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="editor-frame"):
            yield Static(f"Edit the payload of {self._name}", id="editor-title", markup=False)
            yield Static("", id="editor-help", markup=False)
            # Unsafe characters are escapes of JSON here, so they come back as they were.
            yield _Area(json_line(self._value, indent=2), id="editor", show_line_numbers=True, compact=True)
            yield Prose(id="difference")
            yield Static("", id="editor-problem", markup=False)
            with Horizontal(id="editor-buttons"):
                yield Button(key_label("esc", "Keep"), id="editor-no", compact=True)
                yield Button(key_label("^s", "See the difference"), id="editor-yes", compact=True)

    def on_mount(self) -> None:
        self._show_step(False)

    @property
    def area(self) -> TextArea:
        return self.query_one("#editor", TextArea)

    def _show_step(self, difference: bool) -> None:
        self.set_class(difference, "-difference")
        help_words = "^s shows the difference   f4 opens $EDITOR   esc changes nothing"
        if difference:
            help_words = f"^s {self._words.does}   esc goes back to the text"
        self.query_one("#editor-help", Static).update(help_words)
        yes = self._words.take if difference else "See the difference"
        self.query_one("#editor-yes", Button).label = key_label("^s", yes)
        self.query_one("#editor-no", Button).label = key_label("esc", "Edit on" if difference else "Keep")
        (self.query_one("#editor-yes", Button) if difference else self.area).focus()

    def _problem(self, words: str) -> None:
        self.query_one("#editor-problem", Static).update(short(words, 200))

    def on_text_area_changed(self) -> None:
        self._problem("")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "editor-yes":
            self.action_go_on()
        else:
            self.action_step_back()

    def action_go_on(self) -> None:
        """From the text to the difference, from the difference to the decision."""
        if self._edited is not None:
            self.dismiss(self._edited)
            return
        try:
            value = json.loads(self.area.text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            self._problem(f"not JSON: {error}")
            return
        lines = value_diff(self._value, value, most=EDIT_LINES)
        if not lines and value == self._value:
            self._problem(self._words.unchanged)
            return
        self._edited = Edited(value)
        marked = [Styled(f"{mark} {text}", MARK_STYLES[mark]) for mark, text in lines]
        note = dim("what differs is masked here, because it is a secret")
        self.query_one("#difference", Prose).show_paragraphs(marked or [note])
        self._show_step(True)

    def action_step_back(self) -> None:
        if self._edited is None:
            self.dismiss(None)
            return
        self._edited = None
        self._show_step(False)

    def action_external(self) -> None:
        """Hand the text to $EDITOR and take back what it leaves."""
        if self._edited is not None:
            return
        command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
        if not command:
            self._problem("neither VISUAL nor EDITOR is set")
            return
        try:
            with tempfile.TemporaryDirectory(prefix="glidemq-") as folder:
                path = Path(folder) / "payload.json"
                path.touch(mode=0o600)
                path.write_text(self.area.text, "utf-8")
                with self.app.suspend():
                    subprocess.run([*command, str(path)], check=True)
                text = path.read_text("utf-8")
        except SuspendNotSupported:
            self._problem("this terminal cannot be handed to an editor")
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            self._problem(f"the editor did not do its work: {error}")
        else:
            self.area.text = clean(text, limit=EDIT_LIMIT, line_limit=EDIT_LIMIT, max_lines=EDIT_LIMIT)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows")
