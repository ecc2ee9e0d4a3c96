"""The process that runs the workload beside a console: options on stdin, and the end of stdin ends it."""

from __future__ import annotations

import asyncio
import json
import sys

from glidemq_core import GlideMQError

from .options import DemoOptions
from .pace import World
from .runner import print_line, ready_line, stop_on_signals
from .server import DemoRunsError, demo_connection, run_workload


async def main() -> int:
    """Run the workload until stdin ends or a signal comes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    options, stop = DemoOptions.from_line(await reader.readline()), asyncio.Event()
    stop_on_signals(stop)
    left = asyncio.create_task(_until_end(reader, stop))
    try:
        world = World(options.seed, options.speed)
        async with demo_connection(options, world, history=True) as connection:
            await run_workload(
                world,
                connection,
                stop,
                reviewer=False,
                grace_ms=0,
                on_ready=lambda: print_line(ready_line(options)),
            )
    except DemoRunsError:
        # The console may look at the demo that runs already.
        print_line(ready_line(options))
        await stop.wait()
    except GlideMQError as error:
        print_line(json.dumps({"error": error.message, "type": type(error).__name__, "hint": error.hint}))
        return 1
    finally:
        left.cancel()
    return 0


async def _until_end(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await reader.read()
    stop.set()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
