"""Dead letters of many queues, newest first."""

from __future__ import annotations

from typing import Any

from conftest import eventually
from kits.watch import viewer_url

from glidemq_core import Queue, Worker
from glidemq_core.records.failures import is_letter
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch


async def leave_letters(connection: Connection, queue: str, *payloads: Any) -> None:
    """Let jobs fail for good, each leaving a letter in `<queue>-dead`."""

    async def process(_: Any) -> None:
        raise ValueError("no address")

    dead = Queue(f"{queue}-dead", connection)
    async with (
        Queue(queue, connection) as jobs,
        Worker(queue, process, connection, dead_letter_queue=dead.name, log_errors=False),
    ):
        for number, payload in enumerate(payloads, 1):
            await jobs.add("send", payload)

            async def is_dead(number: int = number) -> bool:
                return (await dead.get_job_counts()).waiting == number

            await eventually(is_dead)


async def test_the_newest_letters_of_all_queues_are_read(connection: Connection) -> None:
    await leave_letters(connection, "mail", {"to": 1}, {"to": 2})
    await leave_letters(connection, "chat", {"to": 3})
    async with Watch(connection) as watch:
        found = await watch.letters(["chat", "mail", "mail-dead"])
        assert [(str(one.origin.queue if one.origin else ""), one.data["to"]) for one in found.letters] == [
            ("chat", 3),
            ("mail", 2),
            ("mail", 1),
        ]
        assert (found.total, found.complete) == (3, True)
        assert found.letters[0].failed_reason == "no address"
        assert [one.data["to"] for one in (await watch.letters(["chat", "mail"], limit=2)).letters] == [3, 2]
        assert not (await watch.letters(["mail"], limit=1)).complete


async def test_letters_that_are_known_are_not_read_again(connection: Connection) -> None:
    await leave_letters(connection, "mail", {"to": 1}, {"to": 2})
    async with Watch(connection) as watch:
        first = await watch.letters(["mail"])
        before = connection.stats.commands
        assert (await watch.letters(["mail"])).letters == first.letters
        assert connection.stats.commands - before == 3
        assert await Queue("mail", connection).remove_dead_letter_job(first.letters[0].id)
        assert (await watch.letters(["mail"])).letters == first.letters[1:]


async def test_other_jobs_and_broken_ones_are_left_out(connection: Connection, server_url: str) -> None:
    await leave_letters(connection, "mail", {"to": 1})
    dead = Queue("mail-dead", connection)
    await dead.add("other", {"no": "letter"})
    await dead.add("large", {"originalQueue": "mail", "originalJobId": "9", "data": "x" * 70_000})
    assert not is_letter({"no": "letter"})
    async with Watch(await viewer_url(connection, server_url)) as watch:
        found = await watch.letters(["mail"])
        assert [one.data for one in found.letters] == [{"to": 1}]
        assert (found.total, found.complete) == (3, False)
