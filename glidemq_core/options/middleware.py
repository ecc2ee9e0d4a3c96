"""Code of the application around adding a job and around running one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from .fields import Check, refuse
from .job import JobOptions

#: Runs the job: the middleware further in, then the processor. Gives its result.
RunNext = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True)
class AddRequest:
    """A job that is about to be added; `dataclasses.replace` makes a changed one."""

    queue: str
    """Name of the queue; it cannot be changed."""
    name: str
    """Kind of job."""
    data: Any
    """Payload, before the serializer."""
    options: JobOptions
    """Options; those that were not given are left out on the wire."""


@dataclass(frozen=True, kw_only=True)
class FlowRequest:
    """A flow that is about to be created."""

    kind: Literal["flow", "dag"]
    """A tree of jobs, or a graph."""
    queue: str
    """Queue of the root; of a graph, of its first node."""
    name: str
    """Name of that job."""
    children: int
    """How many jobs it waits for."""
    jobs: int
    """How many jobs the flow has."""


#: Adds the job of a request. Gives the job as it was stored, None when it was deduplicated or its id is taken.
AddNext = Callable[[AddRequest], Awaitable[Any]]


class Middleware:
    """Code around every job: a subclass overrides `run`, `add` or both. The first one given is the outermost.

    One object serves all jobs of a worker or queue at the same time: what belongs to one job is kept in local variables
    or in context variables, not on `self`.
    """

    async def run(self, job: Any, call_next: RunNext) -> Any:
        """Run a job; called in the context of the run, once an attempt, also for a job of a batch.

        Args:
            job: the `Job`; with `Handlers`, `job.data` has its annotated type after `call_next` only.
            call_next: runs the rest and gives the result; to be called once. Without it the processor does not run, and
                the job completes with what is returned here.
        Returns:
            The result of the job.
        Raises:
            Exception: what comes out of here is how the attempt failed, whoever raised it. What ends a run otherwise
                (`JobControl`, cancellation) is no `Exception` and must pass; a suspension or delay that was asked for
                stands in any case.
        """
        return await call_next()

    async def add(self, request: AddRequest, call_next: AddNext) -> Any:
        """Add a job: of `add`, `add_and_wait`, `add_bulk`, `publish` and of flows, not those of schedulers or replays.

        Args:
            request: what was asked for; `call_next(dataclasses.replace(request, data=...))` asks for something else.
            call_next: adds it, once. In `add_bulk` and in a flow it returns when its batch or the whole flow is stored.
        Returns:
            What `call_next` returned: the job as stored (`id`, `ref`), or None when it was skipped. Without calling it
            nothing is added, and None says so.
        Raises:
            Exception: what comes out of here is what the caller of `add` gets.
        """
        return await call_next(request)

    def flow(self, request: FlowRequest) -> AbstractContextManager[Any]:
        """Return what surrounds the creation of a flow as a whole; `add` is called for each of its jobs within.

        Args:
            request: what is known of the flow before it is created.
        """
        return nullcontext()


#: Middleware of everything in this process, outermost. To be read through the module, as it changes.
of_process: tuple[Middleware, ...] = ()


def set_everywhere(middleware: tuple[Middleware, ...]) -> None:
    """Put middleware around all queues, producers, flows and workers of this process, in place of what was there."""
    global of_process
    of_process = middleware


def everywhere(given: tuple[Middleware, ...]) -> tuple[Middleware, ...]:
    """Return the middleware of one object with that of the process around it, each kind once."""
    if not of_process:
        return given
    own = set(map(type, given))
    return (*(one for one in of_process if type(one) not in own), *given)


def middleware_for(method: str) -> Check[tuple[Middleware, ...]]:
    """Check for objects of `Middleware`; those that do not override a method are left out."""
    base = getattr(Middleware, method)

    def check(value: Any, option: str) -> tuple[Middleware, ...]:
        allowed = "a sequence of Middleware objects, the outermost first"
        given = tuple(value) if isinstance(value, Iterable) else refuse(option, value, allowed)
        for one in given:
            if not isinstance(one, Middleware):
                refuse(option, one, allowed)
        return tuple(one for one in given if getattr(getattr(one, method), "__func__", None) is not base)

    return check
