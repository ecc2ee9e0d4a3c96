"""Research: reports as flows with budgets; some run out and wait for more, one fails by it; and a graph of steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from glidemq_core import (
    Actor,
    Budget,
    Connection,
    DagNode,
    Fallback,
    FlowJob,
    FlowProducer,
    Job,
    JobOptions,
    NewJob,
    Queue,
)

from ..models import MODELS, Call, answer
from ..pace import World
from ..texts import CHAPTER, CONCLUSION, CUSTOMERS, RESEARCH
from .workload import Traffic, Workload

_CHAIN = (Fallback("gpt-5.4-nano", "openai"), Fallback("gemini-2.5-flash", "google"))
_OPERATOR = Actor("demo-operator", via="demo")
#: What an operator adds at a time.
_MORE_TOKENS, _MORE_COST = 2_500, 0.006

#: Budgets by what they lead to: most are ample, some run low, some are used up halfway.
_AMPLE = Budget(max_total_tokens=9_000, max_total_cost=0.012, cost_unit="usd", on_exceeded="pause")
_LOW = Budget(max_total_tokens=4_400, max_tokens={"output": 1_400}, cost_unit="usd", on_exceeded="pause")
_SHORT = Budget(
    max_total_tokens=1_500,
    token_weights={"reasoning": 2},
    max_total_cost=0.006,
    max_costs={"output": 0.004},
    cost_unit="usd",
    on_exceeded="pause",
)
_STRICT = Budget(max_total_tokens=1_200, max_total_cost=0.004, cost_unit="usd", on_exceeded="fail")


class Research(Workload):
    """A report waits for its chapters, a chapter for its searches; all of them draw on the report's budget."""

    queue: ClassVar[str] = "research"
    # The window is short, so that nobody has to wait long to see it end.
    traffic: ClassVar[Traffic] = Traffic(
        concurrency=5, per_s=0.08, backlog=14, usual_ms=2_400, opening=5, tpm=9_000, window_s=15
    )
    #: How many flows may stand still before the next ones get enough from the start.
    stuck: ClassVar[int] = 3

    def __init__(self, world: World, connection: Connection) -> None:
        super().__init__(world, connection)
        self._producer = FlowProducer(connection)
        self._tight: list[str] = []

    def new(self, number: int, may_ask: bool) -> NewJob:
        subject, chapters = RESEARCH[(number + self.world.seed) % len(RESEARCH)]
        rng = self.world.rng(self.queue, number)
        return NewJob("search", self._data(number, f"{subject}: {rng.choice(chapters)}"), self._step())

    async def add(self, queue: Queue[Any, Any], numbers: Iterable[int], may_ask: bool) -> None:
        """Add flows: first one of each kind, later mostly trees, and tight ones while few stand still."""
        for number in numbers:
            if number % 5 == 4:
                await self._producer.add_dag(self.graph(number))
                continue
            self._tight = [flow for flow in self._tight if not await _has_ended(queue, flow)]
            budget = self._budget(number)
            node = await self._producer.add(
                self.tree(number, attempts=2 if budget is _STRICT else 3), budget=budget
            )
            if budget in (_LOW, _SHORT):
                self._tight.append(node.job.id)

    def _budget(self, number: int) -> Budget:
        if number == 3:
            return _STRICT
        if number % 5 == 1 and len(self._tight) < self.stuck:
            return _SHORT
        return _LOW if number % 5 == 2 and len(self._tight) < self.stuck else _AMPLE

    def tree(self, number: int, *, attempts: int) -> FlowJob:
        """Describe a report: two searches a chapter."""
        subject, chapters = RESEARCH[(number + self.world.seed) % len(RESEARCH)]

        def step(name: str, topic: str, children: Iterable[FlowJob] = ()) -> FlowJob:
            options = self._step(attempts)
            return FlowJob(name, self.queue, self._data(number, topic), options, tuple(children))

        parts = (f"{subject}: {chapter}" for chapter in chapters)
        return step(
            "report",
            subject,
            [
                step("chapter", part, [step("search", part), step("search", f"{part}, news")])
                for part in parts
            ],
        )

    def graph(self, number: int) -> list[DagNode]:
        """Describe a newsletter: two steps side by side between a first and a last one."""
        subject = RESEARCH[(number + self.world.seed) % len(RESEARCH)][0]
        deps = {
            "collect": (),
            "summarise": ("collect",),
            "check-facts": ("collect",),
            "translate": ("summarise",),
            "newsletter": ("translate", "check-facts"),
        }
        data = self._data(number, subject)
        return [DagNode(name, self.queue, data, self._step(), needed) for name, needed in deps.items()]

    async def process(self, job: Job[Any, Any]) -> Any:
        rng, topic = self.world.rng_of(job), str(job.data.get("topic", ""))
        # The last attempts work: what failed for good would keep its report waiting for ever.
        may_fail = job.attempts_made < 2
        if job.name in ("search", "collect", "check-facts"):
            model = MODELS["gemini-2.5-flash"]
            call = Call(self.world, job, model, prompt="x" * rng.randint(800, 2_400), rng=rng)
            await call.begin(may_fail=may_fail)
            await self.world.wait(rng.uniform(0.3, 1.2))
            await call.report()
            return {"sources": rng.randint(2, 9)}
        reply = await answer(
            self.world,
            job,
            prompt=topic * 30,
            text=f"{topic}\n\n{CONCLUSION if job.name in ('report', 'newsletter') else CHAPTER}",
            thoughts="What do the sources agree on? Say that first." if job.name == "chapter" else "",
            may_fail=may_fail,
        )
        return {"model": reply.model, "tokens": reply.tokens}

    async def top_up(self, queue: Queue[Any, Any]) -> None:
        """Give more to the flows that stand still."""
        for flow in list(self._tight):
            budget = await queue.get_flow_budget(flow)
            if budget is not None and budget.parked:
                await queue.top_up_budget(
                    flow,
                    add_tokens=_MORE_TOKENS,
                    add_cost=_MORE_COST,
                    add_tokens_by=dict.fromkeys(budget.max_tokens, _MORE_TOKENS),
                    add_costs_by=dict.fromkeys(budget.max_costs, _MORE_COST),
                    actor=_OPERATOR,
                )

    def _data(self, number: int, topic: str) -> dict[str, Any]:
        rng = self.world.rng(self.queue, "data", number)
        return {
            "topic": topic,
            "customer": rng.choice(CUSTOMERS),
            "model": rng.choice(("gpt-5.4", "gemini-2.5-pro")),
        }

    def _step(self, attempts: int = 3) -> JobOptions:
        return self.options(attempts=attempts, fallbacks=_CHAIN)


async def keep_topping_up(research: Research, queue: Queue[Any, Any]) -> None:
    """Top up, every now and then, what has run out."""
    while True:
        await research.world.wait(4)
        await research.top_up(queue)


async def _has_ended(queue: Queue[Any, Any], flow_id: str) -> bool:
    job = await queue.get_job(flow_id, exclude_data=True)
    return job is None or job.state in ("completed", "failed")
