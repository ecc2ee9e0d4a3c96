"""Plain functions as processors: run in a thread, with the job's methods blocking."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, Unpack

from ...ai.usage.report import UsageKeywords
from ...job import Job, Params, StepT
from ...jobs.snapshot import DataT, JobSnapshot, ResultT
from ...options.fields import Duration, Instant
from ...options.job import Actor, JobRef
from ...records import Signal, Usage
from ...records.outcomes import JobState

Processor = Callable[[Any], Any]
T = TypeVar("T")

if TYPE_CHECKING:

    class _Blocking(JobSnapshot[DataT, ResultT]):
        """What type checkers know of a `SyncJob`: the attributes of a job, and its methods without `await`."""

        aborted: bool
        resources: Mapping[str, Any]
        discarded: bool

        def refresh(self) -> None: ...
        def get_state(self) -> JobState: ...
        def discard(self) -> None: ...
        def log(self, message: str) -> None: ...
        def update_progress(self, progress: Any) -> None: ...
        def update_data(self, data: DataT) -> None: ...
        def report_usage(
            self, usage: Usage | Mapping[str, Any] | None = None, **keywords: Unpack[UsageKeywords]
        ) -> Usage | None: ...
        def report_tokens(self, count: float) -> None: ...
        def stream(self, chunk: Mapping[str, str]) -> str: ...
        def stream_chunk(self, type: str, content: str | None = None) -> str: ...
        def store_vector(
            self,
            field: str,
            embedding: Any,
            *,
            where: Literal["job", "side"] = "job",
            on_node_worker: Literal["warn", "refuse", "allow"] = "warn",
        ) -> None: ...
        def step(
            self, name: str, function: Callable[Params, StepT], /, *args: Params.args, **kwargs: Params.kwargs
        ) -> StepT: ...
        def suspend(
            self,
            *,
            reason: str | None = None,
            timeout: Duration | None = None,
            on_resume: Callable[[Sequence[Signal]], Any] | None = None,
        ) -> NoReturn: ...
        def move_to_delayed(self, until: Instant, next_step: str | None = None) -> NoReturn: ...
        def move_to_waiting_children(self) -> NoReturn: ...
        def rate_limit_group(
            self,
            duration: Duration,
            *,
            current_job: Literal["requeue", "fail"] = "requeue",
            requeue_position: Literal["front", "back"] = "front",
            extend: Literal["max", "replace"] = "max",
        ) -> NoReturn: ...
        def get_children_values(self) -> dict[str, Any]: ...
        def get_parents(self) -> list[JobRef]: ...
        def remove(self, *, force: bool = False, actor: Actor | None = None) -> bool: ...

else:
    _Blocking = Generic


class SyncJob(_Blocking[DataT, ResultT]):
    """A job as a plain function sees it: same attributes, same methods, blocking. Only for the run's own thread."""

    def __init__(self, job: Job[Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop

    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Do something once, as `Job.step`; the function is called in this thread."""
        steps = self._job._steps()
        is_known, value = self._wait(steps.find(name))
        return value if is_known else self._wait(steps.keep(name, function(*args, **kwargs)))

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def _of_job(self, name: str) -> Any:
        value = getattr(self._job, name)
        if not inspect.ismethod(value):
            return value

        def blocking(*args: Any, **kwargs: Any) -> Any:
            answer = value(*args, **kwargs)
            if not isinstance(answer, Coroutine):
                return answer
            return self._wait(answer)

        return blocking

    if not TYPE_CHECKING:  # what it has stands above
        __getattr__ = _of_job


def is_async(processor: Processor) -> bool:
    """Whether calling it gives a coroutine: an async function, or an object whose call is one."""
    return inspect.iscoroutinefunction(processor) or inspect.iscoroutinefunction(type(processor).__call__)


async def run_in_thread(processor: Processor, job: Job[Any, Any]) -> Any:
    """Run a plain function on one job, in a thread of its own."""
    loop = asyncio.get_running_loop()
    return await _in_thread(lambda: processor(SyncJob(job, loop)), f"glidemq-{job.ref}")


async def call_in_thread(processor: Processor, jobs: Sequence[Job[Any, Any]]) -> Any:
    """Run a plain function on a list of jobs, in a thread of its own."""
    loop = asyncio.get_running_loop()
    return await _in_thread(lambda: processor([SyncJob(job, loop) for job in jobs]), f"glidemq-{jobs[0].ref}")


async def _in_thread(call: Callable[[], Any], name: str) -> Any:
    """Make a call in a thread.

    A thread cannot be stopped: when this coroutine is cancelled the thread runs on and may look at `job.aborted`.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def resolve(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(
                error if not isinstance(error, StopIteration) else RuntimeError("StopIteration")
            )

    def body() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the outcome of the attempt
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, result, error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(body,), name=name, daemon=True)
    thread.start()
    return await future
