"""Webhooks: in order for each customer, some urgent, some delayed; and a digest queue that is paused."""

from __future__ import annotations

from typing import Any, ClassVar

from glidemq_core import Backoff, Job, NewJob, Ordering, UnrecoverableError

from ..models import ProviderError, answer
from ..texts import CUSTOMERS, TOPICS
from .workload import Traffic, Workload

_EVENTS = ("order.paid", "order.shipped", "answer.ready", "refund.created")


class Webhooks(Workload):
    """Deliveries: many and small. Those of one customer keep their order, a few are urgent or for later."""

    queue: ClassVar[str] = "webhooks"
    traffic: ClassVar[Traffic] = Traffic(
        concurrency=6, per_s=2.2, backlog=25, usual_ms=320, opening=12, queue_rpm=150, dead="webhooks-dead"
    )

    def new(self, number: int, may_ask: bool) -> NewJob:
        rng = self.world.rng(self.queue, number)
        customer = rng.randrange(len(CUSTOMERS))
        data = {
            "event": rng.choice(_EVENTS),
            "customer": CUSTOMERS[customer],
            "url": f"https://hooks.customer-{customer}.example.com/v1",
            "body": {"id": f"evt_{rng.getrandbits(48):012x}", "amount": rng.randint(5, 400)},
        }
        options: dict[str, Any] = {}
        kind = number % 10
        if kind < 4:
            options["ordering"] = Ordering(f"customer-{customer}")
        elif kind < 6:
            options["delay"] = self.world.ms(rng.uniform(5_000, 60_000))
        elif kind == 6:
            options["priority"] = rng.randint(1, 10)
        backoff = Backoff("exponential", self.world.ms(1_500), 0.5)
        return NewJob("deliver", data, self.options(backoff=backoff, **options))

    async def process(self, job: Job[Any, Any]) -> Any:
        rng = self.world.rng_of(job)
        await self.world.wait(rng.expovariate(4) + 0.05)
        chance = rng.random()
        if chance < 0.005:
            raise UnrecoverableError("410 gone: the customer removed this endpoint")
        if chance < 0.11:
            raise ProviderError(
                rng.choice(("503 service unavailable", "timeout after 5 s", "502 bad gateway"))
            )
        return {"status": 200, "ms": round(rng.uniform(40, 900))}


class Digest(Workload):
    """Paused when the demo begins: jobs wait until a person resumes the queue."""

    queue: ClassVar[str] = "nightly-digest"
    traffic: ClassVar[Traffic] = Traffic(concurrency=2, per_s=0.08, backlog=16, opening=9)

    def new(self, number: int, may_ask: bool) -> NewJob:
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        data = {"customer": customer, "since": "24h", "model": "gemini-2.5-flash", "to": "team@example.com"}
        return NewJob("digest", data, self.options())

    async def process(self, job: Job[Any, Any]) -> Any:
        text = TOPICS[5].answer
        reply = await answer(
            self.world, job, prompt=job.data["customer"], text=text, default="gemini-2.5-flash"
        )
        return {"sent_to": job.data["to"], "tokens": reply.tokens}
