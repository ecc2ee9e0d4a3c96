"""`glidemq metrics`: once on standard output, and for scrapers."""

from __future__ import annotations

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import serving
from prometheus_client.parser import text_string_to_metric_families

from glidemq_console.cli.commands.queues.metrics import listening_address
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, fill, spawn, within, work

Run = Callable[..., Ran]


def scraped(text: str) -> dict[str, float]:
    """Read samples by their name and the values of their labels."""
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def get(port: int, path: str = "/metrics") -> tuple[int, str, str]:
    """Scrape: status, kind and text."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


@contextmanager
def exporting(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `metrics --listen` on a free port; gives the process and the port."""
    child = spawn("metrics", "--listen", "0", *words)
    assert child.stderr is not None
    try:
        line = child.stderr.readline().decode()
        found = re.fullmatch(r"figures at http://127\.0\.0\.1:(\d+)/metrics\n", line)
        assert found is not None, line + child.stderr.read().decode()
        yield child, int(found[1])
    finally:
        child.kill()
        child.wait(10)
        child.stderr.close()
        assert child.stdout is not None
        child.stdout.close()


def test_once_prints_gauges_of_all_queues(run: Run, server: str) -> None:
    within(server, fill)

    ran = run("metrics")

    assert (ran.code, ran.err) == (0, "")
    samples = scraped(ran.out)
    states = {"completed": 1, "failed": 1, "suspended": 1, "delayed": 1, "waiting": 1}
    assert {state: samples[f"glidemq_jobs chat {state}"] for state in states} == states
    assert samples["glidemq_up"] == 1
    assert "glidemq_last_minute_jobs_completed chat" in samples
    assert not any("_total" in name for name in samples)
    assert scraped(run("metrics", "chat", "--once").out).keys() == samples.keys()


def test_no_queue_is_no_error(run: Run, server: str) -> None:
    ran = run("metrics", "--once")
    assert ran.code == 0
    assert scraped(ran.out) == {"glidemq_up": 1}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--json", 2, "--json has no meaning here"),
        ("--once --listen 9464", 2, "contradict each other"),
        ("nowhere", 1, "queue 'nowhere' not found"),
        ("nowhere --listen 0", 1, "queue 'nowhere' not found"),
        ("--listen 127.0.0.1", 2, "no address to listen on"),
        ("--listen 70000", 2, "no address to listen on"),
        ("--listen ::1:9464", 2, "no address to listen on"),
        ("--listen 203.0.113.7:9464", 1, "cannot be used"),
        ("--listen 9464 --url valkey://127.0.0.1:1", 3, "nothing listens"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    run: Run, server: str, words: str, code: int, said: str
) -> None:
    ran = run("metrics", *words.split())
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1 or code == 2


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("[::1]:80", ("::1", 80)),
        ("metrics.internal:1", ("metrics.internal", 1)),
    ],
)
def test_addresses_to_listen_on(text: str, address: tuple[str, int]) -> None:
    found = listening_address(text)
    assert (found.host, found.port) == address


def test_scrapers_get_counters_that_begin_at_zero(run: Run, server: str) -> None:
    async def more(connection: Connection) -> None:
        await work(connection, "chat", again={"name": "ok"})
        await Queue("late", connection).add("n")

    within(server, fill)
    with exporting() as (child, port):
        status, kind, first = get(port)
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert scraped(first)["glidemq_jobs_completed_total chat"] == 0
        within(server, more)
        time.sleep(1)  # an answer is given again for a second
        samples = scraped(get(port)[2])
        assert samples["glidemq_jobs_completed_total chat"] == 1
        assert samples["glidemq_tokens_total chat"] == 12
        assert samples["glidemq_cost_total chat usd"] == 0.25
        assert samples["glidemq_jobs late waiting"] == 1  # found meanwhile
        assert not any("last_minute" in name for name in samples)
        assert get(port, "/")[0] == 404
        assert f"glidemq-metrics-{child.pid}" in within(server, _clients)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0


async def _clients(connection: Connection) -> str:
    return str((await connection.command("CLIENT", "LIST")).decode())


def test_a_port_that_is_taken_is_told(run: Run, server: str) -> None:
    with exporting() as (_, port):
        ran = run("metrics", "--listen", str(port))
    assert ran.code == 1
    assert (
        ran.err.strip() == f"glidemq: port {port} of 127.0.0.1 is taken; --listen [HOST:]PORT chooses another"
    )


def test_a_server_that_goes_away_is_told_to_scrapers(tmp_path: Path, environment: None) -> None:
    with serving(tmp_path) as port:
        url = f"valkey://127.0.0.1:{port}"
        within(url, fill)
        with exporting("--url", url) as (child, at):
            assert get(at)[0] == 200
            within(url, _end)
            time.sleep(1)
            status, kind, text = get(at)
            assert (status, scraped(text)) == (503, {"glidemq_up": 0})
            assert kind.startswith("text/plain")
            get(at)
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0
            assert child.stderr is not None
            [line] = child.stderr.read().decode().splitlines()
            assert line.startswith("cannot read the queues: ")


async def _end(connection: Connection) -> None:
    from contextlib import suppress

    from glidemq_core.errors import GlideMQError

    with suppress(GlideMQError):
        await connection.command("SHUTDOWN", "NOSAVE")
