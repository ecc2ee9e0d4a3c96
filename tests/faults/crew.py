"""A process with one worker of the workload, to be killed or stopped: `python -m faults.crew URL RUNS`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from .workload import Runs, worker

if __name__ == "__main__":
    asyncio.run(worker(sys.argv[1], Runs(Path(sys.argv[2]))).run())
