"""A job that asks a person before it goes on. Run it: python examples/approval.py

It prints the command that approves; decide from another terminal, or in `glidemq console`.
With `--auto` it approves itself, as a reviewing program would.
"""

import asyncio
import os
import sys

from glidemq_core import Actor, Job, Queue, Worker, connect

QUEUE = "newsletter"


async def process(job: Job) -> str:
    # After a decision the processor starts from the top.
    decision = job.decision
    if decision is None:
        await job.stream_chunk("content", f"Dear {job.data['to']}, spring is here. 🌷")
        await job.suspend(reason="goes to 48,210 people", timeout=10 * 60_000)
    if not decision.approved:
        return f"not sent: {decision.reason}"
    # The payload may have been changed since the approver looked at it.
    return "sent" if decision.is_current else "not sent: the payload is not the one that was approved"


async def main() -> None:
    async with connect(os.environ.get("GLIDEMQ_URL", "embedded:")) as connection:
        queue = Queue(QUEUE, connection)
        async with Worker(QUEUE, process, connection) as worker:
            suspended = asyncio.Event()
            worker.on("suspended", lambda job: suspended.set())
            job = await queue.add("send", {"to": "everybody"})
            await suspended.wait()
            print(f"glidemq approve {job.ref}   or   glidemq reject {job.ref} --reason '...'", flush=True)
            if "--auto" in sys.argv[1:]:
                shown = await queue.review(job.id)
                print("reads:", shown.draft)
                # Bound to what was read: if the job has changed since, the decision is refused.
                await queue.approve(job.id, actor=Actor("ada"), expect=shown.review_hash)
            await job.wait_until_finished(poll_interval=50, timeout=10 * 60_000)
            await job.refresh()
            print(job.ref, job.result)


if __name__ == "__main__":
    asyncio.run(main())
