"""Retrieval: a question runs as parent and children: embed, retrieve, generate, publish."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from glidemq_core import Job, NewJob, Queue

from ..models import EMBEDDER, Call, ProviderError, answer
from ..texts import CUSTOMERS, DOCUMENTS, LOOKUPS
from .workload import Traffic, Workload

STAGES = ("embed", "retrieve", "generate", "publish")


class RagSteps(Workload):
    """The steps, and documents that changed; what fails here is tried again until it works, or a parent would hang."""

    queue: ClassVar[str] = "rag-steps"
    traffic: ClassVar[Traffic] = Traffic(
        concurrency=4, per_s=0.15, backlog=6, usual_ms=640, opening=1, tpm=100_000
    )

    def new(self, number: int, may_ask: bool) -> NewJob:
        document = self.world.rng(self.queue, number).choice(DOCUMENTS)
        return NewJob("embed", {"document": document, "why": "it has changed"}, self.options(attempts=5))

    async def process(self, job: Job[Any, Any]) -> Any:
        run = dict(zip(STAGES, (self._embed, self._retrieve, self._generate, self._publish), strict=True))
        return {"stage": job.name, **await run[job.name](job)}

    async def _embed(self, job: Job[Any, Any]) -> dict[str, Any]:
        rng = self.world.rng_of(job)
        text = "x" * rng.randint(2_000, 14_000)
        call = Call(self.world, job, EMBEDDER, prompt=text, rng=rng)
        await call.begin(may_fail=job.attempts_made < 2)
        await call.report()
        return {"document": job.data["document"], "chunks": len(text) // 900 + 1}

    async def _retrieve(self, job: Job[Any, Any]) -> dict[str, Any]:
        rng = self.world.rng_of(job)
        await self.world.wait(rng.uniform(0.05, 0.35))
        found = sorted((round(rng.uniform(0.55, 0.94), 3) for _ in range(4)), reverse=True)
        return {"hits": found}

    async def _generate(self, job: Job[Any, Any]) -> dict[str, Any]:
        question = job.data["question"]
        text = dict(LOOKUPS).get(question, "The passages do not say anything about that.")
        reply = await answer(
            self.world,
            job,
            prompt=question * 40,
            text=text,
            thoughts="Use only what the passages say, and name them.",
            default="mistral-large",
            may_fail=job.attempts_made < 2,
        )
        return {"model": reply.model, "tokens": reply.tokens}

    async def _publish(self, job: Job[Any, Any]) -> dict[str, Any]:
        rng = self.world.rng_of(job)
        await self.world.wait(rng.uniform(0.1, 0.4))
        if job.attempts_made < 2 and rng.random() < 0.12:
            raise ProviderError("503 knowledge base is read-only for a moment")
        return {"url": f"https://kb.example.com/a/{rng.randrange(1_000, 9_999)}"}


class Rag(Workload):
    """The parents: each waits for the children of one stage, then adds those of the next."""

    queue: ClassVar[str] = "rag"
    traffic: ClassVar[Traffic] = Traffic(concurrency=4, per_s=0.14, backlog=4, usual_ms=6_100, opening=2)

    def new(self, number: int, may_ask: bool) -> NewJob:
        rng = self.world.rng(self.queue, number)
        question, _ = LOOKUPS[(number + self.world.seed) % len(LOOKUPS)]
        data = {
            "question": question,
            "customer": rng.choice(CUSTOMERS),
            "documents": rng.sample(DOCUMENTS, rng.randint(2, 4)),
        }
        return NewJob("pipeline", data, self.options(attempts=2))

    async def process(self, job: Job[Any, Any]) -> Any:
        values = await job.get_children_values()
        finished = {value["stage"] for value in values.values() if isinstance(value, dict)}
        stage = next((stage for stage in STAGES if stage not in finished), None)
        if stage is not None:
            await self._begin(job, stage)
        published = next(value for value in values.values() if value["stage"] == "publish")
        return {"url": published["url"], "steps": len(values)}

    async def _begin(self, job: Job[Any, Any], stage: str) -> NoReturn:
        """Add the children of a stage and wait for them."""
        await job.update_progress({"step": stage, "percent": 100 * STAGES.index(stage) // len(STAGES)})
        steps: Queue[Any, Any] = Queue(RagSteps.queue, self.connection)
        for child in self._children(job, stage):
            await steps.add(stage, child, options=self.options(attempts=5, parent=job.ref))
        await job.move_to_waiting_children()

    def _children(self, job: Job[Any, Any], stage: str) -> list[dict[str, Any]]:
        """Return the data of a stage's children: one a document to embed, else one."""
        if stage == "embed":
            return [{"document": document} for document in job.data["documents"]]
        if stage == "generate":
            return [{"question": job.data["question"], "model": "mistral-large"}]
        return [{"question": job.data["question"]}]
