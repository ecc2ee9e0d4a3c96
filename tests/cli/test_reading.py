"""Commands that read: exactly the keys of the specification, tables for people, secrets masked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from glidemq_core import JobOptions, NewJob, Queue
from glidemq_core.server.connection import Connection

from .harness import Ran, fill, within, words

Run = Callable[..., Ran]

COUNTS = words("waiting active delayed prioritized suspended waiting_children group_waiting completed failed")
RATE = words("used max window_ms resets_ms source")
QUEUE = [
    *words("name paused"),
    *COUNTS,
    *words("oldest_waiting_ms completed_per_min failed_per_min avg_ms tokens_per_s cost_per_hour cost_unit"),
    *words("rpm tpm global_concurrency workers dead_letter_queue"),
]
ROW = words(
    "id queue name state priority attempts_made max_attempts delay_ms due_ms created_ms processed_ms finished_ms "
    "failed_reason progress parent fallback_index model total_tokens total_cost cost_unit suspend"
)
JOB = [
    *ROW,
    *words(
        "data data_bytes data_error truncated masked opts result cost expires_ms last_active_ms ordering_key"
    ),
    *words(
        "ordering_seq lifo scheduler parents children children_total budget fallback usage tpm_tokens signals"
    ),
    *words("revoked stalled_count stream ledger logs logs_total"),
]
SUSPEND = words("reason suspended_ms timeout_ms deadline_ms review_hash")
USAGE = words("model provider tokens total_tokens costs total_cost cost_unit latency_ms cached")
APPROVAL = words(
    "queue id name data data_bytes truncated draft progress signals usage budget waiting_behind tool_calls chunks "
    "hidden data_error raw masked"
)
TOTALS = words("job_count tokens total_tokens costs total_cost cost_unit models")
AUDIT = words(
    "seq at_ms by via host action queue job_ids count outcome comment shown_hash detail prev_hash hash user"
)
EVENT = words("queue id at_ms event job_id data")


@pytest.fixture
def chat(server: str) -> str:
    """A server with queue `chat` and a job in each common state."""
    within(server, fill)
    return server


def test_queues(run: Run, chat: str) -> None:
    found = run("queues", "--json").object
    assert sorted(found) == ["at_ms", "complete", "queues"]
    assert found["complete"] is True
    [queue] = found["queues"]
    assert sorted(queue) == sorted(QUEUE)
    assert sorted(queue["rpm"]) == sorted(queue["tpm"]) == sorted(RATE)
    states = {
        name: queue[name] for name in ("waiting", "delayed", "suspended", "completed", "failed", "active")
    }
    assert states == {"waiting": 1, "delayed": 1, "suspended": 1, "completed": 1, "failed": 1, "active": 0}
    assert run("queues", "chat", "--json").object["queues"][0]["name"] == "chat"
    table = run("queues").out.splitlines()
    assert table[0].split()[0] == "QUEUE"
    assert table[1].split()[0] == "chat"
    assert run("queues", "chat", "nowhere").code == 1


def test_jobs_with_a_priority_count_as_ready_in_the_table(run: Run, server: str) -> None:
    async def add(connection: Connection) -> None:
        async with Queue("mail", connection) as queue:
            await queue.add_bulk([NewJob("urgent", {}, JobOptions(priority=1)), NewJob("plain", {})])

    within(server, add)

    _, row = run("queues").out.splitlines()
    assert row.split()[:4] == ["mail", "2", "·", "·"]
    [found] = run("queues", "--json").object["queues"]
    assert (found["waiting"], found["delayed"], found["prioritized"]) == (1, 1, 1)


def test_an_empty_server_says_so_on_stderr(run: Run, server: str) -> None:
    for line in (["queues"], ["approvals"], ["workers"], ["usage"], ["audit"]):
        ran = run(*line)
        assert (ran.code, ran.out) == (0, ""), line
        assert len(ran.err.splitlines()) == 1


def test_jobs(run: Run, chat: str) -> None:
    found = run("jobs", "chat", "--json").object
    assert sorted(found) == ["jobs", "looked", "next", "queue", "state", "total"]
    assert (found["queue"], found["state"], found["next"]) == ("chat", None, None)
    assert {row["id"] for row in found["jobs"]} == {"waiting", "delayed", "suspended", "completed", "failed"}
    for row in found["jobs"]:
        assert sorted(row) == sorted(ROW)
        assert row["state"] == row["id"]
        assert (row["suspend"] is not None) == (row["id"] == "suspended")
    suspended = next(row for row in found["jobs"] if row["id"] == "suspended")
    assert sorted(suspended["suspend"]) == sorted(SUSPEND)
    assert suspended["suspend"]["review_hash"] is None
    failed = run("jobs", "-q", "chat", "-s", "failed", "--json").object
    assert [row["id"] for row in failed["jobs"]] == ["failed"]
    assert failed["jobs"][0]["failed_reason"] == "boom"
    assert run("jobs", "chat", "--where", "n=2", "--json").object["jobs"][0]["id"] == "waiting"
    assert run("jobs", "chat", "--name", "nothing").err == "no such jobs in chat\n"
    assert run("jobs", "nowhere").code == 1


def test_pages(run: Run, server: str) -> None:
    lines = b"".join(b'{"name":"n"}\n' for _ in range(5))
    assert run("add", "q", "--bulk", "-", stdin=lines).code == 0
    seen: list[str] = []
    more: list[str] = []
    while True:
        page = run("jobs", "q", "--state", "waiting", "--limit", "2", "--oldest", *more, "--json").object
        seen += [row["id"] for row in page["jobs"]]
        if page["next"] is None:
            break
        more = ["--cursor", page["next"]]
    assert seen == ["1", "2", "3", "4", "5"]


def test_job(run: Run, chat: str) -> None:
    job = run("job", "chat:completed", "--json").object["job"]
    assert sorted(job) == sorted(JOB)
    assert job["result"] == {"answer": 42}
    assert sorted(job["usage"]) == sorted(USAGE)
    assert (job["usage"]["total_tokens"], job["usage"]["total_cost"]) == (12, 0.25)
    assert (job["logs"], job["logs_total"]) == (["one line"], 1)
    assert job["stream"]["entries"] == 2
    assert job["opts"] == {"jobId": "completed"}
    assert job["data"]["prompt"] == "hi"


def test_secrets_are_masked_until_revealed(run: Run, chat: str) -> None:
    hidden = run("job", "chat:completed", "--json").object["job"]
    assert (hidden["data"]["api_key"], hidden["masked"]) == ("•••", 1)
    assert "sk-abcdef" not in run("job", "chat:completed").out
    shown = run("job", "chat:completed", "--json", "--reveal").object["job"]
    assert (shown["data"]["api_key"], shown["masked"]) == ("sk-abcdefghijklmnopqrstuvwx", 0)


def test_job_references(run: Run, chat: str) -> None:
    assert run("job", "completed", "--json").object["job"]["id"] == "completed"
    assert run("job", "completed", "-q", "chat", "--json").object["job"]["id"] == "completed"
    assert run("add", "mail", "n", "--id", "completed").code == 0
    both = run("job", "completed")
    assert both.code == 2
    assert "chat:completed" in both.err
    assert "mail:completed" in both.err
    for line in (["job", "chat:gone"], ["job", "gone"], ["job", "nowhere:1"], ["tail", "chat:gone"]):
        ran = run(*line)
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (1, "", 1), line


def test_large_payloads_are_cut(run: Run, server: str) -> None:
    assert run("add", "q", "n", "--data", "-", stdin=json.dumps("x" * 200_000).encode()).code == 0
    job = run("job", "q:1", "--json").object["job"]
    assert (job["truncated"], job["data"], job["data_bytes"]) == (True, None, 200_002)
    job = run("job", "q:1", "--json", "--max-bytes", "300000").object["job"]
    assert (job["truncated"], job["data"]) == (False, "x" * 200_000)


def test_approvals(run: Run, chat: str) -> None:
    found = run("approvals", "--json").object
    assert sorted(found) == ["approvals", "at_ms", "complete", "total"]
    assert (found["total"], found["complete"]) == (1, True)
    [item] = found["approvals"]
    assert sorted(item) == sorted([*APPROVAL, *SUSPEND])
    assert (item["draft"], item["reason"], item["data"]) == (
        "a draft",
        "awaiting-review",
        {"text": "send it?"},
    )
    assert len(item["review_hash"]) == 64
    assert "chat:suspended" in run("approvals", "chat").out


def test_workers(run: Run, chat: str) -> None:
    found = run("workers", "--json").object
    assert sorted(found) == ["at_ms", "complete", "stalled", "workers"]
    assert (found["stalled"], found["complete"]) == ([], True)


def test_usage(run: Run, chat: str) -> None:
    found = run("usage", "--json").object
    keys = "bucket_ms complete from_ms groups jobs_read minutes queues to_ms total"
    assert sorted(found) == keys.split()
    assert [found[key] for key in ("minutes", "groups", "jobs_read", "complete")] == [None] * 4
    assert sorted(found["total"]) == sorted(found["queues"]["chat"]) == sorted(TOTALS)
    assert (found["total"]["total_tokens"], found["total"]["models"]) == (12, {"gpt-5.4": 1})
    minutes = run("usage", "chat", "--by-minute", "--json").object["minutes"]
    assert all(sorted(minute) == sorted(["at_ms", *TOTALS]) for minute in minutes)
    assert sum(minute["total_tokens"] for minute in minutes) == 12


def test_usage_by(run: Run, chat: str) -> None:
    for by, key in (("queue", "chat"), ("model", "gpt-5.4")):
        found = run("usage", "--by", by, "--json").object
        assert [group["key"] for group in found["groups"]] == [key]
        assert sorted(found["groups"][0]) == sorted(["key", "wasted_cost", *TOTALS])
        assert (found["groups"][0]["total_tokens"], found["complete"]) == (12, True)
    assert run("usage", "--by", "flow", "--json").object["groups"] == []
    shown = run("usage", "--by", "job", "--top", "1").out.splitlines()
    assert shown[0].split() == ["JOB", "JOBS", "TOKENS", "COST", "MODELS", "WASTED"]
    assert shown[1].startswith("chat:")
    assert run("usage", "--by", "job", "--until", "1m").code == 2


def test_audit(run: Run, chat: str) -> None:
    assert run("pause", "chat", "--by", "bob", "--comment", "why not").code == 0
    found = run("audit", "--json").object
    assert sorted(found) == ["chains", "entries"]
    [entry] = found["entries"]
    assert sorted(entry) == sorted(AUDIT)
    assert (entry["by"], entry["comment"], entry["action"], entry["via"]) == (
        "bob",
        "why not",
        "pause",
        "cli",
    )


def test_hostile_text_is_inert_in_tables_and_json(run: Run, server: str) -> None:
    evil = "\x1b]52;c;aGk=\x07\x1b[31m\u202eabc\u200b\U000e0041[/red]\x9b2J\x7f"

    async def plant(connection: Connection) -> None:
        queue = Queue("q", connection)
        await queue.add(evil, {evil: [evil]}, job_id="evil")
        await connection.command("HSET", "glide:{q}:job:evil", "failedReason", evil)

    within(server, plant)
    for line in (["jobs", "q"], ["job", "q:evil"], ["jobs", "q", "--json"], ["job", "q:evil", "--json"]):
        ran = run(*line)
        assert ran.code == 0
        for bad in ("\x1b", "\x07", "\u202e", "\u200b", "\U000e0041", "\x9b", "\x7f"):
            assert bad not in ran.out, (line, bad)
    shown: Any = run("job", "q:evil", "--json").object["job"]
    assert shown["name"] == evil
    assert shown["data"] == {evil: [evil]}


def test_a_key_of_the_wrong_type(run: Run, server: str) -> None:
    async def plant(connection: Connection) -> None:
        await connection.command("SET", "glide:{q}:stream", "not a stream")
        await connection.command("SET", "glide:{q}:completed", "not a zset")

    within(server, plant)
    for line in (["queues", "q"], ["jobs", "q"], ["add", "q", "n"], ["drain", "q", "-y"]):
        ran = run(*line)
        assert ran.code in (0, 1), ran
        assert len(ran.err.splitlines()) <= 1


def test_events(run: Run, chat: str) -> None:
    lines = [json.loads(line) for line in run("events", "chat", "--no-follow", "--json").out.splitlines()]
    assert lines
    assert all(sorted(line) == sorted(EVENT) for line in lines)
    assert [line["at_ms"] for line in lines] == sorted(line["at_ms"] for line in lines)
    assert {"added", "completed", "failed", "suspended"} <= {line["event"] for line in lines}
    two = run("events", "--no-follow", "--limit", "2", "--json").out.splitlines()
    assert [json.loads(line) for line in two] == lines[-2:]
    of_job = run("events", "--job", "chat:failed", "--no-follow", "--type", "failed", "--json").object
    assert (of_job["job_id"], of_job["event"], of_job["data"]) == (
        "failed",
        "failed",
        {"failed_reason": "boom"},
    )
    first = run("events", "chat", "--from", "start", "--no-follow", "--limit", "1", "--json").object
    assert first == lines[0]
    rest = run(
        "events",
        "chat",
        "--from",
        lines[0]["id"],
        "--limit",
        str(len(lines) - 1),
        "--timeout",
        "30s",
        "--json",
    ).out
    assert [json.loads(line) for line in rest.splitlines()] == lines[1:]
    assert run("events", "nowhere").code == 1
    assert "boom" in run("events", "chat", "--no-follow").out


def test_a_search_among_many_jobs_reads_all_or_says_where_it_stopped(run: Run, server: str) -> None:
    within(
        server,
        lambda connection: Queue("q", connection).add_bulk([NewJob("n", {"i": i}) for i in range(1_200)]),
    )
    everywhere = run("jobs", "q", "--where", "i=5", "--json").object
    assert [row["id"] for row in everywhere["jobs"]] == ["6"]
    assert (everywhere["looked"], everywhere["total"], everywhere["next"]) == (1_200, 1_200, None)
    first = run("jobs", "q", "--where", "i=5", "--scan", "1000")
    assert first.out == ""
    assert first.err.startswith("0 match, looked at 1,000 of 1,200, further: --cursor ")
    cursor = first.err.rpartition("--cursor ")[2].strip()
    assert len(run("jobs", "q", "--where", "i=5", "--cursor", cursor).out.splitlines()) == 2
    assert run("jobs", "q", "--where", "i=-5", "-s", "completed").err == "no such completed jobs in q\n"
    page = run("jobs", "q", "--where", "n", "--where", "!id:1200", "--limit", "2", "--json").object
    assert [row["id"] for row in page["jobs"]] == ["1199", "1198"]
    assert page["looked"] == 3
    beyond = run(
        "jobs", "q", "--where", "n !id:1200", "--limit", "2", "--cursor", page["next"], "--json"
    ).object
    assert [row["id"] for row in beyond["jobs"]] == ["1197", "1196"]


def test_a_filter_selects_states_and_is_refused_with_its_place(run: Run, chat: str) -> None:
    found = run("jobs", "chat", "--where", "state:failed,suspended", "--json").object
    assert sorted(row["id"] for row in found["jobs"]) == ["failed", "suspended"]
    assert (found["looked"], found["total"]) == (2, 2)
    found = run("jobs", "chat", "--where", "error:boom !age>1d", "--json").object
    assert [row["id"] for row in found["jobs"]] == ["failed"]
    wrong = run("jobs", "chat", "--where", "error:boom tries>x")
    assert (wrong.code, wrong.out) == (2, "")
    assert "at character 18: 'x' is no number: write tries>3" in " ".join(wrong.err.split())
    assert run("jobs", "chat", "--scan", "5").code == 2
    assert run("jobs", "chat", "--where", "/(a+)+/").code == 2
