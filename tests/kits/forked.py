"""Start `glidemq` commands as forks of a process that has imported them.

Hundreds of commands start during the tests and each would import the same modules for half a second of CPU. A fork
is a process as any other: its own id, a child of the process of the tests, with the streams, the environment and the
folder that were asked for. What a fork would do in another way than a new interpreter (see `_is_plain`) starts as ever.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_COMMAND = (sys.executable, "-m", "glidemq_console")
#: Variables that are read while Python starts or while modules are imported.
_READ_EARLY = (
    "PYTHON",
    "LC_",
    "LANG",
    "TEXTUAL",
    "TERMINAL_WIDTH",
    "FORCE_COLOR",
    "PY_COLORS",
    "_TYPER",
    "GITHUB",
)
_HARMLESS = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
_PR_SET_CHILD_SUBREAPER = 36
#: Longer command lines might not fit into a packet.
_MOST_CHARACTERS = 20_000
#: What tests look for by the environment that it was started with, and what starts itself anew as it was started: a
#: fork shows its parent's.
_NOT_FORKED = {"demo", "server", "--reload"}
_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class Forker:
    """The process that forks, and the way to ask it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early = _early(_SURROUNDINGS)
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = _Popen(
            [sys.executable, str(Path(__file__).with_name("forking.py")), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env=_SURROUNDINGS,
        )
        theirs.close()
        self._libc = ctypes.CDLL(None, use_errno=True)

    def may_start(self, asked: dict[str, Any]) -> bool:
        """Whether a fork would do just what a new interpreter does."""
        return (
            asked["close_fds"]
            and sum(map(len, asked["args"])) < _MOST_CHARACTERS
            and not {*asked["args"][3:]} & _NOT_FORKED
            and not (asked["shell"] or asked["preexec_fn"] or asked["pass_fds"] or asked["executable"])
            and (asked["umask"], asked.get("process_group", -1)) == (-1, -1)
            and asked["gid"] is asked["gids"] is asked["uid"] is None
            and _early(os.environ if asked["env"] is None else asked["env"]) == self._early
        )

    def start(self, asked: dict[str, Any]) -> int:
        """Start a command; returns the id of its process, which is a child of this one."""
        ours = asked["p2cread"], asked["c2pwrite"], asked["errwrite"]
        request = {
            "words": list(asked["args"][3:]),
            "environ": dict(os.environ if asked["env"] is None else asked["env"]),
            "folder": os.path.abspath(asked["cwd"] or "."),
            "own_session": asked["start_new_session"],
            "ignored": [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_IGN],
        }
        fds = [fd if fd >= 0 else number for number, fd in enumerate(ours)]
        with self._lock:
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._requests, [json.dumps(request).encode()], fds)
                pid = self._requests.recv(32)
                is_child = self._requests.recv(1)
                assert is_child, "the process that forks has ended"
            finally:
                self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        return int(pid)

    def close(self) -> None:
        self._requests.close()
        self._process.wait(10)


def _early(environ: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(_READ_EARLY) and name not in _HARMLESS
    }


#: Of the process that forks: it outlives the test that needs it first, and shall show nothing of that.
_SURROUNDINGS = dict(os.environ)
_Popen = subprocess.Popen
_ASKED = inspect.signature(_Popen._execute_child)  # type: ignore[attr-defined]
_forker: Forker | None = None


class Popen(_Popen):  # type: ignore[type-arg]
    """`subprocess.Popen` that forks what it can."""

    def _execute_child(self, *words: Any) -> None:
        global _forker
        asked = _ASKED.bind(self, *words).arguments
        if isinstance(asked["args"], list | tuple) and tuple(asked["args"][:3]) == _COMMAND:
            _forker = _forker or Forker()
            if _forker.may_start(asked):
                self.pid = _forker.start(asked)
                self._child_created = True
                ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
                self._close_pipe_fds(*(asked[end] for end in ends))  # type: ignore[attr-defined]
                return
        super()._execute_child(*words)  # type: ignore[misc]


@pytest.fixture(scope="session", autouse=True)
def commands_forked() -> Iterator[None]:
    """Fork commands during the tests, where the system lets a process inherit those of another one."""
    global _forker
    if not sys.platform.startswith("linux"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Popen)
        yield
    if _forker is not None:
        _forker.close()
        _forker = None
