"""Run the console for hours by a clock that goes fast, and see that its memory stays flat.

    make soak-console [ARGS="--hours 8 --seed 1 --trace"]

Every simulated second brings a snapshot in which figures have moved, and tokens; now and then keys walk through
the screens. Prints a line every ten simulated minutes; the exit code is 1 when memory has grown. What is counted are
the blocks that Python has allocated, which costs nothing: eight hours take some five minutes. With `--trace` it is
bytes, and where those that came between the first quarter and the end were allocated: three times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from unittest.mock import patch

from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_console.screens.table import SCREENS
from glidemq_core.options.job import JobRef
from glidemq_core.records import StreamChunk

from .fixed import NOW_MS, config
from .fixed_ai import feed

HOUR_S = 3_600
#: Simulated seconds between two walks.
WALK_EVERY_S = 60
#: What may come between the first quarter and the end, in blocks and in bytes: caches fill up slowly.
BLOCKS, BYTES = 40_000, 3_000_000
#: Turns of the event loop in which what a key set going is done.
TURNS = 30
#: Places that are told of where it grows.
TOLD = 20
#: Keys that lead through the screens and back; nothing that changes anything.
WALKS = (
    "j",
    "k",
    "enter",
    "escape",
    "d",
    "escape",
    "s",
    "S",
    "question_mark",
    "escape",
    "tab",
    "end",
    "home",
)


@dataclass(eq=False)
class LivelyFeed(ScriptedFeed):
    """Fixed data in which figures move, and tokens that go on coming."""

    seconds: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def tokens(self, ref: JobRef, *, start: str = "0") -> AsyncIterator[Sequence[StreamChunk]]:
        while True:
            at = NOW_MS + self.seconds * 1_000
            words = "".join(self.dice.choice("abcdefgh \n") for _ in range(40))
            yield [StreamChunk(f"{at}-{number}", {"t": words}) for number in range(10)]
            await self.more.wait()
            await asyncio.sleep(0)


def lively(seed: int) -> LivelyFeed:
    """The data of the snapshots of streams and approvals, moved."""
    fixed = feed()
    dice = random.Random(seed)

    def script(interests: Interests) -> Snapshot:
        known: Snapshot = fixed.script(interests)
        moved = [
            replace(
                row, waiting=dice.randrange(2_000), active=dice.randrange(50), suspended=dice.randrange(9)
            )
            for row in known.queues
        ]
        return replace(known, queues=tuple(moved), at_ms=NOW_MS)

    return LivelyFeed(script, chunks={}, reviews=fixed.reviews, audits=fixed.audits, dice=dice)


def traced() -> int:
    """Bytes in use, once `tracemalloc` has begun."""
    return tracemalloc.get_traced_memory()[0]


async def at_once(*_: object) -> None:
    """Let others run, in the place of a pause in which the process does little: tokens come in all the time."""
    for _turn in range(TURNS):
        await asyncio.sleep(0)


async def simulate(
    seconds: int,
    every: int,
    seed: int,
    measured: Callable[[int, int], None],
    *,
    walk_every: int = 20,
    measure: Callable[[], int] = traced,
) -> list[int]:
    """Run so many simulated seconds; return what is in use every so many of them, after a walk of all screens."""
    source = lively(seed)
    app = ConsoleApp(replace(config(source), clock=lambda: NOW_MS + source.seconds * 1_000))
    memory: list[int] = []
    keys = [spec.key for spec in SCREENS if spec.key]
    with patch("textual.app.wait_for_idle", at_once), patch("textual.pilot.wait_for_idle", at_once):
        async with app.run_test(size=(120, 36)) as pilot:
            await walk_all(pilot)
            for second in range(1, seconds + 1):
                source.seconds = second
                source.more.set()
                source.refresh_now()
                app._second()
                await asyncio.sleep(0)
                source.more.clear()
                if second % walk_every == 0:
                    await pilot.press(source.dice.choice(keys))
                    await pilot.press(*source.dice.choices(WALKS, k=3), "escape")
                    await pilot.pause()
                if second % every == 0:
                    # On the same screen each time, nothing on its way.
                    await pilot.press("escape", "escape", "1")
                    await pilot.pause()
                    gc.collect()
                    memory.append(measure())
                    measured(second, memory[-1])
    return memory


async def walk_all(pilot: Pilot[int]) -> None:
    """Open every screen once, so that what is loaded late is loaded."""
    for key in [spec.key for spec in SCREENS if spec.key]:
        await pilot.press(key)
        await pilot.pause()
        await pilot.press("j", "question_mark", "escape", "escape")
        await pilot.pause()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m console.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=8, help="simulated hours")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="tell where what has come was allocated")
    options = parser.parse_args()
    began, seconds = time.monotonic(), int(options.hours * HOUR_S)
    unit, most = ("bytes", BYTES) if options.trace else ("blocks", BLOCKS)
    early: list[tracemalloc.Snapshot] = []

    def tell(second: int, size: int) -> None:
        passed = time.monotonic() - began
        print(f"{second / HOUR_S:4.1f} h  {size:12,} {unit}  after {passed:.0f} s", flush=True)
        if options.trace and not early and second >= seconds / 4:
            early.append(tracemalloc.take_snapshot())

    if options.trace:
        tracemalloc.start()
    memory = asyncio.run(
        simulate(
            seconds,
            HOUR_S // 6,
            options.seed,
            tell,
            walk_every=WALK_EVERY_S,
            measure=traced if options.trace else sys.getallocatedblocks,
        )
    )
    growth = memory[-1] - memory[len(memory) // 4]
    print(f"memory has grown by {growth:,} {unit} since the first quarter")
    for first in early:
        print(*tracemalloc.take_snapshot().compare_to(first, "lineno")[:TOLD], sep="\n")
    return 1 if growth > most else 0


if __name__ == "__main__":
    sys.exit(main())
