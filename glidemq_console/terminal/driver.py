"""The driver of a terminal that is asked behind each frame whether it has come so far."""

from __future__ import annotations

import re
from collections.abc import Iterable
from threading import Condition
from time import monotonic
from typing import Any, Final

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from .outlet import Outlet

#: Where the cursor is: terminals answer when they have processed all before it.
QUERY: Final = "\x1b[6n"
#: When the terminal is given back, answers that are still to come are waited for so long, s: whoever has it next
#: would take them for typed. The second one is for a terminal that has not answered yet.
LAST_ANSWER_S: Final = 2.0
FIRST_ANSWER_S: Final = 0.2


#: An answer, and one of which the end is still to come.
_REPORT: Final = re.compile(r"\x1b\[(\d+);(\d+)R")
_CUT: Final = re.compile(r"\x1b\[(?:\d+(?:;\d*)?)?\Z")
#: The end of an answer comes within this time, s; else it was something else.
REST_S: Final = 1.0


class ReportParser(XTermParser):
    """Takes the answers out of what is typed, wherever they stand: cut in two, or in the middle of a paste."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._cut = ""
        self._cut_at = 0.0

    def feed(self, data: str) -> Iterable[Message]:
        if not data:
            yield from super().feed(data)
            return
        data, self._cut = self._cut + data, ""
        for report in _REPORT.finditer(data):
            yield events.CursorPosition(int(report[2]) - 1, int(report[1]) - 1)
        data = _REPORT.sub("", data)
        if cut := _CUT.search(data):
            data, self._cut, self._cut_at = data[: cut.start()], cut[0], monotonic()
        if data:
            yield from super().feed(data)

    def tick(self) -> Iterable[Message]:
        if self._cut and monotonic() - self._cut_at >= REST_S:
            data, self._cut = self._cut, ""
            yield from super().feed(data)
        yield from super().tick()


class AnsweredDriver(LinuxDriver):
    """Asks where the cursor is. An answer comes to the app as an event of its own, never as keys."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self._file is not None:
            vars(self)["_file"] = Outlet(self._file)
        self._answer = Condition()
        self._open = 0
        self._asked_at = 0.0
        self._answers = False

    def ask(self) -> None:
        """Ask the terminal; the app gets a `CursorPosition` when it answers."""
        with self._answer:
            self._open += 1
            self._asked_at = monotonic()
        self.write(QUERY)

    def run_input_thread(self) -> None:
        # The thread makes a parser of this name.
        vars(linux_driver)["XTermParser"] = ReportParser
        super().run_input_thread()

    def process_message(self, message: Message) -> None:
        # In the thread that reads the keys.
        if isinstance(message, events.CursorPosition):
            with self._answer:
                self._open = max(0, self._open - 1)
                self._answers = True
                self._answer.notify_all()
        super().process_message(message)

    def disable_input(self) -> None:
        with self._answer:
            patience = LAST_ANSWER_S if self._answers else FIRST_ANSWER_S
            left = self._asked_at + patience - monotonic()
            self._answer.wait_for(lambda: not self._open, timeout=max(0.0, left))
            self._open = 0
        super().disable_input()
