"""The filter language of exact search: a part of what search modules understand, with the same meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ..errors import InvalidOptionError, UnsupportedServerError
from ..wire.replies import as_text
from .schema import Field, NumericField, TagField, TextField

#: Values of one hash by field.
Row = Mapping[str, bytes | None]

_MAX_LENGTH: Final = 100_000
_MAX_DEPTH: Final = 100
_SPACE = " \t\r\n"
_BLANK = _SPACE.encode()
#: What may stand around `*`, which joins no other term.
_WRAPPING = str.maketrans("", "", _SPACE + "()")
_CLAUSE = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)\s*:\s*", re.ASCII)
_BOUND = re.compile(r"\(?[+-]?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.ASCII | re.IGNORECASE)
_STORED_NUMBER = re.compile(r"[+-]?(?:inf|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)", re.ASCII | re.IGNORECASE)


def escape_tag(value: str) -> str:
    """Escape a text for use as a tag between `{` and `}`: all but letters, digits and _."""
    return "".join(c if c == "_" or c.isalnum() else "\\" + c for c in value)


#: Tells whether a record with these values passes one part of a filter.
Condition = Callable[[Row], bool]


def _everything(_: Row) -> bool:
    return True


def _nothing(_: Row) -> bool:
    """A field that the index does not know, or knows as another kind."""
    return False


@dataclass(frozen=True, slots=True)
class _Tagged:
    field: TagField
    whole: frozenset[bytes]
    heads: tuple[bytes, ...]

    def __call__(self, row: Row) -> bool:
        stored = row.get(self.field.name)
        if stored is None:
            return False
        folded = stored if self.field.case_sensitive else stored.lower()
        tags = (part.strip(_BLANK) for part in folded.split(self.field.separator.encode()))
        return any(tag in self.whole or tag.startswith(self.heads) for tag in tags)


@dataclass(frozen=True, slots=True)
class _Within:
    field: str
    low: float
    high: float
    open_low: bool
    open_high: bool

    def __call__(self, row: Row) -> bool:
        text = as_text(row.get(self.field)).strip()
        if not _STORED_NUMBER.fullmatch(text):
            return False
        number = float(text)
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return above and below


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter, and the fields of a record that it reads."""

    matches: Condition
    fields: tuple[str, ...]


def parse_filter(text: str, fields: Sequence[Field]) -> Filter:
    """Read a filter for an index with these fields.

    Raises:
        InvalidOptionError: it cannot be parsed; the message says at which character.
        UnsupportedServerError: only a search module understands it.
    """
    if len(text) > _MAX_LENGTH:
        raise _broken(text, f"filter is longer than {_MAX_LENGTH} characters")
    return _Reader(text, {field.name: field for field in fields}).read()


