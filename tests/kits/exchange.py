"""The words of the server function `exchange`, for tests that call it without a worker around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq_core.worker.exchange_call import Claim, ExchangeReply


def ends(*words: str) -> list[str]:
    """Heads and values in turns, as arguments of the call.

    A head is `id entry processedOn outcome attempts backoff retention fallbacks tokens ledger`, parted by 0x1f. What is
    made of it says that the claim saw an ordering key or a scheduler, so everything is looked at.
    """
    return ["".join(f"{head}\x1fs\x1e" for head in words[::2]), *words[1::2]] if words else []


def end(run: Sequence[str], *words: str, value: str = "null") -> list[str]:
    """One run's end, as arguments of the call."""
    return ends("\x1f".join((*run, *words)), value)


def answers(reply: Any, count: int = 1) -> list[str]:
    """What became of each result."""
    return [answer.decode() for answer in ExchangeReply.of(reply, count, 0).answers]


def claims(reply: Any, answered: int = 0) -> list[Claim]:
    """The claimed jobs."""
    found = ExchangeReply.of(reply, answered or len(reply[0]), 0)
    assert not found.unread
    return found.claims


def plain_end(run: Sequence[str], value: str = "null") -> list[str]:
    """A success of which there is nothing more to say, as workers send it."""
    return ["\x1f".join((*run, "")) + "\x1e", value]
