"""Regular expressions of a person on texts of strangers: none takes long on any text.

`re` tries one way after the other, which hostile text makes slow even for plain patterns. Here all ways are followed at
the same time, a character a step, and steps are remembered: the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from re import _compiler as compiler  # type: ignore[attr-defined]
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

#: Characters of a pattern at most, and characters of a text that are searched.
LONGEST: Final = 200
SEARCHED: Final = 2_048
#: Steps that a pattern may be made of, once what repeats so many times is written out.
_STEPS: Final = 400
#: Moves that are remembered.
_MOVES: Final = 20_000

#: What a character is to `\\b`; _EDGE stands before the first and after the last one.
_EDGE, _WORD, _OTHER = range(3)
_ONE_CHARACTER: Final = (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN)
_REPEATS: Final = (ops.MAX_REPEAT, ops.MIN_REPEAT)
_PLACES: Final[dict[Any, Callable[[int, int], bool]]] = {
    ops.AT_BEGINNING: lambda before, _: before == _EDGE,
    ops.AT_BEGINNING_STRING: lambda before, _: before == _EDGE,
    ops.AT_END: lambda _, after: after == _EDGE,
    ops.AT_END_STRING: lambda _, after: after == _EDGE,
    ops.AT_BOUNDARY: lambda before, after: (before == _WORD) != (after == _WORD),
    ops.AT_NON_BOUNDARY: lambda before, after: (before == _WORD) == (after == _WORD),
}
_REFUSED: Final = {
    ops.GROUPREF: "refer to an earlier group",
    ops.GROUPREF_EXISTS: "refer to an earlier group",
    ops.ASSERT: "look ahead or behind",
    ops.ASSERT_NOT: "look ahead or behind",
    ops.ATOMIC_GROUP: "have atomic groups",
    ops.POSSESSIVE_REPEAT: "have possessive repeats",
}


def bounded_regex(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern that is searched for in the first 2,048 characters of a text, whatever the case.

    A line break at the very end of a text is no part of it.

    Raises:
        ValueError: it is none, is longer than 200 characters, repeats what repeats, or holds what needs more than a
            look at each character: references, looking ahead or behind, flags.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"a regular expression has {LONGEST} characters at most")
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = parser.parse(pattern)
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    if tree.state.flags & ~re.UNICODE.value:
        raise ValueError("a regular expression takes no flags here; case does not matter")
    program = _Program(tree.state)
    program.add(tree, repeated=False)
    return _Search(program.steps).search


class _Step(NamedTuple):
    """One of: a character that `takes`; a `place` where it must stand; steps to go on at."""

    takes: Callable[[str], bool] | None = None
    place: Callable[[int, int], bool] | None = None
    #: Steps to go on at, from here; one that takes a character goes on with the next.
    to: tuple[int, ...] = (1,)


class _Program:
    """The steps of a pattern; it is found when they are over."""

    def __init__(self, state: Any) -> None:
        self.steps: list[_Step] = []
        self._state = state

    def add(self, tree: Iterable[tuple[Any, Any]], *, repeated: bool) -> None:
        """Add the steps of a parsed pattern."""
        for kind, value in tree:
            if len(self.steps) > _STEPS:
                raise ValueError("a regular expression may not repeat so many times")
            if kind in _ONE_CHARACTER:
                self.steps.append(_Step(takes=self._test(kind, value)))
            elif kind is ops.AT:
                self.steps.append(_Step(place=_PLACES[value]))
            elif kind is ops.BRANCH:
                self._branch(value[1], repeated=repeated)
            elif kind is ops.SUBPATTERN:
                _, with_flags, without_flags, body = value
                if with_flags or without_flags:
                    raise ValueError("a regular expression takes no flags here; case does not matter")
                self.add(body, repeated=repeated)
            elif kind in _REPEATS:
                self._repeat(*value, repeated=repeated)
            else:
                raise ValueError(f"a regular expression may not {_REFUSED.get(kind, f'have {kind} here')}")

    def _test(self, kind: Any, value: Any) -> Callable[[str], bool]:
        one = parser.SubPattern(self._state, [(kind, value)])
        match = compiler.compile(one, re.IGNORECASE.value).match
        return lambda character: match(character) is not None

    def _branch(self, branches: Iterable[Iterable[tuple[Any, Any]]], *, repeated: bool) -> None:
        *others, last = branches
        ends: list[int] = []
        for branch in others:
            fork = self._later()
            self.add(branch, repeated=repeated)
            ends.append(self._later())
            self._go_on(fork, 1, len(self.steps) - fork)
        self.add(last, repeated=repeated)
        for end in ends:
            self._go_on(end, len(self.steps) - end)

    def _repeat(self, least: int, most: Any, body: Any, *, repeated: bool) -> None:
        if repeated:
            raise ValueError("a regular expression may not repeat what repeats")
        inside = most is ops.MAXREPEAT or int(most) > 1
        for _ in range(least):
            self.add(body, repeated=inside)
        if most is ops.MAXREPEAT:
            fork = self._later()
            self.add(body, repeated=True)
            self.steps.append(_Step(to=(fork - len(self.steps),)))
            self._go_on(fork, 1, len(self.steps) - fork)
            return
        forks = []
        for _ in range(int(most) - least):
            forks.append(self._later())
            self.add(body, repeated=inside)
        for fork in forks:
            self._go_on(fork, 1, len(self.steps) - fork)

    def _later(self) -> int:
        """Leave room for a step that goes on elsewhere; return where it stands."""
        self.steps.append(_Step())
        return len(self.steps) - 1

    def _go_on(self, at: int, *to: int) -> None:
        self.steps[at] = _Step(to=to)


class _State:
    """Where the ways stand before a character, and what the one before it was."""

    __slots__ = ("before", "moves", "places")

    def __init__(self, places: frozenset[int], before: int) -> None:
        self.places, self.before = places, before
        self.moves: dict[str, _State | None] = {}


class _Search:
    """Follows all ways through a pattern at the same time."""

    def __init__(self, steps: list[_Step]) -> None:
        self._steps = steps
        self._forget()

    def _forget(self) -> None:
        self._states: dict[tuple[frozenset[int], int], _State] = {}
        self._moves = 0

    def search(self, text: str) -> bool:
        """Tell whether the pattern is found."""
        state = self._state(frozenset(), _EDGE)
        for character in text[:SEARCHED].removesuffix("\n"):
            following = state.moves.get(character, state)
            if following is state and character not in state.moves:
                following = self._move(state, character)
            if following is None:
                return True
            state = following
        return len(self._steps) in self._reached(state, _EDGE)

    def _state(self, places: frozenset[int], before: int) -> _State:
        return self._states.setdefault((places, before), _State(places, before))

    def _move(self, state: _State, character: str) -> _State | None:
        """Go on over a character; None when the pattern is found before it."""
        if self._moves >= _MOVES:
            self._forget()
        after = _WORD if character.isalnum() or character == "_" else _OTHER
        reached, following = self._reached(state, after), None
        if len(self._steps) not in reached:
            taken = (at + 1 for at in reached if (takes := self._steps[at].takes) and takes(character))
            following = self._state(frozenset(taken), after)
        state.moves[character] = following
        self._moves += 1
        return following

    def _reached(self, state: _State, after: int) -> set[int]:
        """Return the steps that are reached without a character; a way may begin anywhere."""
        reached, left = set[int](), [0, *state.places]
        while left:
            at = left.pop()
            if at in reached:
                continue
            reached.add(at)
            step = self._steps[at] if at < len(self._steps) else None
            if step is None or step.takes is not None:
                continue
            if step.place is None or step.place(state.before, after):
                left += [at + way for way in step.to]
        return reached
