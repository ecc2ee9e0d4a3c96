"""Read a filter: `state:failed model:gpt* error:timeout age>1h !spam`.

Terms parted by spaces must all hold; a comma inside a value means or; `!` negates one term. Text in double quotes is
taken as it stands, with backslashes before the quotes and backslashes in it; `/…/` is a regular expression; `KEY=JSON`
is a top-level field of the payload; any other word is looked for whatever the case. Users read `docs/filters.md`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from glidemq_core.errors import FilterSyntaxError
from glidemq_core.options.durations import parse_duration

from .regex import bounded_regex

T = TypeVar("T")

#: Characters of a filter at most.
LONGEST: Final = 1_000
#: Whether an item, looked at at a moment, meets a term.
Test = Callable[[T, datetime], bool]
#: Texts of an item; None where it has none.
Texts = Callable[[T], Iterable[str | None]]

#: Every key of the language, whether or not a list has it.
KEYS: Final = ("state", "name", "model", "error", "queue", "id", "age", "cost", "tries", "tokens")
_TERM: Final = re.compile(r"([A-Za-z_]+)(:|<=|>=|<|>)")
#: A text in quotes; a backslash stands before a quote or a backslash that belongs to it.
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\])')
_FIELD: Final = re.compile(r'(?:([^\s="/!:<>,]+)|"((?:[^"\\]|\\.)*+)")=', re.DOTALL)
_UNIT: Final = re.compile(r"[a-z]+$")


class PayloadTerm(NamedTuple):
    """A top-level field of the payload that must have a value, or (`negated`) must not."""

    key: str
    value: Any
    negated: bool


@dataclass(frozen=True, kw_only=True)
class Fields(Generic[T]):
    """What the terms of a filter are tested on, for one kind of item. A key that is in no table is refused."""

    #: What such items are called where a key is refused: "schedules".
    what: str
    words: Texts[T]
    #: What regular expressions are searched in.
    searched: Texts[T]
    #: Keys whose values are looked for inside of a text, or with `*` as a pattern of the whole.
    texts: Mapping[str, Texts[T]] = field(default_factory=dict)
    #: Keys whose values are whole texts.
    exact: Mapping[str, Texts[T]] = field(default_factory=dict)
    #: Keys that are compared with numbers; `age` is in ms.
    numbers: Mapping[str, Callable[[T, datetime], float | None]] = field(default_factory=dict)
    #: The states there are, and whether an item is in one of some.
    states: tuple[str, ...] = ()
    in_state: Callable[[T, frozenset[str]], bool] | None = None
    #: Whether there is a payload that `KEY=JSON` may be asked of.
    payload: bool = False

    @property
    def terms(self) -> str:
        """Words for what a filter of such items may hold."""
        return ", ".join([*self.keys, "words and /…/"])

    @property
    def keys(self) -> list[str]:
        """The keys that such items have."""
        has = {*self.texts, *self.exact, *self.numbers, *(["state"] if self.in_state else [])}
        return [key for key in KEYS if key in has]


@dataclass(frozen=True, slots=True)
class Expression(Generic[T]):
    """A filter that was read."""

    text: str = ""
    tests: tuple[Test[T], ...] = ()
    payload: tuple[PayloadTerm, ...] = ()
    #: The states that can match; None for all.
    states: frozenset[str] | None = None
    #: What matches is no older than this, ms; None for any age.
    youngest_ms: float | None = None

    @property
    def has_conditions(self) -> bool:
        """Whether there is any term."""
        return bool(self.tests or self.payload)

    def fits(self, item: T, now: datetime) -> bool:
        """Tell whether an item meets every term but those about its payload."""
        return all(test(item, now) for test in self.tests)


def parse_expression(text: str, fields: Fields[T]) -> Expression[T]:
    """Read a filter of items with these fields.

    Raises:
        FilterSyntaxError: the text is no filter; the message says where and what would be one.
    """
    return _Parser(text, fields).read()


class _Value(NamedTuple):
    """A value, where it stands, and its parts between the `*` that stood outside of quotes."""

    text: str
    at: int
    parts: tuple[str, ...]


class _Parser(Generic[T]):
    """Reads one filter from left to right."""

    def __init__(self, text: str, fields: Fields[T]) -> None:
        self._text = text
        self._fields = fields
        self._at = 0
        self._tests: list[Test[T]] = []
        self._payload: list[PayloadTerm] = []
        self._states: frozenset[str] | None = None
        self._youngest_ms: float | None = None

    def read(self) -> Expression[T]:
        if len(self._text) > LONGEST:
            self._refuse(f"a filter has {LONGEST:,} characters at most", LONGEST)
        while self._skip_spaces():
            self._term()
        return Expression(
            self._text.strip(), tuple(self._tests), tuple(self._payload), self._states, self._youngest_ms
        )

    def _skip_spaces(self) -> bool:
        while not self._is_over and self._text[self._at].isspace():
            self._at += 1
        return not self._is_over

    @property
    def _is_over(self) -> bool:
        return self._at >= len(self._text)

    @property
    def _at_end_of_term(self) -> bool:
        return self._is_over or self._text[self._at].isspace()

    def _refuse(self, problem: str, at: int) -> NoReturn:
        message = f"filter, at character {at + 1}: {problem}"
        raise FilterSyntaxError(
            message, option="where", value=self._text, allowed="a filter", problem=problem, at=at
        )

    def _term(self) -> None:
        begin = self._at
        negated = self._text[begin] == "!"
        self._at += negated
        if self._at_end_of_term:
            self._refuse("'!' stands before the term that must not hold, as in !timeout", begin)
        if self._text[self._at] == "!":
            self._refuse("one '!' negates a term; write \"!…\" around a text that begins with it", self._at)
        if self._text[self._at] == "/":
            test = self._regex()
        elif match := _TERM.match(self._text, self._at):
            test = self._keyed(match, negated)
        elif match := _FIELD.match(self._text, self._at):
            self._payload_field(match, negated)
            return
        else:
            test = self._word()
        self._tests.append(_not(test) if negated else test)

    # --- texts -----------------------------------------------------------------------------------------------

    def _regex(self) -> Test[T]:
        begin = self._at
        end = begin + 1
        while end < len(self._text) and self._text[end] != "/":
            end += 2 if self._text[end] == "\\" else 1
        if end >= len(self._text):
            self._refuse("the regular expression has no end: write /…/", begin)
        self._at = end + 1
        if not self._at_end_of_term:
            self._refuse("a space must follow the regular expression; write \\/ for a slash in it", self._at)
        if end == begin + 1:
            self._refuse("the regular expression is empty: write /…/", begin)
        try:
            search = bounded_regex(self._text[begin + 1 : end].replace("\\/", "/"))
        except ValueError as error:
            self._refuse(str(error), begin)
        searched = self._fields.searched
        return lambda item, _: any(search(text) for text in searched(item) if text)

    def _word(self) -> Test[T]:
        wanted = [value.text.casefold() for value in self._values("a word")]
        words = self._fields.words
        return lambda item, _: _has_any(words(item), lambda text: any(word in text for word in wanted))

    def _keyed(self, match: re.Match[str], negated: bool) -> Test[T]:
        key, operator, begin, fields = match[1].lower(), match[2], self._at, self._fields
        if key not in KEYS:
            hint = f"write \"…\" around a text with '{operator}'"
            self._refuse(f"'{match[1]}' is no key: use {fields.terms}; {hint}", begin)
        if key not in fields.keys:
            self._refuse(f"{fields.what} have no {key}; use {fields.terms}", begin)
        if operator != ":" and key not in fields.numbers:
            self._refuse(f"{key} takes ':', not '{operator}'", match.end(1))
        self._at = match.end()
        values = self._values(f"a value after '{key}{operator}'")
        if key == "state":
            return self._state(values, negated)
        if key in fields.numbers:
            return self._number(key, operator, values, negated)
        if key in fields.exact:
            exact, wanted = fields.exact[key], frozenset(value.text for value in values)
            return lambda item, _: any(text in wanted for text in exact(item))
        texts, patterns = fields.texts[key], [_pattern(value) for value in values]
        return lambda item, _: _has_any(texts(item), lambda text: any(holds(text) for holds in patterns))

    def _values(self, missing: str) -> list[_Value]:
        """Read values parted by commas, up to a space; an empty one is refused."""
        values = [self._value()]
        while not self._at_end_of_term:
            self._at += 1
            values.append(self._value())
        for value in values:
            if not any(value.parts) and len(value.parts) == 1:
                self._refuse(f"{missing} is missing", value.at)
        return values

    def _value(self) -> _Value:
        """Read up to a comma or a space."""
        begin, parts, text = self._at, [""], ""
        while not self._at_end_of_term and self._text[self._at] != ",":
            if self._text[self._at] == '"':
                read = self._quoted()
            else:
                read = self._text[self._at]
                self._at += 1
                if read == "*":
                    text, parts = text + read, [*parts, ""]
                    continue
            text, parts[-1] = text + read, parts[-1] + read
        return _Value(text, begin, tuple(parts))

    def _quoted(self) -> str:
        found = _QUOTED.match(self._text, self._at)
        if found is None:
            self._refuse('the text has no end: write "…"', self._at)
        self._at = found.end()
        return _ESCAPED.sub(r"\1", found[1])

    # --- states and numbers ----------------------------------------------------------------------------------

    def _state(self, values: list[_Value], negated: bool) -> Test[T]:
        states, holds = self._fields.states, self._fields.in_state
        assert holds is not None
        for value in values:
            if value.text.lower().replace("_", "-") not in states:
                self._refuse(f"'{value.text}' is no state, there are {', '.join(states)}", value.at)
        wanted = frozenset(value.text.lower().replace("_", "-") for value in values)
        possible = frozenset(states) - wanted if negated else wanted
        self._states = possible if self._states is None else self._states & possible
        return lambda item, _: holds(item, wanted)

    def _number(self, key: str, operator: str, values: list[_Value], negated: bool) -> Test[T]:
        ranges = [self._range(key, operator, value) for value in values]
        read = self._fields.numbers[key]
        if key == "age" and not negated and not any(math.isinf(high) for _, high in ranges):
            oldest = max(high for _, high in ranges)
            self._youngest_ms = min(oldest, self._youngest_ms if self._youngest_ms is not None else oldest)

        def test(item: T, now: datetime) -> bool:
            value = read(item, now)
            return value is not None and any(low <= value <= high for low, high in ranges)

        return test

    def _range(self, key: str, operator: str, value: _Value) -> tuple[float, float]:
        """Return the least and the greatest number that are meant."""
        amount, until = self._amount(key, value)
        return {
            ":": (amount, until),
            "<": (-math.inf, math.nextafter(amount, -math.inf)),
            "<=": (-math.inf, amount),
            ">": (math.nextafter(amount, math.inf), math.inf),
            ">=": (amount, math.inf),
        }[operator]

    def _amount(self, key: str, value: _Value) -> tuple[float, float]:
        """Return the number, and up to where it is the same as it is written: ages are shown in whole units."""
        if key == "age":
            age_ms = parse_duration(value.text)
            unit = _UNIT.search(value.text.lower())
            step_ms = parse_duration(f"1{unit[0]}") if unit else None
            if age_ms is None or step_ms is None:
                self._refuse(f"'{value.text}' is no time: write age>1h, with ms, s, m, h or d", value.at)
            return age_ms, math.nextafter(age_ms + step_ms, 0)
        try:
            amount = float(value.text) if value.text.isascii() and "_" not in value.text else math.nan
        except ValueError:
            amount = math.nan
        if not math.isfinite(amount):
            self._refuse(f"'{value.text}' is no number: write {key}>3", value.at)
        return amount, amount

    # --- payloads --------------------------------------------------------------------------------------------

    def _payload_field(self, match: re.Match[str], negated: bool) -> None:
        begin = self._at
        if not self._fields.payload:
            hint = f"it takes {self._fields.terms}; write \"…\" around a text with '='"
            self._refuse(f"{self._fields.what} have no payload to look in: {hint}", begin)
        key = match[1] if match[1] is not None else _ESCAPED.sub(r"\1", match[2])
        self._at = match.end()
        if self._at_end_of_term:
            self._refuse(f"a value is missing after '{match[0]}'", self._at)
        self._payload.append(PayloadTerm(key, self._json(), negated))

    def _json(self) -> Any:
        """Read JSON, which may hold spaces; what is none is a text up to a space."""
        begin = self._at
        try:
            value, end = _STRICT.raw_decode(self._text, begin)
        except (ValueError, RecursionError):
            end = -1
        if end >= 0 and (end == len(self._text) or self._text[end].isspace()):
            self._at = end
            return value
        if self._text[begin] == '"':
            text = self._quoted()
            if not self._at_end_of_term:
                self._refuse("a space must follow the text in quotes", self._at)
            return text
        while not self._at_end_of_term:
            self._at += 1
        return self._text[begin : self._at]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_STRICT: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _not(test: Test[T]) -> Test[T]:
    return lambda item, now: not test(item, now)


def _has_any(texts: Iterable[str | None], holds: Callable[[str], bool]) -> bool:
    return any(holds(text.casefold()) for text in texts if text)


def _pattern(value: _Value) -> Callable[[str], bool]:
    """A text to be found inside, or with `*` a pattern of the whole."""
    first, *rest = (part.casefold() for part in value.parts)
    if not rest:
        return lambda text: first in text
    *middle, last = rest

    def matches(text: str) -> bool:
        if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return matches
