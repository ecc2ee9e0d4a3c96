"""Subjects and patterns: the table of the wire's description, in Python and on the server."""

from __future__ import annotations

import pytest
from conftest import eventually

from glidemq_core import Broadcast, BroadcastWorker, Connection, InvalidOptionError
from glidemq_core import compile_subject_matcher as compiled
from glidemq_core import match_subject as match

TABLE = {
    "a.*": (("a.b", "a."), ("a", "a.b.c", "A.b", "")),
    "a.>": (("a.b", "a.b.c", "a."), ("a", "b.c", "")),
    ">": (("a", "a.b", "."), ()),
    "*": (("a", "*"), ("a.b",)),
    "*.b": (("x.b", ".b"), ("b", "x.c")),
    "a.*.c": (("a.x.c", "a..c"), ("a.c", "a.x.y.c")),
    "a*": (("a*",), ("ab", "a")),
    "a.b": (("a.b",), ("a", "a.b.", "a.c")),
    "a[.%d": (("a[.%d",), ("a[.1",)),
}


@pytest.mark.parametrize("pattern", TABLE)
def test_a_pattern_matches_what_the_table_says(pattern: str) -> None:
    yes, no = TABLE[pattern]
    assert [subject for subject in yes if not match(pattern, subject)] == []
    assert [subject for subject in no if match(pattern, subject)] == []


def test_everything_matches_one_word_or_more_even_an_empty_one() -> None:
    assert match(">", "")
    assert match("*", "")


def test_several_patterns_match_if_one_does() -> None:
    matcher = compiled(["a.*", "b"])
    assert matcher is not None
    assert [matcher(subject) for subject in ("a.x", "b", "c")] == [True, True, False]
    assert compiled([]) is None
    assert compiled(None) is None


@pytest.mark.parametrize("pattern", ["a.>.b", ">.a", "*.>.>"])
def test_the_rest_may_only_stand_last(pattern: str) -> None:
    with pytest.raises(InvalidOptionError, match="must be the last token"):
        match(pattern, "x")
    with pytest.raises(InvalidOptionError):
        compiled(["a", pattern])
    with pytest.raises(InvalidOptionError):
        BroadcastWorker("q", print, "valkey://nowhere", subscription="s", subjects=[pattern])


async def test_the_server_chooses_alike(connection: Connection) -> None:
    broadcast = Broadcast("q", connection)
    subjects = sorted({subject for pair in TABLE.values() for group in pair for subject in group})
    for subject in subjects:
        await broadcast.publish(subject)
    for number, pattern in enumerate(TABLE):
        got: list[str] = []

        async def process(job, got=got):  # type: ignore[no-untyped-def]
            got.append(job.name)

        worker = BroadcastWorker(
            "q",
            process,
            connection,
            subscription=f"s{number}",
            start_from="0-0",
            subjects=[pattern],
            concurrency=3,
        )
        async with worker:

            async def read(name: str = f"s{number}") -> bool:
                counts = {one.name: one for one in await broadcast.get_subscriptions()}
                return counts[name].waiting == 0 and counts[name].pending == 0

            await eventually(read)
        # A message without a subject is for those only who choose none.
        assert sorted(got) == [s for s in subjects if s and match(pattern, s)], pattern
