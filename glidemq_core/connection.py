"""URL -> client, and the one place where calls are made, repeated and their errors translated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import glide

from . import functions
from .keys import DEFAULT_PREFIX

Arg = str | bytes | int | float


def system_clock() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Connection:
    """One client of a server or cluster; shared by queues, workers and watchers."""

    def __init__(self, client: Any, *, prefix: str = DEFAULT_PREFIX, url: str = "", clock: Callable[[], int] = system_clock) -> None:
        self.client = client
        self.prefix = prefix
        self.url = url
        self.now_ms = clock
        self.read_only = False

    async def call(self, function: str, key: str, *args: Arg) -> Any:
        """Call one of our writing functions on the queue whose prefix is `key`; load the library if it is gone."""
        return await self._fcall("FCALL", function, key, args)

    async def read(self, function: str, key: str, *args: Arg) -> Any:
        """Call one of our `no-writes` functions."""
        return await self._fcall("FCALL_RO", function, key, args)

    async def _fcall(self, command: str, function: str, key: str, args: Sequence[Arg]) -> Any:
        words = [command, functions.name(function), "1", key, *(a if isinstance(a, (str, bytes)) else str(a) for a in args)]
        try:
            return await self.client.custom_command(words)
        except glide.RequestError as error:
            if "function not found" not in str(error).lower():
                raise
        await self.client.custom_command(["FUNCTION", "LOAD", "REPLACE", functions.source()])
        return await self.client.custom_command(words)

    async def command(self, *args: Arg) -> Any:
        """Run one plain command that reads."""
        return await self.client.custom_command([a if isinstance(a, (str, bytes)) else str(a) for a in args])

    async def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Run plain reading commands in one round trip; an error stands in its place in the answer."""
        batch = glide.Batch(is_atomic=False)
        for command in commands:
            batch.custom_command([a if isinstance(a, (str, bytes)) else str(a) for a in command])
        return list(await self.client.exec(batch, raise_on_error=False) or [])

    async def dedicated(self) -> Connection:
        """Open another client with the same settings, for blocking reads."""
        client = await glide.GlideClient.create(self.client.config)
        return Connection(client, prefix=self.prefix, url=self.url, clock=self.now_ms)

    async def close(self) -> None:
        await self.client.close()


async def connect(url: str, *, prefix: str | None = None) -> Connection:
    parts = urlsplit(url)
    config = glide.GlideClientConfiguration(
        [glide.NodeAddress(parts.hostname or "localhost", parts.port or 6379)],
        credentials=glide.ServerCredentials(password=parts.password, username=parts.username) if parts.password else None,
        request_timeout=5000,
    )
    client = await glide.GlideClient.create(config)
    return Connection(client, prefix=prefix or DEFAULT_PREFIX, url=url)
