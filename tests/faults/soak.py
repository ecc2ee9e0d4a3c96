"""Run fault schedules for a long time: `make soak`, or `make soak ARGS="--for 5m --seed 7 --only replies-lost"`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import re
import sys
import time

from .schedules import SCHEDULES, Report, run

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0}


def main() -> int:
    """Run schedules in random order until the time is up; 1 when one of them found a problem."""
    options = _options()
    logging.basicConfig(level=logging.CRITICAL)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"soak: seed {seed}, for {options.duration:g} s", flush=True)
    reports = asyncio.run(_soak(seed, options.duration, options.only, options.faults))
    failed = [report for report in reports if report.problems]
    print(
        f"soak: {len(reports)} schedules, {sum(report.accepted for report in reports)} jobs, "
        f"{sum(report.faults for report in reports)} faults, {len(failed)} with problems"
    )
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--for", dest="duration", type=_seconds, default=3_600.0, help="such as 5m or 1h")
    parser.add_argument("--seed", type=int, help="decides schedules, jobs and faults")
    parser.add_argument("--only", choices=sorted(SCHEDULES), action="append", help="this schedule alone")
    parser.add_argument("--faults", type=_seconds, default=15.0, help="how long things break a schedule")
    return parser.parse_args()


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"a duration such as 30s, 5m or 1h, not {text}")
    return float(match[1]) * _UNITS[match[2]]


async def _soak(seed: int, duration: float, only: list[str] | None, seconds: float) -> list[Report]:
    deadline = time.monotonic() + duration
    reports: list[Report] = []
    while not reports or time.monotonic() < deadline:
        # A seed of its own for each round, so that a report names all that its replay needs.
        name = random.Random(seed).choice(only or sorted(SCHEDULES))
        report = await run(name, seed, seconds)
        reports.append(report)
        print(report, flush=True)
        for problem in report.problems[:20]:
            print(f"  {problem}", flush=True)
        if report.problems:
            print(f'  again: make soak ARGS="--for 1s --seed {seed} --only {name}"', flush=True)
        seed += 1
    return reports


if __name__ == "__main__":
    sys.exit(main())
