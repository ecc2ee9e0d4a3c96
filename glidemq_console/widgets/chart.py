"""A chart of one or two histories, redrawn on request only: it costs more than all else on screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.app import RenderResult
from textual.color import Color

from ..text.format import count
from ..theme.style import theme_style
from .drawn import Drawn


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart, oldest value first; None is a gap."""

    name: str
    values: tuple[float | None, ...]
    style: str = "chart-first"


class Chart(Drawn):
    """Lines over time with a title; the axes are plain and the colours those of the theme."""

    DEFAULT_CSS = """
    Chart {
        height: 1fr;
        width: 1fr;
        min-height: 5;
        color: $foreground;
    }
    """

    def __init__(
        self, title: str = "", *, unit: Callable[[float], str] = count, id: str | None = None
    ) -> None:
        """Make an empty chart with a title of safe text; `unit` makes the labels of the vertical axis."""
        super().__init__(id=id)
        self._title = title
        self._unit = unit
        self._series: tuple[Series, ...] = ()
        self._labels: tuple[str, str] = ("", "")
        self._drawn: tuple[object, Text] | None = None

    def show(self, series: Sequence[Series], *, labels: tuple[str, str] = ("", "")) -> None:
        """Show these lines; `labels` stand at the left and right end of the time axis."""
        new = tuple(series)
        if (new, labels) != (self._series, self._labels):
            self._series, self._labels = new, labels
            self.refresh()

    def render(self) -> RenderResult:
        size = (self.size.width, self.size.height)
        state = (size, self.app.theme, self._series, self._labels)
        if self._drawn is None or self._drawn[0] != state:
            self._drawn = state, self._draw(*size)
        return self._drawn[1]

    def _draw(self, width: int, height: int) -> Text:
        room = width - 1  # The title of the plot beside it begins in the next column.
        title = Text(self._title, style=theme_style(self.app, "dim"), end="\n", no_wrap=True)
        latest = [next((v for v in reversed(line.values) if v is not None), None) for line in self._series]
        figures = [f" {self._unit(value) if value else 0}" if value is not None else "" for value in latest]
        names = [
            (f"  ━{f' {line.name}' if len(self._series) > 1 else ''}{figure}", line.style)
            for line, figure in zip(self._series, figures, strict=True)
            if figure
        ]
        if title.cell_len + sum(len(name) for name, _ in names) <= room:
            for name, style in names:
                title.append(name, theme_style(self.app, style))
        title.truncate(room, overflow="ellipsis")
        values = [value for line in self._series for value in line.values if value is not None]
        if width < 12 or height < 4:
            return title
        if not values:
            return title.append("\nno data yet", theme_style(self.app, "dim"))
        return title.append("\n").append(self._chart(width, height - 1, max(values)))

    def _chart(self, width: int, height: int, highest: float) -> Text:
        from textual_plotext.plot import Plot as Canvas

        canvas = Canvas()
        canvas.theme("clear")
        canvas.plotsize(width, height)
        canvas._set_size(width, height)
        canvas.xaxes(True, False)
        canvas.yaxes(True, False)
        top = _round_up(highest)
        canvas.ylim(0, top)
        marks = [0.0, top / 2, top] if height >= 6 else [0.0, top]
        canvas.yticks(marks, [self._unit(mark) if mark else "0" for mark in marks])
        length = max(len(line.values) for line in self._series)
        canvas.xlim(0, max(1, length - 1))
        canvas.xticks([0, max(1, length - 1)], list(self._labels))
        for line in self._series:
            for xs, ys in _runs(line.values, length):
                canvas.plot(xs, ys, marker="braille", color=self._color(line.style))
        return Text.from_ansi(canvas.build(), end="", no_wrap=True)

    def _color(self, style: str) -> tuple[int, int, int] | str | int:
        color = Color.parse(self.app.theme_variables[style])
        if color.ansi is None:
            return color.rgb
        return color.ansi if color.ansi >= 0 else "default"


def _runs(values: Sequence[float | None], length: int) -> list[tuple[list[int], list[float]]]:
    """Cut a history at its gaps; the newest value stands at the right end."""
    runs: list[tuple[list[int], list[float]]] = []
    gap = True
    for x, value in enumerate(values, length - len(values)):
        if value is None:
            gap = True
            continue
        if gap:
            runs.append(([], []))
            gap = False
        runs[-1][0].append(x)
        runs[-1][1].append(value)
    return runs


def _round_up(value: float) -> float:
    """Return the next round number, so that the axis stands still while values wobble."""
    if value <= 0:
        return 1.0
    step = 1.0
    while step * 10 <= value:
        step *= 10
    while step > value:
        step /= 10
    return next(
        step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * factor >= value * 0.999999
    )
