"""How an option is declared and checked: one descriptor, one family of converters, one way to refuse."""

from __future__ import annotations

import enum
import json
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, NoReturn, TypeVar, overload

from ..errors import InvalidOptionError, SuspiciousDurationWarning
from ..wire.numbers import MAX_SAFE_INTEGER
from .durations import Milliseconds, parse_duration

#: Milliseconds, a timedelta, or text such as "30s", "5m", "1h 30m".
Duration = int | timedelta | str
Instant = int | datetime

GivenT = TypeVar("GivenT")
ValueT = TypeVar("ValueT")
Check = Callable[[Any, str], ValueT]

_DURATION: Final = 'milliseconds (an int), a timedelta or text such as "30s" or "1h 30m", not negative'
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LOCK_DURATION_MS: Final = (1_000, 86_400_000)
#: Longest wait of a job, ms: now and it together must stay below the 2^42 ms that a score keeps for a due time.
LONGEST_DELAY_MS: Final = 2**41


class Unset(enum.Enum):
    """Type of `UNSET`, which says "not passed" where None is a value."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


class Option(Generic[GivenT, ValueT]):
    """A dataclass field that takes what callers like to write and holds what the library reads.

    None means "not given": reading then yields the default, and nothing reaches the wire.
    """

    def __init__(self, check: Check[ValueT], default: Any = None, *, required: bool = False) -> None:
        self._check = check
        self._default = default
        self.required = required

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> GivenT: ...
    @overload
    def __get__(self, instance: object, owner: type) -> ValueT: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is not None:
            return instance.__dict__.get(self._name, self._default)
        if self.required:  # how a descriptor tells dataclasses that its field has no default
            raise AttributeError(self._name)
        return None

    def __set__(self, instance: object, value: GivenT) -> None:
        if value is not None:
            instance.__dict__[self._name] = self._check(value, self._name)
        elif self.required:
            refuse(self._name, value, "a value", f"{self._name} is missing")


def refuse(option: str, value: Any, allowed: str, message: str | None = None) -> NoReturn:
    """Raise `InvalidOptionError`; without a message it reads "<option> must be <allowed>, not <value>"."""
    text = message or f"{option} must be {allowed}, not {_brief(value)}"
    raise InvalidOptionError(text, option=option, value=value, allowed=allowed)


def to_ms(value: Duration | float, option: str = "duration") -> int:
    """Convert a duration, neither negative nor beyond 2^53, to whole milliseconds; parts of one count as one."""
    if isinstance(value, timedelta):
        milliseconds = -(-value // timedelta(milliseconds=1))
    elif isinstance(value, str):
        parsed = parse_duration(value)
        milliseconds = refuse(option, value, _DURATION) if parsed is None else parsed
    else:
        milliseconds = integer(value, option, _DURATION)
    if not 0 <= milliseconds <= MAX_SAFE_INTEGER:
        refuse(option, value, "between 0 and 2^53 milliseconds")
    return milliseconds


def deliberate_ms(value: Duration | float, option: str = "timeout") -> int:
    """Convert a duration as `to_ms`; warn of an int below 1,000, which was most likely meant as seconds."""
    if type(value) is int and 0 < value < 1_000:
        warnings.warn(
            f"{option}={value} is {value} milliseconds; write '{value}s' for seconds, or '{value}ms' if it is meant",
            SuspiciousDurationWarning,
            stacklevel=depth_of_caller(),
        )
    return Milliseconds(to_ms(value, option))


def stored_ms(value: Any, option: str) -> Any:
    """Return a duration of a JSON record for an option; text is refused, as every peer refuses it."""
    if isinstance(value, str):
        refuse(option, value, "a number of milliseconds")
    return Milliseconds(value) if type(value) is int else value


def depth_of_caller() -> int:
    """Return the `stacklevel` with which a warning of the caller's names code outside of this package."""
    own, level, frame = __name__.partition(".")[0], 1, sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_globals.get("__name__", "").partition(".")[0] == own or frame.f_code.co_filename == "<string>"
    ):
        frame, level = frame.f_back, level + 1
    return level


def to_epoch_ms(value: Instant, option: str = "instant") -> int:
    """Convert an instant to epoch milliseconds; naive datetimes and what is beyond 2^53 are refused."""
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            refuse(option, value, "an aware datetime", f"{option} needs a time zone: {value!r} is naive")
        milliseconds = (value - EPOCH) // timedelta(milliseconds=1)
    else:
        milliseconds = integer(value, option, "epoch milliseconds (an int) or an aware datetime")
    if not 0 <= milliseconds <= MAX_SAFE_INTEGER:
        refuse(option, value, "between 0 and 2^53 epoch milliseconds")
    return milliseconds


def from_epoch_ms(milliseconds: float) -> datetime | None:
    """Convert epoch milliseconds to an aware UTC datetime, None when no calendar has that day."""
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except (OverflowError, ValueError):
        return None


def epoch_ms(moment: datetime) -> int:
    """Convert an aware datetime of a record back to epoch milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def integer(value: Any, option: str, allowed: str = "a whole number") -> int:
    """Accept an int or a float without fraction, never a bool."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(option, value, allowed)
    return value


