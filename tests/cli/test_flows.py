"""`flow` and `budget`: a flow as a tree, what it may spend, topping it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import Budget, DagNode, FlowJob, FlowProducer, Queue, UnrecoverableError
from glidemq_core.job import Job
from glidemq_core.server.connection import Connection
from glidemq_core.worker.worker import Worker

from .harness import Ran, through_a_pty, within, words

Run = Callable[..., Ran]
FLOW = words("root kind nodes counts removed usage budget truncated")
NODE = words(
    "queue id name state depth parents parked attempts_made fallback_index model total_tokens total_cost"
    " created_ms processed_ms finished_ms failed_reason removed"
)
BUDGET = words(
    "flow max_total_tokens max_tokens token_weights max_total_cost max_costs cost_unit on_exceeded used_tokens"
    " used_cost used_tokens_by used_costs_by left_tokens left_cost exceeded parked tokens_per_min"
    " cost_per_hour runs_out_ms"
)
TOP_UP = words("preview before after still_exceeded released")
TOTALS = words("job_count tokens total_tokens costs total_cost cost_unit models")


async def spend(job: Job[Any, Any]) -> int:
    """Spend 100 tokens a step; the root spends nothing, `broken` fails."""
    if job.name == "broken":
        raise UnrecoverableError("boom")
    if job.name != "rag":
        await job.report_usage(model="gpt-5.4", tokens={"input": 100}, costs={"total": 0.5}, cost_unit="usd")
    return 1


def make(url: str, budget: Budget | None, *names: str, until: Callable[[dict[str, int]], bool]) -> None:
    """Add a flow `rag:1` whose steps run one by one in queue `work`, and let it run until a moment."""

    async def body(connection: Connection) -> None:
        steps = [FlowJob(name, "work", {"step": name}) for name in names]
        async with FlowProducer(connection) as producer:
            await producer.add(FlowJob("rag", "rag", None, None, steps), budget=budget)
        source: Queue[Any, Any] = Queue("work", connection)

        async def reached() -> bool:
            found = await source.get_job_counts()
            return until({"completed": found.completed, "failed": found.failed, "delayed": found.delayed})

        async with Worker("work", spend, connection, log_errors=False, concurrency=1):
            await eventually(reached)

    within(url, body)


@pytest.fixture
def parked(server: str) -> str:
    """A flow of three steps with a budget of 150 tokens: two ran, the third is parked."""
    budget = Budget(max_total_tokens=150, max_tokens={"input": 1_000}, cost_unit="usd", on_exceeded="pause")
    make(server, budget, "embed", "search", "generate", until=lambda n: n["completed"] + n["delayed"] == 3)
    return server


@pytest.fixture
def free(server: str) -> str:
    """A flow without a budget, one of whose two steps failed."""
    make(server, None, "embed", "broken", until=lambda n: n["completed"] + n["failed"] == 2)
    return server


def audit_of(run: Run) -> list[Any]:
    entries: list[Any] = run("audit", "rag", "--json").object["entries"]
    return entries


def test_flow_has_exactly_the_keys(run: Run, parked: str) -> None:
    ran = run("flow", "work:2", "--json")
    assert ran.code == 0
    assert list(ran.object) == ["flow"]
    flow = ran.object["flow"]
    assert list(flow) == FLOW
    assert (flow["root"], flow["kind"], flow["truncated"]) == ({"queue": "rag", "id": "1"}, "tree", False)
    for node in flow["nodes"]:
        assert list(node) == NODE
    assert [node["depth"] for node in flow["nodes"]] == [0, 1, 1, 1]
    assert flow["counts"] == {"waiting-children": 1, "completed": 2, "delayed": 1}
    assert [node["parked"] for node in flow["nodes"]] == [False, False, False, True]
    assert flow["nodes"][1]["parents"] == [{"queue": "rag", "id": "1"}]
    assert (flow["nodes"][1]["model"], flow["nodes"][1]["total_tokens"]) == ("gpt-5.4", 100)
    assert list(flow["usage"]) == TOTALS
    assert flow["usage"]["total_tokens"] == 200
    assert list(flow["budget"]) == BUDGET
    assert flow["budget"]["parked"] == [{"queue": "work", "id": "3"}]


def test_flow_from_any_member_is_the_same_flow(run: Run, free: str) -> None:
    shown = [run("flow", name, "--json").object["flow"]["nodes"] for name in ("rag:1", "work:1", "work:2")]
    assert shown[0] == shown[1] == shown[2]
    assert run("flow", "1", "-q", "work", "--json").object["flow"]["nodes"] == shown[0]


def test_depth_and_max_nodes_cut_and_say_so(run: Run, free: str) -> None:
    flow = run("flow", "rag:1", "--depth", "0", "--json").object["flow"]
    assert [node["name"] for node in flow["nodes"]] == ["rag"]
    assert flow["truncated"] is True
    assert flow["counts"] == {"waiting-children": 1, "completed": 1, "failed": 1}
    assert run("flow", "rag:1", "--depth", "1", "--json").object["flow"]["truncated"] is False
    few = run("flow", "rag:1", "--max-nodes", "2", "--json").object["flow"]
    assert len(few["nodes"]) == 2
    assert few["truncated"] is True
    assert "only 2 jobs shown" in run("flow", "rag:1", "--max-nodes", "2").err


def test_flow_for_people_names_who_is_in_the_way(run: Run, parked: str) -> None:
    text = run("flow", "rag:1").out
    assert "└─ generate work:3" in text
    assert "parked: the budget is used up" in text
    assert "200 of 150 used (133 %)" in text
    assert "exceeded, parked 1: work:3" in text


def test_a_stuck_parent_is_told_with_its_culprit(run: Run, free: str) -> None:
    text = run("flow", "rag:1").out
    assert "waits for ever for work:2: failed or gone" in text
    assert "✗ failed" in text
    assert "boom" in text


def test_a_dag_draws_a_shared_job_once(run: Run, server: str) -> None:
    async def add(connection: Connection) -> None:
        async with FlowProducer(connection) as producer:
            await producer.add_dag(
                [
                    DagNode("fetch", "dag", {}),
                    DagNode("left", "dag", {}, None, ["fetch"]),
                    DagNode("right", "dag", {}, None, ["fetch"]),
                    DagNode("join", "dag", {}, None, ["left", "right"]),
                ]
            )

    within(server, add)
    flow = run("flow", "dag:1", "--json").object["flow"]
    assert flow["kind"] == "dag"
    assert len(flow["nodes"]) == 4
    text = run("flow", "dag:1").out
    assert text.count("fetch") == 2
    assert text.count("(above)") == 1


def test_a_job_alone_is_a_flow_of_one(run: Run, server: str) -> None:
    run("add", "chat", "answer")
    flow = run("flow", "chat:1", "--json").object["flow"]
    assert (flow["kind"], flow["budget"], len(flow["nodes"])) == ("single", None, 1)


@pytest.mark.parametrize("command", ["flow", "budget"])
def test_unknown_jobs_are_exit_1(run: Run, server: str, command: str) -> None:
    for line in (("nowhere:1",), ("1",), ("rag:\x1b[31m\n7",)):
        ran = run(command, *line, "--json")
        assert ran.code == 1
        assert ran.out == ""
        assert ran.error["exit_code"] == 1
        assert "\x1b" not in ran.err
    assert run(command, "chat:", "--json").code == 2


@pytest.mark.parametrize("bad", [("--depth", "-1"), ("--max-nodes", "0"), ("--max-nodes", "nan")])
def test_bad_bounds_of_a_flow_are_usage(run: Run, server: str, bad: tuple[str, str]) -> None:
    assert run("flow", "chat:1", *bad, "--json").error["type"] == "UsageError"


def test_names_of_jobs_cannot_write_to_the_terminal(run: Run, server: str) -> None:
    run("add", "chat", "evil\x1b]0;owned\x07\nline", "--data", "{}")
    text = run("flow", "chat:1").out
    assert "\x1b" not in text
    assert "\x07" not in text
    assert len([line for line in text.splitlines() if "evil" in line]) == 1


def test_budget_is_shown(run: Run, parked: str) -> None:
    ran = run("budget", "work:1", "--json")
    assert ran.code == 0
    assert list(ran.object) == ["budget"]
    budget = ran.object["budget"]
    assert list(budget) == BUDGET
    assert budget["flow"] == {"queue": "rag", "id": "1"}
    assert (budget["max_total_tokens"], budget["used_tokens"], budget["left_tokens"]) == (150, 200, 0)
    assert (budget["max_tokens"], budget["used_tokens_by"]) == ({"input": 1_000}, {"input": 200})
    assert (budget["max_total_cost"], budget["left_cost"], budget["used_cost"]) == (None, None, 1)
    assert (budget["exceeded"], budget["on_exceeded"]) == (True, "pause")
    assert budget["parked"] == [{"queue": "work", "id": "3"}]
    text = run("budget", "rag:1").out
    assert "$1.00 used, no cap" in text
    assert "jobs are parked" in text


def test_no_budget_is_exit_1(run: Run, free: str) -> None:
    ran = run("budget", "work:1", "--json")
    assert ran.code == 1
    assert ran.error["type"] == "BudgetNotFoundError"
    assert run("budget", "work:1", "--add-tokens", "5", "--yes", "--json").code == 1


def test_a_preview_changes_nothing_and_does_not_ask(run: Run, parked: str) -> None:
    before = run("budget", "rag:1", "--json").object["budget"]["max_total_tokens"]
    ran = run("budget", "work:2", "--add-tokens", "100", "--preview", "--json")
    assert ran.code == 0
    assert list(ran.object) == ["top_up"]
    told = ran.object["top_up"]
    assert list(told) == TOP_UP
    assert list(told["before"]) == list(told["after"]) == BUDGET
    assert (told["preview"], told["still_exceeded"]) == (True, False)
    assert (told["before"]["max_total_tokens"], told["after"]["max_total_tokens"]) == (150, 250)
    assert told["released"] == [{"queue": "work", "id": "3"}]
    assert run("budget", "rag:1", "--json").object["budget"]["max_total_tokens"] == before == 150
    assert run("budget", "rag:1", "--add-tokens", "1", "--preview", "--read-only", "--json").code == 1
    assert "1 job would go on: work:3" in run("budget", "rag:1", "--add-tokens", "100", "--preview").out
    assert audit_of(run) == []


def test_a_top_up_asks_before_it_does_anything(run: Run, parked: str) -> None:
    ran = run("budget", "rag:1", "--add-tokens", "100", "--json")
    assert ran.code == 2
    assert "--yes" in ran.error["message"]
    assert run("budget", "rag:1", "--json").object["budget"]["max_total_tokens"] == 150
    code, seen = through_a_pty("budget", "rag:1", "--add-tokens", "100", typed=b"n\n")
    assert code == 1
    assert b"1 job would go on" in seen
    assert run("budget", "rag:1", "--json").object["budget"]["max_total_tokens"] == 150
    code, seen = through_a_pty("budget", "rag:1", "--add-tokens", "100", typed=b"y\n")
    assert code == 0
    assert run("budget", "rag:1", "--json").object["budget"]["max_total_tokens"] == 250


def test_a_top_up_releases_the_parked_and_is_audited(run: Run, parked: str) -> None:
    line = ("--add-tokens", "100", "--yes", "--by", "ada", "--comment", "release day", "--json")
    told = run("budget", "work:3", *line)
    assert told.code == 0
    assert told.object["top_up"]["released"] == [{"queue": "work", "id": "3"}]
    assert told.object["top_up"]["after"]["parked"] == []
    assert run("job", "work:3", "--json").object["job"]["state"] == "waiting"
    [entry] = audit_of(run)
    assert (entry["by"], entry["via"], entry["comment"]) == ("ada", "cli", "release day")
    assert (entry["action"], entry["job_ids"]) == ("top_up_budget", ["1"])


def test_a_top_up_below_what_is_used_stays_exceeded(run: Run, parked: str) -> None:
    ran = run("budget", "rag:1", "--add-tokens", "10", "--yes", "--json")
    assert ran.code == 1
    told = ran.object["top_up"]
    assert (told["still_exceeded"], told["released"], told["after"]["exceeded"]) == (True, [], True)
    assert ran.err == ""
    shown = run("budget", "rag:1", "--add-tokens", "0", "--yes")
    assert shown.code == 1
    assert "stays exceeded: tokens 200 used of 160" in shown.out


def test_no_release_leaves_jobs_parked(run: Run, parked: str) -> None:
    told = run("budget", "rag:1", "--add-tokens", "100", "--no-release", "--yes", "--json").object["top_up"]
    assert (told["still_exceeded"], told["released"]) == (False, [])
    assert told["after"]["parked"] == [{"queue": "work", "id": "3"}]


def test_categories_are_raised_and_missing_caps_are_told(run: Run, parked: str) -> None:
    line = ("--add-tokens-for", "input=500", "--add-tokens-for", "output=5", "--add-cost-for", "total=1.5")
    ran = run("budget", "rag:1", *line, "--add-cost", "2", "--yes", "--json")
    assert ran.code == 1
    assert ran.object["top_up"]["after"]["max_tokens"] == {"input": 1_500}
    assert ran.object["top_up"]["after"]["max_total_cost"] is None
    assert ran.err.splitlines() == [
        "--add-cost: the budget has no cap on cost in all, none was made",
        "--add-tokens-for: the budget has no cap on tokens of 'output', none was made",
        "--add-cost-for: the budget has no cap on cost of 'total', none was made",
    ]


def test_retry_failed_runs_again_what_the_budget_stopped(run: Run, server: str) -> None:
    make(
        server,
        Budget(max_total_tokens=50),
        "embed",
        "search",
        until=lambda n: n["completed"] + n["failed"] == 2,
    )
    line = ("budget", "rag:1", "--add-tokens", "500", "--retry-failed", "--yes", "--json")
    assert run(*line).object["top_up"]["released"] == [{"queue": "work", "id": "2"}]
    assert run("job", "work:2", "--json").object["job"]["state"] in ("waiting", "delayed")


@pytest.mark.parametrize(
    "bad",
    [
        ("--add-tokens", "-5"),
        ("--add-tokens", "nan"),
        ("--add-tokens", "inf"),
        ("--add-tokens", "1e400"),
        ("--add-tokens", "1_000"),
        ("--add-tokens", "many"),
        ("--add-cost", "-0.01"),
        ("--add-cost", "NaN"),
        ("--add-tokens-for", "input"),
        ("--add-tokens-for", "=5"),
        ("--add-tokens-for", "input=-5"),
        ("--add-tokens-for", "in\x1bput=5"),
        ("--add-cost-for", "total=nan"),
        ("--add-cost-for", "a=1", "--add-cost-for", "a=2"),
        ("--no-release",),
    ],
)
def test_bad_amounts_are_refused_and_nothing_is_written(run: Run, parked: str, bad: tuple[str, ...]) -> None:
    ran = run("budget", "rag:1", *bad, "--yes", "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert "\x1b" not in ran.err
    assert ran.error["type"] == "UsageError"
    assert run("budget", "rag:1", "--json").object["budget"]["max_total_tokens"] == 150
    assert audit_of(run) == []


def test_read_only_tops_nothing_up(run: Run, parked: str) -> None:
    assert run("budget", "rag:1", "--json", "--read-only").code == 0
    assert run("budget", "rag:1", "--add-tokens", "500", "--yes", "--json", "--read-only").code == 4
    assert run("budget", "rag:1", "--json").object["budget"]["max_total_tokens"] == 150


def test_other_jobs_of_the_queue_are_left_out(run: Run, server: str) -> None:
    """A job that shares only its queue with a flow is no part of it."""
    make(server, None, "embed", until=lambda n: n["completed"] == 1)
    run("add", "work", "alone", "--id", "9")
    names = [n["id"] for n in run("flow", "work:1", "--json").object["flow"]["nodes"]]
    assert names == ["1", "1"]
