"""Run the benchmarks, each in a process of its own; write `results.json` and the table in `docs/performance.md`.

    python -m benchmarks [--quick] [NAME...]

A benchmark is a module here that prints one line of JSON at its end. Results of those not run now are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .report import render, replace_table

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "performance.md"
#: Benchmarks in the order of the report, with what makes them quick.
BENCHMARKS: dict[str, list[str]] = {
    "worker": ["--quick"],
    "server_time": ["--quick"],
    "million": ["--quick"],
    "peers": ["--quick"],
    "idle": ["--quick"],
    "idle_workers": ["--quick"],
    "streaming": ["--quick"],
    "usage": ["--quick"],
    "budget": ["--quick"],
    "cluster": ["--quick"],
    "overview": ["--jobs", "1000", "100000", "--rounds", "20"],
    "terminal": ["--quick"],
    "console_million": ["--quick"],
    "long_calls": ["--quick"],
    "search": ["--vectors", "2000", "--rounds", "3"],
}
#: A benchmark that has not ended by then hangs, s.
LIMIT = 3_600


def present() -> list[str]:
    """Name the benchmarks that are there."""
    return [name for name in BENCHMARKS if (HERE / f"{name}.py").exists()]


def run(name: str, quick: bool) -> dict[str, Any] | None:
    """Run one benchmark; None when it failed, which has been told by then."""
    words = [sys.executable, "-m", f"benchmarks.{name}", *(BENCHMARKS[name] if quick else [])]
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        ended = subprocess.run(words, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        print(f"{name} did not end within {LIMIT} s", file=sys.stderr)
        return None
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        print(f"{name} failed with exit code {ended.returncode}", file=sys.stderr)
        return None
    now = datetime.now(UTC)
    return {**json.loads(lines[-1]), "at": now.isoformat(timespec="seconds"), "load": os.getloadavg()[0]}


def main() -> int:
    """Run what was asked for and report it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="rough numbers; nothing is written")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(present()))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in present()]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(present())}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() and not arguments.quick else {}
    failed = []
    for name in arguments.names or present():
        result = run(name, arguments.quick)
        if result is None:
            failed.append(name)
        else:
            results[name] = result
    table = render({name: results[name] for name in BENCHMARKS if name in results})
    print(table)
    if not arguments.quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        PAGE.write_text(replace_table(PAGE.read_text(), table))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
