"""Questions: yes or no with the focus on the safe answer, a name to type, a line of text to enter."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from ...text.safe import clean
from ..safe_input import Entry

Result = TypeVar("Result")


#: Below this height a dialog gives up its margins, so that its buttons stay on screen.
SHORT = 22


class Dialog(ModalScreen[Result]):
    """The frame of a question: a title, a body that scrolls, what is to be filled in, and the buttons.

    Every dialog is left with `escape`, which changes nothing; `ctrl+s` takes what was filled in.
    """

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        background: $background 60%;
    }
    Dialog > #dialog {
        width: 64;
        max-width: 96%;
        max-height: 94%;
        padding: 1 2;
        background: $panel;
        color: $foreground;
        border: round $hairline;
    }
    Dialog.-short > #dialog {
        max-height: 100%;
        padding: 0 1;
    }
    Dialog.-short #dialog-title {
        margin-bottom: 0;
    }
    Dialog.-short #dialog-body {
        max-height: 5;
        margin-bottom: 0;
    }
    Dialog #dialog-title {
        text-style: bold;
        height: auto;
        margin-bottom: 1;
    }
    Dialog #dialog-body {
        height: auto;
        max-height: 12;
        margin-bottom: 1;
    }
    Dialog #dialog-body > Static {
        height: auto;
    }
    Dialog .dialog-label {
        color: $dim;
        height: auto;
    }
    Dialog #dialog-problem {
        color: $error;
        height: auto;
        min-height: 1;
    }
    Dialog Input {
        border: none;
        height: 1;
        padding: 0 1;
        background: $background;
    }
    Dialog Input:focus {
        border: none;
        background: $cursor-background;
    }
    Dialog #dialog-buttons {
        height: 1;
        align-horizontal: right;
    }
    Dialog Button {
        height: 1;
        min-width: 10;
        width: auto;
        margin-left: 2;
        padding: 0 2;
        border: none;
        text-style: none;
        color: $foreground;
        background: $cursor-background;
    }
    Dialog Button:hover {
        text-style: bold underline;
        border: none;
    }
    Dialog Button:focus {
        text-style: bold !important;
        color: $background;
        background: $focus;
        background-tint: $focus 0%;
        border: none;
    }
    Dialog Button.-danger {
        color: $error;
    }
    Dialog Button.-danger:focus {
        color: $background;
        background: $error;
    }
    Dialog Button:disabled {
        color: $dim;
        text-style: none;
        opacity: 1;
        text-opacity: 1;
        background: $surface;
    }
    """

    AUTO_FOCUS = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "keep", show=False),
        Binding("left,up", "app.focus_previous", "previous", show=False),
        Binding("right,down", "app.focus_next", "next", show=False),
        Binding("ctrl+s", "go_on", "go on", show=False),
    ]
    #: Keys of the two answers, written on their buttons; a text that is typed takes the letters.
    YES_KEY, NO_KEY = "^s", "esc"

    def __init__(self, title: str, body: str, yes: str, no: str, *, danger: bool) -> None:
        super().__init__()
        self._title = clean(title, single_line=True, limit=400)
        self._body = clean(body, limit=8_000)
        self._yes = clean(yes, single_line=True, limit=40)
        self._no = clean(no, single_line=True, limit=40)
        self._danger = danger
        #: Whether it has been painted.
        self.is_seen = False

    def compose(self) -> ComposeResult:
        with VerticalGroup(id="dialog"):
            yield Static(self._title, id="dialog-title", markup=False)
            if self._body:
                with VerticalScroll(id="dialog-body", can_focus=False):
                    yield Static(self._body, markup=False)
            yield from self.compose_fields()
            with Horizontal(id="dialog-buttons"):
                yield _button(self.NO_KEY, self._no, "dialog-no")
                yield _button(self.YES_KEY, self._yes, "dialog-yes", "-danger" if self._danger else None)

    def compose_fields(self) -> ComposeResult:
        """Yield what stands between body and buttons."""
        yield from ()

    def on_resize(self) -> None:
        self.set_class(self.app.size.height < SHORT, "-short")

    def on_mount(self) -> None:
        # The console may be left while a dialog comes up.
        if self.is_attached and self.app.is_running:
            self.begin()
            self.call_after_refresh(self._seen)

    def begin(self) -> None:
        """Put the focus where the answer begins."""
        self.query_one("#dialog-no").focus()

    def _seen(self) -> None:
        self.is_seen = True

    def action_leave(self) -> None:
        raise NotImplementedError

    def action_go_on(self) -> None:
        """Take what was filled in, if it may be taken."""
        raise NotImplementedError


