"""Record a tour of the console on the demo's workload as an animated picture: tour.gif in this folder.

    python screenshots/tour.py

Starts a demo of its own, as `make.py` does, and draws with the same font.
"""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import resvg_py
from make import FONT, demo, parked, typed
from PIL import Image
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.config.console import ConsoleConfig
from glidemq_console.demo import DemoOptions

INTO = Path(__file__).with_name("tour.gif")
SIZE = (110, 30)
#: Width of the picture, pixels: what a README shows without shrinking it further.
WIDTH = 900
FRAME_MS = 250
COLOURS = 64


def stops(flow: str) -> list[tuple[tuple[str, ...], float]]:
    """Keys, and how long to look at what they show, s."""
    return [
        (("1",), 2.5),
        (("3",), 4),
        (("4",), 2),
        (("a",), 2.5),
        (typed(f"flow research:{flow}"), 2.5),
        (("T",), 2.5),
        (("escape", "6"), 2.5),
        (("7",), 2.5),
        (("8",), 2.5),
        (("w",), 2.5),
        (("escape", "dollar_sign"), 5),
        (("0",), 2.5),
    ]


async def film(pilot: Pilot[Any], flow: str) -> list[tuple[str, int]]:
    """Go through the stops; the pictures that differ, each with its time in ms."""
    frames: list[tuple[str, int]] = []
    for keys, seconds in stops(flow):
        for key in keys:
            await pilot.press(key)
        for _ in range(round(seconds * 1000 / FRAME_MS)):
            await pilot.pause(FRAME_MS / 1000)
            picture = pilot.app.export_screenshot()
            if frames and frames[-1][0] == picture:
                frames[-1] = (picture, frames[-1][1] + FRAME_MS)
            else:
                frames.append((picture, FRAME_MS))
    return frames


def drawn(picture: str) -> Image.Image:
    """One frame in few colours."""
    png = resvg_py.svg_to_bytes(svg_string=picture, width=WIDTH, font_family=FONT, monospace_family=FONT)
    return Image.open(io.BytesIO(bytes(png))).convert("RGB")


def save(frames: list[tuple[str, int]]) -> None:
    """Write the frames with one palette, that of the richest of them, so that what stays is not stored again."""
    images = [drawn(picture) for picture, _ in frames]
    palette = max(images, key=lambda image: len(image.getcolors(1 << 24) or ())).quantize(COLOURS)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    first.save(
        INTO, save_all=True, append_images=rest, duration=[ms for _, ms in frames], loop=0, optimize=True
    )
    print(f"screenshots/{INTO.name}: {len(frames)} frames, {INTO.stat().st_size // 1000} KB")


async def main() -> None:
    """Film the tour."""
    async with demo():
        flow = await parked()
        app = ConsoleApp(ConsoleConfig(url=DemoOptions.url, label="demo", user="alice"))
        async with app.run_test(size=SIZE) as pilot:
            app.animation_level = "none"
            frames = await film(pilot, flow)
    save(frames)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="glidemq-tour-") as folder:
        os.environ["GLIDEMQ_DATA"] = folder
        asyncio.run(main())
