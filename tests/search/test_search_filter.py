"""The filter language of exact search: what it means, what it refuses, and that it refuses nothing badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidemq_core.errors import InvalidOptionError, UnsupportedServerError
from glidemq_core.search.filter import escape_tag, parse_filter
from glidemq_core.search.schema import BASE_FIELDS, NumericField, TagField, TextField

FIELDS = (
    *BASE_FIELDS,
    TagField("topic"),
    TagField("exact", case_sensitive=True),
    TagField("path", separator="/"),
    NumericField("size"),
    TextField("title"),
)


def passes(text: str, **values: str | bytes) -> bool:
    row = {name: value.encode() if isinstance(value, str) else value for name, value in values.items()}
    return parse_filter(text, FIELDS).matches(row)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("*", {}, True),
        (" ( * ) ", {}, True),
        ("@topic:{billing}", {"topic": "Billing"}, True),
        ("@topic:{BILLING}", {"topic": "billing"}, True),
        ("@topic:{billing}", {"topic": "billing2"}, False),
        ("@topic:{billing}", {}, False),
        ("@topic:{a|b}", {"topic": "x, b ,c"}, True),
        ("@topic:{ a | b }", {"topic": "a"}, True),
        ("@topic:{new york}", {"topic": "New York,Paris"}, True),
        ("@topic:{new   york}", {"topic": "new york"}, True),
        ("@topic:{inv*}", {"topic": "x,invoices"}, True),
        ("@topic:{inv*}", {"topic": "x invoices"}, False),
        ("@topic:{a\\*}", {"topic": "a*"}, True),
        ("@topic:{a\\*}", {"topic": "ab"}, False),
        ("@state:{waiting\\-children}", {"state": "waiting-children"}, True),
        ("@topic:{\\}\\|\\\\}", {"topic": "}|\\"}, True),
        ("@topic:{x}", {"topic": b"\xff\xfe,x"}, True),
        ("@exact:{Abc}", {"exact": "abc"}, False),
        ("@exact:{Abc}", {"exact": "Abc"}, True),
        ("@path:{b}", {"path": "a/b"}, True),
        ("@path:{a\\,b}", {"path": "a,b"}, True),
        ("@size:[1 5]", {"size": "5"}, True),
        ("@size:[1 (5]", {"size": "5"}, False),
        ("@size:[(1 5]", {"size": "1"}, False),
        ("@size:[-inf +inf]", {"size": "-1e9"}, True),
        ("@size:[-INF 0]", {"size": "-2.5"}, True),
        ("@size:[5 1]", {"size": "3"}, False),
        ("@size:[0 9]", {"size": "three"}, False),
        ("@size:[0 9]", {"size": "nan"}, False),
        ("@size:[0 9]", {}, False),
        ("@size:[0 9]", {"size": b"\xff"}, False),
        ("@topic:{a} @size:[0 3]", {"topic": "a", "size": "9"}, False),
        ("@topic:{a}@size:[0 3]", {"topic": "a", "size": "2"}, True),
        ("@topic:{a} | @topic:{b} @size:[0 3]", {"topic": "a", "size": "9"}, True),
        ("(@topic:{a} | @topic:{b}) @size:[0 3]", {"topic": "a", "size": "9"}, False),
        ("-@topic:{a}", {"topic": "b"}, True),
        ("-@topic:{a} @size:[0 3]", {"topic": "b", "size": "9"}, False),
        ("-(@topic:{a} | @topic:{b})", {"topic": "c"}, True),
        ("--@topic:{a}", {"topic": "a"}, True),
        ("@unknown:{a}", {"unknown": "a"}, False),
        ("-@unknown:[1 2]", {}, True),
        ("@size:{5}", {"size": "5"}, False),
        ("@topic:[5 5]", {"topic": "5"}, False),
    ],
)
def test_meaning(text: str, values: dict[str, Any], expected: bool) -> None:
    assert passes(text, **values) is expected


@pytest.mark.parametrize(
    "text",
    [
        "()",
        "(@topic:{a}",
        "@topic:{a})",
        "@topic:{a} |",
        "| @topic:{a}",
        "-",
        "-*",
        "* @topic:{a}",
        "@topic",
        "@topic:",
        "@topic:{}",
        "@topic:{a|}",
        "@topic:{a",
        "@topic:{a\\",
        "@topic:{waiting-children}",
        "@topic:{a *}",
        "@size:[1]",
        "@size:[1 2",
        "@size:[1,2]",
        "@size:[1 2)",
        "@size:[( 1 2]",
        "]",
        "(" * 500 + "@topic:{a}" + ")" * 500,
        "-" * 5000 + "@topic:{a}",
        "@topic:{" + "a" * 100_001 + "}",
    ],
)
def test_what_is_no_filter_is_told_in_one_line(text: str) -> None:
    with pytest.raises(InvalidOptionError, match="filter") as caught:
        parse_filter(text, FIELDS)

    assert caught.value.option == "filter"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "@title:hello",
        "@title:{hello}",
        '@topic:"exact words"',
        "@topic:{*ing}",
        "@topic:{b*ing}",
        "@topic|title:{a}",
        "@size==5",
        "@size:[$low 5]",
        "@size:[1 2 3 km]",
        "@size:[VECTOR_RANGE 1 2]",
        "~@topic:{a}",
        "%fuzzy%",
        '"a b"',
        "$name",
    ],
)
def test_what_only_a_module_understands_says_so(text: str) -> None:
    with pytest.raises(UnsupportedServerError, match="needs the search module") as caught:
        parse_filter(text, FIELDS)

    assert caught.value.feature == "search"


def test_only_the_named_fields_are_needed() -> None:
    assert parse_filter("@topic:{a} -@size:[1 2] @topic:{b} @nope:{c}", FIELDS).fields == ("topic", "size")


def test_escaped_tags() -> None:
    assert escape_tag("waiting-children") == "waiting\\-children"
    assert escape_tag("a b_c|d}é") == "a\\ b_c\\|d\\}é"


@given(st.text(min_size=1).filter(lambda value: value.strip(" \t\r\n") == value and "," not in value))
def test_an_escaped_tag_stands_for_itself(value: str) -> None:
    assert passes("@exact:{" + escape_tag(value) + "}", exact=value)


@given(st.text(alphabet=st.sampled_from("@topicsize:{}[]()|-*\\ 0159.,a~$\"'e+inf"), max_size=40) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_filter(text, FIELDS)
    except (InvalidOptionError, UnsupportedServerError):
        return
    assert found.matches({}) in (True, False)


Row = dict[str, bytes]
Model = tuple[str, Callable[[Row], bool]]
TAGS = ("red", "green", "blue")


def _tags(chosen: list[str]) -> Model:
    wanted = {tag.encode() for tag in chosen}
    return "@topic:{" + "|".join(chosen) + "}", lambda row: bool(wanted & set(row["topic"].split(b",")))


def _range(bounds: tuple[int, int]) -> Model:
    low, high = bounds
    return f"@size:[{low} ({high}]", lambda row: low <= int(row["size"]) < high


def _not(part: Model) -> Model:
    return f"-({part[0]})", lambda row: not part[1](row)


def _and(parts: list[Model]) -> Model:
    text = " ".join(f"({text})" if " | " in text else text for text, _ in parts)
    return text, lambda row: all(holds(row) for _, holds in parts)


def _or(parts: list[Model]) -> Model:
    return " | ".join(text for text, _ in parts), lambda row: any(holds(row) for _, holds in parts)


LEAVES = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3).map(_tags) | st.tuples(
    st.integers(-9, 9), st.integers(-9, 9)
).map(_range)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: (
        inner.map(_not)
        | st.lists(inner, min_size=2, max_size=3).map(_and)
        | st.lists(inner, min_size=2, max_size=3).map(_or)
    ),
    max_leaves=12,
)
ROWS = st.fixed_dictionaries(
    {
        "topic": st.lists(st.sampled_from(TAGS), max_size=3).map(lambda tags: ",".join(tags).encode()),
        "size": st.integers(-9, 9).map(lambda number: str(number).encode()),
    }
)


@given(FILTERS, ROWS)
def test_filters_mean_what_they_were_made_of(model: Model, row: Row) -> None:
    text, holds = model

    assert parse_filter(text, FIELDS).matches(row) is holds(row)
