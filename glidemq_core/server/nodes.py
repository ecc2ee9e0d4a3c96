"""Which nodes a connection's server has now: those of a cluster, or the primary among several addresses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..errors import GlideMQError, ServerUnavailableError
from .probe import Facts, probe, probe_each
from .url import Address, Settings, format_address

#: How long a cluster's nodes are taken for known, and how many of them are kept beside the seeds.
_KNOWN_S = 60.0
_MOST = 100
#: How long a node may take to accept a connection, s.
_ACCEPT_S = 1.0
#: How long a new connection may take to be answered, and how much longer the client's own, s.
_ANSWER_S = 2.0


class Nodes:
    """Shared by all clients of a connection; asked again when one of them has lost the server.

    A cluster's seeds may be gone for good: a look for the cluster asks all nodes that are known. Of several
    addresses of one server, the one is used that says that it is the primary.
    """

    def __init__(self, settings: Settings, facts: Facts) -> None:
        self._given = settings
        self._others: tuple[Address, ...] = ()
        self._looking: asyncio.Task[str | None] | None = None
        self._accepting: asyncio.Task[bool] | None = None
        self._updated_at = -_KNOWN_S
        #: Settings for the driver: the addresses to connect to, the best first.
        self.settings = settings
        #: Counts the changes of the primary: a client made for an older one is out of date.
        self.generation = 0
        #: Whether this user may name its connections: the driver cannot connect where a name is refused.
        self.may_name = facts.may_name
        #: One of the clients lost the server: the next call looks before it waits.
        self.doubtful = False
        self.update(facts.nodes_at)

    @property
    def address(self) -> str:
        """Where the server is, as people write it."""
        return self.settings.address

    @property
    def given(self) -> tuple[Address, ...]:
        """The addresses that the caller named."""
        return self._given.addresses

    def settings_for(self, role: str) -> Settings:
        """Return the settings of a client that does one thing, such as `stream`."""
        return replace(self.settings, role=role, may_name=self.may_name)

    async def is_name_refused(self, secret: str | None) -> bool:
        """Ask whether the user has lost the right to name its connections since it was last asked."""
        if self.may_name:
            with suppress(GlideMQError):
                self.may_name = (await probe(self.settings, secret)).may_name
        return not self.may_name

    @property
    def is_old(self) -> bool:
        """Whether a cluster should be asked for its nodes again."""
        return self._given.cluster and time.monotonic() - self._updated_at >= _KNOWN_S

    def update(self, addresses: Iterable[Address]) -> None:
        """Remember the nodes that a cluster names."""
        found = [address for address in addresses if address not in self._given.addresses]
        self._updated_at = time.monotonic()
        if found:
            self._others = tuple(dict.fromkeys(found))[:_MOST]
            self.settings = replace(self._given, addresses=(*self._given.addresses, *self._others))

    async def accept(self) -> bool:
        """Tell whether any node accepts a connection; those who ask at the same time share one look."""
        self._accepting = _shared(self._accepting, lambda: any_accepts(self.settings.addresses))
        return await asyncio.shield(self._accepting)

    async def look(self, *, for_primary: bool = False) -> None:
        """See that the server is there, and who the primary is; those who ask at the same time share one look.

        Args:
            for_primary: also of a single address, whose name may lead to another server by now.

        Raises:
            ServerUnavailableError: no node can be reached, or none of the addresses is the one primary.
        """
        asks_roles = not self._given.cluster and (for_primary or len(self._given.addresses) > 1)
        self._looking = _shared(self._looking, self._find_primary if asks_roles else self._find_any)
        problem = await asyncio.shield(self._looking)
        if problem is not None:
            raise ServerUnavailableError(problem, address=self.address)
        self.doubtful = False
        if self._given.cluster:
            self._updated_at = -_KNOWN_S

    async def _find_any(self) -> str | None:
        return None if await self.accept() else f"cannot reach {self.address}"

    async def _find_primary(self) -> str | None:
        """Ask every address for its role; returns what is wrong, if anything."""
        answers = await probe_each(self._given, await self._given.secret())
        primaries = [at for at, facts in answers.items() if isinstance(facts, Facts) and not facts.is_replica]
        if len(primaries) == 1:
            self.may_name = all(facts.may_name for facts in answers.values() if isinstance(facts, Facts))
            if self.settings.addresses != tuple(primaries) or len(self._given.addresses) == 1:
                self.settings = replace(self._given, addresses=tuple(primaries))
                self.generation += 1
            return None
        return _no_primary(self._given.addresses, primaries, answers)


def _no_primary(
    addresses: Iterable[Address], primaries: list[Address], answers: dict[Address, Facts | GlideMQError]
) -> str:
    """Words for a list of addresses that has no primary, or too many."""
    if primaries:
        named = " and ".join(map(format_address, primaries))
        return (
            f"{named} both say that they are primaries: make one a replica of the other, or name one server"
        )
    if not any(isinstance(answer, Facts) for answer in answers.values()):
        return f"cannot reach {', '.join(map(format_address, addresses))}"
    return f"none of {', '.join(map(format_address, addresses))} is a primary that can be reached"


async def any_accepts(addresses: Iterable[Address]) -> bool:
    """Tell whether any of the addresses accepts a TCP connection within a second."""
    trying = {asyncio.ensure_future(_accepts(address)) for address in addresses}
    try:
        while trying:
            done, trying = await asyncio.wait(trying, return_when=asyncio.FIRST_COMPLETED)
            if any(task.result() for task in done):
                return True
        return False
    finally:
        for task in trying:
            task.cancel()


async def _accepts(address: Address) -> bool:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ACCEPT_S):
            _, writer = await asyncio.open_connection(*address)
        writer.transport.abort()
        return True
    return False


def _shared(running: asyncio.Task[Any] | None, start: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Return the task that does it already, or one that begins."""
    if running is None or running.done():
        running = asyncio.get_running_loop().create_task(start())
    return running


async def is_half_open(
    settings: Settings, secret: str | None, is_answered_by: Callable[[Address], Awaitable[bool]]
) -> bool:
    """Tell a half-open connection from a server that is slow: some node answers a new connection, and not the client's.

    A connection whose other end is gone without closing it (a firewall that forgot it, a machine that lost its power)
    looks open: the driver would wait for its replies for ever.

    Args:
        is_answered_by: asks a node over the client's own connection; False when no answer came in time.
    """

    async def check(node: Address) -> bool:
        own = asyncio.ensure_future(is_answered_by(node))
        fresh = asyncio.ensure_future(_answers(settings, secret, node))
        try:
            await asyncio.wait({own, fresh}, timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            if own.done() and own.result():
                return False
            await asyncio.wait({fresh}, timeout=_ANSWER_S)
            if not (fresh.done() and fresh.result()):
                return False
            await asyncio.wait({own}, timeout=_ANSWER_S)
            return not (own.done() and own.result())
        finally:
            for task in (own, fresh):
                task.cancel()
            await asyncio.gather(own, fresh, return_exceptions=True)

    addresses = settings.addresses if settings.cluster else settings.addresses[:1]
    return any(await asyncio.gather(*map(check, addresses)))


async def _answers(settings: Settings, secret: str | None, node: Address) -> bool:
    with suppress(GlideMQError):
        await probe(replace(settings, addresses=(node,)), secret)
        return True
    return False
