"""What holds a queue back, asked of the queue itself."""

from __future__ import annotations

from .records.jobs import Limits
from .server.context import QueueBase

_CALLS_PER_S = 1_000


class LimitCalls(QueueBase):
    """Reading the limits of a queue."""

    async def get_limits(self) -> Limits:
        """Read used and allowed starts and tokens, jobs at once, and ordering groups.

        Python workers publish their caps; a cap that nobody published is None.
        """
        from .reading.reader import Reader
        from .watch.limits import read_limits, scan_token_window

        scope = await self.scope()
        reader = Reader(scope.connection, scope.keys.prefix, _CALLS_PER_S)
        [limits] = await read_limits(reader, [scope.queue], {})
        if limits.tpm.used is None and (window := await scan_token_window(reader, scope.queue)):
            [limits] = await read_limits(reader, [scope.queue], {scope.queue: window})
        return limits
