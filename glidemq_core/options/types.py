"""The small types that options are made of, each with its JSON form on the wire."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self, TypeVar

from .fields import (
    Duration,
    Option,
    amount,
    amounts,
    deliberate_ms,
    instance_of,
    json_value,
    one_of,
    ordering_key,
    positive,
    positive_ms,
    refuse,
    some_text,
    stored_ms,
    text,
    to_ms,
    whole,
)

Words = Option[str | None, str | None]
MillisecondsOption = Option[Duration | None, int]
MaybeMilliseconds = Option[Duration | None, int | None]


@dataclass(frozen=True)
class Wired:
    """A set of options that has a JSON form: camelCase keys, only those that were given."""

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the options that were given, in the order of their definition."""
        return tuple(name for name in self.__dict__ if name != "extra")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the wire."""
        return {wire_name(name): to_wire(name, self.__dict__[name]) for name in self.given}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read a JSON object of the wire; unknown keys are left out.

        Raises:
            InvalidOptionError: a value is not allowed, or something is missing.
        """
        found = {name: value[wire] for wire, name in names_by_wire(cls).items() if wire in value}
        for option in fields(cls):
            name, required = option.name, option.default is option.default_factory is MISSING
            if required and found.get(name) is None:
                refuse(name, None, "given", f"{cls.__name__} needs {wire_name(name)}")
        return cls(**{name: from_wire(name, item) for name, item in found.items()})


def none_given(options: Wired) -> bool:
    """Whether no option was given; cheaper than to ask which ones were."""
    return len(options.__dict__) == ("extra" in options.__dict__)


@dataclass(frozen=True, order=True, slots=True)
class JobRef:
    """A job and its queue; printed and parsed as `queue:id`."""

    queue: str
    id: str

    def __str__(self) -> str:
        return f"{self.queue}:{self.id}"

    @classmethod
    def parse(cls, value: str) -> JobRef:
        """Read `queue:id`.

        Raises:
            InvalidOptionError: there is no queue or no id in it.
        """
        queue, _, job = value.partition(":")
        if not queue or not job:
            refuse("job", value, "QUEUE:ID")
        return cls(queue, job)

    def to_json(self) -> dict[str, str]:
        """Return `{queue, id}`."""
        return {"queue": self.queue, "id": self.id}


#: What every call of a queue takes for a job of its own: its id, `queue:id`, or its `JobRef`.
JobIdLike = str | JobRef


def id_in(queue: str, job: JobIdLike) -> str:
    """Return the id of a job of `queue`; jobs of others, and what is no id, are refused."""
    if isinstance(job, str) and ":" not in job:
        return job
    ref = (
        JobRef.parse(job) if isinstance(job, str) else instance_of(JobRef, "an id or a JobRef")(job, "job_id")
    )
    if ref.queue != queue or ":" in ref.id:
        refuse(
            "job_id",
            str(ref),
            f"an id of queue '{queue}'",
            f"job '{ref}' is not in queue '{queue}': ask its own queue",
        )
    return ref.id


def read_id(queue: str, job: JobIdLike) -> str:
    """Return the id as `id_in`, for reading only: a ref may bear an id that only a stranger can have made."""
    return job.id if isinstance(job, JobRef) and job.queue == queue else id_in(queue, job)


@dataclass(frozen=True)
class Fallback(Wired):
    """A model to try when an attempt failed; `metadata` is the caller's own JSON."""

    model: Option[str, str] = Option(some_text, required=True)
    provider: Words = Option(text)
    metadata: Option[Any, Any] = Option(json_value)


@dataclass(frozen=True)
class RateLimit(Wired):
    """At most `max` starts in `duration` (ms)."""

    max: Option[int, int] = Option(whole(1), required=True)
    duration: Option[Duration, int] = Option(positive_ms, required=True)


@dataclass(frozen=True)
class TokenLimit(Wired):
    """At most `max_tokens` tokens in `duration` (ms), counted by this worker, the whole queue, or both."""

    max_tokens: Option[float, float] = Option(positive, required=True)
    duration: Option[Duration, int] = Option(positive_ms, required=True)
    scope: Option[str | None, str] = Option(one_of("worker", "queue", "both"), "both")


@dataclass(frozen=True)
class Backoff(Wired):
    """Wait before a retry: `fixed`, `exponential` or a strategy of the worker; `delay` in ms.

    `jitter` adds a random share of 0 to `jitter` of the delay.
    """

    type: Option[str, str] = Option(some_text, required=True)
    delay: Option[Duration, int] = Option(to_ms, required=True)
    jitter: Option[float | None, float] = Option(amount, 0.0)


@dataclass(frozen=True)
class TokenBucket(Wired):
    """A group's budget of starts: `capacity` tokens, refilled at `refill_rate` tokens per second."""

    capacity: Option[float, float] = Option(positive, required=True)
    refill_rate: Option[float, float] = Option(positive, required=True)


@dataclass(frozen=True)
class Ordering(Wired):
    """Jobs of one `key` start in the order they were added, `concurrency` at a time (0 counts as 1)."""

    key: Option[str, str] = Option(ordering_key, required=True)
    concurrency: Option[int | None, int] = Option(whole(0), 1)
    rate_limit: Option[RateLimit | None, RateLimit | None] = Option(instance_of(RateLimit))
    token_bucket: Option[TokenBucket | None, TokenBucket | None] = Option(instance_of(TokenBucket))


