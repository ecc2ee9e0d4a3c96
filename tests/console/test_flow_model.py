"""What the flow and limit screens work out from records and time: trees, states, forecasts, meters, typed amounts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from glidemq_console.model.flows import caps_of, flow_state, forecast, suspects, tree_rows
from glidemq_console.model.limits import CELL_MS, CELLS, MeterBook, held_by, is_full, share_of
from glidemq_console.model.snapshot import FlowView
from glidemq_console.screens.flows.text import budget_lines, note_parts
from glidemq_console.text.parse import parse_amount, parse_count, parse_priority, parse_rate, parse_wait
from glidemq_core.options.job import JobRef
from glidemq_core.records import Flow, FlowNode, QueueSnapshot, Rate

from .fixed import NOW, NOW_MS
from .fixed_flows import (
    BLOCKED,
    EXCEEDED,
    FINISHED,
    GRAPH,
    HEALTHY,
    HEALTHY_BUDGET,
    LOW,
    LOW_BUDGET,
    OVER_BUDGET,
    ROOT,
)

# --- trees -------------------------------------------------------------------------------------------------


def test_a_tree_is_laid_out_from_its_root_with_lines_that_join() -> None:
    assert [row.lead + row.node.name for row in tree_rows(LOW)] == [
        "rag",
        "├─ embed",
        "├─ search",
        "├─ generate",
        "│  └─ rerank",
        "└─ publish",
    ]


def test_a_job_that_several_wait_for_stands_once_in_full() -> None:
    rows = [(row.node.name, row.again) for row in tree_rows(GRAPH)]

    assert rows == [
        ("report", False),
        ("parse", False),
        ("fetch", False),
        ("summarise", False),
        ("fetch", True),
    ]
    assert len({row.key for row in tree_rows(GRAPH)}) == len(rows)


def test_a_circle_and_a_very_deep_flow_are_laid_out_too() -> None:
    first = FlowNode(queue="ai", id="1", name="a", state="waiting-children", parents=(JobRef("ai", "2"),))
    second = replace(first, id="2", name="b", parents=(JobRef("ai", "1"),))
    circle = replace(LOW, root=first.ref, nodes=(first, second))
    assert [row.node.name for row in tree_rows(circle)] == ["a", "b", "a"]

    chain = tuple(
        FlowNode(
            queue="ai",
            id=str(n),
            name=str(n),
            state="waiting",
            parents=(JobRef("ai", str(n - 1)),) if n else (),
        )
        for n in range(3_000)
    )
    rows = tree_rows(replace(LOW, root=chain[0].ref, nodes=chain))
    assert len(rows) == 3_000
    assert max(len(row.lead) for row in rows) <= 30


@pytest.mark.parametrize(
    ("flow", "blocked", "word"),
    [
        (HEALTHY, False, "running"),
        (EXCEEDED, False, "parked 1"),
        (BLOCKED, True, "blocked"),
        (BLOCKED, None, "child failed"),
        (BLOCKED, False, "waiting"),
        (FINISHED, None, "completed"),
    ],
)
def test_a_flow_is_in_one_state_as_a_whole(flow, blocked, word) -> None:  # type: ignore[no-untyped-def]  # a table
    assert flow_state(flow, blocked)[1] == word


def test_only_waiting_parents_of_hopeless_children_are_suspects() -> None:
    assert suspects(BLOCKED) == [ROOT]
    assert suspects(LOW) == suspects(FINISHED) == []


# --- budgets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (replace(HEALTHY_BUDGET, tokens_per_min=None, cost_per_hour=None), "no data"),
        (HEALTHY_BUDGET, "steady"),
        (LOW_BUDGET, "runs out in 16s"),
        (replace(LOW_BUDGET, runs_out_at=NOW + timedelta(minutes=3)), "runs out in 3m 00s"),
        (OVER_BUDGET, "exceeded, parked 1"),
        (replace(OVER_BUDGET, parked=()), "exceeded"),
        (replace(OVER_BUDGET, exceeded=False), "parked 1"),
    ],
)
def test_forecasts_are_honest(budget, words) -> None:  # type: ignore[no-untyped-def]  # a table
    assert forecast(budget, NOW_MS)[0] == words


def test_caps_that_do_not_exist_are_not_shown() -> None:
    budget = replace(
        LOW_BUDGET, max_total_cost=None, max_tokens={"output": 500, "input": 0}, max_costs={"total": 1}
    )

    assert [(cap.name, cap.kind, cap.category) for cap in caps_of(budget)] == [
        ("tokens", "add_tokens", None),
        ("output", "add_tokens_by", "output"),
        ("total cost", "add_costs_by", "total"),
    ]


# --- meters ------------------------------------------------------------------------------------------------

FULL = Rate(used=60, max=60, window_ms=60_000, resets_at=NOW + timedelta(seconds=5), source="queue")


def queue(**more: object) -> QueueSnapshot:
    return QueueSnapshot(name="mail", **{"waiting": 3, **more})  # type: ignore[arg-type]  # as given


def test_a_window_is_full_until_it_ends_and_never_without_a_known_cap() -> None:
    assert is_full(FULL, NOW_MS)
    assert not is_full(FULL, NOW_MS + 5_000)
    assert not is_full(replace(FULL, used=59), NOW_MS)
    assert share_of(Rate(used=212)) is None
    assert not is_full(Rate(used=212), NOW_MS)


def test_what_holds_jobs_is_named_only_while_some_wait() -> None:
    row = queue(rpm=FULL, tpm=replace(FULL, used=10), active=4, global_concurrency=4)

    assert held_by(row, NOW_MS) == ("starts", "slots")
    assert held_by(replace(row, waiting=0), NOW_MS) == ()


def test_history_keeps_the_highest_use_of_each_cell_and_the_time_it_was_full() -> None:
    book = MeterBook()
    start = NOW_MS // CELL_MS * CELL_MS
    for step, used in enumerate((10, 60, 20, 5)):
        # One look every five seconds; the window is full at the second.
        now = start + step * 5_000
        book.note([queue(rpm=replace(FULL, used=used, resets_at=None))], now)

    history = book.meters(["mail"], start + 15_000)["mail"].rpm
    assert history.cells[-2:] == (60, 5)
    assert len(history.cells) == CELLS
    assert (history.blocked_ms, history.watched_ms) == (5_000, 15_000)


def test_history_claims_nothing_about_time_nobody_looked() -> None:
    book = MeterBook()
    book.note([queue(rpm=FULL)], NOW_MS)
    book.note([queue(rpm=FULL)], NOW_MS + 600_000)

    history = book.meters(["mail"], NOW_MS + 600_000)["mail"].rpm
    assert (history.blocked_ms, history.watched_ms) == (0, 0)
    assert sum(value is not None for value in history.cells) == 2
    book.forget(["mail"])
    assert book.meters(["mail"], NOW_MS) == {}


def test_queues_without_limits_keep_no_history() -> None:
    book = MeterBook()
    book.note([queue()], NOW_MS)

    assert book.meters(["mail"], NOW_MS) == {}


# --- what is typed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("60", (60, 60_000)),
        (" 1,000 / h ", (1000, 3_600_000)),
        ("30/10s", (30, 10_000)),
        ("5 per 500ms", (5, 500)),
    ],
)
def test_rates_are_read(text: str, value: tuple[int, int]) -> None:
    assert parse_rate(text) == value


@pytest.mark.parametrize(
    "text", ["", "0", "-3", "x", "60/", "60/0s", "1.5", "60/2d", "9" * 20, "６０", "60/s/s"]
)
def test_what_is_no_rate_is_told(text: str) -> None:
    assert isinstance(parse_rate(text), str)


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("+5k", 5_000), ("0.25", 0.25), ("1,000", 1_000), ("2M", 2e6)]
)
def test_amounts_are_read(text: str, value: float) -> None:
    assert parse_amount(text) == value


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e99", "k", "5 apples"])
def test_what_is_no_amount_is_told(text: str) -> None:
    assert isinstance(parse_amount(text), str)


def test_counts_are_whole_and_positive() -> None:
    assert parse_count(" 1,000 ") == 1_000
    assert all(isinstance(parse_count(text), str) for text in ("", "0", "-1", "2.5", "many"))


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        ("0", 0),
        ("30s", 30_000),
        (" 5 m ", 300_000),
        ("1.5h", 5_400_000),
        ("2d", 172_800_000),
        ("250ms", 250),
    ],
)
def test_waits_that_people_type(text: str, wait_ms: int) -> None:
    assert parse_wait(text) == wait_ms


@pytest.mark.parametrize("text", ["", "soon", "5", "-1s", "1e9d", "99999d", "3s 5 min", "٥s"])
def test_waits_that_mean_nothing_are_told(text: str) -> None:
    assert isinstance(parse_wait(text), str)


@pytest.mark.parametrize(("text", "priority"), [("0", 0), ("7", 7), ("2048", 2048), ("2,048", 2048)])
def test_priorities_that_people_type(text: str, priority: int) -> None:
    assert parse_priority(text) == priority


@pytest.mark.parametrize("text", ["", "-1", "2049", "high", "1.5"])
def test_priorities_that_mean_nothing_are_told(text: str) -> None:
    assert isinstance(parse_priority(text), str)


def test_a_flow_whose_jobs_are_all_parked_is_not_told_to_burn() -> None:
    def burning(flow: Flow) -> str:
        lines = budget_lines(FlowView(ref=flow.root, flow=flow, at_ms=NOW_MS), NOW_MS, narrow=False)
        return next(
            "".join(part.text for part in line) for line in lines if line[0].text.startswith("burning")
        )

    def running(node: FlowNode) -> FlowNode:
        return replace(node, state="active") if node.name == "generate" else node

    assert burning(EXCEEDED).endswith("nothing while its jobs are parked")
    assert "tok/min" in burning(replace(EXCEEDED, nodes=tuple(running(node) for node in EXCEEDED.nodes)))


@pytest.mark.parametrize(("truncated", "words"), [(False, "waits for 1"), (True, "waits for 1 or more")])
def test_a_part_of_a_flow_does_not_claim_to_count_all_that_is_waited_for(truncated: bool, words: str) -> None:
    parent = FlowNode(queue="ai", id="1", name="a", state="waiting-children")
    child = FlowNode(queue="ai", id="2", name="b", state="waiting", parents=(parent.ref,))
    flow = replace(LOW, root=parent.ref, nodes=(parent, child), truncated=truncated)
    view = FlowView(ref=parent.ref, flow=flow, at_ms=NOW_MS)

    assert note_parts(parent, view, {parent.ref: (child,)})[0].text == words
