"""Handlers: one function a kind of job, with typed payloads and results."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import InvalidOptionError, UnrecoverableError
from ..job import Job
from ..jobs.snapshot import PayloadTypes
from ..worker.execution.threads import SyncJob, run_in_thread
from .payloads import Decode, PayloadError, decoder, encoder

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class _Handler:
    function: Callable[[Any], Any]
    in_thread: bool
    types: PayloadTypes | None


class Handlers:
    """A processor that calls the function registered for the name of each job.

        handlers = Handlers()

        @handlers.on("answer")
        async def answer(job: Job[Question, Answer]) -> Answer: ...

        worker = Worker("inference", handlers)

    `job.data` is an object of the first type of the annotation (dataclass, TypedDict, pydantic model, or whatever
    msgspec reads), the result is written by the second. A payload that does not fit fails its job without a retry,
    and the error names the place; so does a job of an unknown name. Plain functions run in a thread and take a
    `SyncJob`.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, _Handler] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the jobs that have a handler, in the order of registration."""
        return tuple(self._handlers)

    def on(self, *names: str) -> Callable[[FunctionT], FunctionT]:
        """Register a function for jobs of these names.

        Raises:
            InvalidOptionError: no name, one that has a handler, or a function without a usable annotation.
        """
        if not names or not all(isinstance(name, str) for name in names):
            raise _refused("names", names, "on() takes the names of the jobs", 'on("answer")')
        scope = sys._getframe(1).f_locals

        def register(function: FunctionT) -> FunctionT:
            for name in names:
                if name in self._handlers:
                    raise _refused("names", name, f"jobs '{name}' have a handler already", "another name")
            handler = _handler(function, scope)
            self._handlers.update(dict.fromkeys(names, handler))
            return function

        return register

    async def __call__(self, job: Job[Any, Any]) -> Any:
        """Run one job; what a Worker calls."""
        handler = self._handlers.get(job.name)
        if handler is None:
            known = ", ".join(self._handlers) or "none"
            raise UnrecoverableError(f"no handler for jobs named '{job.name}'; there are: {known}")
        if handler.types is not None:
            # They stay with the job: what it leaves to be called after a suspension gets and returns the same.
            job.use_types(handler.types)
            if handler.types.decode is not _unchanged and not job.data and job.data_error is not None:
                raise UnrecoverableError(f"the payload cannot be read: {job.data_error}")
        answer = run_in_thread(handler.function, job) if handler.in_thread else handler.function(job)
        return job.as_result(await answer)


def _unchanged(value: Any) -> Any:
    return value


def _strictly(decode: Decode) -> Decode:
    """Fail a job whose payload does not fit, without a retry."""

    def decode_or_fail(value: Any) -> Any:
        try:
            return decode(value)
        except PayloadError as error:
            raise UnrecoverableError(f"the payload does not fit: {error}") from None

    return decode_or_fail


def _handler(function: Callable[..., Any], scope: dict[str, Any]) -> _Handler:
    """Read the annotation of a function.

    Args:
        scope: local names of the place where it is registered: its types may be defined there.
    """
    name = getattr(function, "__qualname__", repr(function))
    wanted = "a function of one argument annotated Job[In, Out], or SyncJob[In, Out] for a plain function"
    try:
        hints = typing.get_type_hints(function, localns=scope)
        parameters = list(inspect.signature(function).parameters.values())
    except Exception as error:  # noqa: BLE001 - annotations are code of the application
        text = f"cannot read the annotations of {name}: {error}"
        raise _refused("function", function, text, wanted) from None
    if len(parameters) != 1:
        raise _refused("function", function, f"{name} must take one argument, the job", wanted)
    annotation = hints.get(parameters[0].name)
    kind = typing.get_origin(annotation) or annotation
    if kind not in (Job, SyncJob):
        text = f"the argument of {name} must be annotated, such as job: Job[Question, Answer]"
        raise _refused("function", function, text, wanted)
    in_thread = not inspect.iscoroutinefunction(function)
    if in_thread != (kind is SyncJob):
        form = "a plain function takes SyncJob[...]" if in_thread else "an async function takes Job[...]"
        raise _refused("function", function, f"{name}: {form}", wanted)
    data, result = (*typing.get_args(annotation), Any, Any)[:2]
    returned = hints.get("return", Any)
    try:
        decode, encode = decoder(_plain(data)), encoder(_plain(result if returned is Any else returned))
    except TypeError as error:
        raise _refused("function", function, f"{name}: no payload can be {data}: {error}", wanted) from None
    if decode is None and encode is None:
        return _Handler(function, in_thread, None)
    types = PayloadTypes(
        _unchanged if decode is None else _strictly(decode), _unchanged if encode is None else encode
    )
    return _Handler(function, in_thread, types)


def _plain(annotation: Any) -> Any:
    """Return an annotation; a type variable that nobody filled in is `Any`, None as a result too."""
    return Any if isinstance(annotation, TypeVar) or annotation in (None, type(None)) else annotation


def _refused(option: str, value: Any, message: str, allowed: str) -> InvalidOptionError:
    return InvalidOptionError(message, option=option, value=value, allowed=allowed)
