"""Chat: streams answers with reasoning and tool calls, over a chain of models; some calls fail, a few hang."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from glidemq_core import Fallback, Job, NewJob

from .models import ContentFilterError, ProviderError, answer
from .texts import CUSTOMERS, TOPICS
from .workload import Workload

_CHAIN = (Fallback("gpt-5.4-nano", "openai"), Fallback("gemini-2.5-flash", "google"))
_TIMEOUT_MS = 30_000
_HANG_S = 3_600


class Chat(Workload):
    """Answers for customers: the busiest queue."""

    queue: ClassVar[str] = "chat"
    concurrency: ClassVar[int] = 8
    per_s: ClassVar[float] = 2.2
    usual_ms: ClassVar[int] = 3_400
    fails: ClassVar[float] = 0.03
    backlog: ClassVar[int] = 12
    opening: ClassVar[int] = 11

    def new(self, number: int, may_ask: bool) -> NewJob:
        dice = self.world.dice(self.queue, number)
        topic = (number * 5 + self.world.seed) % len(TOPICS)
        data: dict[str, Any] = {
            "customer": dice.choice(CUSTOMERS),
            "conversation": f"c-{dice.randrange(10_000, 99_999)}",
            "model": dice.choice(("gpt-5.4", "gpt-5.4", "gemini-2.5-pro", "mistral-large")),
            "temperature": dice.choice((0.2, 0.7)),
            "messages": [
                {
                    "role": "system",
                    "content": "You are a friendly assistant.\nAnswer in the customer's language.",
                },
                {"role": "user", "content": TOPICS[topic].question},
            ],
            "topic": topic,
        }
        if number % 7 == 3:
            data["credentials"] = {"provider": "openai", "api_key": f"sk-demo{dice.getrandbits(96):024x}"}
        options: dict[str, Any] = {"fallbacks": _CHAIN, "timeout": self.world.ms(_TIMEOUT_MS)}
        if number % 9 == 5:
            options["priority"] = dice.randint(1, 3)
        elif number % 13 == 8:
            options["delay"] = self.world.ms(dice.uniform(8_000, 40_000))
        return NewJob("answer", data, self.options(**options))

    async def process(self, job: Job[Any, Any]) -> Any:
        dice, topic = self.world.dice(self.queue, job.id), TOPICS[job.data["topic"]]
        luck = dice.random()
        if luck < 0.015:
            raise ContentFilterError("content_filter: the prompt was refused by the provider")
        if luck < 0.035:
            await self.world.wait(0.4)
            raise ProviderError("429 slow down: the account is over its quota")
        if luck < 0.055 and not job.attempts_made:
            await job.log("connected, waiting for the first token")
            await asyncio.sleep(_HANG_S)  # the job's timeout ends this
        tools: tuple[tuple[str, str, str], ...] = ()
        if dice.random() < 0.25:
            tools = (("search_orders", '{"customer":"' + job.data["customer"] + '"}', "3 orders found"),)
        reply = await answer(
            self.world,
            job,
            prompt="\n".join(message["content"] for message in job.data["messages"]),
            text=topic.answer,
            thoughts=topic.thoughts,
            tools=tools,
        )
        return {"model": reply.model, "tokens": reply.tokens, "finish_reason": "stop"}
