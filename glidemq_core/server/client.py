"""One client of the driver with retries: the only place that sends commands, repeats them and translates errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from ..errors import (
    AuthenticationError,
    ClosedError,
    GlideMQError,
    PermissionDeniedError,
    ServerUnavailableError,
)
from .commands import key_of, name_of, read_only_error
from .functions.loading import Library
from .nodes import Nodes, is_half_open
from .probe import parse_slots
from .url import Address

Words = list[str | bytes]
#: Times that a call loads a library that is not there.
_LOADS = 5

#: How long calls wait for a slot that moves to another node, and the pause between two tries, s. The driver itself
#: tries for some seconds each time.
_MOVING_S = 30.0
_MOVING_WAIT_S = 0.1


@dataclass(slots=True)
class ConnectionStats:
    """What a connection and its dedicated ones cost the server so far."""

    commands: int = 0
    rtt_ms: float | None = None


class ResilientClient:
    """Sends commands; loads our library when the server lacks it, repeats reads that lost their connection."""

    def __init__(
        self,
        client: Any,
        driver: Any,
        nodes: Nodes,
        generation: int,
        trust_roles: bool,
        resp2: bool,
        stats: ConnectionStats,
        role: str,
    ) -> None:
        self.client = client
        self.closed = False
        self.stats = stats
        #: Whether this user may call server functions, as far as is known.
        self.functions_available = False
        #: Take the address for the primary without asking: this user may not run INFO.
        self.trust_roles = trust_roles
        self._driver = driver
        self._nodes = nodes
        self._settings = nodes.settings
        #: Which primary the client was made for.
        self._generation = generation
        self._resp2 = resp2
        self._role = role
        self._slots = asyncio.Semaphore(self._settings.max_inflight)
        self._library = Library(self._send_everywhere, driver)
        #: A call got no answer in time: its connection may be half open.
        self._unanswered = False
        self._checking: asyncio.Task[None] | None = None
        #: Former clients that are closed once the answers that they owe have had time to come.
        self._closing: set[asyncio.Task[None]] = set()
        self._refreshing_nodes: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        driver: Any,
        nodes: Nodes,
        secret: str | None,
        *,
        trust_roles: bool,
        resp2: bool = False,
        stats: ConnectionStats | None = None,
        role: str | None = None,
    ) -> Self:
        """Make the client; it connects at its first command."""
        generation, role = nodes.generation, role or nodes.settings.role
        chosen = nodes.settings_for(role)
        client = await driver.create(chosen, secret, trust_roles=trust_roles, resp2=resp2)
        return cls(client, driver, nodes, generation, trust_roles, resp2, stats or ConnectionStats(), role)

    async def twin(self, *, role: str | None, resp2: bool) -> ResilientClient:
        """Open another client with the same settings; what both cost is counted together."""
        self.check_open()
        secret = await self._settings.secret()
        kept: dict[str, Any] = {"stats": self.stats, "role": role or self._role}
        twin = await ResilientClient.open(
            self._driver, self._nodes, secret, trust_roles=self.trust_roles, resp2=resp2, **kept
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
        return list(map(self._in_place, await self._exec(commands), commands))

    async def call(self, words: Words, key: str | None, *, repeat: bool) -> Any:
        """Call one of our functions, loading the library if need be; `repeat` once more when the connection breaks."""
        tries = 0
        while True:
            loads = self._library.loads
            try:
                return await self._send(words)
            except self._driver.GlideError as error:
                tries += 1
                if tries <= _LOADS and self._driver.is_missing_function(error):
                    # It may be gone again before our call: flushed again, or loaded by another call before it.
                    await self._load(loads)
                elif tries <= _LOADS and repeat and self._driver.is_disconnect(error):
                    repeat = False
                else:
                    raise await self._explained(error, words, key) from error

    async def read_many(self, commands: Sequence[Words], keys: Sequence[str]) -> list[Any]:
        """Call reading functions in one round trip a node; an error stands, translated, in its place."""
        loads = self._library.loads
        answers = await self._exec(commands, repeat=True)
        missing = [i for i, answer in enumerate(answers) if self._is_missing(answer)]
        if missing:
            await self._load(loads)
        # In a cluster one node may have lost its connection, while the others have answered.
        again = missing + [i for i, answer in enumerate(answers) if self._is_disconnect(answer)]
        if again:
            fresh = await self._exec([commands[i] for i in again], repeat=True)
            for i, answer in zip(again, fresh, strict=True):
                answers[i] = answer
        return list(map(self._in_place, answers, commands, keys))

    async def close(self) -> None:
        """Close the client; requests on their way end in `ClosedError`."""
        self.closed = True
        if self._refreshing_nodes is not None:
            self._refreshing_nodes.cancel()
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self.client.close()

    def check_open(self) -> None:
        """Raise ClosedError when it is closed."""
        if self.closed:
            raise ClosedError("the connection is closed", what="connection")

    async def _send(self, words: Words) -> Any:
        """Send; again where the server has refused to do anything, and will soon do it or does it elsewhere."""
        give_up_at: float | None = None
        looked = False
        while True:
            if self._needs_check:
                await self._check_server()
            if self._nodes.is_old:
                self._refresh_nodes()
            self.stats.commands += 1
            await self._slots.acquire()
            client, generation = self.client, self._generation
            try:
                return await client.custom_command(words)
            except self._driver.GlideError as raised:
                error = self._as_lost(raised, client)
            finally:
                self._slots.release()
            now = time.monotonic()
            give_up_at = give_up_at or now + _MOVING_S
            if self._settings.cluster and self._driver.is_moving(error) and now < give_up_at:
                await asyncio.sleep(_MOVING_WAIT_S)
            elif looked or self._settings.cluster or not self._driver.is_replica(error):
                raise error
            else:
                looked = True
                await self._find_primary(error, generation)

    @property
    def _needs_check(self) -> bool:
        """Whether a call has to check the server before it is sent."""
        nodes = self._nodes
        return (
            self.closed
            or nodes.doubtful
            or self._unanswered
            or self._checking is not None
            or self._generation != nodes.generation
        )

    def _as_lost(self, error: Exception, client: Any) -> Exception:
        """Return the error of a client that was replaced and closed as what it is: a lost reply."""
        if isinstance(error, self._driver.ClosingError) and client is not self.client and not self.closed:
            lost: Exception = self._driver.ConnectionError("the client was replaced")
            return lost
        return error

    async def _exec(self, commands: Sequence[Words], *, repeat: bool = False) -> list[Any]:
        """Run a pipeline; errors of single commands stand in the answer untranslated."""
        if not commands:
            return []
        if self._needs_check:
            await self._check_server()
        self.stats.commands += len(commands)
        started = time.perf_counter()
        batch = self._driver.batch(self._settings.cluster, commands)
        try:
            async with self._slots:
                client = self.client
                answers = await client.exec(batch, raise_on_error=False)
        except self._driver.GlideError as raised:
            error = self._as_lost(raised, client)
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
        try:
            await self._library.load(seen, self._nodes.address)
        except self._driver.GlideError as error:
            problem = await self._explained(error, ["FUNCTION", "LOAD"])
            if isinstance(problem, PermissionDeniedError):
                self.functions_available = False
            raise problem from error

    async def _send_everywhere(self, words: Words) -> Any:
        """Run a command on every primary."""
        if not self._settings.cluster:
            return await self._send(words)
        client = self.client
        try:
            return await client.custom_command(words, route=self._driver.everywhere())
        except self._driver.GlideError as raised:
            raise self._as_lost(raised, client) from raised

    async def _check_server(self) -> None:
        """Before a call after an outage: check that the server is there, instead of waiting for the time-out.

        However many calls wait, one check and one change of the client serve them all.
        """
        self.check_open()
        if self._checking is None:
            self._checking = asyncio.get_running_loop().create_task(self._check())
            self._checking.add_done_callback(_ignore_error)
        await asyncio.shield(self._checking)
        self.check_open()

    async def _check(self) -> None:
        try:
            looked, unanswered = self._nodes.doubtful, self._unanswered
            if looked:
                await self._nodes.look()
            self._unanswered = False
            if self._generation != self._nodes.generation:
                await self._replace(await self._settings.secret())
            elif looked or unanswered:
                await self._renew(unanswered)
        finally:
            self._checking = None

    async def _renew(self, unanswered: bool) -> None:
        """Change a client that the driver would keep for ever: old password, refused name, or no answers any more."""
        asks, named = callable(self._settings.password), self.client.config.client_name is not None
        if not (asks or named or unanswered):
            return
        secret = await self._settings.secret()
        if (
            (asks and secret != getattr(self.client.config.credentials, "password", None))
            or (named and await self._nodes.is_name_refused(secret))
            or (unanswered and await is_half_open(self._nodes.settings, secret, self._is_answered_by))
        ):
            await self._replace(secret)

    async def _is_answered_by(self, node: Address) -> bool:
        """Whether a node answers on the client's connection to it; a refusal is an answer."""
        self.stats.commands += 1
        try:
            if self._settings.cluster:
                await self.client.custom_command(["PING"], route=self._driver.to_node(*node))
            else:
                await self.client.custom_command(["PING"])
        except self._driver.GlideError as error:
            return not isinstance(error, self._driver.TimeoutError)
        return True

    async def _find_primary(self, error: Exception, generation: int) -> None:
        """Look for the primary after a replica has refused a change; raises `error` if there is no other.

        Args:
            generation: that of the client which met the replica.
        """
        if generation == self._nodes.generation:
            with suppress(ServerUnavailableError):
                await self._nodes.look(for_primary=True)
            if generation == self._nodes.generation:
                raise error

    async def _replace(self, secret: str | None) -> None:
        """Change the client; the former one may still bring the answers that it owes."""
        generation = self._nodes.generation
        client = await self._driver.create(
            self._nodes.settings_for(self._role), secret, trust_roles=self.trust_roles, resp2=self._resp2
        )
        if self.closed:
            await client.close()
            return
        closing = asyncio.get_running_loop().create_task(self._close_later(self.client))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self.client, self._generation = client, generation

    async def _close_later(self, client: Any) -> None:
        try:
            await asyncio.sleep(self._settings.request_timeout / 1_000)
        finally:
            await client.close()

    def _refresh_nodes(self) -> None:
        """Ask the cluster for its nodes, beside the calls."""
        if self._refreshing_nodes is None or self._refreshing_nodes.done():
            self._refreshing_nodes = asyncio.get_running_loop().create_task(self._update_nodes())

    async def _update_nodes(self) -> None:
        found: tuple[Address, ...] = ()
        with suppress(self._driver.GlideError):
            self.stats.commands += 1
            found = parse_slots(await self.client.custom_command(["CLUSTER", "SLOTS"]))
        self._nodes.update(found)

    async def _explained(
        self, error: Exception, words: Sequence[str | bytes], key: str | None = None
    ) -> GlideMQError:
        """Translate an error; a timeout of a server that is gone is a lost connection."""
        problem = self._translated(error, words, key)
        if isinstance(problem, TimeoutError) and not await self._nodes.accept():
            address = self._nodes.address
            return ServerUnavailableError(f"the connection to {address} was lost", address=address)
        return problem

    def translated(self, text: str, words: Words, key: str) -> GlideMQError:
        """Return the error that the driver's own of this text would be."""
        return self._translated(self._driver.GlideError(text), words, key)

    def _translated(self, error: Exception, words: Sequence[str | bytes], key: str | None) -> GlideMQError:
        translated: GlideMQError = self._driver.translate(
            error,
            name_of(words),
            address=self._nodes.address,
            timeout_ms=self._settings.request_timeout,
            username=self._settings.username,
            key=key if key is not None else key_of(words),
            cluster=self._settings.cluster,
        )
        asks = isinstance(translated, AuthenticationError) and callable(self._settings.password)
        moved = len(self._nodes.given) > 1 and self._driver.is_replica(error)
        if asks or moved or isinstance(translated, (TimeoutError, ServerUnavailableError)):
            self._nodes.doubtful = True
            self._unanswered = self._unanswered or isinstance(translated, TimeoutError)
        return translated

    def _in_place(self, answer: Any, words: Sequence[str | bytes], key: str | None = None) -> Any:
        return self._translated(answer, words, key) if isinstance(answer, self._driver.GlideError) else answer

    def _is_disconnect(self, answer: Any) -> bool:
        return isinstance(answer, self._driver.GlideError) and self._driver.is_disconnect(answer)

    def _is_missing(self, answer: Any) -> bool:
        return isinstance(answer, self._driver.GlideError) and self._driver.is_missing_function(answer)


def _ignore_error(task: asyncio.Task[None]) -> None:
    """Mark the error of a task as seen: those who waited for it are gone."""
    if not task.cancelled():
        task.exception()
