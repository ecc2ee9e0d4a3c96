"""The filter language: every rule, and errors that say where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glidemq_core.errors import FilterSyntaxError
from glidemq_core.filters.jobs import parse_job_filter
from glidemq_core.filters.language import PayloadTerm
from glidemq_core.records import JobRow, SuspendInfo

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def row(**given: Any) -> JobRow:
    facts: dict[str, Any] = {
        "id": "42",
        "queue": "mail",
        "name": "Send",
        "state": "failed",
        "attempts_made": 3,
        "model": "gpt-5.4-nano",
        "failed_reason": 'Timeout after 30 s: "x"',
        "total_tokens": 1_200,
        "total_cost": 0.25,
        "created_at": NOW - timedelta(hours=1, minutes=20),
    }
    return JobRow(**{**facts, **given})


def fits(text: str, **given: Any) -> bool:
    return parse_job_filter(text).fits(row(**given), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "timeout",
        "TIMEOUT",
        "time 42",
        "send,other",
        "!spam",
        "!spam !egg",
        '"after 30"',
        'timeout" after"',
        r'"\"x\""',
        r"/time.*\d+ s/",
        "/^send$/",
        "!/spam/",
        "state:failed",
        "STATE:Failed",
        "state:failed,delayed",
        "!state:completed",
        "name:send",
        "name:en",
        "name:s*d",
        "name:*",
        "!name:x*",
        "model:gpt*",
        "model:gpt*nano",
        "model:g*t*o",
        "error:timeout",
        "error:refused,timeout",
        'error:"after 30"',
        'error:time*:" \\"x\\""',
        "queue:mail",
        "queue:other,mail",
        "id:42",
        "id:41,42",
        "!id:41",
        "age>1h",
        "age>=1h",
        "age<2h",
        "age<=2h",
        "age:1h",
        "age:80m",
        "age:1h20m",
        "cost>0.1",
        "cost:0.25",
        "cost>=.25",
        "cost<1e3",
        "tries>=3",
        "tries:3",
        "tries:1,3",
        "tokens>1000",
        "!tokens>2000",
        "state:failed error:timeout age>1h !spam",
    ],
)
def test_terms_that_hold(text: str) -> None:
    assert fits(text)


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "timeout nothing",
        "!timeout",
        "a*d",
        '"TIMEOUT  after"',
        "/spam/",
        "!/timeout/",
        "state:completed",
        "!state:failed,delayed",
        "state:failed state:delayed",
        "name:n*d",
        'name:"s*d"',
        "name:sen*end",
        "model:nano*",
        "error:refused",
        "queue:mai",
        "queue:MAIL",
        "id:4",
        "age>80m",
        "age<1h",
        "age:1h19m",
        "age:2h",
        "cost>0.25",
        "tries>3",
        "tries<3",
        "tokens<1200",
    ],
)
def test_terms_that_do_not_hold(text: str) -> None:
    assert not fits(text)


def test_unknown_figures_meet_no_comparison_and_every_negated_one() -> None:
    for key in ("cost", "tokens"):
        unknown = {"total_cost": None, "total_tokens": None}
        assert not fits(f"{key}<1000000", **unknown)
        assert not fits(f"{key}>=0", **unknown)
        assert fits(f"!{key}>=0", **unknown)
    assert not fits("age<9999d", created_at=None)


def test_words_are_looked_for_in_what_a_list_shows() -> None:
    assert fits("human", suspend=SuspendInfo(reason="awaiting-human-review", suspended_at=NOW))
    assert not fits("mail")
    assert not fits("failed")


def test_case_is_that_of_no_language() -> None:
    assert fits("STRASSE", name="Straße")
    assert fits("name:strasse", name="Straße")


def test_stalled_is_a_state() -> None:
    stalled = {"state": "active", "stalled": True}
    assert fits("state:stalled", **stalled)
    assert fits("state:active", **stalled)
    assert not fits("!state:stalled", **stalled)
    assert fits("!state:stalled", state="active")
    assert fits("state:waiting_children", state="waiting-children")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("user=42", [("user", 42, False)]),
        ('tier="gold"', [("tier", "gold", False)]),
        ("tier=gold", [("tier", "gold", False)]),
        ('tier="very gold" x', [("tier", "very gold", False)]),
        ("!user=42", [("user", 42, True)]),
        ("a=1 b=null", [("a", 1, False), ("b", None, False)]),
        ('a={"b": [1, 2]} c=3', [("a", {"b": [1, 2]}, False), ("c", 3, False)]),
        ("a=1,2", [("a", "1,2", False)]),
        ("a=b=c", [("a", "b=c", False)]),
        ("a=NaN", [("a", "NaN", False)]),
        ('"user id"=7', [("user id", 7, False)]),
        ('"a:b"=7', [("a:b", 7, False)]),
        (r'"a\"b"=7', [('a"b', 7, False)]),
        ("name=x", [("name", "x", False)]),
        ("a=" + "[" * 900, [("a", "[" * 900, False)]),
        (r'a="c:\new"', [("a", "c:\new", False)]),
        (r'a="c:\x"', [("a", r"c:\x", False)]),
    ],
)
def test_fields_of_the_payload(text: str, terms: list[tuple[str, Any, bool]]) -> None:
    assert parse_job_filter(text).payload == tuple(PayloadTerm(*term) for term in terms)


def test_what_a_server_can_select_by() -> None:
    for text, states in (
        ("x", None),
        ("state:failed,delayed", {"failed", "delayed"}),
        ("state:failed,delayed !state:failed", {"delayed"}),
        ("state:failed state:delayed", set()),
    ):
        assert parse_job_filter(text).states == states
    for text, youngest_ms in (
        ("x", None),
        ("age>1h", None),
        ("!age<1h", None),
        ("age<1h", 3_600_000),
        ("age<=1h,2h", 7_200_000),
        ("age<1h age<30m", 1_800_000),
        ("age:1h", 7_200_000),
    ):
        found = parse_job_filter(text).youngest_ms
        assert found == (pytest.approx(youngest_ms) if youngest_ms is not None else None), text


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("!", 1, "'!' stands before"),
        ("a ! b", 3, "'!' stands before"),
        ("!!a", 2, "one '!' negates"),
        ("a foo:x", 3, "'foo' is no key: use state, name"),
        ("foo>=x", 1, "write \"…\" around a text with '>='"),
        ("http://x", 1, "'http' is no key"),
        ("a name>x", 7, "name takes ':', not '>'"),
        ("state<x", 6, "state takes ':', not '<'"),
        ("state:x", 7, "'x' is no state, there are waiting"),
        ("state:failed,x", 14, "'x' is no state"),
        ("name:", 6, "a value after 'name:' is missing"),
        ("name: x", 6, "a value after 'name:' is missing"),
        ("name:a,", 8, "is missing"),
        ("name:a,,b", 8, "is missing"),
        ('name:""', 6, "is missing"),
        (",", 1, "a word is missing"),
        ('""', 1, "a word is missing"),
        ("age>x", 5, "'x' is no time: write age>1h"),
        ("age>1", 5, "'1' is no time"),
        ("age>1h,x", 8, "'x' is no time"),
        ("cost>x", 6, "'x' is no number: write cost>3"),
        ("cost>nan", 6, "no number"),
        ("cost>1_0", 6, "no number"),
        ("tries>inf", 7, "no number"),
        ("tokens>1e999", 8, "no number"),
        ('a "b', 3, "the text has no end"),
        ('name:a"b', 7, "the text has no end"),
        ('a="b', 3, "the text has no end"),
        ('a="b"c', 6, "a space must follow"),
        ("user=", 6, "a value is missing after 'user='"),
        ("a /b", 3, "the regular expression has no end"),
        ("a /b/c", 6, "a space must follow the regular expression"),
        ("//", 1, "the regular expression is empty"),
        ("a /(/", 3, "no regular expression"),
        ("a /(a+)+/", 3, "may not repeat what repeats"),
        ("/" + "a" * 201 + "/", 1, "200 characters at most"),
        ("a" * 1_001, 1_001, "1,000 characters at most"),
    ],
)
def test_errors_say_where_and_what(text: str, at: int, words: str) -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        parse_job_filter(text)
    assert caught.value.at == at - 1
    assert caught.value.message.startswith(f"filter, at character {at}: ")
    assert words in caught.value.problem
