"""One client of the driver, made sturdy: here alone words are sent, repeated and their errors translated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from . import functions
from .commands import key_of, name_of, read_only_error
from .errors import ClosedError, GlideMQError, PermissionDeniedError, ServerUnavailableError
from .probe import reachable
from .url import Settings

Words = list[str | bytes]

#: How long calls wait for a slot that moves to another node, and the pause between two tries, s. The driver itself
#: tries for some seconds each time.
_MOVING_S = 30.0
_MOVING_WAIT_S = 0.1


@dataclass(slots=True)
class ConnectionStats:
    """What a connection and its dedicated ones cost the server so far, and how they fare."""

    commands: int = 0
    rtt_ms: float | None = None
    #: One of the clients lost the server: the next call looks before it waits.
    doubtful: bool = False


class Link:
    """Sends words; loads our library when the server lacks it, repeats reads that lost their connection."""

    def __init__(
        self,
        client: Any,
        driver: Any,
        settings: Settings,
        *,
        trust_roles: bool,
        resp2: bool = False,
        stats: ConnectionStats | None = None,
    ) -> None:
        self.client = client
        self.closed = False
        self.stats = stats or ConnectionStats()
        #: Whether this user may call server functions, as far as is known.
        self.functions_available = False
        #: Take the address for the primary without asking: this user may not run INFO.
        self.trust_roles = trust_roles
        self._driver = driver
        self._settings = settings
        self._resp2 = resp2
        self._slots = asyncio.Semaphore(settings.max_inflight)
        self._loading = asyncio.Lock()
        self._loads = 0

    @classmethod
    async def open(cls, driver: Any, settings: Settings, secret: str | None, *, trust_roles: bool) -> Self:
        """Make the client; it connects at its first command."""
        client = await driver.create(settings, secret, trust_roles=trust_roles)
        return cls(client, driver, settings, trust_roles=trust_roles)

    async def twin(self, *, resp2: bool) -> Link:
        """Open another client with the same settings; what both cost is counted together."""
        self.check_open()
        client = await self._driver.create(
            self._settings, await self._settings.secret(), trust_roles=self.trust_roles, resp2=resp2
        )
        twin = Link(
            client,
            self._driver,
            self._settings,
            trust_roles=self.trust_roles,
            resp2=resp2,
            stats=self.stats,
        )
        twin.functions_available = self.functions_available
        return twin

    async def send(self, words: Words) -> Any:
        """Run one plain command."""
        try:
            return await self._send(words)
        except self._driver.GlideError as error:
            raise await self._explained(error, words) from error

    async def pipeline(self, commands: Sequence[Words]) -> list[Any]:
        """Run plain commands in one round trip; an error stands, translated, in its place in the answer."""
        answers = await self._exec(commands)
        return [
            self._in_place(answer, words, key_of(words))
            for answer, words in zip(answers, commands, strict=True)
        ]

    async def call(self, words: Words, key: str | None, *, repeat: bool) -> Any:
        """Call one of our functions; `repeat` once more when the connection breaks."""
        try:
            return await self._repeated(words, repeat=repeat)
        except self._driver.GlideError as error:
            raise await self._explained(error, words, key) from error

    async def read_many(self, commands: Sequence[Words], keys: Sequence[str]) -> list[Any]:
        """Call reading functions in one round trip a node; an error stands, translated, in its place."""
        loads = self._loads
        answers = await self._exec(commands, repeat=True)
        missing = [i for i, answer in enumerate(answers) if self._is_missing(answer)]
        if missing:
            await self._load(loads)
            again = await self._exec([commands[i] for i in missing], repeat=True)
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        return [
            self._in_place(answer, words, key)
            for answer, words, key in zip(answers, commands, keys, strict=True)
        ]

    async def close(self) -> None:
        """Close the client; requests on their way end in `ClosedError`."""
        self.closed = True
        await self.client.close()

    def check_open(self) -> None:
        """Raise ClosedError when it is closed."""
        if self.closed:
            raise ClosedError("the connection is closed", what="connection")

    async def _repeated(self, words: Words, *, repeat: bool) -> Any:
        """Send, and send once more after loading a missing library, or when a read lost its connection."""
        loads = self._loads
        try:
            return await self._send(words)
        except self._driver.GlideError as error:
            if self._driver.is_missing_function(error):
                await self._load(loads)
            elif not (repeat and self._driver.is_disconnect(error)):
                raise
        return await self._send(words)

    async def _send(self, words: Words) -> Any:
        give_up_at: float | None = None
        while True:
            if self.closed or self.stats.doubtful:
                await self._reassure()
            self.stats.commands += 1
            try:
                async with self._slots:
                    return await self.client.custom_command(words)
            except self._driver.GlideError as error:
                # Nothing was done: the slot is on its way to another node, which takes the call once it is there.
                now = time.monotonic()
                give_up_at = give_up_at or now + _MOVING_S
                if not self._settings.cluster or not self._driver.is_moving(error) or now >= give_up_at:
                    raise
            await asyncio.sleep(_MOVING_WAIT_S)

    async def _exec(self, commands: Sequence[Words], *, repeat: bool = False) -> list[Any]:
        """Run a pipeline; errors of single commands stand in the answer untranslated."""
        if not commands:
            return []
        if self.closed or self.stats.doubtful:
            await self._reassure()
        self.stats.commands += len(commands)
        started = time.perf_counter()
        try:
            async with self._slots:
                answers = await self.client.exec(
                    self._driver.batch(self._settings.cluster, commands), raise_on_error=False
                )
        except self._driver.GlideError as error:
            if repeat and self._driver.is_disconnect(error):
                return await self._exec(commands)
            raise await self._explained(error, commands[0]) from error
        self.stats.rtt_ms = (time.perf_counter() - started) * 1_000
        return list(answers or ())

    async def _load(self, seen: int) -> None:
        """Load the library unless another call did so since `seen`; never replaces one."""
        if self._settings.read_only:
            self.functions_available = False
            raise read_only_error("FUNCTION LOAD")
        async with self._loading:
            if self._loads != seen:
                return
            words: Words = ["FUNCTION", "LOAD", functions.source()]
            try:
                if self._settings.cluster:
                    await self.client.custom_command(words, route=self._driver.everywhere())
                else:
                    await self._send(words)
            except self._driver.GlideError as error:
                if not self._driver.is_existing_library(error):
                    problem = await self._explained(error, words)
                    if isinstance(problem, PermissionDeniedError):
                        self.functions_available = False
                    raise problem from error
            self._loads += 1

    async def _reassure(self) -> None:
        """Before a call after trouble: see that somebody is there, instead of waiting for the time-out."""
        self.check_open()
        if not await reachable(self._settings):
            address = self._settings.address
            raise ServerUnavailableError(f"cannot reach {address}", address=address)
        if callable(self._settings.password):
            await self._renew(await self._settings.secret())
        self.stats.doubtful = False

    async def _renew(self, secret: str | None) -> None:
        """Change the client for one with a new password: the driver would try the old one for ever."""
        if secret == getattr(self.client.config.credentials, "password", None):
            return
        stale = self.client
        self.client = await self._driver.create(
            self._settings, secret, trust_roles=self.trust_roles, resp2=self._resp2
        )
        await stale.close()

    async def _explained(
        self, error: Exception, words: Sequence[str | bytes], key: str | None = None
    ) -> GlideMQError:
        """Translate an error, and tell a silent server from one that is gone."""
        problem = self._translated(error, words, key)
        if isinstance(problem, (TimeoutError, ServerUnavailableError)):
            self.stats.doubtful = True
            if isinstance(problem, TimeoutError) and not await reachable(self._settings):
                address = self._settings.address
                return ServerUnavailableError(f"the connection to {address} was lost", address=address)
        return problem

    def _translated(self, error: Exception, words: Sequence[str | bytes], key: str | None) -> GlideMQError:
        translated: GlideMQError = self._driver.translate(
            error,
            name_of(words),
            address=self._settings.address,
            timeout_ms=self._settings.request_timeout,
            username=self._settings.username,
            key=key if key is not None else key_of(words),
        )
        return translated

    def _in_place(self, answer: Any, words: Sequence[str | bytes], key: str | None) -> Any:
        return self._translated(answer, words, key) if isinstance(answer, self._driver.GlideError) else answer

    def _is_missing(self, answer: Any) -> bool:
        return isinstance(answer, self._driver.GlideError) and self._driver.is_missing_function(answer)
