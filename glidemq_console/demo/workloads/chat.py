"""Chat: streams answers with reasoning and tool calls, over a chain of models; some calls fail, a few hang."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from glidemq_core import Fallback, Job, NewJob

from ..models import ContentFilterError, ProviderError, answer
from ..texts import CUSTOMERS, TOPICS, Topic
from .workload import Traffic, Workload

_CHAIN = (Fallback("gpt-5.4-nano", "openai"), Fallback("gemini-2.5-flash", "google"))
_TIMEOUT_MS = 30_000
_HANG_S = 3_600


class Chat(Workload):
    """Answers for customers: the busiest queue."""

    queue: ClassVar[str] = "chat"
    traffic: ClassVar[Traffic] = Traffic(
        concurrency=8, per_s=1.5, usual_ms=5_200, fails=0.03, backlog=12, opening=11, rpm=110, tpm=30_000
    )

    def new(self, number: int, may_ask: bool) -> NewJob:
        rng = self.world.rng(self.queue, number)
        first = number * 5 + self.world.seed
        # People ask one thing, or three at once.
        asked = [
            TOPICS[(first + 3 * more) % len(TOPICS)].question for more in range(rng.choice((1, 1, 2, 3)))
        ]
        data: dict[str, Any] = {
            "customer": rng.choice(CUSTOMERS),
            "conversation": f"c-{rng.randrange(10_000, 99_999)}",
            "model": rng.choice(("gpt-5.4", "gpt-5.4", "gemini-2.5-pro", "mistral-large")),
            "temperature": rng.choice((0.2, 0.7)),
            "messages": [
                {
                    "role": "system",
                    "content": "You are a friendly assistant.\nAnswer in the customer's language.",
                },
                {"role": "user", "content": "\n".join(asked)},
            ],
        }
        if number % 7 == 3:
            data["credentials"] = {"provider": "openai", "api_key": f"sk-demo{rng.getrandbits(96):024x}"}
        options: dict[str, Any] = {"fallbacks": _CHAIN, "timeout": self.world.ms(_TIMEOUT_MS)}
        if number % 9 == 5:
            options["priority"] = rng.randint(1, 3)
        elif number % 13 == 8:
            options["delay"] = self.world.ms(rng.uniform(8_000, 18_000))
        return NewJob("answer", data, self.options(**options))

    async def process(self, job: Job[Any, Any]) -> Any:
        rng, topics = self.world.rng(self.queue, job.id), _topics(job)
        chance = rng.random()
        if chance < 0.015:
            raise ContentFilterError("content_filter: the prompt was refused by the provider")
        if chance < 0.035:
            await self.world.wait(0.4)
            raise ProviderError("429 slow down: the account is over its quota")
        if chance < 0.055 and not job.attempts_made:
            await job.log("connected, waiting for the first token")
            await asyncio.sleep(_HANG_S)  # the job's timeout ends this
        tools: tuple[tuple[str, str, str], ...] = ()
        if rng.random() < 0.25:
            tools = (("search_orders", json.dumps({"customer": job.data.get("customer")}), "3 orders found"),)
        reply = await answer(
            self.world,
            job,
            prompt=job.data["messages"][-1]["content"] * 8,
            text="\n\n".join(topic.answer for topic in topics),
            thoughts=" ".join(topic.thoughts for topic in topics).strip(),
            tools=tools,
        )
        return {"model": reply.model, "tokens": reply.tokens, "finish_reason": "stop"}


def _topics(job: Job[Any, Any]) -> list[Topic]:
    """Return what the latest message asks about; any other question has an answer too."""
    asked = job.data["messages"][-1]["content"].split("\n")
    known = [topic for topic in TOPICS if topic.question in asked]
    return known or [Topic("", "I am only the model of a demo, so this is all I know about that. 🙂")]
