"""Plain functions as processors: run in a thread, with the job's methods blocking."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic

from ...job import Job
from ...jobs.snapshot import DataT, ResultT

Processor = Callable[[Any], Any]


class SyncJob(Generic[DataT, ResultT]):
    """A job as a plain function sees it: same attributes, same methods, blocking. Only for the run's own thread."""

    def __init__(self, job: Job[Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._job, name)
        if not inspect.ismethod(value):
            return value

        def blocking(*args: Any, **kwargs: Any) -> Any:
            answer = value(*args, **kwargs)
            if not isinstance(answer, Coroutine):
                return answer
            return asyncio.run_coroutine_threadsafe(answer, self._loop).result()

        return blocking


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
