"""A Valkey server of our own, one per data folder, shared by every process that asks for it."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

from ...errors import EmbeddedServerError
from ...options.fields import Duration, positive_ms, refuse
from ...records import Server
from ..resp import ReplyError
from ..url import EMBEDDED, settings
from .folder import FIRST_LOCK, HOST, Folder, State, ask_server, resolve
from .process import FAULTS, SILENT_S, adopt, find_binary, identity, is_free, is_gone, shut_down, spawn

#: Seconds a server may take to load its data before we give up on it.
_LOADING = 120.0
#: Seconds a port may stay taken by a server that is gone otherwise.
_DYING = 2.0
#: Ports for servers: below those that systems give to outgoing connections, or a client that tries to reach a server
#: that is down could hold that server's port itself.
_PORTS = range(20_000, 32_000)


class EmbeddedServer:
    """Start or join the server of a data folder; `async with` starts and gives up the use again.

    The server goes away when nobody has used it for `linger` milliseconds, unless it was started to be kept.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        linger: Duration = 60_000,
    ) -> None:
        if port is not None and (
            isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65_535
        ):
            refuse("port", port, "1 to 65535")
        self.data_dir = resolve(path)
        self._port = port
        self._linger = positive_ms(linger, "linger")
        self._folder = Folder(self.data_dir)
        self._use: int | None = None

    @classmethod
    def of_url(cls, url: str) -> tuple[Self, str]:
        """Return the server of an `embedded:[NAME|PATH]` URL and the URL's parameters, `?` included.

        Raises:
            InvalidOptionError: a name or a parameter is not allowed.
        """
        path, mark, query = url.removeprefix(EMBEDDED).partition("?")
        settings(f"valkey://{HOST}{mark}{query}")
        return cls(path or None), mark + query

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.data_dir}>"

    @property
    def url(self) -> str:
        """URL for clients, with the password: not for screens or logs.

        Raises:
            EmbeddedServerError: the server was never started, or others may write to its folder.
        """
        self._folder.check()
        state = self._folder.state() if self._folder.exists() else None
        if state is None:
            raise self._folder.error(f"no embedded server runs in '{self.data_dir}'", "glidemq server start")
        return f"valkey://:{quote(state.password, safe='')}@{HOST}:{state.port}"

    async def start(self, *, keep: bool = False) -> Server:
        """Start the server, or join the one that runs; it stays at least until `close`.

        Args:
            keep: let it run on when its last user is gone, until `stop`.

        Raises:
            EmbeddedServerError: it cannot be started; `log_path` names its log.
        """
        self._folder.create()
        async with self._folder.locked(FIRST_LOCK, seconds=_LOADING + SILENT_S):
            if self._folder.is_locked("server"):
                await self._join()
            else:
                await self._launch(keep)
            if keep:
                self._folder.keep(True)
            if self._use is None:
                self._use = await self._folder.acquire("users", shared=True)
            if not self._folder.is_locked("watchdog"):
                self._watch()
        return await self.status()

    async def stop(self) -> bool:
        """Stop the server for everybody, its data saved; return False when none was running.

        Raises:
            EmbeddedServerError: it does not go away.
        """
        await self.close()
        if not self._folder.is_ours():
            return False
        async with self._folder.locked(FIRST_LOCK):
            self._folder.keep(False)
            return await shut_down(self._folder)

    async def status(self) -> Server:
        """Say whether the server runs, and where; the URL comes without the password."""
        down = Server(running=False, data_dir=str(self.data_dir))
        if not self._folder.is_ours() or not self._folder.is_locked("server"):
            return down
        state = self._folder.state()
        if state is None:
            return down
        version, pid = await identity(state)
        return replace(
            down, running=True, url=f"valkey://{HOST}:{state.port}", pid=pid, port=state.port, version=version
        )

    async def wait_stopped(self) -> None:
        """Wait until the server is gone, whoever stops it."""
        while not await is_gone(self._folder, 60):
            pass

    async def close(self) -> None:
        """Give up using the server; twice is fine. The last user's leaving stops it after a while."""
        if self._use is not None:
            os.close(self._use)
            self._use = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _join(self) -> None:
        state = self._folder.state()
        if state is None:
            raise self._hung("its server.json is gone")
        if self._port not in (None, state.port):
            raise self._folder.error(
                f"the server in '{self.data_dir}' already runs on port {state.port}",
                "glidemq server stop, then start again",
            )
        await self._answering(state)

    async def _launch(self, keep: bool) -> None:
        binary = find_binary(self._folder)
        before = self._folder.state()
        drawn = [_PORTS[secrets.randbelow(len(_PORTS))] for _ in range(20)]
        wishes = [self._port] if self._port else [*([before.port] if before else []), *drawn]
        for wish in wishes:
            if not await is_free(wish, seconds=0 if wish in drawn else _DYING):
                continue
            state = self._folder.fresh_state(wish, keep)
            self._folder.write(state)
            process = spawn(
                self._folder, binary, state, await self._folder.acquire("server", seconds=SILENT_S)
            )
            try:
                await self._answering(state, process)
            except EmbeddedServerError:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
                if process.poll() is None:
                    process.kill()
                    raise
                if "Address already in use" not in self._folder.log_text()[-2_000:]:
                    raise
            else:
                return
        raise self._folder.error(
            f"port {self._port} is taken" if self._port else "found no free port", "choose another port"
        )

    async def _answering(self, state: State, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until the server answers, data loaded."""
        started = heard = time.monotonic()
        while True:
            try:
                await ask_server(state, "PING")
                return
            except ReplyError as error:
                if error.code != "LOADING":
                    raise self._folder.error(f"the server in '{self.data_dir}' refuses us: {error}") from None
                heard = time.monotonic()
            except FAULTS:
                pass
            if (process is not None and process.poll() is not None) or not self._folder.is_locked("server"):
                last = self._folder.log_text().splitlines()[-1:]
                words = last[0].strip()[-300:] if last else "it left no log"
                raise self._folder.error(f"the server in '{self.data_dir}' ended at once: {words}")
            if time.monotonic() > heard + SILENT_S or time.monotonic() > started + _LOADING:
                raise self._hung("it does not answer")
            await asyncio.sleep(0.02)

    def _watch(self) -> None:
        """Start the watchdog, detached; it ends with the server."""
        path = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        module = ("-P", "-m", f"{__package__}.watchdog")
        with self._folder.open_log() as log:
            watchdog = subprocess.Popen(
                [sys.executable, *module, str(self.data_dir), str(self._linger)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
                start_new_session=True,
            )
        adopt(watchdog)

    def _hung(self, why: str) -> EmbeddedServerError:
        return self._folder.error(
            f"the server in '{self.data_dir}' is not usable: {why}",
            "glidemq server stop ends it; its data stays",
        )
