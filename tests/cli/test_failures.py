"""`failures`, `retry --group`, `dlq` and `why`: their JSON, their exit codes, what they leave on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import Queue, Worker
from glidemq_core.server.connection import Connection

from .harness import Ran, within

Run = Callable[..., Ran]
GROUP = [
    *["key", "queue", "error_type", "message", "count", "first_ms", "last_ms", "models", "names"],
    *["wasted_cost", "sample"],
]
LETTER = [
    *["queue", "id", "origin", "name", "data", "failed_reason", "attempts_made", "failed_ms", "replays"],
]


async def _fill(connection: Connection) -> None:
    async def process(job: Any) -> None:
        raise ValueError(f"no answer after {job.data['ms']} ms" if "ms" in job.data else "bad request")

    async with (
        Queue("chat", connection) as queue,
        Queue("dead", connection) as dead,
        Worker("chat", process, connection, dead_letter_queue="dead", log_errors=False),
    ):
        for data in ({"ms": 1}, {"ms": 22}, {"api_key": "sk-verysecretvalue123456"}):
            await queue.add("answer", data)

        async def sent() -> bool:
            return await dead.count() == 3

        await eventually(sent)


@pytest.fixture
def failed(server: str) -> str:
    """A server with three failed jobs of `chat`, and their letters in `dead`."""
    within(server, _fill)
    return server


def test_failures_by_cause(run: Run, failed: str) -> None:
    ran = run("failures", "--json")
    assert ran.code == 0
    assert list(ran.object) == ["failures", "jobs_read", "complete", "at_ms"]
    first, second = ran.object["failures"]
    assert list(first) == GROUP
    assert (first["count"], first["queue"], first["error_type"], first["message"]) == (
        2,
        "chat",
        "ValueError",
        "no answer after # ms",
    )
    assert second["message"] == "bad request"
    assert (ran.object["jobs_read"], ran.object["complete"]) == (3, True)

    table = run("failures", "chat")
    assert "ValueError no answer after # ms" in table.out
    assert first["key"] in table.out
    assert run("failures", "chat", "--since", "0s").code == 2
    assert run("failures", "nowhere").code == 1
    assert "looked at" in run("failures", "--limit", "1").err


def test_failures_that_a_filter_takes(run: Run, failed: str) -> None:
    ran = run("failures", "--where", 'error:valueerror error:"no answer" tries>=1 age<1h', "--json").object
    assert [(group["error_type"], group["count"]) for group in ran["failures"]] == [("ValueError", 2)]
    assert (ran["jobs_read"], ran["complete"]) == (3, True)
    assert run("failures", "--where", '!error:"no answer"', "--json").object["failures"][0]["count"] == 1
    assert "no such failures" in run("failures", "--where", "error:nothing").err
    wrong = run("failures", "--where", "a state:failed")
    assert wrong.code == 2
    assert "at character 3: failures have no state; use name, model, error" in " ".join(wrong.err.split())


def test_a_filter_looks_through_all_failures_or_so_many(run: Run, failed: str) -> None:
    some = run("failures", "--where", "error:request", "--scan", "1", "--json").object
    assert (some["jobs_read"], some["complete"], len(some["failures"])) == (1, False, 1)
    words = run("failures", "--where", 'error:"no answer"', "--scan", "1")
    assert words.code == 0
    assert "0 match, looked at 1 of 3: --scan N looks further" in words.err
    assert run("failures", "--scan", "1").code == 2
    assert run("failures", "--where", "x", "--scan", "1", "--limit", "1").code == 2
    assert run("failures", "--where", "error:request", "--limit", "1", "--json").object["jobs_read"] == 1


def test_letters_that_a_filter_takes(run: Run, failed: str) -> None:
    ran = run("dlq", "list", "chat", "--where", 'error:"no answer" ms=22', "--json")
    assert (ran.code, list(ran.object)) == (0, ["letters", "total", "looked"])
    assert [letter["id"] for letter in ran.object["letters"]] == ["2"]
    assert (ran.object["total"], ran.object["looked"]) == (3, 3)
    assert len(run("dlq", "chat", "--where", "tries>=1 age<1h queue:dead", "--json").object["letters"]) == 3
    first = run("dlq", "chat", "--where", "error:answer", "--limit", "1", "--json").object
    assert ([letter["id"] for letter in first["letters"]], first["looked"]) == (["1"], 1)
    assert (
        "1 match, looked at 1 of 3: --limit N lists more"
        in run("dlq", "chat", "--where", "error:answer", "--limit", "1").err
    )
    cut = run("dlq", "chat", "--where", "error:request", "--scan", "2")
    assert cut.code == 0
    assert "0 match, looked at 2 of 3: --scan N looks further" in cut.err
    assert "no such dead letters" in run("dlq", "chat", "--where", "error:none").err
    wrong = run("dlq", "chat", "--where", "cost>1")
    assert wrong.code == 2
    assert "dead letters have no cost; use name, error, queue, id, age, tries" in " ".join(wrong.err.split())
    for words in (["show", "dead:1", "--where", "x"], ["list", "chat", "--scan", "3"]):
        assert run("dlq", *words).code == 2


def test_a_saved_filter_is_used_by_its_name(run: Run, failed: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[filters.letters]\nmine = "error:request"\nold = "colour:red"\n'
        '[filters.failures]\nbad = "error:request"\n[filters.jobs]\nkeyed = "state:failed ms=22"\n'
    )
    assert [one["id"] for one in run("dlq", "chat", "--where", "@mine", "--json").object["letters"]] == ["3"]
    assert [one["count"] for one in run("failures", "--where", "@bad", "--json").object["failures"]] == [1]
    assert [one["id"] for one in run("jobs", "chat", "--where", "@keyed", "--json").object["jobs"]] == ["2"]
    both = run("jobs", "chat", "--where", "@keyed", "--where", "!id:2", "--json").object
    assert both["jobs"] == []
    for words, said in (
        (["jobs", "chat", "--where", "@mine"], "no filter of jobs is called 'mine'; there are keyed"),
        (["jobs", "chat", "--where", "@keyd"], "did you mean keyed?"),
        (["flows", "--where", "@x"], "no filter is saved for flows"),
        (["dlq", "chat", "--where", "@old"], "saved filter '@old', at character 1: 'colour' is no key"),
        (["jobs", "chat", "--where", "@a b"], "letters, digits, - and _ alone"),
        (["jobs", "chat", "--where", "@\x1b[2J"], "letters, digits, - and _ alone"),
    ):
        ran = run(*words)
        assert (ran.code, ran.out) == (2, "")
        assert said in " ".join(ran.err.split())
        assert "\x1b" not in ran.err
    assert run("jobs", "chat", "--where", '"@mine"', "--json").object["jobs"] == []


def test_a_group_is_retried(run: Run, failed: str) -> None:
    key = run("failures", "--json").object["failures"][0]["key"]
    one = run("retry", "chat", "--group", key, "--count", "1", "--json")
    assert (one.code, [result["outcome"] for result in one.object["results"]]) == (0, ["retried"])
    rest = run("retry", "chat", "--group", key, "--json")
    assert [result["outcome"] for result in rest.object["results"]] == ["retried"]
    none = run("retry", "chat", "--group", key, "--json")
    assert (none.code, none.object["results"][0]["outcome"]) == (1, "not_found")
    unknown = run("retry", "nowhere", "--group", key, "--json")
    assert (unknown.code, unknown.object["results"][0]["outcome"]) == (1, "not_found")
    assert run("retry", "chat", "--group", key, "--all-failed").code == 2
    assert run("retry", "chat:1", "--count", "1").code == 2


def test_letters_are_listed_and_shown(run: Run, failed: str) -> None:
    ran = run("dlq", "chat", "--json")
    assert ran.code == 0
    assert list(ran.object) == ["letters", "total", "looked"]
    assert ran.object["total"] == 3
    first, _, last = ran.object["letters"]
    assert list(first) == LETTER
    assert (first["queue"], first["id"], first["origin"]) == ("dead", "1", {"queue": "chat", "id": "1"})
    assert (first["data"], first["failed_reason"]) == ({"ms": 1}, "no answer after 1 ms")
    assert "verysecret" not in str(last)
    assert len(run("dlq", "list", "chat", "--limit", "1", "--json").object["letters"]) == 1

    table = run("dlq", "list", "chat")
    assert "dead:1" in table.out
    assert "chat:1" in table.out
    shown = run("dlq", "show", "dead:1")
    assert "no answer after 1 ms" in shown.out
    assert run("dlq", "show", "chat:1", "--json").object["letter"] == first
    assert "verysecret" not in run("dlq", "show", "dead:3").out
    assert "verysecret" in run("dlq", "show", "dead:3", "--reveal").out


def test_letters_are_replayed_and_discarded(run: Run, failed: str) -> None:
    ran = run("dlq", "replay", "dead:1", "--data", '{"ms": 5}', "--json")
    assert ran.code == 0
    [result] = ran.object["results"]
    assert (result["action"], result["outcome"], result["message"]) == ("replay", "replayed", "as chat:4")
    again = run("dlq", "replay", "dead:1")
    assert (again.code, again.err) == (1, "")
    assert again.out == "dead:1 not found (it may have been replayed or discarded already)\n"
    shown = run("dlq", "show", "dead:1")
    assert (shown.code, shown.out) == (1, "")
    assert "replayed or discarded already" in shown.err

    refused = run("dlq", "discard", "dead:2")
    assert refused.code == 2
    assert "--yes" in refused.err
    gone = run("dlq", "discard", "2", "77", "3", "-q", "dead", "--yes", "--json")
    assert gone.code == 1
    outcomes = [(result["id"], result["outcome"]) for result in gone.object["results"]]
    assert outcomes == [("2", "discarded"), ("77", "not_found"), ("3", "discarded")]
    assert run("dlq", "chat", "--json").object == {"letters": [], "total": 0, "looked": 0}
    audit = run("audit", "chat", "--json").object["entries"]
    assert [entry["action"] for entry in audit] == ["replay"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dlq"], "name one QUEUE"),
        (["dlq", "chat", "other"], "name one QUEUE"),
        (["dlq", "show"], "name at least one letter to show"),
        (["dlq", "replay", "dead:1", "dead:2", "--data", "1"], "--data belongs to one letter"),
        (["dlq", "chat", "--data", "1"], "--data belongs to replay"),
        (["dlq", "replay", "dead:1", "--data", "{"], "--data"),
    ],
)
def test_wrong_words_are_refused(run: Run, failed: str, words: list[str], said: str) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_letters_of_an_unknown_queue_are_not_found(run: Run, failed: str, verb: str) -> None:
    ran = run("dlq", verb, "nowhere:1", "--json", *(["--yes"] if verb == "discard" else []))
    [result] = ran.object["results"]
    assert (ran.code, result["queue"], result["id"], result["outcome"]) == (1, "nowhere", "1", "not_found")
    assert run("dlq", "show", "nowhere:1", "--json").error["type"] == "QueueNotFoundError"


def test_a_job_is_no_letter(run: Run, failed: str) -> None:
    async def add(connection: Connection) -> None:
        await Queue("dead", connection).add("stray", {"no": "letter"})
        await asyncio.sleep(0)

    within(failed, add)
    assert run("dlq", "show", "dead:4").code == 1
    assert run("dlq", "chat", "--json").object["total"] == 3


def test_why(run: Run, failed: str) -> None:
    ran = run("why", "chat:1", "--json")
    assert ran.code == 0
    why = ran.object["why"]
    assert list(why) == ["queue", "job", "state", "blockers", "ahead", "at_ms"]
    assert (why["job"], why["state"]) == ({"queue": "chat", "id": "1"}, "failed")
    [blocker] = why["blockers"]
    assert list(blocker) == ["kind", "summary", "since_ms", "clears_ms", "command"]
    assert (blocker["kind"], blocker["command"]) == ("ended", "glidemq retry chat:1")

    words = run("why", "chat:1").out
    assert "chat:1 is failed" in words
    assert "glidemq retry chat:1" in words
    queue = run("why", "chat", "--json").object["why"]
    assert (queue["job"], queue["state"]) == (None, None)
    assert run("why", "chat:99").code == 1
    assert run("why", "nowhere").code == 1
