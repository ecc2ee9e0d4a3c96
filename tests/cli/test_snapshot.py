"""`glidemq snapshot`: a screen as plain text, without a terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kits.hostile import dangerous

from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, within

Run = Callable[..., Ran]
SECRET = "sk-live-4f1c9e2b7d6a4c3e8b5f"


async def _some(connection: Connection) -> None:
    async with Queue("mail", connection) as queue:
        await queue.add("send", {})
        await queue.add(f"\x1b[2J {SECRET}", {})


def test_a_screen_is_printed_once_as_plain_text(run: Run, server: str) -> None:
    within(server, _some)

    ran = run("snapshot", "--size", "100x30")

    assert (ran.code, ran.err) == (0, "")
    assert not dangerous(ran.out)
    lines = ran.out.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100
    assert any(line.split()[:2] == ["▌", "mail"] for line in lines)


def test_a_screen_of_one_queue_has_its_data_and_no_secrets(run: Run, server: str) -> None:
    within(server, _some)

    ran = run("snapshot", "jobs", "-q", "mail")

    assert ran.code == 0
    assert "send" in ran.out
    assert SECRET not in ran.out
    assert not dangerous(ran.out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("soup",), "SCREEN 'soup' is unknown"),
        (("--size", "10x10"), "from 60x15 to 400x200"),
        (("--size", "wide"), "--size is columns x rows"),
        (("--json",), "snapshot prints a screen"),
    ],
)
def test_what_cannot_be_printed_is_told(run: Run, server: str, words: tuple[str, ...], told: str) -> None:
    ran = run("snapshot", *words)

    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


def test_a_server_that_is_not_there_is_an_error(run: Run, environment: None) -> None:
    ran = run("snapshot", "--url", "valkey://127.0.0.1:1", "--timeout", "20s")

    assert ran.code != 0
    assert ran.out == ""