@dataclass(frozen=True)
class Retention(Wired):
    """Which settled jobs to keep: at most `count`, none older than `age` (ms; seconds on the wire)."""

    age: MaybeMilliseconds = Option(to_ms)
    count: Option[int | None, int | None] = Option(whole(0))

    @property
    def age_seconds(self) -> int | None:
        """Age as the wire has it: seconds, rounded up."""
        return None if self.age is None else _seconds(self.age)


@dataclass(frozen=True)
class Deduplication(Wired):
    """Skip an add when a job with the same `id` is about: `simple`, `throttle`, `debounce`; `ttl` in ms."""

    id: Option[str, str] = Option(text, required=True)
    ttl: MaybeMilliseconds = Option(deliberate_ms)
    mode: Option[str | None, str] = Option(one_of("simple", "throttle", "debounce"), "simple")


@dataclass(frozen=True)
class Batch(Wired):
    """Hand `size` jobs at a time to the processor, waiting up to `timeout` ms for them."""

    size: Option[int, int] = Option(whole(1, 1000), required=True)
    timeout: MillisecondsOption = Option(to_ms, 0)


@dataclass(frozen=True)
class Actor:
    """Who does something, by which way and why; named in the audit."""

    by: Option[str, str] = Option(some_text, required=True)
    via: Option[str | None, str] = Option(some_text, "api")
    comment: Words = Option(text)


@dataclass(frozen=True, kw_only=True)
class Budget(Wired):
    """Caps of a flow. `max_tokens`, `max_costs` and `token_weights` go by category; 0 is no cap."""

    max_total_tokens: Option[float | None, float | None] = Option(amount)
    max_tokens: Option[Mapping[str, float] | None, Mapping[str, float] | None] = Option(amounts)
    token_weights: Option[Mapping[str, float] | None, Mapping[str, float] | None] = Option(amounts)
    max_total_cost: Option[float | None, float | None] = Option(amount)
    max_costs: Option[Mapping[str, float] | None, Mapping[str, float] | None] = Option(amounts)
    cost_unit: Words = Option(text)
    on_exceeded: Option[str | None, str] = Option(one_of("fail", "pause"), "fail")


OptionsT = TypeVar("OptionsT")


def merge_options(kind: type[OptionsT], options: OptionsT | None, keywords: Mapping[str, Any]) -> OptionsT:
    """Merge an options object with keywords of its class, as `job_options` does."""
    if options is not None and not isinstance(options, kind):
        refuse("options", options, f"a {kind.__name__}")
    if options is not None and not keywords:
        return options
    check_names(field_names(kind), keywords)
    merged = {**(options.__dict__ if options is not None else {}), **keywords}
    return kind(**{name: value for name, value in merged.items() if value is not None})


def check_names(known: Collection[str], keywords: Iterable[str]) -> None:
    """Raise TypeError for a keyword that is none of the known ones."""
    for name in keywords:
        if name not in known:
            raise TypeError(f"unknown option {name!r}; there are: {', '.join(known)}")


def millitokens(tokens: float) -> int:
    """Convert tokens to the whole thousandths that the wire counts in, halves rounded up."""
    return math.floor(tokens * 1000 + 0.5)


def field_names(kind: type[Any]) -> tuple[str, ...]:
    """Names of the options of a class."""
    return tuple(f.name for f in fields(kind))


def names_by_wire(kind: type[Any]) -> dict[str, str]:
    """Names of the options of a class by their key in JSON."""
    return {wire_name(name): name for name in field_names(kind) if name != "extra"}


@functools.cache
def wire_name(name: str) -> str:
    """Return the camelCase key of an option."""
    return re.sub("_(.)", lambda match: match[1].upper(), name)


def to_wire(name: str, value: Any) -> Any:
    """Return the JSON value of a checked option."""
    if isinstance(value, (Wired, JobRef)):
        return value.to_json()
    if isinstance(value, tuple):
        return [item.to_json() for item in value]
    return _seconds(value) if name == "age" else value


def _seconds(milliseconds: int) -> int:
    return -(-milliseconds // 1000)


_NESTED: dict[str, type[Wired]] = {
    "backoff": Backoff,
    "deduplication": Deduplication,
    "ordering": Ordering,
    "rate_limit": RateLimit,
    "remove_on_complete": Retention,
    "remove_on_fail": Retention,
    "token_bucket": TokenBucket,
}


def from_wire(name: str, value: Any) -> Any:
    """Return what the constructor takes for the JSON value of an option."""
    if name in ("delay", "duration", "timeout", "ttl", "lock_duration"):
        return stored_ms(value, name)
    if name == "age":
        return math.ceil(amount(value, name) * 1000)
    if name == "parent":
        ref = _json_object(name, value)
        return JobRef(text(ref.get("queue"), "parent.queue"), text(ref.get("id"), "parent.id"))
    if name == "fallbacks":
        if not isinstance(value, list):
            refuse(name, value, "a list of {model, provider, metadata}")
        return tuple(Fallback.from_json(_json_object(name, item)) for item in value)
    if name in _NESTED and (isinstance(value, Mapping) or _NESTED[name] is not Retention):
        return _NESTED[name].from_json(_json_object(name, value))
    return value


def _json_object(name: str, value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else refuse(name, value, "a JSON object")
