"""The line at the bottom that a person types into: `:` commands with completion, and `/` filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from ..text.safe import clean
from ..widgets.safe_input import Entry
from . import ACTIONS, EVERYWHERE, Action, Context


def commands() -> dict[str, Action]:
    """Commands by name."""
    return {action.command: action for action in ACTIONS.values() if action.command is not None}


def completions(text: str, context: Context) -> list[str]:
    """Whole lines that `text` may become, best first."""
    known = commands()
    name, space, rest = text.lstrip().partition(" ")
    if not space:
        here = {context.screen.SCOPE, EVERYWHERE}
        names = [command for command in known if command.startswith(name)]
        return sorted(names, key=lambda command: (known[command].scope not in here, len(command), command))
    action = known.get(name)
    if action is None or action.complete is None:
        return []
    return [f"{name} {word}" for word in action.complete(context) if word.startswith(rest.lstrip())]


def parse(text: str, context: Context) -> tuple[Action, Context] | str:
    """Turn a line into an action and what it works on, or into the reason why it means nothing."""
    name, *words = text.split()
    action = commands().get(name.removeprefix(":"))
    if action is None:
        return f"no command '{clean(name, single_line=True, limit=40)}'; tab completes, ? shows every key"
    context = replace(context, words=tuple(words))
    if words and action.takes is None:
        more = "; queue NAME opens the jobs of one" if action.command == "jobs" else ""
        return f"'{action.command}' stands alone{more}"
    if not words or action.takes == "text":
        return action, context
    if action.takes == "queue":
        return _at_queue(action, context, " ".join(words))
    return _at_job(action, context, " ".join(words))


def _at_queue(action: Action, context: Context, name: str) -> tuple[Action, Context] | str:
    for queue in context.snapshot.queues:
        if name in (queue.name, clean(queue.name, single_line=True)):
            return action, replace(context, queue=queue.name, job=None, job_state=None, row=None)
    return _unknown_queue(name, context)


def _unknown_queue(name: str, context: Context) -> str:
    """Say that there is no such queue, and what may have been meant."""
    shown = f"no queue '{clean(name, single_line=True, limit=60)}' is known"
    near = get_close_matches(name, [queue.name for queue in context.snapshot.queues], cutoff=0.5)
    if near:
        return f"{shown}; near: {', '.join(clean(one, single_line=True, limit=60) for one in near)}"
    return shown if context.snapshot.complete else f"{shown}; the search for queues goes on"


def _at_job(action: Action, context: Context, text: str) -> tuple[Action, Context] | str:
    from glidemq_core.options.job import JobRef

    queue, colon, job_id = text.rpartition(":")
    if not colon:
        if context.queue is None:
            return "say which queue, as in inference:42"
        queue = context.queue
    elif context.snapshot.queue(queue) is None:
        return _unknown_queue(queue, context)
    ref = JobRef(queue, job_id)
    listing = context.snapshot.jobs
    row = next((row for row in listing.rows if row.ref == ref), None) if listing is not None else None
    state = row.state if row is not None else None
    return action, replace(context, queue=queue, job=ref, job_state=state, row=row)


class _Completer(Suggester):
    def __init__(self, context: Callable[[], Context]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._context = context

    async def get_suggestion(self, value: str) -> str | None:
        found = completions(value, self._context()) if value.strip() else []
        return next((line for line in found if line.startswith(value)), None)


class _Entry(Entry):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "cursor_right", "complete", show=False)]


class CommandLine(Horizontal):
    """Hidden until opened; posts what is typed, never acts itself."""

    class Submitted(Message):
        """A command was entered."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class FilterChanged(Message):
        """The filter reads like this now; empty: no filter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """The line is gone, the focus is free."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._filtering = False

    def compose(self) -> ComposeResult:
        yield Static(":", id="command-mark", markup=False)
        yield _Entry(id="command-entry", compact=True, select_on_focus=False)

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def open_for_commands(self, text: str = "") -> None:
        """Take a command."""
        self._open(":", text, filtering=False)

    def open_for_filter(self, text: str = "") -> None:
        """Take a filter; every key stroke is told."""
        self._open("/", text, filtering=True)

    def _open(self, mark: str, text: str, *, filtering: bool) -> None:
        self._filtering = filtering
        self.query_one("#command-mark", Static).update(mark)
        entry = self.query_one(_Entry)
        screen_context: Callable[[], Context] = self.screen.context  # type: ignore[attr-defined]  # only ConsoleScreens hold one
        entry.suggester = None if filtering else _Completer(screen_context)
        with self.prevent(Input.Changed):
            entry.value = text
        entry.cursor_position = len(text)
        self._show(True)
        # At once: keys that were typed in one go with the one that opened the line come next.
        self.screen.set_focus(entry)

    def _show(self, opened: bool) -> None:
        self.set_class(opened, "-open")
        self.screen.set_class(opened, "-typing")

    def close(self) -> bool:
        """Close without acting, a filter is cleared; False when it was not open."""
        if not self.is_open:
            return False
        self._show(False)
        if self._filtering:
            self.post_message(self.FilterChanged(""))
        self.post_message(self.Closed())
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_open and self._filtering:
            self.post_message(self.FilterChanged(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        self._show(False)
        if not self._filtering and text:
            self.post_message(self.Submitted(text))
        self.post_message(self.Closed())

    def on_input_blurred(self) -> None:
        # A click elsewhere: a half-typed command would otherwise stand there without the focus.
        if self.is_open and self.screen.focused is not self.query_one(_Entry):
            self._show(False)