def key_label(key: str, label: str) -> Content:
    """Write the key of an answer before its words; as content, because a string is read as markup."""
    return Content.assemble((key, "bold"), f" {label}")


def _button(key: str, label: str, id: str, classes: str | None = None) -> Button:
    return Button(key_label(key, label), id=id, classes=classes, compact=True)


class ConfirmDialog(Dialog[bool]):
    """Ask for a yes; anything else is a no.

    With `type_this` the yes is only possible once that text was typed, so that nobody destroys by habit.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "leave", "no", show=False),
        Binding("y", "yes", "yes", show=False),
    ]

    def __init__(
        self,
        title: str,
        body: str = "",
        *,
        yes: str = "Yes",
        no: str = "Keep",
        type_this: str | None = None,
        danger: bool = True,
    ) -> None:
        """Ask `title`, which names the thing and the count; `danger` draws the yes as something that destroys."""
        super().__init__(title, body, yes, no, danger=danger)
        self._type_this = type_this
        if type_this is None:
            self.YES_KEY, self.NO_KEY = "y", "n"

    def compose_fields(self) -> ComposeResult:
        if self._type_this is not None:
            shown = clean(self._type_this, single_line=True, limit=200)
            yield Static(f"Type {shown} to go on:", classes="dialog-label", markup=False)
            yield Entry(id="dialog-input", compact=True)
            yield Static("", id="dialog-problem", markup=False)

    @property
    def is_typed(self) -> bool:
        """Whether the yes is a text that is typed."""
        return self._type_this is not None

    def begin(self) -> None:
        if self.is_typed:
            self.query_one("#dialog-yes").disabled = True
            self.query_one("#dialog-input").focus()
        else:
            super().begin()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (action == "yes" and self.is_typed) and not (action == "go_on" and not self.is_typed)

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#dialog-yes").disabled = not self._may(event.value)
        self.query_one("#dialog-problem", Static).update("")

    def on_input_submitted(self) -> None:
        self.action_go_on()

    def action_go_on(self) -> None:
        if self._may(self.query_one("#dialog-input", Input).value):
            self.dismiss(True)
        else:
            self.query_one("#dialog-problem", Static).update("that is not the name; escape changes nothing")

    def _may(self, typed: str) -> bool:
        wanted = self._type_this or ""
        # A name that cannot be typed can be copied as it is shown.
        return typed in (wanted, clean(wanted, single_line=True, limit=200))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "dialog-yes")

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_leave(self) -> None:
        self.dismiss(False)


class FilledDialog(Dialog[Result | None]):
    """Ask for something to be filled in; None means the person thought better of it."""

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "dialog-yes":
            self.action_go_on()
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        self.dismiss(None)


class PromptDialog(FilledDialog[str]):
    """Ask for a line of text; None means the person thought better of it."""

    def __init__(
        self,
        title: str,
        body: str = "",
        *,
        label: str = "",
        value: str = "",
        placeholder: str = "",
        yes: str = "OK",
        no: str = "Cancel",
        validate: Callable[[str], str | None] | None = None,
        danger: bool = False,
        max_length: int = 2_000,
    ) -> None:
        """Make a prompt; a text stays in it while `validate` returns what is wrong with it."""
        super().__init__(title, body, yes, no, danger=danger)
        self._label = clean(label, single_line=True, limit=200)
        self._value = clean(value, single_line=True, limit=max_length)
        self._placeholder = placeholder
        self._validator = validate
        self._max_length = max_length

    def compose_fields(self) -> ComposeResult:
        if self._label:
            yield Static(self._label, classes="dialog-label", markup=False)
        yield Entry(
            value=self._value,
            placeholder=self._placeholder,
            max_length=self._max_length,
            id="dialog-input",
            compact=True,
        )
        yield Static("", id="dialog-problem", markup=False)

    def begin(self) -> None:
        self.query_one("#dialog-input").focus()

    def on_input_changed(self) -> None:
        self.query_one("#dialog-problem", Static).update("")

    def on_input_submitted(self) -> None:
        self.action_go_on()

    def action_go_on(self) -> None:
        text = self.query_one("#dialog-input", Input).value
        problem = self._validator(text) if self._validator is not None else None
        if problem is None:
            self.dismiss(text)
            return
        self.query_one("#dialog-problem", Static).update(clean(problem, single_line=True, limit=200))
        self.query_one("#dialog-input").focus()
