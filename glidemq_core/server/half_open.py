"""Tell a connection that leads nowhere any more from a server that is slow.

A connection whose other end went without a word (a firewall that forgot it, a machine that lost its power) looks open:
the driver would wait for its replies ever after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from ..errors import GlideMQError
from .probe import probe
from .url import Address, Settings

#: How long a new connection may take to be answered, and how much longer the client's own, s.
_ANSWER_S = 2.0


async def leads_nowhere(
    settings: Settings, secret: str | None, hears: Callable[[Address], Awaitable[bool]]
) -> bool:
    """Tell whether some node answers a new connection, and not the client's own.

    Args:
        hears: asks a node over the client's own connection; False when no answer came in time.
    """
    addresses = settings.addresses if settings.cluster else settings.addresses[:1]
    return any(await asyncio.gather(*(_is_deaf_to(settings, secret, node, hears) for node in addresses)))


async def _is_deaf_to(
    settings: Settings, secret: str | None, node: Address, hears: Callable[[Address], Awaitable[bool]]
) -> bool:
    own = asyncio.ensure_future(hears(node))
    anew = asyncio.ensure_future(_answers(settings, secret, node))
    try:
        await asyncio.wait({own, anew}, timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        if own.done() and own.result():
            return False
        await asyncio.wait({anew}, timeout=_ANSWER_S)
        if not (anew.done() and anew.result()):
            return False
        await asyncio.wait({own}, timeout=_ANSWER_S)
        return not (own.done() and own.result())
    finally:
        for task in (own, anew):
            task.cancel()
        await asyncio.gather(own, anew, return_exceptions=True)


async def _answers(settings: Settings, secret: str | None, node: Address) -> bool:
    with suppress(GlideMQError):
        await probe(replace(settings, addresses=(node,)), secret)
        return True
    return False
