"""Regular expressions of a person on texts of strangers: only those that cannot take long."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

LONGEST: Final = 200
#: Characters of a text that are searched: by a pattern with one repeat, and by one with two, whose time may grow with
#: the third power.
_SEARCHED: Final = 2_048
_SEARCHED_BY_TWO: Final = 250
#: Optional parts and alternatives: each may double the time.
_CHOICES: Final = 8
_REPEATS: Final = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)


def bounded_regex(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern that is searched for whatever the case.

    Raises:
        ValueError: it is none, is longer than 200 characters, or might take long: a repeat or an alternative within a
            repeat, more than two repeats, more than eight optional parts, a reference to an earlier group.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"a regular expression has {LONGEST} characters at most")
    try:
        tree = parser.parse(pattern)
        compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    cost = Counter[str]()
    _weigh(tree, cost, inside=False)
    if cost["repeats"] > 2:
        raise ValueError("a regular expression may repeat in two places at most")
    if cost["choices"] > _CHOICES:
        raise ValueError(f"a regular expression may have {_CHOICES} optional parts and alternatives at most")
    searched = _SEARCHED if cost["repeats"] < 2 else _SEARCHED_BY_TWO
    return lambda text: compiled.search(text[:searched]) is not None


def _weigh(tree: Iterable[tuple[Any, Any]], cost: Counter[str], *, inside: bool) -> None:
    """Count what makes a parsed pattern slow; `inside` what repeats, some things are refused."""
    for kind, value in tree:
        if kind in (ops.GROUPREF, ops.GROUPREF_EXISTS):
            raise ValueError("a regular expression may not refer to an earlier group")
        if kind in _REPEATS:
            least, most, body = value
            if inside:
                raise ValueError("a regular expression may not repeat what repeats")
            cost["choices" if (least, most) == (0, 1) else "repeats"] += most != least
            _weigh(body, cost, inside=most > 1)
        elif kind is ops.BRANCH:
            if inside:
                raise ValueError("a regular expression may not repeat alternatives")
            cost["choices"] += len(value[1]) - 1
            for branch in value[1]:
                _weigh(branch, cost, inside=False)
        elif kind is ops.SUBPATTERN:
            _weigh(value[-1], cost, inside=inside)
        elif kind in (ops.ASSERT, ops.ASSERT_NOT):
            _weigh(value[1], cost, inside=inside)
        elif kind is ops.ATOMIC_GROUP:
            _weigh(value, cost, inside=inside)