def whole(minimum: int, maximum: int = MAX_SAFE_INTEGER) -> Check[int]:
    """Check for a whole number within bounds, both included."""
    allowed = f"a whole number, at least {minimum}"
    if maximum != MAX_SAFE_INTEGER:
        allowed = f"a whole number from {minimum} to {maximum}"

    def check(value: Any, option: str) -> int:
        number = integer(value, option, allowed)
        if not minimum <= number <= maximum:
            refuse(option, value, allowed)
        return number

    return check


def amount(value: Any, option: str) -> float:
    """Accept a finite number that is not negative; whole numbers stay ints."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value) or value < 0:
        refuse(option, value, "a finite number, not negative")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def positive(value: Any, option: str) -> float:
    """Accept a finite number above 0."""
    number = amount(value, option)
    if number <= 0:
        refuse(option, value, "a finite number above 0")
    return number


def amounts(value: Any, option: str) -> dict[str, float]:
    """Accept a map of category to a finite number that is not negative."""
    if not isinstance(value, Mapping):
        refuse(option, value, "a map of category to number")
    return {text(key, option): amount(item, f"{option}[{key!r}]") for key, item in value.items()}


def positive_ms(value: Any, option: str) -> int:
    """Accept a duration above 0."""
    milliseconds = to_ms(value, option)
    if milliseconds < 1:
        refuse(option, value, "at least 1 millisecond")
    return milliseconds


def delay_ms(value: Any, option: str = "delay") -> int:
    """Accept how long a job shall wait: a duration up to 2^41 ms (69 years)."""
    milliseconds = to_ms(value, option)
    if milliseconds > LONGEST_DELAY_MS:
        refuse(option, value, "between 0 and 2^41 milliseconds")
    return milliseconds


def deliberate_positive_ms(value: Any, option: str) -> int:
    """Accept a duration above 0; warn of an int below 1,000 as `deliberate_ms`."""
    return Milliseconds(positive_ms(deliberate_ms(value, option), option))


def lock_duration(value: Any, option: str) -> int:
    """Accept the lock of a job, 1 s to 24 h."""
    low, high = LOCK_DURATION_MS
    try:
        milliseconds = to_ms(value, option)
    except InvalidOptionError:
        milliseconds = -1
    if not low <= milliseconds <= high:
        given = f"{milliseconds} ms" if milliseconds >= 0 else _brief(value)
        bounds = f"at least 1 s and at most 24 h ({low} to {high} ms)"
        refuse(option, value, bounds, f"{option} must be {bounds}, got {given}")
    return milliseconds


def text(value: Any, option: str) -> str:
    """Accept text that UTF-8 can carry."""
    if not isinstance(value, str):
        refuse(option, value, "text")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(option, value, "text", f"{option} holds half a surrogate pair, which UTF-8 cannot carry")
    return value


def some_text(value: Any, option: str) -> str:
    """Accept text that is not empty."""
    return text(value, option) or refuse(option, value, "text, not empty")


def flag(value: Any, option: str) -> bool:
    """Accept True and False only."""
    if not isinstance(value, bool):
        refuse(option, value, "True or False")
    return value


def one_of(*choices: str) -> Check[str]:
    """Check for one of a few words."""

    def check(value: Any, option: str) -> str:
        if value not in choices:
            refuse(option, value, "one of " + ", ".join(choices))
        return str(value)

    return check


def instance_of(kind: type[ValueT], named: str | None = None) -> Check[ValueT]:
    """Check for an object of a class."""
    allowed = named or f"{'an' if kind.__name__[0] in 'AEIO' else 'a'} {kind.__name__}"

    def check(value: Any, option: str) -> ValueT:
        if not isinstance(value, kind):
            refuse(option, value, allowed)
        return value

    return check


def json_value(value: Any, option: str) -> Any:
    """Accept what JSON can carry."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        refuse(option, value, "a JSON value", f"{option} must be a JSON value: {error}")
    return value


def queue_name(value: Any, option: str = "name") -> str:
    """Accept the name of a queue."""
    allowed = "1 to 256 characters, none of { } :"
    name = text(value, option)
    if not 1 <= len(name) <= 256 or any(c in "{}:" for c in name):
        refuse(option, value, allowed, f"queue name {_brief(value)} is not allowed: {allowed}")
    return name


def job_id(value: Any, option: str = "job_id") -> str:
    """Accept a custom job id; empty means automatic."""
    allowed = "at most 256 characters, no control characters, none of { } :, no ||"
    name = text(value, option)
    forbidden = any(c in "{}:\x7f" or c < " " for c in name)
    if len(name) > 256 or forbidden or "||" in name:
        refuse(option, value, allowed, f"job id {_brief(value)} is not allowed: {allowed}")
    return name


def ordering_key(value: Any, option: str = "key") -> str:
    """Accept the key of an ordering group."""
    allowed = "1 to 256 characters, not __"
    key = text(value, option)
    if not 1 <= len(key) <= 256 or key == "__":
        refuse(option, value, allowed, f"ordering key {_brief(value)} is not allowed: {allowed}")
    return key


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond what a double holds
        return False


def _brief(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
