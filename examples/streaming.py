"""Tokens from a worker to a reader, live. Run it: python examples/streaming.py

The same stream from another terminal: glidemq tail stories:ID
"""

import asyncio
import os

from glidemq_core import Job, Queue, Worker, connect

STORY = "Once upon a time a job waited in a queue. A worker came, and the job was done. 完 🎉"


async def process(job: Job) -> int:
    await job.stream_chunk("reasoning", "Short, and with a happy end.")
    for word in STORY.split(" "):
        await job.stream_chunk("content", word + " ")
        await asyncio.sleep(0.02)
    return len(STORY)


async def main() -> None:
    async with connect(os.environ.get("GLIDEMQ_URL", "embedded:")) as connection:
        queue = Queue("stories", connection)
        async with Worker("stories", process, connection):
            job = await queue.add("tell")
            async for chunk in queue.stream(job.id):
                print(f"({chunk.text})" if chunk.type == "reasoning" else chunk.text, end="", flush=True)
            print()


if __name__ == "__main__":
    asyncio.run(main())
