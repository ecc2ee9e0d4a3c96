"""What every workload of the demo shares: the seed, the pace, and the count of what happened."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from glidemq_core import Job, ReviewDecision


@dataclass
class Tally:
    """What has happened since the start."""

    completed: int = 0
    failed: int = 0
    tokens: int = 0
    suspended: int = 0
    approved_and_completed: int = 0
    #: Decisions that reached a job: (queue, id, time of the signal) -> approved.
    decisions: dict[tuple[str, str, float], bool] = field(default_factory=dict)

    @property
    def approved(self) -> int:
        return sum(self.decisions.values())

    @property
    def rejected(self) -> int:
        return len(self.decisions) - self.approved

    def summary(self) -> dict[str, Any]:
        """Return the object of the last line; `ok` when each of these happened at least once."""
        return {
            "completed": self.completed,
            "failed": self.failed,
            "tokens": self.tokens,
            "suspended": self.suspended,
            "approved": self.approved,
            "rejected": self.rejected,
            "ok": bool(self.completed and self.tokens and self.suspended and self.approved_and_completed),
        }


@dataclass
class World:
    """Seed and pace of a demo. `speed` divides every waiting time of models, people and retries."""

    seed: int = 1
    speed: float = 1.0
    tally: Tally = field(default_factory=Tally)

    def rng(self, *what: object) -> random.Random:
        """Return the random numbers of one thing, the same in every run with this seed."""
        return random.Random(":".join(map(str, (self.seed, *what))))

    def rng_of(self, job: Job[Any, Any]) -> random.Random:
        """Return the random numbers of one attempt of a job."""
        return self.rng(job.queue, job.id, job.attempts_made)

    async def wait(self, seconds: float) -> None:
        """Sleep at the pace of the demo."""
        await asyncio.sleep(seconds / self.speed)

    def ms(self, milliseconds: float) -> int:
        """Return a duration at the pace of the demo, at least 1 ms."""
        return max(1, round(milliseconds / self.speed))


def decision(world: World, job: Job[Any, Any]) -> ReviewDecision | None:
    """Return what a person decided on this job since it was last suspended; None before that."""
    decided = job.decision
    if decided is not None:
        world.tally.decisions[job.queue, job.id, decided.at.timestamp()] = decided.approved
    return decided
