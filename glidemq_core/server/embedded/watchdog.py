"""Stops an embedded server that nobody uses any more: run as a module with FOLDER and LINGER_MS.

One runs beside each server, on its own, because any other process may be killed at any time. Who uses the
server holds a lock or a connection; both end with their process, however it ends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path

from ...errors import EmbeddedServerError
from ..resp import ReplyError
from .folder import FIRST_LOCK, Folder, State, ask_server
from .process import FAULTS, ask_to_stop, shut_down


async def watch(folder: Folder, linger_ms: int, state: State) -> None:
    """Return when the server is gone or to be kept; stop it when it was not used for `linger_ms`."""
    used = time.monotonic()
    while not (state := folder.state() or state).keep:
        if not folder.exists():
            # Someone deleted the folder under its server: what is left to do is not to leave that behind.
            if not await has_clients(state):
                return await ask_to_stop(state)
        elif not folder.is_locked("server"):
            return None
        elif folder.is_locked("users", even_shared=True) or await has_clients(state):
            used = time.monotonic()
        elif time.monotonic() - used >= linger_ms / 1_000 and await _stop_unused(folder, state):
            return None
        await asyncio.sleep(min(linger_ms / 10_000, 5))
    return None


async def has_clients(state: State) -> bool:
    """Tell whether anyone but us is connected to a server."""
    try:
        return len((await ask_server(state, "CLIENT", "LIST", seconds=5)).splitlines()) > 1
    except (ReplyError, *FAULTS):
        return False


async def _stop_unused(folder: Folder, state: State) -> bool:
    with suppress(EmbeddedServerError):
        async with folder.locked(FIRST_LOCK, seconds=1):
            # Nobody can begin to use it while we hold the lock: look once more, then act.
            if not folder.is_locked("users", even_shared=True) and not await has_clients(state):
                return await shut_down(folder)
    return False


def main() -> None:
    """Watch the folder of the command line, unless another watchdog does."""
    folder = Folder(Path(sys.argv[1]))
    with suppress(EmbeddedServerError):
        asyncio.run(_watch_alone(folder, int(sys.argv[2])))


async def _watch_alone(folder: Folder, linger_ms: int) -> None:
    # Read before anyone can see that we watch: the folder may be deleted from then on.
    state = folder.state()
    if state is not None:
        async with folder.locked("watchdog", seconds=1):
            await watch(folder, linger_ms, state)


if __name__ == "__main__":
    main()
