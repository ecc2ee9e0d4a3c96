"""Connections over TLS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glidemq_core import errors
from glidemq_core.server import functions
from glidemq_core.server.connect import connect

# --- TLS


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test authority", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    openssl(
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
        "-subj",
        "/CN=localhost",
    )
    (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "san", "-out", "server.pem")  # fmt: skip
    return folder


@pytest.fixture
def tls_port(server_port: int, certificates: Path) -> Iterator[int]:
    """TLS in front of the test server, on a thread of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server_port)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = loop.run_until_complete(asyncio.start_server(forward, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


async def test_tls_with_our_own_authority(tls_port: int, certificates: Path) -> None:
    async with connect(f"valkeys://localhost:{tls_port}?ca={certificates / 'ca.pem'}") as opened:
        assert await opened.read("version", "glide:{q}") == functions.build().encode()


async def test_tls_with_an_unknown_authority(tls_port: int) -> None:
    with pytest.raises(errors.ServerUnavailableError, match="not trusted"):
        await connect(f"valkeys://localhost:{tls_port}")


async def test_tls_against_a_plain_port(server_port: int) -> None:
    with pytest.raises(errors.ServerUnavailableError, match="does not speak TLS") as caught:
        await connect(f"valkeys://127.0.0.1:{server_port}")

    assert "valkey://" in (caught.value.hint or "")


async def test_plain_text_against_a_tls_port(tls_port: int) -> None:
    with pytest.raises(errors.ServerUnavailableError) as caught:
        await connect(f"valkey://localhost:{tls_port}")

    assert "valkeys://" in (caught.value.hint or "")
