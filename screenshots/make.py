"""Photograph every screen of the console on the demo's workload, as SVG and PNG, at two sizes, into this folder.

    python screenshots/make.py [NAME...]

Starts a demo of its own. The PNG needs a monospace font of the system: DejaVu Sans Mono, on macOS Menlo.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import resvg_py
from textual.pilot import Pilot

from glidemq_console.app import SCREENS, ConsoleApp
from glidemq_console.config.console import ConsoleConfig
from glidemq_console.demo import DemoOptions
from glidemq_core import Queue, connect
from glidemq_core.watch import Watch

HERE = Path(__file__).parent
SIZES = {"80x24": (80, 24), "160x45": (160, 45)}
FONT = "Menlo" if sys.platform == "darwin" else "DejaVu Sans Mono"
#: How long a screen may take to show what we want to see, s.
PATIENCE = 40
#: Letters that the font of the PNG does not have.
_STRANGE = re.compile("[\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]")
_ROOT = str(HERE.parent)
#: What is shown in the place of that folder: it takes as many cells.
_SHOWN_ROOT = ("/srv/glidemq" + "-" * len(_ROOT))[: len(_ROOT)]
_KEYS = {" ": "space", ":": "colon"}
_TAG = re.compile(r"<style>.*?</style>|<title>.*?</title>|<[^>]*>", re.DOTALL)


@dataclass(frozen=True)
class Shot:
    """A picture: the keys that lead there, what its text has to show by then, and better shows (patterns)."""

    keys: tuple[str, ...]
    shows: str
    wish: str = ""

    def of(self, jobs: Mapping[str, str]) -> Shot:
        """The picture with the ids of jobs in the place of their stand-ins, such as `FALLEN`."""
        text = "\0".join(self.keys)
        for name, job in jobs.items():
            text = text.replace("\0".join(name), "\0".join(job))
        return replace(self, keys=tuple(text.split("\0")))


def typed(line: str) -> tuple[str, ...]:
    """The keys of a command."""
    return ("colon", *(_KEYS.get(key, key) for key in line), "enter")


SHOTS = {
    # A screen that is not spoken of is photographed as it opens.
    **{spec.name: Shot((spec.key,), spec.name) for spec in SCREENS if spec.key and spec.name != "limits"},
    "queues": Shot(("1", "g", "j"), r"chat.*longest"),
    "jobs": Shot(typed("queue chat"), r"answer"),
    # The page of a job that failed at first and completed on another model.
    "job": Shot(typed("job chat:FALLEN"), r"attempts "),
    "streams": Shot(("3",), r"tok/s", r"●.*●.*●"),
    "approvals": Shot(("4", "G", "k", "k"), r"[Aa]pprove.*[Rr]eject", r"draft"),
    "flows": Shot(("5",), r"parked \d"),
    # A report whose budget has run out, and what more would do.
    "flow": Shot(typed("flow research:PARKED"), r"exceeded, parked"),
    "top-up": Shot((*typed("flow research:PARKED"), "T", "2", "k"), r"Top up, release"),
    "help": Shot(("1", "question_mark"), r"this screen"),
    "cost": Shot(("dollar_sign",), r"top ten jobs", r"chat"),
    "workers": Shot(("7",), r"idle", r"answer.*task|task.*answer"),
    # Last, when there is some history to see.
    "limits": Shot(("6",), r"RPM.*resets.*TPM", r"held back"),
}


@asynccontextmanager
async def demo() -> AsyncIterator[None]:
    """Run the workload of the demo, with its history, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "glidemq_console.demo",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(DemoOptions().to_line().encode() + b"\n")
        ready = await process.stdout.readline()
        if b"queues" not in ready:
            raise SystemExit(f"the demo did not start: {ready.decode()}")
        yield
    finally:
        process.stdin.close()
        await process.wait()


def text_of(picture: str) -> str:
    """What can be read in a picture."""
    return re.sub(r"\s+", " ", html.unescape(_TAG.sub(" ", picture)))


async def fallen_back() -> str:
    """Wait for a chat to complete on a fallback of its model; its id."""
    async with connect(DemoOptions.url) as connection:
        queue = Queue("chat", connection)
        for _ in range(PATIENCE * 2):
            for job in await queue.get_jobs("completed"):
                if job.fallback_index and job.data["customer"].isascii():
                    return job.id
            await asyncio.sleep(0.5)
    raise SystemExit(f"no chat of the demo took a fallback within {PATIENCE} s")


async def parked() -> str:
    """Wait for the budget of a report to run out, so that jobs of it are parked; its id."""
    async with connect(DemoOptions.url) as connection, Watch(connection) as watch:
        for _ in range(PATIENCE * 2):
            for flow in (await watch.flows(["research"])).items:
                if flow.budget is not None and len(flow.budget.parked) > 1:
                    return flow.root.id
            await asyncio.sleep(0.5)
    raise SystemExit(f"no budget of the demo ran out within {PATIENCE} s")


async def take(pilot: Pilot[Any], shot: Shot) -> str:
    """Press the keys and wait for what they should show; the picture as SVG."""
    while len(pilot.app.screen_stack) > 1 and pilot.app.screen.is_modal:
        await pilot.press("escape")
        await pilot.pause()
    for key in shot.keys:
        await pilot.press(key)
        await pilot.pause(0.15)
    good, since = "", 0
    for turn in range(PATIENCE * 2):
        await pilot.pause(0.5)
        picture = pilot.app.export_screenshot()
        text = text_of(picture)
        if not re.search(shot.shows, text, re.DOTALL):
            since = turn
            continue
        # Once it shows, the rest gets a moment to come in.
        good = picture
        if turn - since >= 4 and re.search(shot.wish, text, re.DOTALL) and not _STRANGE.search(text):
            break
    if good:
        return good
    raise SystemExit(
        f"nothing like '{shot.shows}' within {PATIENCE} s; the screen shows:\n{text_of(picture)}"
    )


def save(name: str, picture: str) -> None:
    """Write the picture in both forms; traces in it do not name the folder of whoever took it."""
    picture = picture.replace(_ROOT, _SHOWN_ROOT)
    (HERE / f"{name}.svg").write_text(picture, encoding="utf-8")
    drawn = resvg_py.svg_to_bytes(svg_string=picture, font_family=FONT, monospace_family=FONT)
    (HERE / f"{name}.png").write_bytes(bytes(drawn))
    print(f"screenshots/{name}.svg .png")


async def main(names: list[str]) -> None:
    """Take the pictures that were asked for, all of them by default."""
    unknown = [name for name in names if name not in SHOTS]
    if unknown:
        raise SystemExit(f"no picture {', '.join(unknown)}; there are: {', '.join(SHOTS)}")
    async with demo():
        jobs = {"FALLEN": await fallen_back(), "PARKED": await parked()}
        for size, columns_and_rows in SIZES.items():
            app = ConsoleApp(ConsoleConfig(url=DemoOptions.url, label="demo", user="alice"))
            async with app.run_test(size=columns_and_rows) as pilot:
                app.animation_level = "none"
                for name in names or SHOTS:
                    save(f"{name}-{size}", await take(pilot, SHOTS[name].of(jobs)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="glidemq-shots-") as folder:
        os.environ["GLIDEMQ_DATA"] = folder
        asyncio.run(main(sys.argv[1:]))
