"""Commands that change queues and jobs: their JSON, their exit codes, what they leave on the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, fill, through_a_pty, within

Run = Callable[..., Ran]
RESULT = ["queue", "id", "action", "ok", "outcome", "count", "ids", "message"]
DECISION = [
    *["queue", "id", "action", "ok", "outcome", "signal", "by", "at_ms", "review_hash", "state"],
    *["decided_by", "decided_ms", "audit_seq"],
]


@pytest.fixture
def chat(server: str) -> str:
    """A server with queue `chat` and a job in each common state."""
    within(server, fill)
    return server


def state_of(url: str, job_id: str) -> str | None:
    async def ask(connection: Connection) -> str | None:
        job = await Queue("chat", connection).get_job(job_id)
        return job.state if job is not None else None

    return within(url, ask)  # type: ignore[no-any-return]  # what ask returns


def outcomes(ran: Ran, key: str = "results") -> list[str]:
    assert set(ran.object) == {key} | ({"warnings"} if "warnings" in ran.object else set())
    for item in ran.object[key]:
        assert list(item) == (DECISION if key == "decisions" else RESULT)
    return [item["outcome"] for item in ran.object[key]]


def test_add(run: Run, server: str) -> None:
    ran = run("add", "chat", "answer", "--data", '{"a":1}', "--json")
    assert (ran.code, ran.object) == (
        0,
        {"job": {"queue": "chat", "id": "1", "created": True, "outcome": "created"}},
    )
    taken = run("add", "chat", "answer", "--id", "1", "--json")
    assert taken.code == 1
    assert taken.object["job"]["outcome"] == "skipped"
    assert taken.object["job"]["created"] is False
    full = [
        "--priority",
        "3",
        "--attempts",
        "2",
        "--ttl",
        "1h",
        "--lock-duration",
        "60s",
        "--fallback",
        "gpt-5.4-nano@openai",
    ]
    assert run("add", "-q", "chat", "answer", "--id", "x y", *full).out == "chat:x y created\n"

    async def check(connection: Connection) -> None:
        job = await Queue("chat", connection).get_job("x y")
        assert job is not None
        assert job.priority == 3
        assert job.options.to_json() == {
            "jobId": "x y",
            "priority": 3,
            "attempts": 2,
            "ttl": 3_600_000,
            "lockDuration": 60_000,
            "fallbacks": [{"model": "gpt-5.4-nano", "provider": "openai"}],
        }

    within(server, check)


def test_add_warns_in_one_line(run: Run, server: str) -> None:
    ran = run("add", "chat", "answer", "--attempts", "4", "--fallback", "nano")
    assert ran.code == 0
    [line] = ran.err.splitlines()
    assert line.startswith("warning: attempts=4 is more than 2, what a chain of 1 needs")


def test_add_takes_wire_options_and_stdin(run: Run, server: str) -> None:
    ran = run(
        "add", "q", "n", "--opts", '{"delay":60000,"attempts":2}', "--data", "-", stdin=b'{"from":"stdin"}'
    )
    assert ran.code == 0

    async def check(connection: Connection) -> None:
        job = await Queue("q", connection).get_job("1")
        assert job is not None
        assert (job.data, job.delay_ms, job.state) == ({"from": "stdin"}, 60_000, "delayed")

    within(server, check)


def test_bulk(run: Run, server: str) -> None:
    assert run("add", "q", "n", "--id", "taken").code == 0
    lines = b'{"name":"a"}\n\n{"name":"b","data":[1],"opts":{"jobId":"taken"}}\n{"name":"c","opts":{"delay":5000}}\n'
    ran = run("add", "q", "--bulk", "-", "--json", stdin=lines)
    assert ran.code == 1
    assert ran.object == {"added": 2, "skipped": 1, "failed": 0, "ids": ["1", None, "2"]}
    large = b'{"name":"a"}\n{"name":"b","data":"' + b"x" * 1_048_577 + b'"}\n'
    ran = run("add", "q", "--bulk", "-", "--json", stdin=large)
    assert ran.code == 1
    assert ran.object == {"added": 1, "skipped": 0, "failed": 1, "ids": ["3", None]}


@pytest.mark.parametrize(
    "bad", [b"{", b"[]", b'{"nam":"a"}', b'{"name":"a","opts":{"atempts":1}}', b'{"name":1}', b"\xff"]
)
def test_a_bad_line_stores_nothing(run: Run, server: str, bad: bytes) -> None:
    ran = run("add", "q", "--bulk", "-", stdin=b'{"name":"good"}\n' + bad + b"\n")
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert run("audit", "q").code == 1


def test_pause_and_resume(run: Run, chat: str) -> None:
    assert outcomes(run("pause", "chat", "--json")) == ["paused"]
    assert outcomes(run("pause", "chat", "--json")) == ["already_paused"]
    assert outcomes(run("resume", "chat", "--json")) == ["resumed"]
    assert outcomes(run("resume", "chat", "--json")) == ["already_running"]
    ran = run("pause", "chat", "nowhere", "--json")
    assert (ran.code, outcomes(ran)) == (1, ["paused", "not_found"])
    assert ran.object["warnings"] == []
    assert outcomes(run("pause", "nowhere", "--force", "--json")) == ["paused"]
    assert run("resume", "-q", "chat").out == "chat resumed\n"


def test_retry(run: Run, chat: str) -> None:
    ran = run("retry", "chat:failed", "chat:waiting", "chat:gone", "--json")
    assert (ran.code, outcomes(ran)) == (1, ["retried", "not_failed", "not_found"])
    assert state_of(chat, "failed") in ("waiting", "delayed")
    ran = run("retry", "chat", "--all-failed", "--json")
    assert (ran.code, outcomes(ran), ran.object["results"][0]["count"]) == (0, ["retried"], 0)
    assert run("retry", "nowhere", "--all-failed").code == 1


def test_promote(run: Run, chat: str) -> None:
    ran = run("promote", "-q", "chat", "delayed", "waiting", "gone", "--json")
    assert (ran.code, outcomes(ran)) == (1, ["promoted", "not_delayed", "not_found"])
    assert state_of(chat, "delayed") == "waiting"


def test_remove(run: Run, chat: str) -> None:
    refused = run("remove", "chat:failed")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert state_of(chat, "failed") == "failed"
    ran = run("remove", "chat:failed", "chat:gone", "--yes", "--json")
    assert (ran.code, outcomes(ran)) == (1, ["removed", "not_found"])
    assert state_of(chat, "failed") is None


def test_clean_and_drain(run: Run, chat: str) -> None:
    ran = run("clean", "chat", "--state", "completed", "--older-than", "0", "-y", "--json")
    assert (ran.code, outcomes(ran)) == (0, ["cleaned"])
    assert (ran.object["results"][0]["count"], ran.object["results"][0]["ids"]) == (1, ["completed"])
    ran = run("drain", "chat", "--delayed", "-y", "--json")
    assert (ran.code, outcomes(ran), ran.object["results"][0]["count"]) == (0, ["drained"], 2)
    assert run("clean", "nowhere", "--state", "failed", "--older-than", "1d", "-y").code == 1
    assert run("drain", "nowhere", "-y").code == 1


def test_approve(run: Run, chat: str) -> None:
    ran = run("approve", "chat:suspended", "--by", "alice", "--comment", "fine", "--json")
    assert (ran.code, outcomes(ran, "decisions")) == (0, ["sent"])
    assert ran.object["decisions"][0]["by"] == "alice"
    again = run("approve", "chat:suspended", "chat:gone", "--json")
    assert (again.code, outcomes(again, "decisions")) == (1, ["not_suspended", "not_found"])
    assert again.object["decisions"][0]["decided_by"] == "alice"
    audit = run("audit", "chat", "--job", "chat:suspended", "--verify", "--json").object
    assert audit["chains"] == {"chat": "ok"}
    assert [entry["by"] for entry in audit["entries"]][-1] == "alice"
    assert {entry["via"] for entry in audit["entries"]} == {"cli"}


def test_approve_is_bound_to_what_was_shown(run: Run, chat: str) -> None:
    shown = run("approvals", "--json").object["approvals"][0]["review_hash"]
    changed = run("approve", "chat:suspended", "--expect-hash", "0" * 64, "--json")
    assert (changed.code, outcomes(changed, "decisions")) == (1, ["changed"])
    ran = run("approve", "chat:suspended", "--expect-hash", shown, "--data", '{"text":"edited"}', "--json")
    assert (ran.code, outcomes(ran, "decisions")) == (0, ["sent"])


def test_reject_and_signal(run: Run, chat: str) -> None:
    ran = run("reject", "chat:suspended", "--reason", "no", "--json")
    assert (ran.code, outcomes(ran, "decisions")) == (0, ["sent"])
    assert run("signal", "chat:suspended", "go").code == 1
    assert outcomes(run("signal", "chat:waiting", "go", "--json")) == ["not_suspended"]
    early = run("signal", "chat:waiting", "go", "--early", "--json")
    assert (early.code, outcomes(early)) == (0, ["kept"])
    assert outcomes(run("signal", "chat:gone", "go", "--json")) == ["not_found"]


def test_signal_resumes(run: Run, chat: str) -> None:
    ran = run("signal", "chat:suspended", "go", "--data", '{"a":1}')
    assert (ran.code, ran.out) == (0, "chat:suspended resumed\n")


def test_read_only_refuses_with_4_and_changes_nothing(run: Run, chat: str) -> None:
    for words in (
        ["pause", "chat"],
        ["remove", "chat:failed", "-y"],
        ["approve", "chat:suspended"],
        ["add", "chat", "n"],
        ["retry", "chat:failed"],
    ):
        for ran in (run("--read-only", *words), run(*words, "--read-only")):
            assert ran.code == 4, ran
            assert len(ran.err.splitlines()) == 1
    assert state_of(chat, "suspended") == "suspended"
    assert state_of(chat, "failed") == "failed"


def test_a_terminal_is_asked_before_anything_is_destroyed(chat: str) -> None:
    code, seen = through_a_pty("remove", "chat:failed", typed=b"n\n")
    assert (code, b"[y/N]" in seen, state_of(chat, "failed")) == (1, True, "failed")
    code, _ = through_a_pty("remove", "chat:failed", typed=b"y\n")
    assert (code, state_of(chat, "failed")) == (0, None)
