"""A worker for the command line: glidemq worker examples.worker:worker

Add a job from another terminal: glidemq add inference answer --data '{"prompt": "Why is the sky blue?"}' --wait
"""

import asyncio

from glidemq_core import Job, Worker


async def process(job: Job) -> dict[str, str]:
    words = f"You asked: {job.data['prompt']} A real model would answer here.".split(" ")
    for word in words:
        await job.stream_chunk("content", word + " ")
        await asyncio.sleep(0.05)
    await job.report_usage(model="echo-1", tokens={"input": len(words), "output": len(words)})
    return {"answer": " ".join(words)}


# No connection here: the command line gives the worker the server it was told.
worker = Worker("inference", process, concurrency=10)
