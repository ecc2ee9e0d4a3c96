"""What callers may ask for when they add a job, and how it stands in the `opts` JSON of the job."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypedDict

from ..errors import CostExceedsCapacityError, InvalidOptionError
from ..wire.strict_json import compact_json, parse_json, same_json
from .durations import parse_duration
from .fields import (
    UNSET,
    Duration,
    Instant,
    Option,
    Unset,
    amount,
    delay_ms,
    deliberate_ms,
    flag,
    instance_of,
    job_id,
    json_value,
    lock_duration,
    queue_name,
    refuse,
    to_epoch_ms,
    to_ms,
    whole,
)
from .types import (
    Actor,
    Backoff,
    Batch,
    Budget,
    Deduplication,
    Fallback,
    JobRef,
    MaybeMilliseconds,
    MillisecondsOption,
    Ordering,
    RateLimit,
    Retention,
    TokenBucket,
    TokenLimit,
    Wired,
    Words,
    from_wire,
    merge_options,
    millitokens,
    names_by_wire,
    wire_name,
)

__all__ = [
    "UNSET",
    "Actor",
    "Backoff",
    "Batch",
    "Budget",
    "Deduplication",
    "Duration",
    "Fallback",
    "Instant",
    "JobKeywords",
    "JobOptions",
    "JobRef",
    "JobTemplate",
    "NewJob",
    "Ordering",
    "PlainKeywords",
    "RateLimit",
    "Retention",
    "TokenBucket",
    "TokenLimit",
    "Unset",
    "job_options",
    "merge_options",
    "millitokens",
    "to_epoch_ms",
    "to_ms",
]


def _ordering(value: Any, option: str) -> Ordering:
    if isinstance(value, str):
        return Ordering(value)
    return instance_of(Ordering, "an Ordering or a key")(value, option)


def _backoff(value: Any, option: str) -> Backoff:
    if isinstance(value, Backoff):
        return value
    allowed = 'a duration (ms, timedelta or text) or a Backoff, such as Backoff("exponential", 1_000)'
    is_text = isinstance(value, str) and parse_duration(value) is not None
    if not is_text and not isinstance(value, (int, float, timedelta)):
        refuse(option, value, allowed)
    return Backoff("fixed", to_ms(value, option))


def _retention(value: Any, option: str) -> bool | int | Retention:
    if isinstance(value, (bool, Retention)):
        return value
    return whole(0)(value, option)


def _parent(value: Any, option: str) -> JobRef:
    parent = instance_of(JobRef, 'a JobRef, such as JobRef("queue", "42")')(value, option)
    queue_name(parent.queue, option)
    return parent if job_id(parent.id, option) else refuse(option, value, "a JobRef with an id")


def _fallbacks(value: Any, option: str) -> tuple[Fallback, ...]:
    allowed = 'a sequence of Fallback, such as [Fallback("gpt-5.4-nano", "openai")]'
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        refuse(option, value, allowed)
    return tuple(instance_of(Fallback, allowed)(item, option) for item in value)


@dataclass(frozen=True, kw_only=True)
class JobOptions(Wired):
    """Options of one job; None leaves an option out. Durations are ms.

    `extra` keeps what a stored `opts` holds beyond these options, word for word; it wins on the wire.
    """

    job_id: Words = Option(job_id)
    delay: MillisecondsOption = Option(delay_ms, 0)
    priority: Option[int | None, int] = Option(whole(0, 2048), 0)
    lifo: Option[bool | None, bool] = Option(flag, False)
    ordering: Option[Ordering | str | None, Ordering | None] = Option(_ordering)
    cost: Option[float | None, float | None] = Option(amount)
    attempts: Option[int | None, int] = Option(whole(0), 0)
    backoff: Option[Backoff | Duration | None, Backoff | None] = Option(_backoff)
    timeout: MaybeMilliseconds = Option(deliberate_ms)
    ttl: MaybeMilliseconds = Option(deliberate_ms)
    lock_duration: MaybeMilliseconds = Option(lock_duration)
    remove_on_complete: Option[bool | int | Retention | None, bool | int | Retention] = Option(
        _retention, False
    )
    remove_on_fail: Option[bool | int | Retention | None, bool | int | Retention] = Option(_retention, False)
    deduplication: Option[Deduplication | None, Deduplication | None] = Option(
        instance_of(Deduplication, 'a Deduplication, such as Deduplication("invoice-42")')
    )
    parent: Option[JobRef | None, JobRef | None] = Option(_parent)
    fallbacks: Option[Iterable[Fallback] | None, tuple[Fallback, ...]] = Option(_fallbacks, ())
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.extra:
            json_value(dict(self.extra), "extra")
        if self.ordering is None:
            return
        if self.lifo:
            refuse("lifo", True, "False with ordering", "lifo and ordering cannot be used together")
        bucket = self.ordering.token_bucket
        if bucket is not None and millitokens(self.cost or 1) > millitokens(bucket.capacity):
            raise CostExceedsCapacityError(
                f"cost {self.cost or 1} is more than the {bucket.capacity} tokens a group's bucket holds",
                option="cost",
                value=self.cost,
                allowed=f"at most {bucket.capacity}",
                key=self.ordering.key,
                cost=self.cost or 1,
                capacity=bucket.capacity,
            )

    def to_json(self) -> dict[str, Any]:
        """Return the `opts` object: given options and `extra`."""
        return {**super().to_json(), **self.extra}

    def to_wire(self) -> str:
        """Return the `opts` text as stored with the job."""
        return compact_json(self.to_json())

    @classmethod
    def from_wire(cls, stored: str | bytes | None) -> JobOptions:
        """Read a stored `opts` text; what we would refuse or do not know goes to `extra`. Never raises."""
        if isinstance(stored, bytes):
            stored = stored.decode("utf-8", "replace")
        if not stored or stored == "{}":
            return _EMPTY
        return _read_short_opts(stored) if len(stored) <= 2048 else _read_opts(stored)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobOptions:
        """Read an `opts` object that a person wrote (wire keys, ms).

        Raises:
            InvalidOptionError: an unknown key or a value that is not allowed.
        """
        known = names_by_wire(cls)
        for wire in value:
            if wire not in known:
                refuse(wire, value[wire], "one of " + ", ".join(known), f"unknown option {wire!r}")
        return super().from_json(value)


@dataclass(frozen=True)
class NewJob:
    """A job to add with others."""

    name: str
    data: Any = None
    options: JobOptions | None = None

    def __post_init__(self) -> None:
        if self.options is not None:
            instance_of(JobOptions)(self.options, "options")


@dataclass(frozen=True)
class JobTemplate:
    """What a scheduler creates; what is None is left out."""

    name: str | None = None
    data: Any = None
    options: JobOptions | None = None


class PlainKeywords(TypedDict, total=False):
    """The keywords of `add` with which a job is always added."""

    delay: Duration | None
    priority: int | None
    lifo: bool | None
    ordering: Ordering | str | None
    cost: float | None
    attempts: int | None
    backoff: Backoff | Duration | None
    timeout: Duration | None
    ttl: Duration | None
    lock_duration: Duration | None
    remove_on_complete: bool | int | Retention | None
    remove_on_fail: bool | int | Retention | None
    parent: JobRef | None
    fallbacks: Iterable[Fallback] | None
    extra: Mapping[str, Any]


class JobKeywords(PlainKeywords, total=False):
    """The keywords of `add`: the fields of `JobOptions`; with these two a job may turn out to be there already."""

    job_id: str | None
    deduplication: Deduplication | None


def job_options(options: JobOptions | None, keywords: Mapping[str, Any]) -> JobOptions:
    """Merge `options=` with the keywords beside it; a keyword wins, None takes the option back.

    Raises:
        TypeError: unknown keyword.
        InvalidOptionError: a value is not allowed.
    """
    if not keywords and options is None:
        return _EMPTY
    merged = merge_options(JobOptions, options, keywords)
    named = {wire_name(name) for name in keywords}
    extra = {key: value for key, value in merged.extra.items() if key not in named}
    if len(extra) < len(merged.extra):  # what was stored under a name that a keyword now sets
        return merge_options(JobOptions, merged, {"extra": extra})
    return merged


_EMPTY: Final = JobOptions()


def _read_opts(stored: str) -> JobOptions:
    try:
        raw = parse_json(stored)
        return _sort_out(raw) if isinstance(raw, dict) else _EMPTY
    except (ValueError, RecursionError):
        return _EMPTY


def _sort_out(raw: dict[str, Any]) -> JobOptions:
    known, extra = names_by_wire(JobOptions), {}
    good: dict[str, Any] = {}
    for wire, item in raw.items():
        try:
            value = from_wire(known[wire], _whole_ms(wire, item))
            written = JobOptions(**{known[wire]: value}).to_json().get(wire)
        except (KeyError, InvalidOptionError):
            value = None
        if value is None:
            extra[wire] = item
            continue
        good[known[wire]] = value
        if not same_json(written, item):
            extra[wire] = item
    return _build(good, extra, raw)


def _whole_ms(wire: str, item: Any) -> Any:
    """Durations as programs of peers compute them: parts of a millisecond, a backoff that names only its strategy."""
    if wire == "backoff" and isinstance(item, dict):
        return {**item, "delay": _whole_ms("delay", item.get("delay") or 0)}
    if wire in ("delay", "timeout", "ttl", "lockDuration") and isinstance(item, float):
        return math.ceil(max(0.0, item)) if math.isfinite(item) else item
    return item


def _build(good: dict[str, Any], extra: dict[str, Any], raw: dict[str, Any]) -> JobOptions:
    """Leave out what contradicts the rest: lifo or cost first, then the ordering itself."""
    for culprit in ("lifo", "cost", "ordering"):
        try:
            return JobOptions(**good, extra=extra)
        except InvalidOptionError:
            if good.pop(culprit, None) is not None:
                extra[wire_name(culprit)] = raw[wire_name(culprit)]
    return JobOptions(**good, extra=extra)


_read_short_opts = functools.lru_cache(maxsize=1024)(_read_opts)
