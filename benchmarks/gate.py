"""Compare what jobs cost with `baseline.json`; fail beyond a tolerance. Part of a release, not of the tests.

    python -m benchmarks.gate [--write]

What a job costs the server and the client, each divided by a fixed piece of work that is timed in the same run, and
ratios to a peer: so a machine that is slower at one hour than at another changes nothing. `--write` makes the present
figures the baseline: on the quiet machine on which the gate will run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .__main__ import run

BASELINE = Path(__file__).parent / "baseline.json"
TOLERANCE = 0.15
MEASURED = ("server_time", "worker")


def figures(results: dict[str, Any]) -> Iterator[tuple[str, float, bool]]:
    """Name, value, and whether more is better."""
    costs = results["server_time"]
    reference = costs["reference_us"]
    for side in ("server", "client"):
        for level, value in costs[f"{side}_us"].items():
            yield f"{side} at {level}, in references", round(value / reference[side], 3), False
    for kind, value in costs["added_us"].items():
        # An addition is a difference of two medians: what counts is the sum.
        whole = costs["server_us"]["50"] + value
        yield f"server at 50 with {kind}, in references", round(whole / reference["server"], 3), False
    for row in results["worker"]["rows"]:
        yield f"ratio: {row['what']}", row["ratio_median"], True


def worse(name: str, value: float, before: float, more_is_better: bool) -> str | None:
    """Say by how much a figure is worse than the baseline allows; None if it is not."""
    change = value / before - 1
    if (-change if more_is_better else change) <= TOLERANCE:
        return None
    return f"{name}: {value:g}, baseline {before:g} ({change:+.0%})"


def main() -> int:
    """Measure and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="make the present figures the baseline")
    arguments = parser.parse_args()
    results = {name: run(name, quick=False) for name in MEASURED}
    if failed := [name for name, result in results.items() if result is None]:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
        return 1
    found = list(figures(results))
    if arguments.write:
        BASELINE.write_text(json.dumps({name: value for name, value, _ in found}, indent=2) + "\n")
        return 0
    if not BASELINE.exists():
        print(f"no {BASELINE.name}: write one with --write, on a quiet machine", file=sys.stderr)
        return 1
    baseline = json.loads(BASELINE.read_text())
    troubles = [
        trouble
        for name, value, more in found
        if name in baseline and (trouble := worse(name, value, baseline[name], more))
    ]
    for name, value, _ in found:
        print(f"{name}: {value:g} (baseline {baseline.get(name, 'none')})")
    for trouble in troubles:
        print(f"WORSE  {trouble}", file=sys.stderr)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
