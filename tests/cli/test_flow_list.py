"""`flows`: which are listed, what a filter takes of them, its JSON."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glidemq_core import FlowJob, FlowProducer
from glidemq_core.server.connection import Connection

from .harness import Ran, within
from .test_flows import FLOW, make

Run = Callable[..., Ran]


async def _add(connection: Connection) -> None:
    async with FlowProducer(connection) as producer:
        for number in range(3):
            await producer.add(FlowJob(f"report{number}", "desk", {}, children=[FlowJob("read", "idle", {})]))


@pytest.fixture
def server_with_flows(server: str) -> str:
    """One flow of which a step has failed, and three that wait."""
    make(server, None, "embed", "broken", until=lambda n: n["completed"] + n["failed"] == 2)
    within(server, _add)
    return server


def test_flows_are_listed(run: Run, server_with_flows: str) -> None:
    ran = run("flows", "--json")
    assert (ran.code, list(ran.object)) == (0, ["flows", "looked", "complete", "at_ms"])
    assert all(list(flow) == FLOW for flow in ran.object["flows"])
    roots = [(flow["root"]["queue"], flow["nodes"][0]["name"]) for flow in ran.object["flows"]]
    assert sorted(roots) == [("desk", "report0"), ("desk", "report1"), ("desk", "report2"), ("rag", "rag")]
    assert (ran.object["looked"], ran.object["complete"]) == (4, True)
    some = run("flows", "desk", "--limit", "2", "--json").object
    assert (len(some["flows"]), some["complete"]) == (2, False)

    table = run("flows")
    assert "FLOW" in table.out
    assert "rag:1" in table.out
    assert "child failed" in table.out
    assert "--limit N lists more" in run("flows", "--limit", "2").err


def test_a_filter_takes_flows(run: Run, server_with_flows: str) -> None:
    def roots(*words: str) -> list[str]:
        found = run("flows", "--where", *words, "--json").object
        return sorted(flow["nodes"][0]["name"] for flow in found["flows"])

    assert roots("state:blocked,failed") == ["rag"]
    assert roots("error:boom cost>0.1 model:gpt*") == ["rag"]
    assert roots("name:report* !report1 age<1h") == ["report0", "report2"]
    assert roots("queue:desk tokens:0") == ["report0", "report1", "report2"]
    assert roots("id:1 queue:rag") == ["rag"]
    cut = run("flows", "--where", "name:report", "--limit", "1", "--json").object
    assert (len(cut["flows"]), cut["complete"]) == (1, False)
    looked = run("flows", "--where", "name:none", "--scan", "2", "--json").object
    assert (looked["flows"], looked["looked"], looked["complete"]) == ([], 2, False)
    assert "no such flows" in run("flows", "--where", "name:none").err


def test_what_makes_no_sense_is_refused(run: Run, server_with_flows: str) -> None:
    wrong = run("flows", "--where", "a tries>1")
    assert (wrong.code, wrong.out) == (2, "")
    assert "at character 3: flows have no tries; use state, name, model" in " ".join(wrong.err.split())
    assert run("flows", "--scan", "2").code == 2
    assert run("flows", "nowhere").code == 1


def test_without_flows_that_is_said(run: Run, server: str) -> None:
    assert "no flows" in run("flows").err
    assert run("flows", "--json").object["flows"] == []
