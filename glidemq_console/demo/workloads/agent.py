"""Agents: think, call tools, sleep between steps, and ask a person before anything that cannot be undone."""

from __future__ import annotations

from typing import Any, ClassVar

from glidemq_core import Job, NewJob, UnrecoverableError

from ..models import Call, answer, model_of
from ..pace import decision
from ..texts import TASKS, Task
from .workload import Traffic, Workload


class Agent(Workload):
    """Tasks of several steps; the step stands in the job's data."""

    queue: ClassVar[str] = "agent"
    traffic: ClassVar[Traffic] = Traffic(
        concurrency=3, usual_ms=5_200, per_s=0.3, backlog=4, opening=3, asking=3
    )

    def new(self, number: int, may_ask: bool) -> NewJob:
        rng = self.world.rng(self.queue, number)
        harmless = [index for index, task in enumerate(TASKS) if task.danger is None]
        task = (number * 5 + self.world.seed) % len(TASKS) if may_ask else harmless[number % len(harmless)]
        data = {
            "task": TASKS[task].goal,
            "agent": rng.choice(("ops-helper", "office-helper")),
            "model": rng.choice(("gpt-5.4", "gemini-2.5-pro")),
            "limits": {"max_steps": 8, "max_usd": 0.5},
            "step": "plan",
        }
        return NewJob("task", data, self.options(lock_duration=45_000))

    async def process(self, job: Job[Any, Any]) -> Any:
        step = job.data.get("step", "plan")
        if step == "plan":
            await self._plan(job)
        if step == "act":
            await self._act(job)
        return await self._finish(job)

    async def _plan(self, job: Job[Any, Any]) -> None:
        """Think, then use the harmless tools one after the other; the next step begins after a pause."""
        task, plan, tools, _, _ = _task(job)
        rng = self.world.rng_of(job)
        call = Call(self.world, job, model_of(job), prompt=task, rng=rng)
        await call.begin()
        await call.print_line(plan, "reasoning")
        for done, (tool, arguments, result) in enumerate(tools, 1):
            await call.ask_for(tool, arguments)
            await self.world.wait(rng.uniform(0.3, 1.2))
            await job.log(f"{tool} -> {result}")
            await call.print_line(f"{tool}: {result}\n")
            await job.update_progress(round(60 * done / len(tools)))
        await call.report()
        await job.move_to_delayed(self._later(rng.uniform(500, 2_500)), "act")

    async def _act(self, job: Job[Any, Any]) -> None:
        """Ask before the dangerous tool, if the task has one; what a person said decides about it."""
        danger = _task(job).danger
        if danger is None:
            return
        tool, arguments, why = danger
        decided = decision(self.world, job)
        if decided is None:
            await job.stream({"type": "tool_call", "name": tool, "content": f"{tool}({arguments})"})
            minutes = self.world.rng(job.queue, job.id).choice((2, 10, 30, 60))
            await job.suspend(reason=f"{tool}: {why}", timeout=minutes * 60_000)
        if decided.approved and decided.is_current:
            await self.world.wait(0.6)
            await job.log(f"{tool} -> done")
        else:
            await job.log(f"{tool} refused: {decided.reason or 'no reason given'}")

    async def _finish(self, job: Job[Any, Any]) -> Any:
        task, _, _, danger, end = _task(job)
        decided = decision(self.world, job)
        approved = decided is not None and decided.approved and decided.is_current
        text = (
            end
            if danger is None or approved
            else "Stopped before the last step, as asked. Nothing was changed."
        )
        reply = await answer(self.world, job, prompt=task, text=text, may_fail=False)
        await job.update_progress(100)
        return {"done": danger is None or approved, "model": reply.model}

    def _later(self, milliseconds: float) -> int:
        return self.connection.now_ms() + self.world.ms(milliseconds)


def _task(job: Job[Any, Any]) -> Task:
    """Return what is known about the task of a job; UnrecoverableError for one that nobody has taught us."""
    for task in TASKS:
        if task.goal == job.data["task"]:
            return task
    raise UnrecoverableError("this agent does not know how to do that")
