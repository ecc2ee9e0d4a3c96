"""Moderation: writes a draft, and where it matters waits for a person before anything is published."""

from __future__ import annotations

from typing import Any, ClassVar

from glidemq_core import Job, NewJob

from ..models import answer
from ..pace import decision
from ..texts import CUSTOMERS, DRAFTS
from .workload import Traffic, Workload

_MINUTE_MS = 60_000


class Moderation(Workload):
    """Texts that go out in the house's name."""

    queue: ClassVar[str] = "moderation"
    traffic: ClassVar[Traffic] = Traffic(concurrency=3, per_s=0.45, backlog=4, opening=4, asking=5)

    def new(self, number: int, may_ask: bool) -> NewJob:
        rng = self.world.rng(self.queue, number)
        title, _, why = DRAFTS[(number * 5 + self.world.seed) % len(DRAFTS)]
        data: dict[str, Any] = {
            "title": title,
            "customer": rng.choice(CUSTOMERS),
            "channel": rng.choice(("email", "web", "app store")),
            "model": "gpt-5.4-nano",
            "review": why if may_ask and rng.random() < 0.75 else None,
            # One in four is urgent; the others leave time for a coffee.
            "deadline_ms": rng.randint(45, 150) * 1_000
            if number % 4 == 2
            else rng.randint(8, 45) * _MINUTE_MS,
        }
        return NewJob(
            "moderate", data, self.options(priority=2 if data["review"] and number % 3 == 0 else None)
        )

    async def process(self, job: Job[Any, Any]) -> Any:
        title = job.data["title"]
        decided = decision(self.world, job)
        if decided is None:
            await job.update_progress({"step": "drafting", "percent": 20})
            text = next((text for known, text, _ in DRAFTS if known == title), f"A text about {title}.")
            await answer(self.world, job, prompt=title, text=text, default="gpt-5.4-nano", done=False)
            await job.update_progress({"step": "drafted", "percent": 80})
            if job.data.get("review"):
                await job.suspend(reason=job.data["review"], timeout=job.data.get("deadline_ms"))
            await job.log("no rule asks for a person: published")
            return {"published": True}
        if not (decided.approved and decided.is_current):
            await job.log(f"rejected: {decided.reason or 'no reason given'}")
            return {"published": False, "reason": decided.reason}
        await self.world.wait(0.3)
        edited = decided.data != job.data
        await job.log(f"approved by a person{', edited' if edited else ''}: published")
        return {"published": True, "edited": edited}
