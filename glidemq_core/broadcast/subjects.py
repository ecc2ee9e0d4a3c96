"""Subjects of messages, words parted by dots, and the patterns that choose among them.

`*` stands for any one word, `>` as the last word for one or more. `broadcast.lua` compares the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..options.fields import refuse


def subject_patterns(patterns: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the given patterns; none of them choose every subject.

    Raises: InvalidOptionError when one is no text, or has `>` before its last word.
    """
    found = (patterns,) if isinstance(patterns, str) else tuple(patterns or ())
    for pattern in found:
        if not isinstance(pattern, str):
            refuse("subjects", pattern, "text patterns such as 'orders.*' or 'orders.>'")
        if ">" in pattern.split(".")[:-1]:
            refuse(
                "subjects",
                pattern,
                "'>' as the last word",
                "`>` wildcard must be the last token in a subject pattern",
            )
    return found


def match_subject(pattern: str, subject: str) -> bool:
    """Tell whether a pattern matches a subject. Raises InvalidOptionError for `>` before the last word."""
    [pattern] = subject_patterns(pattern)
    return _matches(pattern.split("."), subject.split("."))


def compile_subject_matcher(patterns: Iterable[str] | None) -> Callable[[str], bool] | None:
    """Return a function that tells whether any of the patterns matches a subject; None when there are no patterns.

    Raises: InvalidOptionError for `>` before the last word of a pattern.
    """
    wanted = [pattern.split(".") for pattern in subject_patterns(patterns)]
    if not wanted:
        return None

    def matches(subject: str) -> bool:
        words = subject.split(".")
        return any(_matches(pattern, words) for pattern in wanted)

    return matches


def _matches(pattern: list[str], subject: list[str]) -> bool:
    if pattern[-1] == ">":
        pattern = pattern[:-1]
        if len(subject) <= len(pattern):
            return False
        subject = subject[: len(pattern)]
    return len(pattern) == len(subject) and all(
        wanted in ("*", word) for wanted, word in zip(pattern, subject, strict=True)
    )
