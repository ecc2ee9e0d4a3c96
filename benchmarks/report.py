"""Turn results into the tables of `docs/performance.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

BEGIN, END = "<!-- results: make bench -->", "<!-- end of results -->"

Row = tuple[str, str, str]


_ADDED = {
    "retention": "keeping the newest 100",
    "ordering": "an ordering key",
    "parent": "a parent",
    "ledger": "a ledger",
    "budget": "a budget",
}


def _worker(result: dict[str, Any]) -> Iterator[Row]:
    for row in result["rows"]:
        ours, theirs = row["glidemq"], row["bullmq"]
        measured = (
            f"{ours['best']:,}/s beside {theirs['best']:,}/s: **{row['ratio']:g}x** "
            f"(medians {ours['median']:,} and {theirs['median']:,}: {row['ratio_median']:g}x)"
        )
        yield f"{row['what']}, {row['jobs']:,} jobs, beside {result['peer']}", measured, f"{row['reach']:g}x"


def _server_time(result: dict[str, Any]) -> Iterator[Row]:
    for side, what in (("server_us", "time of the server"), ("client_us", "CPU time of the worker")):
        for level, cost in result[side].items():
            reach = result["reach"][side].get(level)
            yield (
                f"{what} for a no-op job, concurrency {level}",
                f"{cost:g} µs",
                f"{reach:g} µs" if reach else "",
            )
    for kind, cost in result["added_us"].items():
        reach = f"{result['reach']['added_us'][kind]:g} µs"
        yield f"what {_ADDED[kind]} adds to the server's time for a job", f"{cost:g} µs", reach
    reference = result["reference_us"]
    yield (
        "for comparison: a script of 40 fixed commands, time of the server",
        f"{reference['server']:g} µs",
        "",
    )
    yield (
        "for comparison: a `PING` by the driver alone, CPU time of the client",
        f"{reference['client']:g} µs",
        "",
    )


def _idle(result: dict[str, Any]) -> Iterator[Row]:
    got, reach = result["idle_to_started"], result["reach"]
    yield (
        "idle to started: `add` on an idle queue until the processor runs",
        f"p50 {got['p50_ms']:g} ms, p99 {got['p99_ms']:g} ms",
        f"{reach['p50_ms']:g} ms, {reach['p99_ms']:g} ms",
    )


def _million(result: dict[str, Any]) -> Iterator[Row]:
    reach = result["reach"]
    yield (
        f"memory of a worker through {result['jobs']:,} jobs",
        f"{result['first_memory_mb']:g} MB after a tenth, {result['last_memory_mb']:g} MB at the end",
        f"{reach['memory_growth_percent']:g} % more",
    )
    yield (
        "its rate",
        f"{result['first_per_s']:,}/s at the start, {result['last_per_s']:,}/s at the end",
        f"{-reach['rate_change_percent']:g} % less",
    )


def _idle_workers(result: dict[str, Any]) -> Iterator[Row]:
    yield (
        f"{result['workers']} idle workers of one queue",
        f"{result['percent_of_a_core']:g} % of a core of the server, {result['commands_per_s']:g} commands/s",
        f"{result['reach']['percent_of_a_core']:g} %",
    )


def _streaming(result: dict[str, Any]) -> Iterator[Row]:
    reach, way = result["reach"], result["to_reader"]
    for key, what in (("one_by_one_per_s", "awaited one by one"), ("gathered_per_s", "gathered")):
        yield f"tokens from a job to a reader, {what}", f"{result[key]:,}/s", f"{reach[key]:,}/s"
    yield (
        "a token's way from `job.stream` to the reader's hand",
        f"p50 {way['p50_ms']:g} ms, p99 {way['p99_ms']:g} ms",
        f"p50 {reach['p50_ms']:g} ms",
    )


def _usage(result: dict[str, Any]) -> Iterator[Row]:
    report = result["report"]
    measured = f"{result['round_trips']:g} (p50 {report['p50_ms']:g} ms)"
    yield "round trips of one `report_usage`", measured, f"{result['reach']['round_trips']:g}"


def _budget(result: dict[str, Any]) -> Iterator[Row]:
    rate, without = result["with"]["best"], result["without"]["best"]
    measured = f"{result['adds_percent']:g} % ({rate:,}/s beside {without:,}/s without)"
    yield f"what a budget adds to a no-op job of a flow of {result['jobs']:,}", measured, "5 %"


def _overview(result: dict[str, Any]) -> Iterator[Row]:
    for jobs, cost in result["jobs"].items():
        yield (
            f"one overview refresh, {result['queues']} queues with {int(jobs):,} jobs",
            f"{cost['ms']:g} ms, {cost['commands']:g} commands",
            "the same at any number",
        )


def _cluster(result: dict[str, Any]) -> Iterator[Row]:
    reach = result["reach"]["dearest_percent"]
    for size, got in result["primaries"].items():
        alone = int(size) == 1
        costs = ", ".join(f"{cost:g}" for cost in got["server_us"])
        yield (
            f"{result['queues']} queues with a worker each on {size} {'primary' if alone else 'primaries'}",
            f"{got['per_s']:,}/s; time of the server for a job, on each: {costs} µs",
            "" if alone else f"{reach} % more than on one",
        )


def _console_million(result: dict[str, Any]) -> Iterator[Row]:
    for jobs, got in result["jobs"].items():
        yield (
            f"console on {result['queues']:,} queues with {int(jobs):,} jobs, after its first minute",
            f"{got['commands_per_s']:g} commands/s, {got['server_percent']:g} % of a core of the server, "
            f"{got['cpu_percent']:g} % of its own",
            f"{result['reach']['commands_per_s']} commands/s, the same at any number",
        )


def _terminal(result: dict[str, Any]) -> Iterator[Row]:
    size, reach = result["size"], result["reach"]

    def load(case: str) -> tuple[str, str]:
        got, wanted = result[case], reach[case]
        return (
            f"{got['bytes_per_s'] / 1_000:.1f} KB/s, {got['cpu_percent']:g} % of a core",
            f"{wanted['bytes_per_s'] / 1_000:g} KB/s, {wanted['cpu_percent']:g} %",
        )

    def keys(case: str) -> tuple[str, str]:
        got, wanted = result[case], reach[case]
        return (
            f"p50 {got['key_p50_ms']:g} ms, p95 {got['key_p95_ms']:g} ms",
            f"p95 {wanted['key_p95_ms']:g} ms",
        )

    got = result["first_frame"]
    yield (
        f"console at {size}: command to first frame, median of {len(got['runs_ms'])}",
        f"{got['median_ms']:g} ms, {got['cpu_ms']:g} ms of a core",
        f"{reach['first_frame']['median_ms']:g} ms",
    )
    yield f"console at {size}: idle on {result['idle']['queues']} queues", *load("idle")
    got = result["tokens"]
    yield f"console at {size}: {got['panes']} panes of {got['tokens_per_s']:,} tokens/s", *load("tokens")
    for case, what in (
        ("streams", "on Streams, {queues:,} queues known, {tokens_per_s:,} tokens/s"),
        ("queues", "on {queues:,} queues, {tokens_per_s:,} tokens/s elsewhere"),
        ("slow_link", "over {link_bytes_per_s:,} bytes/s, {tokens_per_s:,} tokens/s"),
    ):
        yield f"console at {size}: key to paint {what.format(**result[case])}", *keys(case)


def _long_calls(result: dict[str, Any]) -> Iterator[Row]:
    for name, case in result["cases"].items():
        what = f"longest call of {name.replace('_', ' ')}, {result['stored']:,} jobs or keys"
        yield what, f"{case['longest_ms']:g} ms (`{case['call']}`)", f"{result['reach']['longest_ms']} ms"


def _search(result: dict[str, Any]) -> Iterator[Row]:
    yield (
        f"exact vector search, {result['vectors']:,} vectors of {result['dimensions']} numbers",
        f"{result['query_ms']:g} ms, with a filter {result['filtered_ms']:g} ms",
        "",
    )


def _other(result: dict[str, Any]) -> Iterator[Row]:
    reach = result.get("reach", {})
    for key, value in result.items():
        if key not in ("benchmark", "reach", "at", "load"):
            name = f"{result['benchmark'].replace('_', ' ')}: {key.replace('_', ' ')}"
            yield name, str(value), str(reach.get(key, ""))


_ROWS: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {
    "worker": _worker,
    "server_time": _server_time,
    "million": _million,
    "idle": _idle,
    "idle_workers": _idle_workers,
    "streaming": _streaming,
    "usage": _usage,
    "budget": _budget,
    "cluster": _cluster,
    "overview": _overview,
    "terminal": _terminal,
    "console_million": _console_million,
    "long_calls": _long_calls,
    "search": _search,
}


def render(results: dict[str, dict[str, Any]]) -> str:
    """Write all results as one table, with when they were measured and how busy the machine was."""
    lines = ["| What | Measured | To reach |", "|---|---|---|"]
    for name, result in results.items():
        if name == "peers":
            continue  # a table of its own
        lines += [
            f"| {what} | {measured} | {reach} |" for what, measured, reach in _ROWS.get(name, _other)(result)
        ]
    if results:
        days = sorted({result["at"][:10] for result in results.values()})
        loads = [result["load"] for result in results.values()]
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        lines += [
            "",
            f"Measured {when} on a machine with 2 cores that server and clients share; load average at the end of "
            f"each benchmark {min(loads):.1f} to {max(loads):.1f}.",
        ]
    if "peers" in results:
        lines += ["", *_peers(results["peers"]["systems"])]
    return "\n".join(lines)


def _peers(systems: dict[str, Any]) -> Iterator[str]:
    """Table and chart of other task queues, each at its defaults."""
    levels = list(systems["glidemq"]["per_s"])
    yield (
        f"Other task queues, no-op jobs, each at its defaults; where four numbers stand, at {', '.join(levels[:-1])} "
        f"and {levels[-1]} jobs at once:"
    )
    yield ""
    yield (
        "| System | Jobs/s | Idle to started, p50 and p99 | Memory | CPU of the worker, a job | "
        "CPU of the server, a job | What it does not do |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, system in systems.items():
        latency, memory = system["latency"], max(system["memory_mb"].values())
        started = f"{latency['p50_ms']:.1f}, {latency['p99_ms']:.1f} ms"
        yield (
            f"| {name} {system['version']} | {_levels(system['per_s'])} | {started}"
            f" | {memory:.0f} MB | {_levels(system['client_us'])} µs | {_levels(system['server_us'])} µs"
            f" | {system['without']} |"
        )
    at = "50"
    most = max(system["per_s"][at] for system in systems.values())
    yield from ("", f"Jobs a second at {at} at once:", "", "```text")
    for name, system in systems.items():
        rate = system["per_s"][at]
        yield f"{name:16} {'█' * max(1, round(40 * rate / most))} {rate:,.0f}"
    yield "```"


def _levels(found: dict[str, float]) -> str:
    return " / ".join(f"{value:,.0f}" for value in found.values())


def replace_table(page: str, table: str) -> str:
    """Put the table between the page's markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"
