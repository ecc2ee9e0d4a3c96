"""A retrieval pipeline, whole: embed, search, generate, approve, publish. Run it: python examples/rag_pipeline.py

One flow with a budget: `publish` waits for `generate`, which waits for one `embed` a document. The first model is
over its quota, so that the next of the chain answers; nothing is published before somebody approves. The program
runs the workers itself (see rag_worker.py) and approves as a reviewing program would. Models are simulated.

    --url URL              the server; else GLIDEMQ_URL, else an embedded one
    --wait-for-approval    leave the decision to an operator
    --no-workers           leave the work to: glidemq worker examples.rag_worker:workers

Searching needs numpy, unless the server has a search module: pip install 'glidemq[search]'
"""

import argparse
import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress
from typing import Any

from rag_worker import ANSWERS, DIMENSIONS, DOCUMENTS, FIELD, workers

from glidemq_core import (
    Actor,
    Backoff,
    Budget,
    Connection,
    Fallback,
    FlowJob,
    FlowProducer,
    GlideMQError,
    InvalidOptionError,
    JobNode,
    JobOptions,
    Queue,
    VectorField,
    connect,
)

QUESTION = "How do I pause a queue before a deployment?"
TEXTS = {
    "Pausing": "Pause a queue with glidemq pause. Running jobs end first, then a deployment may begin.",
    "Resuming": "After the deployment, glidemq resume lets the waiting jobs of a paused queue go on.",
    "Billing": "Invoices are sent on the first day of a month and list what every model has cost.",
    "Passwords": "A forgotten password is reset by mail; the link in it works for half an hour.",
}
DAY = 86_400_000


class PipelineError(Exception):
    """The flow cannot end; the message says why."""


def described() -> FlowJob:
    """Describe the flow: what runs last is its root."""
    documents = [
        FlowJob(
            "embed", DOCUMENTS, {"title": title, "text": text}, JobOptions(attempts=2, lock_duration=5_000)
        )
        for title, text in TEXTS.items()
    ]
    chain = [Fallback("gpt-5.4-nano", "openai"), Fallback("gemini-2.5-flash", "google")]
    generate = JobOptions(
        attempts=3, backoff=Backoff("exponential", 200), fallbacks=chain, lock_duration=60_000, timeout=60_000
    )
    data = {"question": QUESTION, "model": "gpt-5.4", "overloaded": "gpt-5.4"}
    return FlowJob("publish", ANSWERS, {}, children=[FlowJob("generate", ANSWERS, data, generate, documents)])


async def run(connection: Connection, *, url: str, wait: bool) -> None:
    """Add the flow and tell what becomes of it. Raises PipelineError."""
    answers: Queue[Any, Any] = Queue(ANSWERS, connection)
    documents: Queue[Any, Any] = Queue(DOCUMENTS, connection)
    with suppress(InvalidOptionError):  # an earlier run has made it
        await documents.create_job_index(vector_field=VectorField(FIELD, DIMENSIONS))
    budget = Budget(max_total_tokens=2_000, max_total_cost=0.05, cost_unit="usd", on_exceeded="pause")
    flow = await FlowProducer(connection).add(described(), budget=budget)
    [generate] = flow.children or ()
    print(f"flow {flow.job.ref}: {len(TEXTS)} documents; at most 2,000 tokens and 0.05 usd, then it pauses")

    for child in generate.children or ():
        await ended(child)
    print(f"embedded and stored: {', '.join(TEXTS)}")

    print(f"asked: {QUESTION}")
    await follow(answers, generate)
    await decide(answers, flow, url=url, wait=wait)
    await ended(flow)
    result = flow.job.result or {}
    if result["published"]:
        print(f"published, approved by {result['by']}: {result['text']}")
    else:
        print(f"not published: {result['reason']} ({result['by']})")
    await account(answers, documents, flow)


async def ended(node: JobNode) -> None:
    """Wait for the end of a job. Raises PipelineError when it failed."""
    if await node.job.wait_until_finished(poll_interval=50, timeout=DAY) == "failed":
        await node.job.refresh()
        raise PipelineError(f"{node.job.ref} ({node.job.name}) failed: {node.job.failed_reason}")
    await node.job.refresh()


async def follow(answers: Queue[Any, Any], generate: JobNode) -> None:
    """Print the tokens of every attempt as they come, then what each attempt was."""
    async for chunk in answers.stream(generate.job.id):
        print(f"\n  ({chunk.text.strip()}) " if chunk.type == "reasoning" else chunk.text, end="", flush=True)
    print()
    await ended(generate)
    for attempt in await answers.get_ledger(generate.job.id) or ():
        why = f": {attempt.error}" if attempt.error else ""
        print(f"  {attempt.model} {attempt.outcome}, {attempt.total_tokens:g} tokens{why}")


async def decide(answers: Queue[Any, Any], flow: JobNode, *, url: str, wait: bool) -> None:
    """Say what an operator would do; approve, unless that is left to one."""
    job = flow.job
    while await answers.get_suspend_info(job.id) is None:
        if await job.is_failed():
            await ended(flow)
        await asyncio.sleep(0.05)
    shown = await answers.review(job.id)
    print(f"waits for a person ({shown.reason}); an operator would say")
    print(f"  glidemq approve {job.ref} --expect-hash {shown.review_hash}{url}")
    print(f"  glidemq reject {job.ref} --reason TEXT{url}", flush=True)
    if not wait:
        # Bound to what was read: if the job has changed since, the decision is refused.
        decision = await answers.approve(job.id, actor=Actor("rag-pipeline"), expect=shown.review_hash)
        print("nobody has to: this program approves" if decision.ok else "somebody was faster")


async def account(answers: Queue[Any, Any], documents: Queue[Any, Any], flow: JobNode) -> None:
    """Print what the flow cost, failed attempts included, and what is left of its budget and of the minute."""
    usage = await answers.get_flow_usage(flow.job.id, deep=True, ledger=True)
    print(
        f"spent: {usage.total_tokens:g} tokens, {usage.total_cost:.6f} {usage.cost_unit} by {', '.join(usage.models)}"
    )
    budget = await answers.get_flow_budget(flow.job.id)
    if budget is not None:
        print(f"budget: {budget.used_tokens:g} of {budget.max_total_tokens:g} tokens used")
    tokens = (await documents.get_limits()).tpm
    if tokens.max is not None:
        print(f"token limit of {DOCUMENTS}: {tokens.used or 0:g} of {tokens.max:g} used in this minute")


async def main() -> int:
    parser = argparse.ArgumentParser(
        description="A retrieval pipeline on job queues, from documents to an answer."
    )
    parser.add_argument("--url", default=os.environ.get("GLIDEMQ_URL") or "embedded:", help="the server")
    parser.add_argument("--wait-for-approval", action="store_true", help="leave the decision to an operator")
    parser.add_argument("--no-workers", action="store_true", help="use workers that run elsewhere")
    chosen = parser.parse_args()
    try:
        async with connect(chosen.url) as connection, AsyncExitStack() as stack:
            for worker in [] if chosen.no_workers else workers(connection):
                await stack.enter_async_context(worker)
            # Without a password: an operator has it in GLIDEMQ_PASSWORD.
            named = "" if chosen.url == os.environ.get("GLIDEMQ_URL") else f" --url {connection.url}"
            await run(connection, url=named, wait=chosen.wait_for_approval)
    except (GlideMQError, PipelineError) as error:
        print(f"rag_pipeline: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
