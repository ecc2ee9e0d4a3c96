"""Fixed data of failures and dead letters for snapshots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from glidemq_console.model.lists.failures import FailuresView, LettersView
from glidemq_console.model.snapshot import Interests, JobView, Snapshot
from glidemq_core.options.job import JobRef
from glidemq_core.records import Attempt, DeadLetter, FailureGroup, JobDetail

from .fixed import LIVE, NOW_MS, ago, script

TRACE = """Traceback (most recent call last):
  File "/srv/app/worker.py", line 88, in answer
    return await client.complete(job.data["prompt"])
  File "/srv/app/client.py", line 41, in call
    raise ProviderError(reply.text)
ProviderError: 429 slow down, retry after 800 ms
"""


def group(
    key: str, queue: str, error_type: str | None, message: str, count: int, **more: Any
) -> FailureGroup:
    ids = range(48_209, 48_209 - min(count, 10), -1)
    values: dict[str, Any] = {
        "first_at": ago(minutes=52),
        "last_at": ago(minutes=1),
        "models": {},
        "names": {"answer": count},
        "wasted_cost": None,
        "sample": tuple(JobRef(queue, str(number)) for number in ids),
    }
    return FailureGroup(
        key=key, queue=queue, error_type=error_type, message=message, count=count, **(values | more)
    )


GROUPS = (
    group(
        "a1",
        "inference",
        "ProviderError",
        "# slow down, retry after # ms",
        14,
        models={"gpt-5.4": 11, "gpt-5.4-nano": 3},
        wasted_cost=0.31,
    ),
    group(
        "b2",
        "rag-index",
        "ValueError",
        "chunk # has no text",
        7,
        first_at=ago(minutes=40),
        last_at=ago(minutes=12),
    ),
    group("c3", "webhooks", None, "410 gone: the customer removed this endpoint", 2, first_at=ago(minutes=9)),
)
FAILURES = FailuresView(since_ms=3_600_000, groups=GROUPS, jobs_read=23, complete=True, at_ms=NOW_MS)


def attempt(number: int, model: str, seconds: float, error: str, cost: float, **more: Any) -> Attempt:
    at = ago(minutes=2) + timedelta(seconds=3 * number)
    return Attempt(
        attempt=number,
        started_at=at,
        ended_at=at + timedelta(seconds=seconds),
        outcome="failed",
        model=model,
        error_type="ProviderError",
        error=error,
        total_cost=cost,
        **more,
    )


MEMBER = JobDetail(
    id="48209",
    queue="inference",
    name="answer",
    state="failed",
    created_at=ago(minutes=3),
    finished_at=ago(minutes=1),
    attempts_made=3,
    max_attempts=3,
    failed_reason="429 slow down, retry after 800 ms",
    data={
        "prompt": "Explain message queues to a cook.",
        "model": "gpt-5.4",
        "api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f",
    },
    data_bytes=4_200,
    ledger=(
        attempt(1, "gpt-5.4", 1.9, "503 overloaded", 0.011),
        attempt(2, "gpt-5.4-nano", 0.4, "429 slow down, retry after 800 ms", 0.004, trace=TRACE),
    ),
)


def letter(number: int, queue: str, name: str, error: str, **more: Any) -> DeadLetter:
    return DeadLetter(
        queue=f"{queue}-dead",
        id=str(number),
        origin=JobRef(queue, str(4_000 + number)),
        name=name,
        data={"event": "order.paid", "customer": "Nordwind", "token": "whsec_3b8f6a1c9e4d7052"},
        failed_reason=error,
        attempts_made=2,
        failed_at=ago(minutes=7 * number),
        **more,
    )


LETTERS = LettersView(
    letters=(
        letter(1, "webhooks", "deliver", "410 gone: the customer removed this endpoint"),
        letter(2, "webhooks", "deliver", "timeout after 5 s", replays=2),
        letter(3, "moderation", "moderate", "no policy for language 'tlh'"),
    ),
    total=3,
    complete=True,
    at_ms=NOW_MS,
)


def failures_script(base: Snapshot = LIVE) -> Callable[[Interests], Snapshot]:
    others = script(base)

    def answer(wants: Interests) -> Snapshot:
        known = others(wants)
        if wants.failures is not None:
            known = replace(known, failures=replace(FAILURES, since_ms=wants.failures))
        if wants.letters:
            known = replace(known, letters=LETTERS)
        if wants.job is not None and wants.job.queue in ("inference", "rag-index", "webhooks"):
            detail = replace(MEMBER, queue=wants.job.queue, id=wants.job.id)
            known = replace(known, job=JobView(ref=wants.job, detail=detail, at_ms=NOW_MS))
        return known

    return answer
