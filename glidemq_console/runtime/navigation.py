"""Going to screens and pages, and back where one came from; pages are never left above a tab that is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.screen import Screen

from ..actions.protocols import PageName
from ..model.trail import Place, Trail
from ..screens.frame import ConsoleScreen
from ..screens.page_screen import PageScreen
from ..screens.table import PAGES, SCREENS, make

if TYPE_CHECKING:
    from textual.app import App

    from glidemq_core import JobRef


#: A mode without anything on screen, while those of another server are made.
_BETWEEN = "between"


def add_screens(app: App[int]) -> None:
    """Give an app the screens of the table, each made when it is first gone to."""
    for spec in SCREENS:
        app.add_mode(spec.name, partial(make, spec.module, spec.class_name))


async def replace_screens(app: App[int], swap: Callable[[], Awaitable[str]]) -> None:
    """Close every screen, await `swap`, and go to the screen that it names, made anew."""
    app.add_mode(_BETWEEN, Screen)
    await app.switch_mode(_BETWEEN)
    for spec in SCREENS:
        await app.remove_mode(spec.name)
    start = await swap()
    add_screens(app)
    await app.switch_mode(start)
    await app.remove_mode(_BETWEEN)


class Navigation:
    """The places of one console: where it is, and the way there."""

    def __init__(self, app: App[int], arrived: Callable[[str], None]) -> None:
        """Begin nowhere; `arrived` is called with the tab that was left."""
        self._app = app
        self._arrived = arrived
        self._trail = Trail()
        #: Moves whose target is still to be opened.
        self._going = 0

    @property
    def is_going(self) -> bool:
        return self._going > 0

    @property
    def here(self) -> Place:
        """The place on screen."""
        stack = [screen for screen in self._app.screen_stack if isinstance(screen, ConsoleScreen)]
        pages = [screen for screen in stack if isinstance(screen, PageScreen)]
        base = stack[0] if stack else None
        return Place(
            tab=self._app.current_mode,
            pages=tuple((page.PAGE, page.ref) for page in pages),
            spot=base.spot() if base is not None else None,
            crumbs=tuple(screen.crumb() for screen in stack),
        )

    def crumbs(self) -> list[str]:
        """The words of the way here."""
        return self._trail.crumbs(self.here)

    def go(self, name: str, target: object = None) -> None:
        """Go to a screen, and there to a queue, a job or what else it shows."""
        before = self.here
        self._go(name, target, lambda: self._leave(before, linked=target is not None))

    def _go(self, name: str, target: object, then: Callable[[], None]) -> None:
        left = self._app.current_mode
        self._going += 1
        if left != name:
            self._close_pages()
            self._app.switch_mode(name)

        def open_target() -> None:
            try:
                self._close_pages()
                if target is not None and isinstance(self._app.screen, ConsoleScreen):
                    self._app.screen.open(target)
                then()
            finally:
                self._going -= 1
            self._arrived(left)

        self._app.call_after_refresh(open_target)

    def _leave(self, before: Place, *, linked: bool) -> None:
        if (before.tab, before.pages, before.spot) != (self.here.tab, self.here.pages, self.here.spot):
            self._trail.leave(before, linked=linked)

    def _close_pages(self) -> None:
        while len(self._app.screen_stack) > 1 and isinstance(self._app.screen, ConsoleScreen):
            self._app.pop_screen()

    def open_page(self, name: PageName, ref: JobRef) -> None:
        """Lay the page of a job or of its flow over the screen on top."""
        if not self._going:
            self._trail.leave(self.here, linked=True)
        self._app.push_screen(make(*PAGES[name], ref))

    def back(self) -> None:
        """Return to where one came from; at last to the first tab."""
        place, here = self._trail.back(), self.here
        if place is None:
            # Nothing is remembered: the screen below, then the first tab.
            if here.pages:
                self._app.pop_screen()
            elif here.tab != SCREENS[0].name:
                self._go(SCREENS[0].name, None, lambda: None)
            return
        if place.tab == here.tab and place.pages == here.pages[: len(place.pages)]:
            for _ in here.pages[len(place.pages) :]:
                self._app.pop_screen()
            if place.spot != here.spot and not place.pages and isinstance(self._app.screen, ConsoleScreen):
                self._app.screen.open(place.spot)
            self._arrived(here.tab)
            return

        def reopen() -> None:
            for name, ref in place.pages:
                self._app.push_screen(make(*PAGES[name], ref))  # type: ignore[index]  # a page's own name

        self._go(place.tab, place.spot, reopen)
