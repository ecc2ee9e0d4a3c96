"""Tell a half-open connection from a server that is slow.

A connection whose other end is gone without closing it (a firewall that forgot it, a machine that lost its power) looks
open: the driver would wait for its replies for ever.
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


async def is_half_open(
    settings: Settings, secret: str | None, is_answered_by: Callable[[Address], Awaitable[bool]]
) -> bool:
    """Tell whether some node answers a new connection, and not the client's own.

    Args:
        is_answered_by: asks a node over the client's own connection; False when no answer came in time.
    """
    addresses = settings.addresses if settings.cluster else settings.addresses[:1]
    return any(
        await asyncio.gather(
            *(_is_half_open_to(settings, secret, node, is_answered_by) for node in addresses)
        )
    )


async def _is_half_open_to(
    settings: Settings,
    secret: str | None,
    node: Address,
    is_answered_by: Callable[[Address], Awaitable[bool]],
) -> bool:
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


async def _answers(settings: Settings, secret: str | None, node: Address) -> bool:
    with suppress(GlideMQError):
        await probe(replace(settings, addresses=(node,)), secret)
        return True
    return False
