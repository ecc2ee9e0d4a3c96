"""How the subscriptions of a broadcast stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..server.context import QueueContext
from ..wire.replies import as_texts


@dataclass(frozen=True, slots=True)
class SubscriptionCounts:
    """How one subscription stands."""

    name: str
    #: Messages that were handed to a worker and have not ended.
    pending: int
    #: Messages that no worker has read yet.
    waiting: int
    #: Messages whose next attempt waits for its time.
    delayed: int

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.pending or self.waiting or self.delayed)


async def read_counts(context: QueueContext) -> list[SubscriptionCounts]:
    """Return how every subscription stands, by name."""
    return parse_counts(await context.read("broadcast_counts"))


def parse_counts(reply: Any) -> list[SubscriptionCounts]:
    """Read a reply of `broadcast_counts`, by name of the subscription."""
    words = as_texts(reply)
    rows = zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True)
    return [
        SubscriptionCounts(name, int(pending), int(waiting), int(delayed))
        for name, pending, waiting, delayed in sorted(rows)
    ]
