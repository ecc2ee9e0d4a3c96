"""A throw-away Valkey for tests: on loopback, without password, without a file."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..errors import EmbeddedServerError
from ..server.embedded.folder import HOST, Folder
from ..server.embedded.process import find_binary

#: How long the server may take to listen, s.
_START_S = 10.0


@contextmanager
def memory_server(folder: Path) -> Iterator[str]:
    """Run a server and give its URL.

    Args:
        folder: where it runs; it writes nothing there.

    Raises:
        EmbeddedServerError: there is no server program for this platform, or it does not start.
    """
    port = _free_port()
    words = [
        str(find_binary(Folder(folder))),
        "--port",
        str(port),
        "--bind",
        HOST,
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_listening(process, port, folder)
        yield f"valkey://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _await_listening(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise EmbeddedServerError(
        f"the test server does not listen on port {port}", data_dir=str(folder), log_path=None
    )
