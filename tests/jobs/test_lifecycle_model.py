"""Any sequence of calls keeps what must always hold: every job in exactly one place, counts right.

The calls come from hypothesis; after each one the whole queue is read and judged. At the end everything that can
run is run: no job may be stuck behind another that will never start.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kits.bench import Bench
from kits.exchange import answers, end, exchange
from kits.wire import dump

from glidemq_core.ai.suspension import suspend
from glidemq_core.jobs.deadlines import sweep_suspended
from glidemq_core.options.job import Ordering, RateLimit, TokenBucket
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.worker import sweeps

P = "glide:{q}"
Run = tuple[str, str, str]

KINDS: list[dict[str, Any]] = [
    {},
    {"lifo": True},
    {"priority": 3},
    {"delay": 50, "priority": 1},
    {"delay": 50},
    {"ttl": 120},
    {"ordering": Ordering("one")},
    {"ordering": Ordering("one"), "delay": 50},
    {"ordering": Ordering("one"), "priority": 2},
    {"ordering": Ordering("one"), "ttl": 120},
    {"ordering": Ordering("two", concurrency=2)},
    {"ordering": Ordering("window", concurrency=3, rate_limit=RateLimit(2, 100))},
    {"ordering": Ordering("bucket", concurrency=3, token_bucket=TokenBucket(2, 10)), "cost": 1.5},
]
CALLS = (
    ["add"] * 6
    + ["claim"] * 4
    + ["complete"] * 3
    + ["retry_later", "fail", "hand_back", "step", "suspend", "signal", "tick", "tick", "wait", "stall"]
    + ["revoke", "remove", "promote", "change_priority", "change_delay", "repeat", "beat", "lost"]
)


class Model:
    """A queue under test: a clock of its own, the runs that workers think they have, and the judge."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.now = bench.connection.now_ms()
        bench.connection.now_ms = self._tick_clock  # type: ignore[method-assign]
        self.runs: list[Run] = []
        self.lost: list[Run] = []
        self.settled: list[tuple[int, Run, tuple[str, ...], bytes]] = []

    def _tick_clock(self) -> int:
        self.now += 1
        return self.now

    async def perform(self, call: str, choice: int) -> None:
        await getattr(self, f"do_{call}")(choice)

    def _run(self, choice: int) -> Run | None:
        return self.runs.pop(choice % len(self.runs)) if self.runs else None

    async def _ids(self) -> list[str]:
        newest = int(await self.bench.command("GET", f"{P}:id") or 0)
        return [str(n) for n in range(1, newest + 1)]

    async def _any(self, choice: int) -> str:
        ids = await self._ids()
        return ids[choice % len(ids)] if ids else "1"

    # Calls -------------------------------------------------------------------------------------------------------

    async def do_add(self, choice: int) -> None:
        await self.bench.add(**KINDS[choice % len(KINDS)])

    async def do_claim(self, choice: int) -> None:
        self.runs += await self.bench.claim(1 + choice % 4)

    async def _settle(self, run: Run, *words: str, value: str = "null") -> str:
        now = self.bench.scope.now_ms()
        head = (*run, *words)
        answer = await self._send(now, head, value)
        self.settled.append((now, run, (*words, value), answer))
        return answer

    async def _send(self, now: int, head: tuple[str, ...], value: str) -> str:
        words = end(head, value=value)
        reply = await self.bench.scope.call(*exchange(now, "worker-1-0badcafe", 0, "em"), *words)
        return answers(reply)[0]

    async def do_complete(self, choice: int) -> None:
        if run := self._run(choice):
            assert await self._settle(run, "c", "0", "0", "", "", "", "") == "ok"

    async def do_retry_later(self, choice: int) -> None:
        if run := self._run(choice):
            backoff = str(choice % 60)
            assert await self._settle(run, "f", "99", backoff, "", "", "", "", value="x") == "retrying"

    async def do_fail(self, choice: int) -> None:
        if run := self._run(choice):
            assert await self._settle(run, "f", "0", "0", "", "", "", "", value="x") == "failed"

    async def do_repeat(self, choice: int) -> None:
        """The reply to a settle was lost: the same again changes nothing."""
        if self.settled:
            now, run, (*words, value), answer = self.settled[choice % len(self.settled)]
            before = await dump(self.bench.connection)
            assert await self._send(now, (*run, *words), value) in (answer, "lost")
            assert await dump(self.bench.connection) == before

    async def do_lost(self, choice: int) -> None:
        """A run that was taken for stalled ends after all: nothing of it counts."""
        if self.lost:
            run = self.lost[choice % len(self.lost)]
            before = await dump(self.bench.connection)
            assert await self._settle(run, "c", "0", "0", "", "", "", "") == "lost"
            for call in ("hand_back", "delay"):
                more = (0, "", "") if call == "delay" else ()
                reply = await self.bench.scope.call(call, *run, self.bench.scope.now_ms(), *more)
                assert reply[0] == b"lost"
            assert await dump(self.bench.connection) == before

    async def do_hand_back(self, choice: int) -> None:
        if run := self._run(choice):
            assert (await self.bench.scope.call("hand_back", *run, self.bench.scope.now_ms()))[0] == b"ok"

    async def do_step(self, choice: int) -> None:
        if run := self._run(choice):
            now = self.bench.scope.now_ms()
            assert (await self.bench.scope.call("delay", *run, now, now + choice % 60, "", ""))[0] == b"ok"

    async def do_suspend(self, choice: int) -> None:
        if run := self._run(choice):
            outcome = await suspend(self.bench.scope, *run, "why", (choice % 2) * 80)
            assert outcome.status == "suspended"

    async def do_signal(self, choice: int) -> None:
        await self.bench.queue.signal(await self._any(choice), "go")

    async def do_tick(self, _: int) -> None:
        await sweeps.tick(self.bench.scope)
        await sweep_suspended(self.bench.scope)

    async def do_wait(self, choice: int) -> None:
        self.now += choice % 100

    async def do_beat(self, _: int) -> None:
        if self.runs:
            marks = [word for job, entry, started in self.runs for word in (job, started, entry)]
            answers = await self.bench.scope.call("beat", self.bench.scope.now_ms(), *marks)
            assert b"lost" not in answers

    async def do_stall(self, choice: int) -> None:
        """Every worker falls silent for longer than the lock."""
        if choice % 3:
            return
        self.now += 1000
        scope = self.bench.scope
        await sweeps.sweep_stalls(scope, "sweeper", min_idle_ms=0, lock_ms=1000, max_stalled=1)
        await sweeps.sweep_list_stalls(scope, lock_ms=1000, max_stalled=1)
        self.lost += self.runs
        self.runs = []

    async def do_revoke(self, choice: int) -> None:
        await self.bench.queue.revoke(await self._any(choice))

    async def do_remove(self, choice: int) -> None:
        from glidemq_core.jobs.control import remove_jobs

        job_id = await self._any(choice)
        await remove_jobs(self.bench.scope, [job_id], force=True)
        self.lost += [run for run in self.runs if run[0] == job_id]
        self.runs = [run for run in self.runs if run[0] != job_id]

    async def do_promote(self, choice: int) -> None:
        await self.bench.scope.call("promote", await self._any(choice), "")

    async def do_change_priority(self, choice: int) -> None:
        now = self.bench.scope.now_ms()
        await self.bench.scope.call("change_priority", await self._any(choice), choice % 4, now, "")

    async def do_change_delay(self, choice: int) -> None:
        now = self.bench.scope.now_ms()
        await self.bench.scope.call("change_delay", await self._any(choice), choice % 60, now, "")

    # The judge ---------------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        keys = await dump(self.bench.connection, f"{P}:*")

        def value(name: str, empty: Any) -> Any:
            return keys.get(f"{P}:{name}", {"value": empty})["value"]

        jobs = {k.rpartition(":")[2]: e["value"] for k, e in keys.items() if k.startswith(f"{P}:job:")}
        places: Counter[tuple[str, str]] = Counter()
        stream = keys.get(f"{P}:stream", {"value": [], "groups": []})
        pending = {e[0] for g in stream["groups"] for e in g["pending_entries"]}
        for entry in stream["value"]:
            places[entry["fields"]["jobId"], "active" if entry["id"] in pending else "waiting"] += 1
        for name in ("lifo", "priority"):
            for job_id in value(name, []):
                places[job_id, "waiting"] += 1
        for member, _ in value("list-runs", []):
            places[member, "active"] += 1
        for member, score in value("scheduled", []):
            kind = "scheduled"
            assert int(score) // PRIORITY_STEP == int(jobs[member]["priority"])
            places[member, kind] += 1
        for name in ("suspended", "completed", "failed"):
            for member, _ in value(name, []):
                places[member, name] += 1
        for key, entry in keys.items():
            if key.startswith(f"{P}:groupq:"):
                for member, _ in entry["value"]:
                    places[member, "group-waiting"] += 1
        wanted = Counter(
            (job_id, "scheduled" if fields["state"] in ("delayed", "prioritized") else fields["state"])
            for job_id, fields in jobs.items()
        )
        assert places == wanted

        assert int(value("list-active", "0")) == len(value("list-runs", []))
        assert sorted(run[0] for run in self.runs) == sorted(
            job_id for job_id, fields in jobs.items() if fields["state"] == "active"
        )
        for key, entry in keys.items():
            if key.startswith(f"{P}:group:"):
                self._judge_group(key.rpartition(":")[2], entry["value"], jobs)

    def _judge_group(self, key: str, group: dict[str, str], jobs: dict[str, dict[str, str]]) -> None:
        mine = [fields for fields in jobs.values() if fields.get("groupKey") == key]
        nxt = int(group["nextSeq"])
        holding = [
            f for f in mine if int(f["orderingSeq"]) < nxt and f["state"] not in ("completed", "failed")
        ]
        active = int(group.get("active", "0"))
        assert active == len(holding)
        assert active <= int(group["maxConcurrency"])
        running = [f for f in mine if f["state"] == "active"]
        assert all(int(f["orderingSeq"]) < nxt for f in running)
        for name in ("tbTokens", "rateCount", "tbRefillRemainder"):
            assert str(int(group.get(name, "0"))) == group.get(name, "0")
        assert int(group.get("tbTokens", "0")) <= int(group.get("tbCapacity", "0"))

    async def finish(self) -> None:
        """Whatever can run, runs to its end."""
        for _ in range(400):
            while self.runs:
                await self.do_complete(0)
            for job_id in await self._ids():
                if await self.bench.field(job_id, "state") == "suspended":
                    await self.bench.queue.signal(job_id, "go")
            self.now += 100
            await self.do_tick(0)
            await self.do_claim(3)
            states = {await self.bench.field(job_id, "state") for job_id in await self._ids()}
            if states <= {None, "completed", "failed"}:
                await self.judge()
                return
        raise AssertionError(f"stuck: {states}")


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(calls=st.lists(st.tuples(st.sampled_from(CALLS), st.integers(0, 10_000)), min_size=5, max_size=40))
async def test_every_job_is_in_one_place(connection: Connection, calls: list[tuple[str, int]]) -> None:
    await connection.command("FLUSHALL")
    bench = Bench(connection, "q")
    bench.scope = await bench.queue.context()
    clock = connection.now_ms
    model = Model(bench)
    try:
        for call, choice in calls:
            await model.perform(call, choice)
            await model.judge()
        await model.finish()
    finally:
        connection.now_ms = clock  # type: ignore[method-assign]
