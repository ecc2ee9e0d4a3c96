"""The workers of rag_pipeline.py, for the command line: glidemq worker examples.rag_worker:workers

Two queues. `rag-documents` turns documents into vectors; a token limit of a minute paces it. `rag` writes an answer
from what a vector search finds, and publishes it once a person has approved. The models are simulated: no network.
"""

import math
import zlib
from typing import Any

from glidemq_core import Job, Queue, RateLimit, TokenLimit, Worker

DOCUMENTS, ANSWERS = "rag-documents", "rag"
FIELD, DIMENSIONS = "embedding", 256
EMBEDDER = "demo-embedding-256"
MINUTE = 60_000
#: US dollars a million tokens, in and out; an embedding has nothing that comes out.
PRICES = {
    "gpt-5.4": (2.5, 10.0),
    "gpt-5.4-nano": (0.15, 0.6),
    "gemini-2.5-flash": (0.3, 2.5),
    EMBEDDER: (0.02, 0.0),
}


def embedding(text: str) -> list[float]:
    """Simulate an embedding: words that two texts share bring them nearer. The same text gives the same vector."""
    vector = [0.0] * DIMENSIONS
    for word in words(text):
        vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1.0
    length = math.hypot(*vector) or 1.0
    return [number / length for number in vector]


def words(text: str) -> list[str]:
    """Split a text into lower-case words; an ending in s does not count, and neither do short words."""
    cleaned = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    return [word.rstrip("s") for word in cleaned.split() if len(word) > 3]


async def report(job: Job, model: str, tokens_in: int, tokens_out: int = 0) -> None:
    """Report what one call of a model used and cost, in one round trip."""
    price_in, price_out = PRICES[model]
    tokens, costs = {"input": tokens_in}, {"input": tokens_in * price_in / 1e6}
    if tokens_out:
        tokens["output"], costs["output"] = tokens_out, tokens_out * price_out / 1e6
    await job.report_usage(model=model, provider="simulated", tokens=tokens, costs=costs, cost_unit="usd")


class Documents:
    """Embeds documents and keeps each vector with its job, where a search finds it."""

    def __init__(self, connection: Any = None) -> None:
        self.worker = Worker(
            DOCUMENTS, self.embed, connection, concurrency=4, token_limiter=TokenLimit(20_000, MINUTE)
        )

    async def embed(self, job: Job) -> dict[str, Any]:
        text = job.data["text"]
        await job.store_vector(FIELD, embedding(f"{job.data['title']} {text}"))
        await report(job, EMBEDDER, len(text) // 4)
        return {"title": job.data["title"]}


class Answers:
    """Writes answers, and publishes what a person approved."""

    def __init__(self, connection: Any = None) -> None:
        self.worker = Worker(
            ANSWERS,
            self.process,
            connection,
            concurrency=4,
            limiter=RateLimit(600, MINUTE),
            token_limiter=TokenLimit(20_000, MINUTE, scope="queue"),
            log_errors=False,  # its first model fails on purpose
        )

    async def process(self, job: Job) -> dict[str, Any]:
        return await {"generate": self.generate, "publish": self.publish}[job.name](job)

    async def generate(self, job: Job) -> dict[str, Any]:
        question = job.data["question"]
        # The first attempt runs the model that was asked for, each further one the next of the chain.
        fallback = job.current_fallback
        model = fallback.model if fallback else job.data["model"]
        documents: Queue[Any, Any] = Queue(DOCUMENTS, self.worker.connection)
        # All jobs of a flow share their creation time: only the documents of this run are searched.
        assert job.created_at is not None
        created = round(job.created_at.timestamp() * 1_000)
        hits = await documents.vector_search(
            embedding(question), k=2, filter=f"@timestamp:[{created} {created}]"
        )
        context = " ".join(hit.job.data["text"] for hit in hits)
        await job.stream_chunk("reasoning", f"{model} reads {', '.join(h.job.data['title'] for h in hits)}. ")
        said = 0
        for said, word in enumerate(context.split(), 1):
            await job.stream_chunk("content", word + " ")
            if model == job.data.get("overloaded") and said == 5:
                # What was streamed so far is paid for: report it, then let the attempt fail.
                await report(job, model, len(context) // 4, said)
                raise RuntimeError(f"429 too many requests: {model} is over its quota")
        await report(job, model, len(context) // 4, said)
        return {"answer": context, "model": model, "sources": [hit.job.data["title"] for hit in hits]}

    async def publish(self, job: Job) -> dict[str, Any]:
        [generated] = (await job.get_children_values()).values()
        decision = job.decision
        if decision is None:
            await job.stream_chunk("content", generated["answer"])
            await job.suspend(reason="the answer goes to customers", timeout=30 * MINUTE)
        if not (decision.approved and decision.is_current):
            reason = decision.reason or "the payload was changed after the approval"
            return {"published": False, "by": decision.by, "reason": reason}
        return {"published": True, "by": decision.by, "text": generated["answer"]}


def workers(connection: Any = None) -> list[Worker]:
    """Make the workers; without a connection the command line gives them the server it was told."""
    return [Documents(connection).worker, Answers(connection).worker]
