"""Regular expressions: they find what `re` finds, and no text makes them slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glidemq_core.filters.regex import bounded_regex

pytestmark = pytest.mark.thorough

#: Patterns of everything that is taken.
PATTERNS = [
    "a",
    "ab",
    "A",
    "^a",
    "b$",
    "^$",
    r"\Aab\Z",
    "a.b",
    ".",
    "a*",
    "a+b",
    "a*?b",
    "ab?a",
    "a?b?a?b?",
    "a{2}",
    "a{2,3}b",
    "a{2,}b",
    "a{0}b",
    "(ab){2,3}a",
    "(ab)+",
    "(a|b)+ ",
    "a|b ",
    "|a",
    "(?:a|ab|)b",
    "[ab]",
    "[^ab]",
    "[a-b_]+ ",
    r"\w+ \w",
    r"\d",
    r"\D",
    r"\s",
    r"\ba",
    r"a\b",
    r"\Ba",
    r"a\B",
    r"\b",
    "^a*b*$",
    "(a)(b)",
    "(?P<x>a)b",
    "ab|a b|b b",
    "ß",
    "ſ",
    "K",
    "[^a]$",
    "a^",
    "$a",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(st.text("abAB_ 1.ßsSKk\n", max_size=12))
@example("")
def test_it_finds_what_re_finds(pattern: str, text: str) -> None:
    text = text.rstrip("\n")
    assert bounded_regex(pattern)(text) == bool(re.search(pattern, text, re.IGNORECASE))


@given(
    st.recursive(
        st.sampled_from(["a", "b", ".", "[ab]", r"\w", "^", "$", r"\b"]),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        ),
        max_leaves=6,
    ),
    st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"]),
    st.sampled_from(["", "b", "a*", "$"]),
    st.text("ab ", max_size=8),
)
def test_it_finds_what_re_finds_of_any_shape(body: str, repeat: str, tail: str, text: str) -> None:
    pattern = f"(?:{body}){repeat}{tail}"
    assert bounded_regex(pattern)(text) == bool(re.search(pattern, text, re.IGNORECASE))


def test_a_line_break_at_the_end_is_no_part_of_the_text() -> None:
    assert bounded_regex("boom$")("boom\n")
    assert not bounded_regex("boom.$")("boom\n")


def test_two_thousand_characters_are_searched() -> None:
    assert bounded_regex("x")("a" * 2_047 + "x")
    assert not bounded_regex("x")("a" * 2_048 + "x")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a" * 201, "200 characters at most"),
        ("(", "no regular expression: missing )"),
        ("a**", "no regular expression"),
        ("(a+)+", "may not repeat what repeats"),
        ("(a*b)*", "may not repeat what repeats"),
        ("(?:ab?)+", "may not repeat what repeats"),
        ("((a{2,3})b){2}", "may not repeat what repeats"),
        ("(a{2}){3}", "may not repeat what repeats"),
        (r"(a)\1", "refer to an earlier group"),
        ("(a)?(?(1)b|c)", "refer to an earlier group"),
        ("(?=a)b", "look ahead or behind"),
        ("(?<!a)b", "look ahead or behind"),
        ("(?>a)b", "atomic groups"),
        ("a++", "possessive repeats"),
        ("(?s).", "takes no flags"),
        ("(?s:.)", "takes no flags"),
        ("(?i)a", "takes no flags"),
        ("a{1000}", "may not repeat so many times"),
        ("(aaaaaaaaaa){1,100000}", "may not repeat so many times"),
        ("a{4294967296}", "no regular expression"),
    ],
)
def test_what_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        bounded_regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a*a*a*a*b", "a" * 5_000),
        (".*.*.*x", "y" * 5_000),
        ("a?" * 30 + "a{30}$", "a" * 2_000 + "b"),
        ("timeout.*after.*ms", "timeoutafter" * 400),
        ("(a|a|a|a)*b", "a" * 5_000),
        (r"[ab]*a[ab]{60}c", "abbabaababbaabab" * 200),
    ],
)
def test_no_text_makes_it_slow(pattern: str, text: str) -> None:
    search = bounded_regex(pattern)
    begun = time.process_time()
    assert not search(text)
    assert time.process_time() - begun < 2


def test_what_is_remembered_is_bounded() -> None:
    search = bounded_regex("[^x]b")
    for first in range(0x4E00, 0x4E00 + 30_000, 1_000):
        assert not search("".join(map(chr, range(first, first + 1_000))))
    assert search("ab")
