"""Plain functions as processors: run in a thread, with the job's methods blocking."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic

from ...job import Job
from ...jobs.snapshot import DataT, ResultT


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


async def run_in_thread(processor: Callable[[Any], Any], job: Job[Any, Any]) -> Any:
    """Run a plain function in a thread of its own.

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
            result = processor(SyncJob(job, loop))
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the outcome of the attempt
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, result, error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(body,), name=f"glidemq-{job.ref}", daemon=True)
    thread.start()
    return await future
