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
        from .reading.reader import Source
        from .watch.limits import read_limits, scan_token_window

        scope = await self.scope()
        source = Source(scope.connection, scope.keys.prefix, _CALLS_PER_S)
        [limits] = await read_limits(source, [scope.queue], {})
        if limits.tpm.used is None and (window := await scan_token_window(source, scope.queue)):
            [limits] = await read_limits(source, [scope.queue], {scope.queue: window})
        return limits
