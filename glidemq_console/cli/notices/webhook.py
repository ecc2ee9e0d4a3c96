"""A review posted as JSON to a URL."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import ssl
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import quote, urlsplit

from ..errors import UsageProblem
from .delivery import Notice

#: How long one attempt may take, s.
_PATIENCE_S = 10.0
#: Pauses between attempts, s.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
#: The longest pause that an answer may ask for, s.
_LONGEST_PAUSE = 60.0
#: Bytes of the head of an answer that are read.
_HEAD = 16_384
#: Environment variable that holds the secret of the signature.
SECRET = "GLIDEMQ_WEBHOOK_SECRET"


class _Failed(Exception):
    """An attempt that failed; `pause` is what the receiver asks for, `final`: another attempt would fail too."""

    def __init__(self, reason: str, *, final: bool = False, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.final = final
        self.pause = pause


class Webhook:
    """Posts each notice, again after failures that may pass.

    Headers: `X-Glidemq-Event: approval`, `X-Glidemq-Delivery` (the same for every attempt), and with a secret
    `X-Glidemq-Timestamp` (s) and `X-Glidemq-Signature`: `sha256=` and HMAC-SHA256 of "<timestamp>.<body>" in hex.

    Args:
        url: `https:`, or `http:` to loopback. It may hold a secret, so messages name its host only.
        secret: of the signature.
    Raises:
        UsageProblem: another kind of URL.
    """

    def __init__(
        self,
        url: str,
        secret: str | None = None,
        *,
        pauses: tuple[float, ...] = _PAUSES,
        patience_s: float = _PATIENCE_S,
        tls: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._host, self._port, secure, self._target = _parts(url)
        self._tls = (tls or ssl.create_default_context()) if secure else None
        self._secret = secret
        self._pauses = pauses
        self._patience_s = patience_s
        self._sleep = sleep
        usual = 443 if secure else 80
        bare = f"[{self._host}]" if ":" in self._host else self._host
        self._authority = bare if self._port == usual else f"{bare}:{self._port}"

    async def deliver(self, notice: Notice) -> str | None:
        """Post it; returns why it was given up."""
        for attempts, pause in enumerate((*self._pauses, None), 1):
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._post(notice)
                return None
            except TimeoutError:
                failure = _Failed(f"no answer within {self._patience_s:g} s")
            except ssl.SSLError as error:
                failure = _Failed(f"no TLS: {error.reason or error}", final=True)
            except OSError as error:
                failure = _Failed(f"cannot be reached: {error.strerror or error}")
            except _Failed as error:
                failure = error
            if pause is None or failure.final:
                times = f" after {attempts} attempts" if attempts > 1 else ""
                return f"webhook {self._authority}: {failure}{times}"
            await self._sleep(max(pause, min(failure.pause, _LONGEST_PAUSE)))
        raise AssertionError("the last attempt returns")

    async def _post(self, notice: Notice) -> None:
        reader, writer = await asyncio.open_connection(
            self._host,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
            limit=_HEAD,
        )
        try:
            writer.write(self._request(notice))
            await writer.drain()
            status, headers = await _answer(reader)
        finally:
            writer.close()
        if status in range(200, 300):
            return
        if status in range(300, 400):
            raise _Failed(f"answers with a redirect ({status}), which is not followed", final=True)
        again = status in (408, 425, 429) or status >= 500
        wait = headers.get("retry-after", "")
        pause = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 0.0
        raise _Failed(f"answers {status}", final=not again, pause=pause)

    def _request(self, notice: Notice) -> bytes:
        headers = {
            "Host": self._authority,
            "Content-Type": "application/json",
            "Content-Length": str(len(notice.body)),
            "User-Agent": f"glidemq/{_version()}",
            "Connection": "close",
            "X-Glidemq-Event": "approval",
            # A queue's name may hold anything, a header may not.
            "X-Glidemq-Delivery": hashlib.sha256(notice.key.encode("utf-8", "replace")).hexdigest()[:32],
        }
        if self._secret:
            stamp = str(int(time.time()))
            signed = hmac.new(self._secret.encode(), stamp.encode() + b"." + notice.body, hashlib.sha256)
            headers["X-Glidemq-Timestamp"] = stamp
            headers["X-Glidemq-Signature"] = f"sha256={signed.hexdigest()}"
        lines = [f"POST {self._target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + notice.body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read status and headers of the answer; what follows is of no interest."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise _Failed("does not answer in HTTP") from None
        first, *rest = head.decode("latin-1").split("\r\n")
        words = first.split(None, 2)
        if (
            len(words) < 2
            or not words[0].startswith("HTTP/")
            or not (words[1].isdigit() and len(words[1]) == 3)
        ):
            raise _Failed("does not answer in HTTP")
        status = int(words[1])
        if status >= 200:  # what comes before is not the answer yet
            pairs = (line.partition(":") for line in rest if ":" in line)
            return status, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _parts(url: str) -> tuple[str, int, bool, str]:
    """Return host, port, whether it is TLS, and the target of the request."""
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        raise UsageProblem("--webhook is no URL: write https://HOST/PATH") from None
    if (
        split.scheme not in ("http", "https")
        or not host
        or any(c.isspace() or not c.isprintable() for c in url)
    ):
        raise UsageProblem("--webhook is no URL: write https://HOST/PATH")
    if split.username is not None or split.password is not None:
        raise UsageProblem(
            f"--webhook takes no user and password: set {SECRET}, or put a token into the path"
        )
    secure = split.scheme == "https"
    if not secure and not _is_loopback(host):
        raise UsageProblem(f"--webhook to {host} needs https: payloads would travel in plain text")
    try:
        ascii_host = host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise UsageProblem("--webhook names no host") from None
    target = quote(split.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if split.query:
        target += "?" + quote(split.query, safe="/?%:@!$&'()*+,;=~-._")
    return ascii_host, port or (443 if secure else 80), secure, target


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _version() -> str:
    try:
        return version("glidemq")
    except PackageNotFoundError:
        return "unknown"
