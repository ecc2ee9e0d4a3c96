"""What a type checker holds applications to: payloads, results, handlers of events, jobs that may not be there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: A comment `#: TYPE` is the type that mypy must find, `#! WORDS` a part of the error that it must report.
PROGRAM = """
from dataclasses import dataclass
from collections.abc import Sequence
from typing import Any

from glidemq_core import (
    AddRequest, Batch, Deduplication, Handlers, Job, JobOptions, Middleware, NewJob, Producer, Queue, SyncJob, Worker,
)


@dataclass
class Ask:
    question: str


@dataclass
class Answer:
    text: str


async def adding(queue: Queue[Ask, Answer], plain: Queue, producer: Producer) -> None:
    reveal_type(await queue.add("a", Ask("why")))  #: Job[Ask, Answer]
    reveal_type(await queue.add("a", Ask("why"), delay="5s"))  #: Job[Ask, Answer]
    reveal_type(await queue.add("a", Ask("why"), job_id="1"))  #: Job[Ask, Answer] | None
    reveal_type(await queue.add("a", Ask("why"), deduplication=Deduplication("d")))  #: Job[Ask, Answer] | None
    reveal_type(await queue.add("a", Ask("why"), options=JobOptions()))  #: Job[Ask, Answer] | None
    reveal_type(await queue.add("a", Ask("why"), job_id="1", on_duplicate="raise"))  #: Job[Ask, Answer]
    reveal_type(await queue.add_and_wait("a", Ask("why")))  #: Answer
    reveal_type(await (await queue.add("a", Ask("why"))).wait())  #: Answer
    reveal_type((await queue.add_bulk([NewJob("a")]))[0].data)  #: Ask
    reveal_type(await queue.get_job("1"))  #: Job[Ask, Answer] | None
    reveal_type((await queue.get_jobs("waiting"))[0].result)  #: Answer | None
    await queue.add("a", {"question": "why"})  #! No overload variant of "add"
    await queue.add("a", Ask("why"), prority=1)  #! No overload variant of "add"
    await queue.add("a", Ask("why"), on_duplicate="ignore")  #! No overload variant of "add"
    reveal_type(await plain.add("a", {"anything": 1}))  #: Job[Any, Any]
    reveal_type(await producer.add("a"))  #: str
    reveal_type(await producer.add("a", job_id="1"))  #: str | None
    reveal_type(await producer.add("a", job_id="1", on_duplicate="raise"))  #: str


async def answer(job: Job[Ask, Answer]) -> Answer:
    reveal_type(job.data.question)  #: str
    return Answer(job.data.question)


def blocking(job: SyncJob[Ask, Answer]) -> Answer:
    reveal_type(job.data.question)  #: str
    reveal_type(job.log("a"))  #: None
    print(job.get_state() == "active", job.get_state() == "gone")  #! Non-overlapping equality check
    job.lag("a")  #! has no attribute "lag"
    return Answer(job.id)


async def wrong(job: Job[str, Answer]) -> Answer:
    return Answer(job.data)


async def several(jobs: list[Job[Ask, Answer]]) -> list[Answer]:
    return [Answer(job.data.question) for job in jobs]


async def anything(job: Job) -> None: ...


async def no_job(job: int) -> None: ...


worker = Worker("q", answer)
reveal_type(worker)  #: Worker[Ask, Answer]
reveal_type(Worker("q", blocking))  #: Worker[Ask, Answer]
reveal_type(Worker("q", several, batch=Batch(5)))  #: Worker[Ask, Answer]
reveal_type(Worker("q", anything))  #: Worker[Any, Any]
reveal_type(Worker("q", Handlers()))  #: Worker[Any, Any]
checked: Worker[Ask, Answer] = Worker("q", wrong)  #! has incompatible type
Worker[Ask, Answer]("q", wrong)  #! has incompatible type
Worker("q", no_job)  #! has incompatible type


@worker.on("completed")
def completed(job: Job[Ask, Answer], result: Answer) -> None: ...


@worker.on("failed")
async def failed(job: Job[Ask, Answer], error: BaseException) -> None: ...


@worker.on("completed")  #! incompatible type
def too_few(job: Job[Ask, Answer]) -> None: ...


worker.on("stalled", lambda job_id: job_id.upper())
worker.on("error", print)
worker.on("ready", completed)  #! No overload variant of "on"
worker.on("begun", print)  #! No overload variant of "on"


class Timing(Middleware):
    async def run(self, job: Job[Any, Any], call_next: Any) -> Any:
        return await call_next()

    async def add(self, request: AddRequest, call_next: Any) -> Any:
        return await call_next(request)
"""


@pytest.mark.thorough
def test_type_checkers_see_what_is_promised(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "programs")]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *cache, str(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    said: dict[int, list[str]] = {}
    for line in run.stdout.splitlines():
        found = re.match(r".*program\.py:(\d+): (error|note): (.*)", line)
        if found:
            text = found[3].replace("glidemq_core.job.", "").replace("program.", "").replace("builtins.", "")
            said.setdefault(int(found[1]), []).append(re.sub(r"glidemq_core\.[\w.]*\.(\w+)", r"\1", text))

    assert not run.stderr
    for number, line in enumerate(PROGRAM.splitlines(), 1):
        revealed, wrong = line.partition("  #: ")[2], line.partition("  #! ")[2]
        words = said.pop(number, [])
        if revealed:
            types = [re.sub(r"Union\[(.*), None\]", r"\1 | None", word) for word in words]
            assert types == [f'Revealed type is "{revealed}"'], line
        elif wrong:
            assert any(wrong in word for word in words), f"{line}: {words}"
        else:
            assert words == [], line
    assert not said
