"""The approvals of the other profiles' servers: a reader each, open while they are listed and decided on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from glidemq_core.errors import InvalidOptionError, ServerUnavailableError

from ..config.console import ConsoleConfig
from ..config.file import ConfigError
from ..model.snapshot import Interests, Snapshot
from .protocol import Feed
from .reading import words_of

if TYPE_CHECKING:
    from glidemq_core import Actor, Approval, JobDetail, JobRef, Queue

    from ..model.lists.elsewhere import Elsewhere, FarServer, Placing

T = TypeVar("T")

#: Profiles whose servers are read at most.
MOST = 8
#: How often each is read.
EVERY_MS = 5_000


class FarFeeds:
    """The feeds of the other profiles' servers. A server that fails or is slow delays nobody."""

    def __init__(
        self, config: ConsoleConfig, make: Callable[[ConsoleConfig], Feed], changed: Callable[[], None]
    ) -> None:
        """Begin with none.

        Args:
            config: The server that is shown: it is none of the others.
            make: Makes the feed of one server.
            changed: Called when something else is known.
        """
        self._config = config
        self._make = make
        self._changed = changed
        self._readers: dict[str, _Reader] = {}
        #: Profiles that cannot be used.
        self._unusable: tuple[FarServer, ...] = ()
        self._left_out: tuple[str, ...] = ()
        self._is_listed = False
        self._is_closed = False
        self._opening: asyncio.Task[None] | None = None
        #: What was told to end and has not yet.
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def known(self) -> Elsewhere | None:
        """What is known of the others; None while they are not listed."""
        if not self._is_listed:
            return None
        from ..model.lists.elsewhere import Elsewhere

        servers = tuple(reader.server for reader in self._readers.values())
        return Elsewhere(servers=(*servers, *self._unusable), left_out=self._left_out)

    def want(self, wants: Interests) -> None:
        """Read what a screen needs; a server is kept for the decisions that are still to be sent there."""
        if self._is_closed:
            return
        if wants.everywhere != self._is_listed:
            self._is_listed = wants.everywhere
            if self._opening is not None:
                self._end(self._opening)
            self._opening = asyncio.create_task(self._open()) if wants.everywhere else None
        if not wants.everywhere:
            for name in self._readers.keys() - wants.deciding:
                self._end(self._readers.pop(name).task)
        for reader in self._readers.values():
            reader.want(wants)

    def of(self, server: str) -> _Reader:
        """Return what asks a server.

        Raises:
            ServerUnavailableError: It is not read.
        """
        reader = self._readers.get(server)
        if reader is None:
            raise ServerUnavailableError(f"{server} is not read any more", address=server)
        return reader

    def refresh_now(self) -> None:
        for reader in self._readers.values():
            reader.feed.refresh_now()

    async def close(self) -> None:
        """Close every connection; nothing is read from now on."""
        self._is_closed, self._is_listed = True, False
        if self._opening is not None:
            self._end(self._opening)
        for reader in self._readers.values():
            self._end(reader.task)
        self._readers.clear()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _open(self) -> None:
        """Begin to read the server of every profile but the one that is shown."""
        from ..model.lists.elsewhere import FarServer

        found = await asyncio.to_thread(self._profiles)
        self._left_out = tuple(name for name, _ in found[MOST:])
        listed, kept = found[:MOST], self._readers
        opened = {
            name: kept.get(name) or _Reader(name, config, self._make(config), self._changed)
            for name, config in listed
            if isinstance(config, ConsoleConfig)
        }
        self._readers = {**opened, **kept}
        self._unusable = tuple(
            FarServer(name=name, problem=config) for name, config in listed if isinstance(config, str)
        )
        self._changed()

    def _profiles(self) -> list[tuple[str, ConsoleConfig | str]]:
        """Return each other server once, by the name of its profile, or why the profile cannot be used."""
        source, here = self._config.source, self._config
        found: list[tuple[str, ConsoleConfig | str]] = []
        if source is None:
            return found
        seen = {(here.url, here.prefix)}
        for name in source.profiles():
            if name == here.label:
                continue
            try:
                config = source.of_profile(name).config(clock=here.clock, zone=here.zone)
            except (ConfigError, InvalidOptionError) as error:
                found.append((name, str(error)))
                continue
            if (config.url, config.prefix) not in seen:
                seen.add((config.url, config.prefix))
                found.append((name, replace(config, refresh_ms=EVERY_MS)))
        return found


class _Reader:
    """Reads the approvals of one server until its task is cancelled; asks and changes there."""

    def __init__(self, name: str, config: ConsoleConfig, feed: Feed, changed: Callable[[], None]) -> None:
        """Begin to read; `changed` is called with everything new."""
        from ..model.lists.elsewhere import FarServer, Placing

        self._name = name
        self._changed = changed
        self._placing: Placing = Placing(name)
        self.feed = feed
        known = feed.latest
        self.server = FarServer(
            name=name,
            user=config.user,
            undo_ms=config.undo_ms,
            is_prod=config.is_prod,
            known=known,
            items=self._placing.all(known.inbox.items) if known.inbox is not None else (),
        )
        self.want(Interests(everywhere=True))
        self.task: asyncio.Task[None] = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.feed.run(self._take)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other servers are read on
            self.server = replace(self.server, known=None, items=(), problem=words_of(error))
            self._changed()

    def _take(self, known: Snapshot) -> None:
        before, inbox = self.server.inbox, known.inbox
        items = self.server.items
        if inbox is not None and inbox is not before:
            items = self._placing.all(inbox.items)
        self.server = replace(self.server, known=known, items=items)
        self._changed()

    def want(self, wants: Interests) -> None:
        """Read what of this server is on screen."""
        from ..model.lists.elsewhere import FarRef

        shown = tuple(
            ref.near for ref in wants.inbox_shown if isinstance(ref, FarRef) and ref.server == self._name
        )
        self.feed.set_interests(Interests(inbox=True, inbox_shown=shown))

    # --- what is asked of it, see `ServerFeed` ---

    async def change(self, queue: str, call: Callable[[Queue[Any, Any], Actor], Awaitable[T]]) -> T:
        return await self.feed.change(queue, call)

    async def review(self, ref: JobRef, *, payload_limit: int | None = None) -> Approval:
        return self._placing.one(await self.feed.review(ref, payload_limit=payload_limit))

    async def job(self, ref: JobRef, *, payload_limit: int) -> JobDetail | None:
        return await self.feed.job(ref, payload_limit=payload_limit)
