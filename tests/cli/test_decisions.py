"""`review`, `approve`, `reject` and `audit`: nobody approves what was not shown, and the audit proves what was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from glidemq_core import Queue
from glidemq_core.errors import ServerUnavailableError
from glidemq_core.server.connection import Connection

from .harness import Ran, fill, within, work

Run = Callable[..., Ran]
SECRET = "sk-live-4f1c9e2b7d6a4c3e8b5f"


@pytest.fixture
def chat(server: str) -> str:
    within(server, fill)
    return server


def ask(url: str, data: Any, **chunk: str) -> None:
    """Let `q:1` wait for a person with this payload, and a chunk behind its draft."""

    async def body(connection: Connection) -> None:
        await work(connection, "q", **{"1": {"name": "ask", "data": data}})
        if chunk:
            await connection.command(
                "XADD", "glide:{q}:jstream:1", "*", *(w for pair in chunk.items() for w in pair)
            )

    within(url, body)


def send(url: str, *command: str | int) -> Any:
    async def body(connection: Connection) -> Any:
        return await connection.command(*command)

    return within(url, body)


def outcomes(ran: Ran) -> list[str]:
    return [decision["outcome"] for decision in ran.object["decisions"]]


def hash_of(run: Run, job: str) -> str:
    found: str = run("review", job, "--json").object["approval"]["review_hash"]
    return found


def test_review_shows_the_whole_with_its_hash(run: Run, server: str) -> None:
    args = json.dumps({"path": "/srv", "api_key": SECRET, "script": "x" * 17_000})
    ask(server, {"note": "n" * 5_000, "password": "hunter2hunter2"}, type="tool_call", name="run", args=args)

    shown = run("review", "q:1", "--json").object["approval"]

    assert (shown["hidden"], shown["truncated"], shown["chunks"]) == (
        [],
        False,
        {"content": 1, "tool_call": 1},
    )
    assert shown["data"]["note"] == "n" * 5_000
    assert len(shown["review_hash"]) == 64
    [call] = shown["tool_calls"]
    assert json.loads(call["args"])["script"] == "x" * 17_000
    assert (shown["masked"], SECRET in json.dumps(shown)) == (2, False)
    revealed = run("review", "q:1", "--json", "--reveal").object["approval"]
    assert (revealed["masked"], revealed["data"]["password"]) == (0, "hunter2hunter2")
    assert SECRET in revealed["tool_calls"][0]["args"]
    text = run("review", "q:1").out
    assert "n" * 5_000 in text
    assert "x" * 17_000 in text
    assert "2 secrets: --reveal shows them" in text
    assert text.splitlines()[-1].split() == ["hash", shown["review_hash"]]


def test_the_end_of_a_draft_of_blank_lines_is_written(run: Run, server: str) -> None:
    ask(server, {}, t="\n" * 3_000 + "hash  " + "0" * 64)

    lines = run("review", "q:1").out.splitlines()

    assert any(line.split()[:1] == ["draft"] and "3,001 lines" in line for line in lines)
    assert [line for line in lines if line.startswith("hash")] == [lines[-1]], "foreign lines are indented"
    assert lines[-1].split()[1] == hash_of(run, "q:1")


def test_review_of_what_does_not_wait_says_so(run: Run, chat: str) -> None:
    assert "is completed, not suspended" in run("review", "chat:completed").err
    assert run("review", "chat:gone").code == 1


@pytest.mark.parametrize(
    ("data", "chunk", "why"),
    [
        ({"text": "x" * 5_000}, {}, "its payload of 5"),
        ({}, {"t": "y" * 5_000}, "draft after 4 kB"),
        ({}, {"type": "tool_call", "name": "run", "args": "z" * 17_000}, "1 tool call of 17 kB"),
    ],
)
def test_what_is_not_listed_whole_is_not_approved(
    run: Run, server: str, data: Any, chunk: dict[str, str], why: str
) -> None:
    ask(server, data, **chunk)
    assert run("approvals", "--json").object["approvals"][0]["review_hash"] is None

    assert why in run("approvals").out
    held = run("approve", "q:1", "--json")

    assert (held.code, outcomes(held)) == (1, ["not_shown"])
    text = run("approve", "q:1").out
    assert why in text
    assert "glidemq review q:1" in text
    assert send(server, "HGET", "glide:{q}:job:1", "state") == b"suspended"
    assert outcomes(run("approve", "q:1", "--expect-hash", hash_of(run, "q:1"), "--json")) == ["sent"]


def test_a_payload_that_cannot_be_read_is_approved_unseen_only_and_the_audit_knows(
    run: Run, server: str
) -> None:
    ask(server, {})
    send(server, "HSET", "glide:{q}:job:1", "data", "[" * 1_500 + "]" * 1_500)
    shown = run("review", "q:1", "--json").object["approval"]
    assert (shown["data"], shown["raw"], shown["review_hash"]) == (None, "[" * 1_500 + "]" * 1_500, None)
    assert "nested" in run("review", "q:1").out

    assert outcomes(run("approve", "q:1", "--json")) == ["not_shown"]
    assert "its payload cannot be read" in run("approve", "q:1").out
    assert outcomes(run("approve", "q:1", "--unseen", "--by", "ann", "--json")) == ["sent"]

    [entry] = run("audit", "q", "--json").object["entries"]
    assert (entry["by"], entry["detail"], entry["shown_hash"]) == (
        "ann",
        {"signal": "approve", "unseen": True},
        None,
    )


def test_what_cannot_be_shown_can_be_rejected(run: Run, server: str) -> None:
    ask(server, {})
    send(server, "HSET", "glide:{q}:job:1", "data", "no json")
    assert outcomes(run("reject", "q:1", "--reason", "unreadable", "--json")) == ["sent"]


def test_an_approval_without_a_hash_is_bound_to_what_was_looked_at(run: Run, chat: str) -> None:
    shown = hash_of(run, "chat:suspended")
    decision = run("approve", "chat:suspended", "--json").object["decisions"][0]
    assert (decision["outcome"], decision["review_hash"]) == ("sent", shown)


def test_jobs_and_hashes_are_read_from_standard_input(run: Run, server: str) -> None:
    async def body(connection: Connection) -> None:
        await work(connection, "q", **{str(n): {"name": "ask", "data": {"n": n}} for n in range(1, 5)})

    within(server, body)
    listed = run("approvals", "--json").object["approvals"]
    lines = [f"{one['queue']}:{one['id']} {one['review_hash']}" for one in listed]
    send(server, "HSET", "glide:{q}:job:2", "data", "{}")

    ran = run("approve", "-", "--json", stdin="\n".join(["", *lines[:3], ""]).encode())

    assert (ran.code, outcomes(ran)) == (1, ["sent", "changed", "sent"])
    assert outcomes(run("reject", "-", "--reason", "no", "--json", stdin=lines[3].encode())) == ["sent"]


@pytest.mark.parametrize(
    "stdin",
    ["", "chat:suspended", "chat:suspended abc", "chat:suspended " + "0" * 64 + "\nrubbish", "0" * 64],
)
def test_a_line_that_is_no_job_with_a_hash_decides_nothing(run: Run, chat: str, stdin: str) -> None:
    ran = run("approve", "-", stdin=stdin.encode())
    assert (ran.code, ran.out) == (2, "")
    assert send(chat, "HGET", "glide:{chat}:job:suspended", "state") == b"suspended"


@pytest.mark.parametrize(
    "words",
    [
        ["-", "chat:suspended"],
        ["-", "--expect-hash", "0" * 64],
        ["-", "--unseen"],
        ["-", "--data", "-"],
        ["chat:suspended", "--unseen", "--expect-hash", "0" * 64],
    ],
)
def test_contradictory_ways_of_approving_are_refused(run: Run, chat: str, words: list[str]) -> None:
    ran = run("approve", *words, stdin=b"chat:suspended " + b"0" * 64)
    assert ran.code == 2
    assert send(chat, "HGET", "glide:{chat}:job:suspended", "state") == b"suspended"


def test_verify_proves_that_nothing_was_cut_off(run: Run, chat: str) -> None:
    for _ in range(2):
        run("pause", "chat")
        run("resume", "chat")
    ran = run("audit", "chat", "--verify", "--json").object
    assert ran["chains"] == {"chat": "ok"}
    check = ran["checks"]["chat"]
    assert (check["entries"], check["first_seq"], check["last_seq"], check["ok"]) == (4, 1, 4, True)
    last = f"4:{check['last_hash']}"
    told = run("audit", "chat", "--verify").out.splitlines()[-1]
    assert told == f"chat: chain ok, 4 entries checked, 1 to 4, last {last}"
    assert run("audit", "chat", "--verify", "--expect-last", last).code == 0

    send(chat, "DEL", "glide:{chat}:audit")
    assert "no entries checked" in run("audit", "chat", "--verify").out
    cut = run("audit", "chat", "--verify", "--expect-last", last, "--json")
    assert (cut.code, cut.object["chains"]) == (1, {"chat": "broken:4"})


@pytest.mark.parametrize(
    "words",
    [
        ["chat", "--expect-last", "4:" + "0" * 64],
        ["chat", "--verify", "--expect-last", "4"],
        ["--verify", "--expect-last", "4:" + "0" * 64],
        ["export", "chat", "--verify"],
    ],
)
def test_contradictory_ways_of_verifying_are_refused(run: Run, chat: str, words: list[str]) -> None:
    assert run("audit", *words).code == 2


def test_the_whole_audit_is_exported_oldest_first(run: Run, chat: str) -> None:
    run("pause", "chat", "--comment", f"key {SECRET}")
    run("resume", "chat")

    lines = [json.loads(line) for line in run("audit", "export", "chat", "--reveal").out.splitlines()]

    assert [(line["seq"], line["action"]) for line in lines] == [(1, "pause"), (2, "resume")]
    assert lines[0]["comment"] == f"key {SECRET}"
    assert lines[1]["prev_hash"] == lines[0]["hash"]
    assert SECRET not in run("audit", "export", "chat").out
    stored = send(chat, "XRANGE", "glide:{chat}:audit", "-", "+")
    assert [json.loads(dict(map(tuple, pairs))[b"entry"]) for pairs in stored.values()] == lines


def test_a_damaged_audit_is_told_with_what_mends_it(run: Run, chat: str) -> None:
    send(chat, "SET", "glide:{chat}:audit", "foreign")

    ran = run("approve", "chat:suspended")

    assert ran.code == 1
    assert "audit is damaged" in ran.err
    assert "doctor" in ran.err
    assert run("audit", "chat", "--verify", "--json").object["chains"] == {"chat": "broken:1"}
    assert run("doctor", "chat", "--repair").code in (0, 1)
    assert run("approve", "chat:suspended").code == 0

    async def body(connection: Connection) -> list[str]:
        return [entry.action for entry in await Queue[Any, Any]("chat", connection).get_audit()]

    assert within(chat, body) == ["approve", "restart_audit"]


@pytest.mark.parametrize("how", ["--json", None])
def test_what_was_decided_before_an_error_is_told(run: Run, chat: str, how: str | None) -> None:
    ask(chat, {"n": 1})
    send(chat, "SET", "glide:{q}:audit", "foreign")

    ran = run("approve", "chat:suspended", "q:1", *([how] if how else []))

    assert ran.code == 1
    assert "audit is damaged" in ran.err
    if how:
        assert outcomes(ran) == ["sent"]
    else:
        assert ran.out == "chat:suspended approved\n"


def test_a_stream_of_a_wrong_type_is_named(run: Run, server: str) -> None:
    ask(server, {"n": 1})
    send(server, "DEL", "glide:{q}:jstream:1")
    send(server, "SET", "glide:{q}:jstream:1", "foreign")

    assert "glide:{q}:jstream:1" in run("review", "q:1").err


@pytest.mark.parametrize(
    "strange",
    [
        '"detail":5',
        '"detail":[1]',
        '"detail":null',
        '"detail":{"window_ms":NaN}',
        '"detail":{"window_ms":1e999}',
        '"detail":{"window_ms":1e300}',
        '"comment":{"a":1}',
        '"count":"x"',
        '"job_ids":5',
        '"user":5',
        '"at_ms":1e300',
        '"seq":"z"',
    ],
)
def test_a_strange_entry_does_not_hide_the_others(run: Run, chat: str, strange: str) -> None:
    assert run("pause", "chat").code == 0
    [[_, text]] = next(iter(send(chat, "XRANGE", "glide:{chat}:audit", "-", "+").values()))
    name = strange.partition(":")[0]
    fields = [f"{key}:{json.dumps(value)}" for key, value in json.loads(text).items() if f'"{key}"' != name]
    fields = [f'"{field}'.replace(":", '":', 1) for field in fields]
    send(chat, "XADD", "glide:{chat}:audit", "2-0", "entry", "{" + ",".join([*fields, strange]) + "}")

    for how in ([], ["--json"], ["--job", "chat:completed"]):
        assert run("audit", "chat", *how).code == 0
    assert "pause" in run("audit", "chat").out
    assert run("audit", "chat", "--verify").code == 1


def test_a_decision_whose_answer_was_lost_is_not_called_undone(
    run: Run, chat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = Queue.approve

    async def lost(*words: Any, **options: Any) -> Any:
        await decide(*words, **options)
        raise ServerUnavailableError("the connection was lost", address="h")

    monkeypatch.setattr(Queue, "approve", lost)

    ran = run("approve", "chat:suspended")

    assert ran.code == 3
    assert "chat:suspended: no answer, it may have been sent" in ran.err
    assert len(run("approve", "chat:suspended", "--json").err.splitlines()) == 1
