"""The base of apps that write only the cells that have changed, one frame at a time."""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache, partial
from time import monotonic
from typing import Any, Final, cast

from rich.color import ColorSystem
from rich.console import RenderableType
from textual._compositor import CompositorUpdate
from textual._styles_cache import StylesCache
from textual.app import App
from textual.driver import Driver
from textual.screen import Screen

from ..terminal.gate import FrameGate
from ..terminal.screen_cells import ScreenCells
from ..text.format import be_calm

if sys.platform != "win32":
    from textual.drivers.linux_driver import LinuxDriver

    from ..terminal.driver import AnsweredDriver

#: Before a frame that came while the app draws nothing is tried again, s.
_AGAIN_S: Final = 0.05
#: Between two frames of a calm console, s.
CALM_S: Final = 0.25

# Textual remembers these colours together with the widget that asked: a thousand widgets that are gone, each with its
# lines. They depend on the colours alone.
StylesCache.get_inner_outer = staticmethod(  # type: ignore[method-assign,assignment]
    lru_cache(1_024)(partial(StylesCache.get_inner_outer.__wrapped__, StylesCache))
)


class _Written(CompositorUpdate):
    """Sequences that are known already, in the place of what the compositor renders."""

    def __init__(self, sequences: str) -> None:
        self._sequences = sequences

    def render_segments(self, console: object) -> str:
        return self._sequences


class DrawingApp(App[int]):
    """An app whose frames are compared with what stands on the terminal.

    What comes while the terminal is busy with a frame is put together into the next one.
    """

    def __init__(self, *, calm: bool = False, **options: Any) -> None:
        """Make an app that begins few frames if it is to be calm."""
        super().__init__(**options)
        self._cells = ScreenCells()
        self._gate = FrameGate()
        self.set_calm(calm)
        self._next_frame: asyncio.TimerHandle | None = None

    def get_driver_class(self) -> type[Driver]:
        chosen = super().get_driver_class()
        return AnsweredDriver if sys.platform != "win32" and chosen is LinuxDriver else chosen

    def set_calm(self, calm: bool) -> None:
        """Draw little and seldom from now on, or as things come."""
        self._gate.interval_s = CALM_S if calm else 0.0
        be_calm(calm)

    def redraw(self) -> None:
        """Write everything again: another program may have written to the terminal."""
        self._cells.forget()
        self._gate.begin_again()
        if self._is_drawing:
            self.screen.refresh()

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self, lambda _: self.redraw())

    def on_resize(self) -> None:
        # A terminal moves lines about when its size changes, even if it has the old one again by now.
        self.redraw()

    def on_cursor_position(self) -> None:
        self._gate.answered(monotonic())
        if self._next_frame is not None:
            self._draw_when_due()

    @property
    def _is_drawing(self) -> bool:
        return self._running and not self._closed and not self.is_headless and self._driver is not None

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if not isinstance(renderable, CompositorUpdate) or not self._is_drawing or self._batch_count:
            super()._display(screen, renderable)
            return
        system = self.console._color_system or ColorSystem.TRUECOLOR
        if self._cells.take(renderable, screen._compositor.size, system):
            self._draw_when_due()
        else:
            self._cells.forget()
            super()._display(screen, renderable)

    def _draw_when_due(self) -> None:
        """Write a frame now, or as soon as the terminal has come to the end of the one before."""
        if self._next_frame is not None:
            self._next_frame.cancel()
            self._next_frame = None
        if not self._is_drawing:
            return
        wait = _AGAIN_S if self._batch_count else self._gate.wait_s(monotonic())
        if wait:
            self._next_frame = asyncio.get_running_loop().call_later(wait, self._draw_when_due)
            return
        try:
            self._write_frame()
        except Exception as error:  # noqa: BLE001  # nobody else sees it where a timer calls this
            self._handle_exception(error)

    def _write_frame(self) -> None:
        sequences = self._cells.changes()
        cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
        if not sequences and cursor == self._previous_cursor_position:
            return
        super()._display(self.screen, cast(RenderableType, _Written(sequences)))
        asks = self._gate.drawn(monotonic())
        if asks and sys.platform != "win32" and isinstance(self._driver, AnsweredDriver):
            self._driver.ask()
