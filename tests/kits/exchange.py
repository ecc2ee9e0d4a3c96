"""The words of the server function `exchange`, for tests that call it without a worker around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq_core.worker.exchange_call import Claim, ExchangeReply, exchange_header


def exchange(now: int | str, consumer: str, want: int, flags: str, *limits: int) -> tuple[str, str]:
    """Name and first argument of the call; `limits` are limiter max and ms, token cap and window ms."""
    return "exchange", exchange_header(now, consumer, want, flags, *(limits or (0, 0, 0, 0)))


def asked(args: Sequence[Any]) -> list[str]:
    """Words of the first argument: now, consumer, want, flags and the limits; `args` begin with the queue's prefix."""
    return str(args[1]).split("\x1f")


def sent(args: Sequence[Any]) -> list[list[str]]:
    """Heads that a call carries, each as its words; `args` begin with the queue's prefix."""
    return [head.split("\x1f") for head in args[2].split("\x1e")[:-1]] if len(args) > 2 else []


def ends(*words: str) -> list[str]:
    """Heads and values in turns, as arguments of the call.

    A head is `id entry processedOn outcome attempts backoff retention fallbacks tokens ledger`, parted by 0x1f. What is
    made of it says that the claim saw an ordering key or a scheduler, so everything is looked at.
    """
    heads = []
    for head, value in zip(words[::2], words[1::2], strict=True):
        job_id, entry, started, *rest = head.split("\x1f")
        more = "\x1f".join((*rest, "s")) if rest else ""
        heads.append(f"{job_id}\x1f{entry}\x1f{started}\x1f{len(value.encode())}\x1f{more}\x1e")
    return ["".join(heads), "".join(words[1::2])] if heads else []


def end(run: Sequence[str], *words: str, value: str = "null") -> list[str]:
    """One run's end, as arguments of the call; without words a success of which there is nothing more to say."""
    return ends("\x1f".join((*run, *words)), value)


def answers(reply: Any, count: int = 1) -> list[str]:
    """What became of each result."""
    return [answer.decode() for answer in ExchangeReply.of(reply, count, 0).answers]


def claims(reply: Any, answered: int = 0) -> list[Claim]:
    """The claimed jobs."""
    found = ExchangeReply.of(reply, answered or len(reply[0]), 0)
    assert not found.unread
    return found.claims
