"""Benchmarks are run by hand; what compares and reports them is checked here."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import gate, report
from benchmarks.__main__ import BENCHMARKS, HERE

COSTS: dict[str, Any] = {
    "server_us": {"1": 100.0, "50": 25.0},
    "client_us": {"1": 180.0, "50": 20.0},
    "added_us": {"retention": 6.0, "budget": -0.5},
    "reference_us": {"server": 50.0, "client": 10.0},
    "reach": {
        "server_us": {"1": 100, "50": 25},
        "client_us": {"1": 180},
        "added_us": {"retention": 6, "budget": 15},
    },
}
RESULTS: dict[str, Any] = {
    "server_time": COSTS,
    "worker": {"rows": [{"what": "bulk add", "ratio_median": 3.0}]},
}
PEER: dict[str, Any] = {
    "version": "1.0",
    "without": "no record",
    **{
        key: {"1": 10.0, "10": 20.0, "50": 1_000.0, "200": 40.0}
        for key in ("per_s", "client_us", "server_us")
    },
    "memory_mb": {"1": 40.0, "50": 50.0},
    "latency": {"p50_ms": 1.0, "p99_ms": 2.0},
}


def test_every_benchmark_of_the_list_is_there() -> None:
    assert [name for name in BENCHMARKS if not (HERE / f"{name}.py").exists()] == []


def test_the_gate_compares_costs_and_ratios() -> None:
    found = {name: (value, more) for name, value, more in gate.figures(RESULTS)}
    assert found["server at 50, in references"] == (0.5, False)
    assert found["client at 50, in references"] == (2.0, False)
    assert found["server at 50 with budget, in references"] == (0.49, False)
    assert found["ratio: bulk add"] == (3.0, True)


@pytest.mark.parametrize(
    ("value", "more", "fails"),
    [(114, False, False), (116, False, True), (50, False, False), (86, True, False), (84, True, True)],
)
def test_the_gate_fails_beyond_fifteen_percent(value: float, more: bool, fails: bool) -> None:
    assert bool(gate.worse("x", value, 100.0, more)) is fails


def test_what_jobs_cost_and_other_queues_stand_in_the_page() -> None:
    stamp = {"at": "2026-11-29T00:00:00+00:00", "load": 0.5}
    systems = {"glidemq": PEER, "other": {**PEER, "per_s": {"1": 1.0, "10": 2.0, "50": 250.0, "200": 4.0}}}
    page = report.render({"server_time": {**COSTS, **stamp}, "peers": {"systems": systems, **stamp}})
    assert "| time of the server for a no-op job, concurrency 50 | 25 µs | 25 µs |" in page
    assert "| for comparison: a script of 40 fixed commands, time of the server | 50 µs |" in page
    assert "| other 1.0 | 1 / 2 / 250 / 4 | 1.0, 2.0 ms | 50 MB |" in page
    assert f"other            {'█' * 10} 250" in page
