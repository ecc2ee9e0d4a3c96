"""How workers are: for `--health`, and for the parent of several processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .http import Answer, listen

if TYPE_CHECKING:
    from glidemq_core import Worker
    from glidemq_core.server.connection import Connection

#: Names the file descriptor through which a parent asks a child how it is.
PARENT_FD = "GLIDEMQ_WORKER_PARENT_FD"
#: How long the server may take to answer before workers do not count as ready, s.
_PING_S = 2.0
#: How long an answer of the server is believed, s.
_BELIEVED_S = 1.0

#: From best to worst: that of several processes is the worst of theirs.
STATUSES = ("ready", "draining", "starting", "no_server", "stopped", "silent")
#: A process in one of these is to be replaced.
_DEAD = ("stopped", "silent")

Report = dict[str, Any]
Reporter = Callable[[], Awaitable[Report]]


class WorkerHealth:
    """How the workers of this process are."""

    def __init__(self) -> None:
        #: The workers, once they are known.
        self.workers: Sequence[Worker[Any, Any]] = ()
        self._seen: dict[Connection, tuple[float, bool]] = {}

    async def report(self) -> Report:
        """Return one word, and the workers one by one."""
        return {
            "status": await self._status(),
            "workers": [
                {
                    "queue": worker.name,
                    "id": worker.id,
                    "active_jobs": worker.active_jobs,
                    "paused": worker.is_paused,
                }
                for worker in self.workers
            ],
        }

    async def _status(self) -> str:
        workers = self.workers
        if workers and not any(worker.has_started for worker in workers):
            return "stopped" if any(worker.is_closing for worker in workers) else "starting"
        if any(worker.is_closing for worker in workers):
            return "draining"
        if not workers or not all(worker.has_started for worker in workers):
            return "starting"
        connections = {worker.connection for worker in workers if worker.connection is not None}
        answers = await asyncio.gather(*(self._answers(connection) for connection in connections))
        return "ready" if all(answers) else "no_server"

    async def _answers(self, connection: Connection) -> bool:
        """Whether the server answered just now; asked again at most once a second."""
        loop = asyncio.get_running_loop()
        at, good = self._seen.get(connection, (0.0, False))
        if loop.time() - at > _BELIEVED_S:
            good = await _ping(connection)
            self._seen[connection] = (loop.time(), good)
        return good


async def _ping(connection: Connection) -> bool:
    from glidemq_core.errors import GlideMQError

    try:
        async with asyncio.timeout(_PING_S):
            await connection.ping()
    except (GlideMQError, TimeoutError):
        return False
    return True


async def listen_for_probes(report: Reporter, port: int) -> asyncio.Server:
    """Answer `/live` and `/ready` on loopback.

    Raises:
        Refusal: the port cannot be listened on.
    """

    async def respond(path: str) -> Answer | None:
        if path not in ("/live", "/ready"):
            return None
        state = await report()
        good = state["status"] not in _DEAD if path == "/live" else state["status"] == "ready"
        return Answer.of_json(state, HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)

    return await listen(respond, "127.0.0.1", port, "--health PORT")


def inherited_parent() -> socket.socket | None:
    """Return the line to the parent, if a parent of ours started this process; programs started from here get none."""
    number = os.environ.pop(PARENT_FD, None)
    if number is None or not number.isdecimal():
        return None
    try:
        line = socket.socket(fileno=int(number))
    except OSError:
        return None
    line.set_inheritable(False)
    return line


async def answer_parent(line: socket.socket, report: Reporter) -> None:
    """Answer each line of the parent with a report; when the parent is gone, end this process in order."""
    reader, writer = await asyncio.open_connection(sock=line)
    try:
        while question := await reader.readline():
            writer.write(json.dumps([int(question), await report()]).encode() + b"\n")
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
    os.kill(os.getpid(), signal.SIGTERM)
