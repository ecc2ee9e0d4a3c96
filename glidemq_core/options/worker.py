"""What callers may ask for when they make a queue or a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypedDict

from ..wire.serializer import Serializer
from .fields import (
    Duration,
    Option,
    deliberate_positive_ms,
    flag,
    instance_of,
    one_of,
    positive_ms,
    queue_name,
    refuse,
    some_text,
    to_ms,
    whole,
)
from .middleware import Middleware, middleware_for
from .types import Batch, OptionsT, RateLimit, TokenLimit, check_names, field_names, merge_options

#: Called with the number of the failed attempt (1 first) and its error; answers how long to wait.
BackoffStrategy = Callable[[int, BaseException], Duration | Awaitable[Duration]]


#: Gets the worker; its context manager is entered before the first job and left after the last.
LifespanFunction = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


def _lifespan(value: Any, option: str) -> LifespanFunction:
    if not callable(value):
        refuse(option, value, "a function of the worker")
    function: LifespanFunction = value
    return function


def _strategies(value: Any, option: str) -> dict[str, BackoffStrategy]:
    if not isinstance(value, Mapping) or not all(callable(strategy) for strategy in value.values()):
        refuse(option, value, "a map of name to function")
    return {some_text(name, option): strategy for name, strategy in value.items()}


def _serializer(value: Any, option: str) -> Any:
    if not all(callable(getattr(value, name, None)) for name in ("serialize", "deserialize")):
        refuse(option, value, "an object with serialize(value) and deserialize(text)")
    return value


@dataclass(frozen=True, kw_only=True)
class QueueOptions:
    """Options of a queue; None leaves the default."""

    prefix: Option[str | None, str | None] = Option(some_text)
    dead_letter_queue: Option[str | None, str | None] = Option(queue_name)
    compression: Option[str | None, str] = Option(one_of("none", "gzip"), "none")
    serializer: Option[Serializer | None, Serializer | None] = Option(_serializer)
    events: Option[bool | None, bool] = Option(flag, True)
    middleware: Option[Iterable[Middleware] | None, tuple[Middleware, ...]] = Option(
        middleware_for("add"), ()
    )


class QueueKeywords(TypedDict, total=False):
    """The keywords of `Queue`: the fields of `QueueOptions`."""

    prefix: str | None
    dead_letter_queue: str | None
    compression: str | None
    serializer: Serializer | None
    events: bool | None
    middleware: Iterable[Middleware] | None


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Options of a worker; None leaves the default. Durations are ms, a timedelta or text."""

    concurrency: Option[int | None, int] = Option(whole(1, 100_000), 1)
    block_timeout: Option[Duration | None, int] = Option(positive_ms, 5_000)
    promotion_interval: Option[Duration | None, int] = Option(positive_ms, 5_000)
    lock_duration: Option[Duration | None, int] = Option(deliberate_positive_ms, 30_000)
    stalled_interval: Option[Duration | None, int] = Option(positive_ms, 30_000)
    max_stalled_count: Option[int | None, int] = Option(whole(0), 1)
    limiter: Option[RateLimit | None, RateLimit | None] = Option(
        instance_of(RateLimit, "a RateLimit, such as RateLimit(60, 60_000) for 60 starts a minute")
    )
    token_limiter: Option[TokenLimit | None, TokenLimit | None] = Option(
        instance_of(TokenLimit, "a TokenLimit, such as TokenLimit(100_000, 60_000)")
    )
    backoff_strategies: Option[Mapping[str, BackoffStrategy] | None, Mapping[str, BackoffStrategy]] = Option(
        _strategies, {}
    )
    events: Option[bool | None, bool] = Option(flag, True)
    metrics: Option[bool | None, bool] = Option(flag, True)
    prefix: Option[str | None, str | None] = Option(some_text)
    serializer: Option[Serializer | None, Serializer | None] = Option(_serializer)
    dead_letter_queue: Option[str | None, str | None] = Option(queue_name)
    batch: Option[Batch | None, Batch | None] = Option(instance_of(Batch))
    grace: Option[Duration | None, int] = Option(to_ms, 30_000)
    log_errors: Option[bool | None, bool] = Option(flag, True)
    middleware: Option[Iterable[Middleware] | None, tuple[Middleware, ...]] = Option(
        middleware_for("run"), ()
    )
    lifespan: Option[LifespanFunction | None, LifespanFunction | None] = Option(_lifespan)


class WorkerKeywords(TypedDict, total=False):
    """The keywords of `Worker`: the fields of `WorkerOptions`."""

    concurrency: int | None
    block_timeout: Duration | None
    promotion_interval: Duration | None
    lock_duration: Duration | None
    stalled_interval: Duration | None
    max_stalled_count: int | None
    limiter: RateLimit | None
    token_limiter: TokenLimit | None
    backoff_strategies: Mapping[str, BackoffStrategy] | None
    events: bool | None
    metrics: bool | None
    prefix: str | None
    serializer: Serializer | None
    dead_letter_queue: str | None
    batch: Batch | None
    grace: Duration | None
    log_errors: bool | None
    middleware: Iterable[Middleware] | None
    lifespan: LifespanFunction | None


def override_options(kind: type[OptionsT], options: OptionsT | None, keywords: Mapping[str, Any]) -> OptionsT:
    """Merge the options of a queue or worker with keywords beside them; one that is None was not given.

    Raises:
        TypeError: unknown keyword.
        InvalidOptionError: a value is not allowed.
    """
    check_names(field_names(kind), keywords)
    return merge_options(kind, options, {name: item for name, item in keywords.items() if item is not None})
