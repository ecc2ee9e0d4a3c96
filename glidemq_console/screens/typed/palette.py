"""What the palette finds: actions of this screen and of others, screens, queues and jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from ...actions.base import EVERYWHERE, Action, Context
from ...actions.protocols import Console
from ...text.safe import short
from ..blank import BlankScreen
from ..registry import ACTIONS, in_scope
from ..table import SCREENS

#: Queues and jobs that are looked through.
_QUEUES, _JOBS = 2_000, 500


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that the palette offers; texts are safe, and never markup."""

    title: str
    help: str
    run: Callable[[], object]


def offers_here(page: BlankScreen, console: Console, context: Context) -> Iterator[Offer]:
    """What can be done on this screen and everywhere, and why not now."""
    for action in (*in_scope(page.SCOPE), *in_scope(EVERYWHERE)):
        if action.id == "palette":
            continue
        reason = action.unavailable(context)
        words = f"{_keys(action, console)}   {action.help}" + (
            f" (not now: {reason})" if reason is not None else ""
        )
        yield Offer(page.title_of(action.id) or action.title, words, partial(console.action_act, action.id))


def offers_elsewhere(page: BlankScreen, console: Console, context: Context) -> Iterator[Offer]:
    """What is known and what other screens do, which choosing leads to."""
    for queue in context.snapshot.queues[:_QUEUES]:
        yield Offer(short(queue.name, 80), "queue: opens its jobs", partial(console.go, "jobs", queue.name))
    listing = context.snapshot.jobs
    for row in listing.rows[:_JOBS] if listing is not None else ():
        title = f"{short(str(row.ref), 80)} {short(row.name, 40)}"
        yield Offer(title, "job: opens its page", partial(console.open_page, "job", row.ref))
    tabs = {spec.name for spec in SCREENS}
    for action in ACTIONS.values():
        if action.scope in tabs and action.scope != page.SCOPE:
            words = f"{_keys(action, console)}   {action.help} (goes to {action.scope})"
            yield Offer(f"{action.scope}: {action.title}", words, partial(console.go, action.scope))


def _keys(action: Action[Context], console: Console) -> str:
    return " ".join(console.keymap.texts(action)) or f":{action.command}"


def _markup(text: str) -> str:
    """Write a text so that Textual, which reads helps as markup, draws it as it is."""
    return Content(text).markup


class PaletteCommands(Provider):
    """The commands of the console."""

    async def discover(self) -> Hits:
        """Offer what can be done here."""
        for offer in offers_here(*self._about()):
            yield DiscoveryHit(Content(offer.title), offer.run, text=offer.title, help=_markup(offer.help))

    async def search(self, query: str) -> Hits:
        """Find offers whose title matches."""
        matcher = self.matcher(query)
        for offers in (offers_here, offers_elsewhere):
            for offer in offers(*self._about()):
                score, at = matcher.fuzzy_search.match(query, offer.title)
                if score <= 0:
                    continue
                title = Content(offer.title)
                for index in at:
                    title = title.stylize(matcher.match_style, index, index + 1)
                yield Hit(score, title, offer.run, text=offer.title, help=_markup(offer.help))

    def _about(self) -> tuple[BlankScreen, Console, Context]:
        page = self.screen
        assert isinstance(page, BlankScreen)
        context = page.context()
        return page, context.console, context