class _Reader:
    """Parses a filter from left to right: alternatives (`|`) of rows of terms."""

    def __init__(self, text: str, known: Mapping[str, Field]) -> None:
        self._text = text
        self._at = 0
        self._known = known
        self._used: dict[str, None] = {}

    def read(self) -> Filter:
        condition = self._alternatives(0)
        if self._peek():
            self._fail("an opening '('" if self._peek() == ")" else "the end")
        return Filter(condition, tuple(self._used))

    def _alternatives(self, depth: int) -> Condition:
        parts = [self._terms(depth)]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._terms(depth))
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _terms(self, depth: int) -> Condition:
        parts = [self._term(depth)]
        while self._peek() not in ("", "|", ")"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _term(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise _broken(self._text, f"filter is nested more than {_MAX_DEPTH} levels deep")
        sign = self._peek()
        if sign == "-":
            self._at += 1
            denied = self._term(depth + 1)
            return lambda row: not denied(row)
        if sign == "(":
            self._at += 1
            inner = self._alternatives(depth + 1)
            if self._peek() != ")":
                self._fail("')'")
            self._at += 1
            return inner
        if sign == "@":
            return self._clause()
        if sign == "*" and self._text.translate(_WRAPPING) == "*":
            self._at += 1
            return _everything
        if sign in ("", "|", ")", "{", "}", "[", "]", ":", "*"):
            self._fail("a term such as @name:{value} or @priority:[0 5]")
        return self._beyond("text outside of a field")

    def _clause(self) -> Condition:
        head = _CLAUSE.match(self._text, self._at)
        if head is None:
            if re.compile(r"@[\w|]+\s*(:|[=!<>]=?)").match(self._text, self._at):
                self._beyond("this form")
            self._fail("@field:{...} or @field:[... ...]")
        field, self._at = self._known.get(head[1]), head.end()
        if isinstance(field, TextField):
            self._beyond(f"text field '{field.name}'")
        opening = self._peek()
        if opening == "{":
            tagged = self._tags(field if isinstance(field, TagField) else TagField(head[1]))
            condition: Condition = tagged if isinstance(field, TagField) else _nothing
        elif opening == "[":
            within = self._range(head[1])
            condition = within if isinstance(field, NumericField) else _nothing
        elif opening in ("", "|", ")", "]", "}"):
            self._fail("{...} or [... ...]")
        else:
            self._beyond("text in a field")
        if field is not None and condition is not _nothing:
            self._used.setdefault(field.name)
        return condition

    def _tags(self, field: TagField) -> _Tagged:
        whole: set[bytes] = set()
        heads: list[bytes] = []
        closed = False
        self._at += 1
        while not closed:
            text, is_head, closed = self._tag()
            tag = text.encode("utf-8", "surrogatepass")
            folded = tag if field.case_sensitive else tag.lower()  # ASCII only, as modules do
            if is_head:
                heads.append(folded)
            else:
                whole.add(folded)
        return _Tagged(field, frozenset(whole), tuple(heads))

    def _tag(self) -> tuple[str, bool, bool]:
        """Read one tag: its text, whether it is a beginning only, whether it was the last."""
        written: list[str] = []
        kept = 0  # characters up to here are not trimmed: the last that is no bare space
        is_head = False
        while self._at < len(self._text):
            c = self._text[self._at]
            if c in "|}":
                if kept == 0:
                    self._fail("a tag")
                self._at += 1
                return "".join(written[:kept]), is_head, c == "}"
            if is_head and c not in _SPACE:
                self._beyond("'*' within a tag")
            if c == "*":
                if kept == 0:
                    self._beyond("'*' before a tag")
                if kept < len(written):
                    self._fail("no space before '*'")
                is_head = True
            elif c == "\\" and self._at + 1 < len(self._text):
                self._at += 1
                written.append(self._text[self._at])
                kept = len(written)
            elif c in _SPACE:
                if kept and kept == len(written):  # several spaces count as one
                    written.append(" ")
            elif c == "_" or c.isalnum():
                written.append(c)
                kept = len(written)
            else:
                self._fail(f"'\\{c}': what is no letter, digit or _ needs a backslash (escape_tag() sets it)")
            self._at += 1
        return self._fail("'}'")

    def _range(self, field: str) -> _Within:
        self._at += 1
        bounds: list[tuple[float, bool]] = []
        while self._peek() not in ("]", ""):
            found = _BOUND.match(self._text, self._at)
            if found is None or self._text[found.end() : found.end() + 1] not in (*_SPACE, "]"):
                if self._text[self._at : self._at + 1].isalpha() or self._peek() == "$":
                    self._beyond("a range of this kind")
                self._fail("a number, -inf or +inf; a leading '(' leaves the number itself out")
            bounds.append((float(found[0].removeprefix("(")), found[0].startswith("(")))
            self._at = found.end()
        if self._peek() != "]":
            self._fail("']'")
        if len(bounds) > 2:
            self._beyond("a range of more than two numbers")
        if len(bounds) < 2:
            self._fail("two numbers between '[' and ']'")
        self._at += 1
        (low, open_low), (high, open_high) = bounds
        return _Within(field, low, high, open_low, open_high)

    def _peek(self) -> str:
        """Return the next character that is no space; "" at the end."""
        while self._text[self._at : self._at + 1] in _SPACE and self._at < len(self._text):
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _fail(self, expected: str) -> NoReturn:
        where = f"at character {self._at + 1}" if self._at < len(self._text) else "at its end"
        raise _broken(self._text, f"filter cannot be read {where}: expected {expected}")

    def _beyond(self, what: str) -> NoReturn:
        raise UnsupportedServerError(
            f"filter: {what} (character {self._at + 1}) needs the search module",
            hint="exact search knows *, @tag:{a|b}, @number:[a b], and, or, not and parentheses",
            feature="search",
            found=None,
            needed="a search module",
        )


def _broken(text: str, message: str) -> InvalidOptionError:
    return InvalidOptionError(message, option="filter", value=text, allowed="a filter expression or '*'")
