"""Commands draw ASCII where the locale has no Unicode, and leave data of others as it is."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .harness import COMMAND, within


async def _fill(connection: Connection) -> None:
    queue: Queue[Any, Any] = Queue("chat", connection)
    await queue.add("Łódź", {}, job_id="1")


def _run(*words: str, locale: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    ran = subprocess.run(
        [*COMMAND, *words], env=environ | {"LC_ALL": locale}, stdout=subprocess.PIPE, check=False, timeout=60
    )
    return ran.stdout.decode()


def test_signs_of_tables_are_ascii_where_the_locale_is_plain(server: str) -> None:
    within(server, _fill)

    drawn = _run("jobs", "chat", locale="C.UTF-8")
    plain = _run("jobs", "chat", locale="C")

    assert "–" in drawn
    assert "–" not in plain
    assert "Łódź" in plain
