"""Load the library where a call finds it missing, once however many calls miss it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ..commands import fcall_words, other_build_error
from . import build, source


class Library:
    """The library as one client finds it on its server.

    Args:
        send: runs a command on every primary that needs the library.
        driver: tells its errors apart.
    """

    def __init__(self, send: Callable[[list[str | bytes]], Awaitable[Any]], driver: Any) -> None:
        #: How often it was loaded: who finds it missing says how often that had been.
        self.loads = 0
        self._send = send
        self._driver = driver
        self._loading = asyncio.Lock()

    async def load(self, seen: int, address: str) -> None:
        """Load it unless another call did so since `seen`; never replaces one.

        Raises: ServerError if another build bears our name; errors of the driver.
        """
        async with self._loading:
            if self.loads != seen:
                return
            try:
                await self._send(["FUNCTION", "LOAD", source()])
            except self._driver.GlideError as error:
                if not self._driver.is_existing_library(error):
                    raise
                await self._check_build(address)
            self.loads += 1

    async def _check_build(self, address: str) -> None:
        found: Any = None
        try:
            found = await self._send(fcall_words("FCALL_RO", "version", None, ()))
        except self._driver.GlideError as error:
            if not self._driver.is_missing_function(error):
                raise
        answers = found.values() if isinstance(found, dict) else [found]
        for answer in answers:
            if answer != build().encode():
                raise other_build_error(address, answer)
