"""The data folder of an embedded server: its files, and the locks that say who lives.

A lock is an `flock`: the kernel drops it when its holder dies, however it dies, so nothing is ever stale.

    start.lock     held while someone starts or stops the server
    server.lock    held by the server process itself for as long as it lives
    users.lock     held, shared, by every process that uses the server
    watchdog.lock  held by the watchdog
    server.json    port, password and keep mark; readable by its owner only
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from ...errors import EmbeddedServerError
from ...options.fields import refuse
from ..resp import RespConnection

HOST = "127.0.0.1"
DEFAULT_NAME = "default"

#: The lock that is taken first; its file marks a folder as ours.
FIRST_LOCK = "start"
LOCKS = (FIRST_LOCK, "server", "users", "watchdog")
_ELSEWHERE = "name another one: GLIDEMQ_DATA=FOLDER for all, embedded:/a/path for this one"


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What `server.json` holds; `keep`: the server stays when nobody uses it."""

    port: int
    password: str = field(repr=False)
    keep: bool = False


class Folder:
    """One data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.log = path / "server.log"
        self.pid = path / "server.pid"
        self._state = path / "server.json"
        self._mark = self._lock_path(FIRST_LOCK)

    def create(self) -> None:
        """Make the folder, for its owner only; one that holds something already keeps the rights it has.

        Raises:
            EmbeddedServerError: it cannot be made, or is not ours alone.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.stat().st_uid == os.geteuid() and not any(self.path.iterdir()):
                self.path.chmod(0o700)
            self.check()
            self.data.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self.error(f"cannot use data folder '{self.path}': {error.strerror}", _ELSEWHERE) from error

    def check(self) -> None:
        """Refuse a folder in which somebody else could plant a password, a process id, a log or data.

        Raises:
            EmbeddedServerError: the folder or a file of ours in it is a link or belongs to another user, or others may
                write to it. A folder that is not there passes.
        """
        with suppress(FileNotFoundError):
            self._check_owner(self.path, self.path.stat(), group=True)
        for path in (self._state, self.log, self.pid, self.data, *map(self._lock_path, LOCKS)):
            with suppress(FileNotFoundError):
                found = path.lstat()
                if stat.S_ISLNK(found.st_mode):
                    raise self.error(
                        f"'{path}' is a link: it may lead anywhere", f"remove it, or {_ELSEWHERE}"
                    )
                self._check_owner(path, found, group=path == self.data)

    def _check_owner(self, path: Path, found: os.stat_result, *, group: bool) -> None:
        if found.st_uid != os.geteuid():
            raise self.error(f"'{path}' belongs to another user", _ELSEWHERE)
        if found.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if group else 0)):
            mode = stat.S_IMODE(found.st_mode)
            raise self.error(
                f"others may write to '{path}' (mode {mode:o})", f"chmod go-w {path}, or {_ELSEWHERE}"
            )

    def is_ours(self) -> bool:
        """Tell whether a server was ever started here, without leaving a trace.

        Raises:
            EmbeddedServerError: others may write to the folder.
        """
        self.check()
        return self._mark.exists() or self.exists()

    def _lock_path(self, name: str) -> Path:
        return self.path / f"{name}.lock"

    def exists(self) -> bool:
        return self._state.is_file()

    def lock(self, name: str, *, shared: bool = False) -> int | None:
        """Take a lock and return its descriptor, or None when someone else holds it."""
        try:
            descriptor = os.open(
                self._lock_path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            raise self.error(f"cannot use data folder '{self.path}': {error.strerror}", _ELSEWHERE) from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_locked(self, name: str, *, even_shared: bool = False) -> bool:
        """Tell whether someone holds a lock alone, or `even_shared`; those who ask do not collide."""
        descriptor = self.lock(name, shared=not even_shared)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    @asynccontextmanager
    async def locked(self, name: str, *, shared: bool = False, seconds: float = 30) -> AsyncIterator[int]:
        """Hold a lock, waiting for it up to `seconds`."""
        descriptor = await self.acquire(name, shared=shared, seconds=seconds)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    async def acquire(self, name: str, *, shared: bool = False, seconds: float = 30) -> int:
        """Take a lock, waiting for it up to `seconds`; closing the descriptor gives it back."""
        deadline = time.monotonic() + seconds
        while (descriptor := self.lock(name, shared=shared)) is None:
            if time.monotonic() > deadline:
                raise self.error(
                    f"another process has been holding '{self.path}/{name}.lock' for {seconds:.0f} s"
                )
            await asyncio.sleep(0.02)
        return descriptor

    def state(self) -> State | None:
        """Read `server.json`; None when it is absent or damaged."""
        try:
            found = json.loads(self._state.read_text("utf-8"))
            state = State(port=int(found["port"]), password=str(found["password"]), keep=bool(found["keep"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state if re.fullmatch(r"[\w-]{16,}", state.password) and 1 <= state.port <= 65_535 else None

    def write(self, state: State) -> None:
        """Replace `server.json` as a whole."""
        fresh = self.path / f".server.{os.getpid()}.json"
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
        fresh.replace(self._state)

    def open_log(self) -> BinaryIO:
        """Open the log to append to; only its owner may read it. Never through a link."""

        def private(name: str, flags: int) -> int:
            return os.open(name, flags | os.O_NOFOLLOW, 0o600)

        return open(self.log, "ab", opener=private)

    def log_text(self) -> str:
        """Read the log; "" when there is none."""
        with suppress(OSError):
            return self.log.read_text("utf-8", "replace")
        return ""

    def keep(self, keep: bool) -> None:
        """Set or clear the keep mark."""
        state = self.state()
        if state is not None and state.keep != keep:
            self.write(replace(state, keep=keep))

    def fresh_state(self, port: int, keep: bool) -> State:
        """State for a new start; the password stays, so that open clients find the server again."""
        before = self.state()
        return State(port=port, password=before.password if before else secrets.token_urlsafe(32), keep=keep)

    def error(self, message: str, hint: str | None = None) -> EmbeddedServerError:
        return EmbeddedServerError(
            message, hint=hint, data_dir=str(self.path), log_path=str(self.log) if self.log.exists() else None
        )


async def ask_server(state: State, *words: str, seconds: float = 2) -> str:
    """Sign in to the server of a folder, send one command, and return its reply as text.

    Raises:
        ReplyError, NotValkeyError, OSError, EOFError, TimeoutError: it refuses, or no server answers in time.
    """
    async with asyncio.timeout(2) as limit:
        wire = await RespConnection.open(HOST, state.port)
        try:
            await wire.ask("AUTH", state.password)
            limit.reschedule(asyncio.get_running_loop().time() + seconds)
            return str(await wire.ask(*words))
        finally:
            await wire.close()


def resolve(path: str | os.PathLike[str] | None) -> Path:
    """Return the data folder: a path, a name beside the default, or None for the default.

    Text without a slash is a name; a `Path` is always a path.

    Raises:
        InvalidOptionError: neither a path nor a usable name.
    """
    text = "" if path is None else os.fspath(path)
    if isinstance(path, Path) or "/" in text or text.startswith(("~", ".")):
        return Path(os.path.abspath(Path(text).expanduser()))
    if text and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text):
        allowed = "a name of letters, digits, . _ -, or a path"
        refuse("path", text, allowed, f"embedded server '{text}' is not allowed; allowed: {allowed}")
    return _base() / (text or DEFAULT_NAME)


def _base() -> Path:
    chosen = os.environ.get("GLIDEMQ_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    # As XDG and Apple have it; platformdirs, for this one path, would be a fifteenth of what the engine installs.
    home = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(home):
        home = "~/Library/Application Support" if sys.platform == "darwin" else "~/.local/share"
    return Path(home).expanduser() / "glidemq"
