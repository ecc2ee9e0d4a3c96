"""Any course of events, with records of strangers coming and going in between: every job is run to its end."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from conftest import eventually
from hypothesis import given, settings
from hypothesis import strategies as st
from kits.bench import Bench
from kits.exchange import answers, claims, ends, exchange
from kits.worker import P, is_idle, quick

from glidemq_core.doctor import repair
from glidemq_core.errors import ServerError
from glidemq_core.options.job import Actor, Ordering
from glidemq_core.server.connect import connect
from glidemq_core.watch import Watch
from worker.test_poisoned_keys import CONSUMER, orphans, unless_refused

pytestmark = pytest.mark.leaves_records
KEYS = [
    "completed",
    "failed",
    "scheduled",
    "events",
    "metrics:completed",
    "metrics:failed",
    "list-active",
    "list-runs",
    "group:k",
    "groupq:k",
    "ratelimited",
    "rate",
    "meta",
    "ordering",
    "outbox",
    "schedulers",
    "early-index",
    "lifo",
    "priority",
]
#: Where jobs stand: those in a place that was put aside are not seen meanwhile.
PLACES = {"scheduled", "groupq:k", "list-runs", "lifo", "priority", "completed", "failed"}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lifo": {"lifo": True},
    "priority": {"priority": 2},
    "retry": {"attempts": 3, "backoff": 1},
    "ordered": {"ordering": Ordering("k", concurrency=1)},
    "late": {"delay": 50},
}
STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(sorted(KINDS))),
    st.tuples(st.just("poison"), st.sampled_from(KEYS)),
    st.tuples(st.just("cure"), st.just("")),
    st.tuples(st.just("exchange"), st.sampled_from(["c", "f", "cf", ""])),
    st.tuples(st.sampled_from(["hand_back", "tick", "stalls", "beat"]), st.just("")),
)


class Course:
    """A queue, what runs in it, and what strangers have put into the place of its records."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.now = bench.scope.now_ms()
        self.ids: list[str] = []
        self.runs: list[tuple[str, str, str]] = []
        self.poisoned: dict[str, bool] = {}

    async def step(self, what: str, which: str) -> None:
        self.now += 10
        await getattr(self, what)(which)
        hidden = self.poisoned.keys() & {
            "scheduled",
            "groupq:k",
            "list-runs",
            "lifo",
            "priority",
            "completed",
            "failed",
        }
        if not hidden:
            assert not await orphans(self.bench)

    async def add(self, kind: str) -> None:
        with contextlib.suppress(ServerError):
            self.ids.append(await self.bench.add(kind, **KINDS[kind]))

    async def poison(self, name: str) -> None:
        key = f"{P}:{name}"
        if name not in self.poisoned:
            self.poisoned[name] = bool(await self.bench.command("EXISTS", key))
            if self.poisoned[name]:
                await self.bench.command("RENAME", key, f"aside:{name}")
            await self.bench.command("LPUSH" if name == "list-active" else "SET", key, "x")

    async def cure(self, _: str) -> None:
        for name, existed in self.poisoned.items():
            await self.bench.command("DEL", f"{P}:{name}")
            if existed:
                await self.bench.command("RENAME", f"aside:{name}", f"{P}:{name}")
        self.poisoned.clear()

    async def exchange(self, outcomes: str) -> None:
        ending = self.runs[: len(outcomes)]
        words: list[str] = []
        for run, outcome in zip(ending, outcomes, strict=False):
            words += [
                "\x1f".join((*run, outcome, "2", "5", "", "", "", "")),
                "null" if outcome == "c" else "boom",
            ]
        reply = await unless_refused(
            self.bench.scope.call(*exchange(self.now, CONSUMER, 2, "em", 100, 60_000, 0, 0), *ends(*words))
        )
        if reply is None:
            return
        told = answers(reply, len(ending))
        kept = [run for run, answer in zip(ending, told, strict=True) if answer == "unrecorded"]
        self.runs = kept + self.runs[len(ending) :]
        started = [claim for claim in claims(reply, len(ending)) if claim.stop != "parked"]
        self.runs += [(claim.job_id, claim.entry, str(self.now)) for claim in started]

    async def hand_back(self, _: str) -> None:
        if self.runs and await unless_refused(self.bench.scope.call("hand_back", *self.runs[0], self.now)):
            del self.runs[0]

    async def tick(self, _: str) -> None:
        await unless_refused(self.bench.scope.call("tick", self.now + 100))

    async def stalls(self, _: str) -> None:
        """Whoever runs something is taken for dead."""
        late = self.now + 10**6
        await unless_refused(self.bench.scope.call("stalls", late, 0, 1_000, 99, "sweeper", "0-0"))
        await unless_refused(self.bench.scope.call("list_stalls", late, 1_000, 99, 100))

    async def beat(self, _: str) -> None:
        marks = [word for job_id, entry, started in self.runs for word in (job_id, started, entry)]
        await unless_refused(self.bench.scope.call("beat", self.now, *marks))


@settings(max_examples=60)
@given(steps=st.lists(STEPS, max_size=40))
async def test_every_job_ends_whatever_came_and_went(server_url: str, steps: list[tuple[str, str]]) -> None:
    async with connect(server_url) as connection:
        await connection.command("FLUSHALL")
        bench = Bench(connection, "q")
        bench.scope = await bench.queue.context()
        course = Course(bench)
        for what, which in steps:
            await course.step(what, which)
        await course.cure("")
        await course.stalls("")
        await unless_refused(bench.scope.call("tick", course.now + 10**7))
        await repair(connection, Watch(connection), ["q"], Actor("ada"))
        assert not await orphans(bench)

        async def over() -> bool:
            states = {await bench.field(job_id, "state") for job_id in course.ids}
            return states <= {"completed", "failed"}

        async with quick(_process, connection):
            await eventually(over)
            await eventually(lambda: is_idle(bench))  # a counter that was put aside is off until it is healed


async def _process(_: Any) -> None: ...
