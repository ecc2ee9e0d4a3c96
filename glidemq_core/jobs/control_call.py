"""Calls by which a processor ends its run: they act when awaited, and are missed when they are not."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, NoReturn


class ControlCall(Coroutine[Any, Any, NoReturn]):
    """What `job.suspend()` and its like return. Awaiting it ends the run and never returns.

    No coroutine exists before the first await, so that one that is never awaited causes no warning: its run fails
    and names it instead.
    """

    __slots__ = ("_inner", "_start", "awaited", "name")

    def __init__(self, name: str, start: Callable[[], Coroutine[Any, Any, NoReturn]]) -> None:
        #: Name of the method, for messages.
        self.name = name
        self.awaited = False
        self._start = start
        self._inner: Coroutine[Any, Any, NoReturn] | None = None

    def __await__(self) -> Generator[Any, Any, NoReturn]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(  # type: ignore[override]  # one of the forms that the interface knows
        self, kind: Any, error: BaseException | None = None, where: TracebackType | None = None
    ) -> Any:
        return self._begun().throw(kind if error is None else error)

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()

    def _begun(self) -> Coroutine[Any, Any, NoReturn]:
        if self._inner is None:
            self.awaited = True
            self._inner = self._start()
        return self._inner
