"""The queue in ten lines. Run it: python examples/quickstart.py

Uses the server that GLIDEMQ_URL names, else an embedded one.
"""

import asyncio
import os

from glidemq_core import Job, Queue, Worker, connect


async def process(job: Job) -> str:
    return f"Hello, {job.data['name']}!"


async def main() -> None:
    async with connect(os.environ.get("GLIDEMQ_URL", "embedded:")) as connection:
        queue = Queue("greetings", connection)
        async with Worker("greetings", process, connection):
            job = await queue.add("greet", {"name": "Ada"})
            await job.wait_until_finished(poll_interval=20)
            await job.refresh()
            print(job.ref, job.result)


if __name__ == "__main__":
    asyncio.run(main())
