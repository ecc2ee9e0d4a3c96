"""Following many token streams, of many queues, over a few connections of their own.

A `Tail` follows one stream. It pages through what is stored (XRANGE from its cursor) and then joins a `SharedReader`:
one blocking XREAD for many streams. A tail that does not keep up leaves its reader and pages again from its cursor:
its buffer stays bounded, it misses nothing and delays nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import WeakValueDictionary

from ...server.connection import Connection
from ...server.context import QueueContext
from .shared_reader import SharedReader, read_patiently
from .tail import Tail

#: Readers a hub opens at most (in a cluster: one more for each further queue).
MAX_READERS = 4


class StreamHub:
    """Follows token streams of any number of jobs and queues of one server over few connections."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.readers: set[SharedReader] = set()

    @classmethod
    def of(cls, connection: Connection) -> StreamHub:
        """Return the hub that all followers of a connection share."""
        hub = _hubs.get(id(connection))
        if hub is None:
            hub = _hubs[id(connection)] = cls(connection)
        return hub

    def follow(
        self,
        context: QueueContext,
        job_id: str,
        *,
        start: str = "0",
        follow: bool = True,
        block_ms: int = 5_000,
        min_interval: float = 0.0,
    ) -> Tail:
        """Open a tail: `async for chunk in tail`, or `await tail.read()`; then `close()` it.

        Args:
            start: entry id (exclusive), `"0"` everything, `"$"` only new chunks.
            follow: False ends at the end of what is stored.
            block_ms: ask for the job's state after that many ms without news.
            min_interval: seconds between two reads at least; a caller that draws frames needs no more reads than that.
        """
        return Tail(
            context,
            job_id,
            join=self._join,
            read=partial(read_patiently, context.connection),
            start=start,
            follow=follow,
            block_ms=block_ms,
            min_interval=min_interval,
        )

    def _join(self, tail: Tail) -> Callable[[], None]:
        """Give a tail to a reader, if possible to one that can read for it at once; returns how to leave it."""
        root = tail.context.keys.root if self.connection.is_cluster else None
        fitting = [reader for reader in self.readers if reader.root == root]
        reader = next((reader for reader in fitting if not reader.is_blocked), None)
        if reader is None and (not fitting or len(self.readers) < MAX_READERS):
            reader = SharedReader(
                self.connection,
                root,
                is_crowded=lambda: len(self.readers) >= MAX_READERS,
                ended=self.readers.discard,
            )
            self.readers.add(reader)
        reader = reader or min(fitting, key=lambda each: len(each.tails))
        reader.add(tail)
        return partial(reader.remove, tail)

    async def close(self) -> None:
        """End all tails."""
        for reader in list(self.readers):
            for tail in list(reader.tails):
                await tail.close()


#: By identity of the connection, which its hub keeps alive.
_hubs: WeakValueDictionary[int, StreamHub] = WeakValueDictionary()
