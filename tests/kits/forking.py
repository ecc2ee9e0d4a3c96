"""A process that has imported the `glidemq` command and forks itself for each start of it: see `forked`.

It has one thread and no loop, so that a fork has all that it needs. Where standard streams, environment and folder
belong to the fork, they are made anew as an interpreter does that starts.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

#: What commands import once they know what to do.
PRELOADED = (
    "glidemq_console.cli.program",
    "glidemq_console.cli.commands",
    "glidemq_console.cli.session",
    "glidemq_console.app",
    "glidemq_core",
    "glidemq_core.worker.worker",
    "glide",
)


def serve(requests: socket.socket) -> list[str]:
    """Fork for each request; returns in the forks only, with the words of the command."""
    while True:
        head, fds, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not head:
            os._exit(0)
        asked = json.loads(head)
        # A fork of a fork that has ended: its parent is then the process of the tests, which asked to inherit it.
        between = os.fork()
        if not between:
            pid = os.fork()
            if not pid:
                requests.close()
                _become(asked, fds)
                return list(asked["words"])
            requests.sendall(str(pid).encode())
            os._exit(0)
        for fd in fds:
            os.close(fd)
        os.waitpid(between, 0)
        requests.sendall(b".")


def _become(asked: dict[str, Any], fds: list[int]) -> None:
    if asked["own_session"]:
        os.setsid()
    # Above the standard ones first: they may be among those that came.
    high = [os.dup(fd) if fd < 3 else fd for fd in fds]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    os.closerange(3, 1024)
    for number in asked["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["folder"])
    sys.path[0] = asked["folder"]
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = open(  # noqa: SIM115  # it lasts as long as the process
            number,
            "w" if number else "r",
            encoding=getattr(sys, name).encoding,
            errors="backslashreplace" if number == 2 else getattr(sys, name).errors,
            closefd=False,
        )
        if number:
            is_line = number == 2 or os.isatty(number)
            stream.reconfigure(line_buffering=is_line, write_through=unbuffered)  # type: ignore[attr-defined]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main() -> None:
    sys.path[0] = str(Path(__file__).parents[2])
    for name in PRELOADED:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "an import has started a thread: forks would lack it"
    words = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = ["glidemq", *words]
    runpy.run_module("glidemq_console", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
