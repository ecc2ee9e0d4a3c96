"""`doctor`: what it finds on a real server, with what mends it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import FlowJob, FlowProducer, Queue
from glidemq_core.doctor import CHECKS, unreachable
from glidemq_core.errors import UnsupportedServerError
from glidemq_core.server.connection import Connection
from glidemq_core.worker.worker import Worker

from .harness import Ran, fill, process, within, words

Run = Callable[..., Ran]
CHECK = words("id status summary detail fix")


def examined(ran: Ran) -> dict[str, Any]:
    """The checks by id; their shape is right."""
    assert list(ran.object) == ["ok", "checks"]
    for check in ran.object["checks"]:
        assert list(check) == CHECK
        assert check["status"] in ("ok", "warn", "fail", "skip")
        assert check["fix"] or check["status"] not in ("warn", "fail")
    assert [check["id"] for check in ran.object["checks"]] == list(CHECKS)
    assert ran.object["ok"] is all(check["status"] != "fail" for check in ran.object["checks"])
    return {check["id"]: check for check in ran.object["checks"]}


def send(url: str, *command: str | int) -> Any:
    async def body(connection: Connection) -> Any:
        return await connection.command(*command)

    return within(url, body)


def test_an_empty_server_is_well(run: Run, server: str) -> None:
    ran = run("doctor", "--json")
    assert ran.code == 0
    checks = examined(ran)
    assert {checks[id]["status"] for id in CHECKS[:6]} == {"ok"}
    assert {checks[id]["status"] for id in CHECKS[6:]} == {"skip"}


def test_a_queue_in_order_is_well(run: Run, server: str) -> None:
    within(server, fill)
    ran = run("doctor", "chat", "--json")
    assert ran.code == 0
    checks = examined(ran)
    assert {id for id, check in checks.items() if check["status"] != "ok"} == {"workers"}
    assert "chat: 1 job waiting" in checks["workers"]["detail"]
    text = run("doctor").out
    assert "! warn" in text
    assert "fix: start workers" in text


def test_nothing_is_written(run: Run, server: str) -> None:
    within(server, fill)
    before = send(server, "DBSIZE")
    run("doctor")
    assert send(server, "DBSIZE") == before
    assert examined(run("doctor", "--read-only", "--json"))["permissions"]["status"] == "ok"


def test_keys_of_a_foreign_type_are_named(run: Run, server: str) -> None:
    within(server, fill)
    send(server, "DEL", "glide:{chat}:completed")
    send(server, "LPUSH", "glide:{chat}:completed", "x")
    ran = run("doctor", "--json")
    assert ran.code == 1
    assert examined(ran)["key_types"]["detail"] == "glide:{chat}:completed is a list, not a zset"


def test_schedulers_that_nobody_runs_are_named(run: Run, server: str) -> None:
    """Any worker runs them, in whichever language it is written."""
    within(server, fill)
    due = time.time_ns() // 1_000_000 + 60_000
    send(server, "HSET", "glide:{chat}:schedulers", "nightly", f'{{"pattern":"0 3 * * *","nextRun":{due}}}')
    found = examined(run("doctor", "chat", "--json"))["schedulers"]
    assert (found["status"], found["detail"]) == ("warn", "chat: 1 scheduler, no worker")
    for language in ("", ',"language":"python"'):
        record = f'{{"addr":"host","pid":7,"startedAt":1795467240172,"activeJobs":0{language}}}'
        send(server, "SET", "glide:{chat}:w:worker-1795467240172-0badcafe", record)
        found = examined(run("doctor", "chat", "--json"))["schedulers"]
        assert (found["status"], found["summary"]) == ("ok", "1 queue with schedulers, each with a worker")


def test_schedulers_that_are_late_or_broken_are_named(run: Run, server: str) -> None:
    within(server, fill)
    record = '{"addr":"host","pid":7,"startedAt":1795467240172,"activeJobs":0}'
    send(server, "SET", "glide:{chat}:w:worker-1795467240172-0badcafe", record)
    late = time.time_ns() // 1_000_000 - 90_000
    key = "glide:{chat}:schedulers"
    send(server, "HSET", key, "late", f'{{"every":60000,"nextRun":{late}}}', "bad", '{"pattern":"0 0 * * 7"}')
    found = examined(run("doctor", "chat", "--json"))["schedulers"]
    assert found["status"] == "warn"
    assert "chat: scheduler 'late' has 2 runs overdue in spite of a worker" in found["detail"]
    assert "chat: scheduler 'bad': pattern '0 0 * * 7': weekday 7 is not within 0-6" in found["detail"]


def test_orphans_among_the_suspended_are_named(run: Run, server: str) -> None:
    within(server, fill)
    send(server, "ZADD", "glide:{chat}:suspended", 9_999_999_999_999, "ghost\x1b[2J", 1, "completed")
    ran = run("doctor", "--json")
    found = examined(ran)["suspended"]
    assert found["status"] == "warn"
    assert "gone, but listed as suspended" in found["detail"]
    assert "chat:completed is completed" in found["detail"]
    assert "ZREM" in found["fix"]
    assert "\x1b" not in run("doctor").out


def test_a_stuck_parent_is_told_with_its_culprit(run: Run, server: str) -> None:
    async def body(connection: Connection) -> None:
        async with FlowProducer(connection) as producer:
            children = [FlowJob("fail", "chat"), FlowJob("ok", "chat")]
            await producer.add(FlowJob("root", "chat", None, None, children))
        source: Queue[Any, Any] = Queue("chat", connection)

        async def ended() -> bool:
            counts = await source.get_job_counts()
            return (counts.failed, counts.completed) == (1, 1)

        async with Worker("chat", process, connection, log_errors=False):
            await eventually(ended)

    within(server, body)
    ran = run("doctor", "chat", "--json")
    assert ran.code == 1
    found = examined(ran)["stuck_parents"]
    [line] = found["detail"].splitlines()
    failed = run("jobs", "chat", "-s", "failed", "--json").object["jobs"][0]["id"]
    assert line.endswith(f"waits for chat:{failed} failed")


def test_a_blocked_ordering_key_is_found_and_its_fix_works(run: Run, server: str) -> None:
    async def body(connection: Connection) -> None:
        source: Queue[Any, Any] = Queue("chat", connection)
        for job_id in ("a", "b", "c"):
            await source.add("ok", {}, job_id=job_id, ordering="tenant")
        # As a Node peer removes a job: its number is never skipped.
        await connection.command("UNLINK", "glide:{chat}:job:b")
        async with Worker("chat", process, connection, log_errors=False):

            async def parked() -> bool:
                return bool(await connection.command("ZCARD", "glide:{chat}:groupq:tenant"))

            await eventually(parked)

    within(server, body)
    ran = run("doctor", "--json")
    assert ran.code == 1
    found = examined(ran)["ordering_keys"]
    assert found["detail"] == "chat: key 'tenant' waits for number 2, which no job has"
    assert "HSET 'glide:{chat}:group:tenant' skip:2 1" in found["fix"]
    assert "ZADD 'glide:{chat}:ratelimited' 0 'tenant'" in found["fix"]
    send(server, "HSET", "glide:{chat}:group:tenant", "skip:2", 1)
    send(server, "ZADD", "glide:{chat}:ratelimited", 0, "tenant")

    async def rest(connection: Connection) -> None:
        source: Queue[Any, Any] = Queue("chat", connection)

        async def ran_at_last() -> bool:
            job = await source.get_job("c")
            return job is not None and job.state == "completed"

        async with Worker("chat", process, connection, log_errors=False):
            await eventually(ran_at_last)

    within(server, rest)
    assert examined(run("doctor", "--json"))["ordering_keys"]["status"] == "ok"


def test_an_ordered_job_that_is_delayed_blocks_nothing_for_ever(run: Run, server: str) -> None:
    async def body(connection: Connection) -> None:
        source: Queue[Any, Any] = Queue("chat", connection)
        for job_id, delay in (("a", 0), ("b", 3_600_000), ("c", 0)):
            await source.add("ok", {}, job_id=job_id, ordering="tenant", delay=delay)
        async with Worker("chat", process, connection, log_errors=False):

            async def parked() -> bool:
                return bool(await connection.command("ZCARD", "glide:{chat}:groupq:tenant"))

            await eventually(parked)

    within(server, body)
    assert examined(run("doctor", "--json"))["ordering_keys"]["status"] == "ok"


def test_counters_and_outbox_are_checked(run: Run, server: str) -> None:
    within(server, fill)
    send(server, "SET", "glide:{chat}:list-active", 3)
    send(server, "RPUSH", "glide:{chat}:outbox", "{}")
    checks = examined(run("doctor", "--json"))
    assert checks["list_active"]["detail"] == "chat: counted 3, but 0 of Python workers"
    assert "chat: 1 message" in checks["outbox"]["detail"]


def test_paused_queues_with_node_workers(run: Run, server: str) -> None:
    within(server, fill)
    run("pause", "chat")
    assert examined(run("doctor", "--json"))["paused"]["status"] == "ok"
    send(server, "SET", "glide:{chat}:w:node-1", '{"addr":"h","pid":1,"startedAt":1700000000000}')
    found = examined(run("doctor", "--json"))["paused"]
    assert (found["status"], found["detail"]) == ("warn", "chat: 1 Node worker still start jobs")


def test_a_viewer_gets_what_a_viewer_may_see(run: Run, server: str) -> None:
    within(server, fill)
    send(
        server,
        "ACL",
        "SETUSER",
        "viewer",
        "on",
        ">pw",
        "~*",
        "+@read",
        "+@connection",
        "+info",
        "-@dangerous",
    )
    address = server.rpartition("@")[2].removeprefix("valkey://")
    try:
        ran = run("doctor", "--url", f"valkey://viewer:pw@{address}", "--json")
        checks = examined(ran)
        assert checks["functions"]["status"] == "warn"
        assert checks["permissions"]["status"] == "warn"
        assert checks["key_types"]["status"] == "ok"
    finally:
        send(server, "ACL", "DELUSER", "viewer")


def test_unknown_queues_are_an_error(run: Run, server: str) -> None:
    ran = run("doctor", "nowhere", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error["type"] == "QueueNotFoundError"


def test_without_a_server_the_checks_are_told_at_exit_3(run: Run, server: str) -> None:
    ran = run("doctor", "--url", "valkey://127.0.0.1:1", "--json")
    assert ran.code == 3
    checks = examined(ran)
    assert checks["connection"]["status"] == "fail"
    rest = {check["status"] for id, check in checks.items() if id not in ("connection", "installation")}
    assert rest == {"skip"}
    assert checks["installation"]["status"] == "ok"  # needs no server
    assert ran.error["exit_code"] == 3


def test_a_silent_server_is_told_at_exit_3(run: Run, server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        ran = run("doctor", "--url", f"valkey://127.0.0.1:{port}", "--timeout", "300ms", "--json")
    assert ran.code == 3
    assert examined(ran)["connection"]["status"] == "fail"


@pytest.mark.parametrize("line", [("--url", "nonsense://x"), ("--timeout", "0")])
def test_bad_lines_are_usage(run: Run, server: str, line: tuple[str, str]) -> None:
    ran = run("doctor", *line, "--json")
    assert (ran.code, ran.out) == (2, "")


def test_an_old_server_fails_by_its_version() -> None:
    problem = UnsupportedServerError("version 6", hint="newer", feature="functions", found="6", needed="7.0")
    checks = unreachable(problem, CHECKS[1:])
    assert [check.id for check in checks] == list(CHECKS)
    assert [check.status for check in checks[:3]] == ["ok", "fail", "skip"]


def test_two_installations_are_told(run: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"glidemq": "0.1.0", "glidemq-core": "0.2.0"}
    monkeypatch.setattr("glidemq_core.doctor.packages.installed", lambda: both)

    check = examined(run("doctor", "--json"))["installation"]
    assert check["status"] == "warn"
    assert check["summary"] == "glidemq 0.1.0 and glidemq-core 0.2.0 are both installed"
    assert check["fix"] == "pip uninstall glidemq glidemq-core, then install one of them"

    without_server = examined(run("doctor", "--url", "valkey://127.0.0.1:1", "--json"))
    assert without_server["connection"]["status"] == "fail"
    assert without_server["installation"] == check
