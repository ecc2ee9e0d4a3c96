"""Draw one screen without a terminal and return it as plain text."""

from __future__ import annotations

import asyncio

from glidemq_core.errors import ServerUnavailableError

from ..app import ConsoleApp
from ..model.snapshot import LinkState
from ..text.safe import clean, masked_text

#: Looks at the server after the first answer: what the screen asks for comes with the one after it was drawn.
LOOKS = 4
#: Between two looks at what was read, s.
_STEP_S = 0.05


async def printed(app: ConsoleApp, size: tuple[int, int]) -> str:
    """Run a console without a terminal until its screen has its data; return the screen, secrets masked.

    Args:
        size: columns and rows.

    Raises:
        ServerUnavailableError: The server cannot be reached.
    """
    async with app.run_test(size=size) as pilot:
        seen: set[int] = set()
        while len(seen) < LOOKS:
            await asyncio.sleep(_STEP_S)
            known = app.snapshot
            if known.link.state is LinkState.LOST:
                raise ServerUnavailableError(
                    known.link.reason or "the server cannot be reached", address=app.config.shown_url
                )
            if known.has_data:
                seen.add(known.at_ms)
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        lines = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
    return "\n".join(masked_text(clean(line, single_line=True)) for line in lines).rstrip()
