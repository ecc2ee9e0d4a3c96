"""Ports for servers under test: each process that runs tests draws from a block of its own."""

from __future__ import annotations

import socket
from functools import cache
from itertools import cycle

#: Below the ports that systems give to outgoing connections, and below those of embedded servers.
_BLOCKS = range(10_000, 20_000, 100)
_SIZE = 100
_guards: list[socket.socket] = []


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that no other process that runs tests is given."""
    for _ in range(_SIZE):
        port = next(_ports())
        with socket.socket() as probe:
            # The connections of a server that just ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port of the block is taken")


@cache
def _ports() -> cycle[int]:
    """The ports of a block, for ever. Who holds its first port holds the block, as long as the process lives."""
    for first in _BLOCKS:
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", first))
        except OSError:
            guard.close()
            continue
        _guards.append(guard)
        return cycle(range(first + 1, first + _SIZE))
    raise AssertionError("no block of ports is left")
