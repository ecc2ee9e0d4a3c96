"""Options: what is refused, what is normalised, and what exactly reaches the `opts` JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidemq_core.errors import CostExceedsCapacityError, InvalidOptionError
from glidemq_core.options.fields import UNSET, Option, epoch_ms, from_epoch_ms
from glidemq_core.options.job import (
    Actor,
    Backoff,
    Batch,
    Budget,
    Deduplication,
    Fallback,
    JobKeywords,
    JobOptions,
    JobRef,
    Ordering,
    RateLimit,
    Retention,
    TokenBucket,
    TokenLimit,
    job_options,
    merge_options,
    millitokens,
    to_epoch_ms,
    to_ms,
)
from glidemq_core.options.types import id_in
from glidemq_core.options.worker import (
    QueueKeywords,
    QueueOptions,
    WorkerKeywords,
    WorkerOptions,
    override_options,
)
from glidemq_core.wire.strict_json import compact_json, parse_json, same_json

GOLDEN = Path(__file__).parents[1] / "golden"


def stored_options() -> Iterator[Any]:
    """Every `opts` text of every job in every recording."""
    for path in sorted(GOLDEN.glob("*.json")):
        for key, entry in json.loads(path.read_text(encoding="utf-8"))["keys"].items():
            if entry["type"] == "hash" and "opts" in entry["value"]:
                yield pytest.param(entry["value"]["opts"], id=f"{path.stem}-{key.rpartition(':')[2]}")


def recorded(name: str, job_id: str = "1") -> Any:
    keys = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))["keys"]
    return json.loads(keys[f"glide:{{{name}}}:job:{job_id}"]["value"]["opts"])


@pytest.mark.parametrize("stored", stored_options())
def test_stored_options_survive_reading_and_writing(stored: str) -> None:
    assert same_json(json.loads(JobOptions.from_wire(stored).to_wire()), json.loads(stored))


def test_every_option_is_written_as_node_writes_it() -> None:
    options = JobOptions(
        attempts=4,
        backoff=Backoff("exponential", timedelta(seconds=2), jitter=0.25),
        timeout=timedelta(seconds=45),
        lock_duration=60_000,
        fallbacks=[
            Fallback("gpt-5.4-nano", "openai"),
            Fallback("claude-sonnet-4-20250514", "anthropic", {"region": "eu"}),
        ],
        remove_on_complete=Retention(age=timedelta(hours=1), count=100),
        remove_on_fail=50,
        cost=2.0,
    )

    assert same_json(json.loads(options.to_wire()), recorded("add_all_options"))
    assert '"cost":2,' in options.to_wire() + ","  # whole numbers carry no fraction


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        (JobOptions(), {}),
        (
            JobOptions(priority=0, attempts=0, delay=0, lifo=False),
            {"priority": 0, "attempts": 0, "delay": 0, "lifo": False},
        ),
        (
            JobOptions(remove_on_complete=False, remove_on_fail=0),
            {"removeOnComplete": False, "removeOnFail": 0},
        ),
        (JobOptions(remove_on_complete=True), {"removeOnComplete": True}),
        (JobOptions(remove_on_complete=Retention(age=1_001)), {"removeOnComplete": {"age": 2}}),
        (JobOptions(backoff=1_500), {"backoff": {"type": "fixed", "delay": 1500}}),
        (JobOptions(backoff=timedelta(seconds=2)), {"backoff": {"type": "fixed", "delay": 2000}}),
        (JobOptions(ordering="tenant-1"), {"ordering": {"key": "tenant-1"}}),
        (
            JobOptions(ordering=Ordering("k", 3, RateLimit(10, timedelta(seconds=1)))),
            {"ordering": {"key": "k", "concurrency": 3, "rateLimit": {"max": 10, "duration": 1000}}},
        ),
        (
            JobOptions(ordering=Ordering("k", token_bucket=TokenBucket(1.5, 0.25)), cost=0.75),
            {"ordering": {"key": "k", "tokenBucket": {"capacity": 1.5, "refillRate": 0.25}}, "cost": 0.75},
        ),
        (JobOptions(deduplication=Deduplication("k")), {"deduplication": {"id": "k"}}),
        (
            JobOptions(deduplication=Deduplication("k", 60_000, "throttle")),
            {"deduplication": {"id": "k", "ttl": 60000, "mode": "throttle"}},
        ),
        (JobOptions(parent=JobRef("q", "7")), {"parent": {"queue": "q", "id": "7"}}),
        (JobOptions(fallbacks=[]), {"fallbacks": []}),
        (JobOptions(job_id="order-42", ttl=timedelta(hours=1)), {"jobId": "order-42", "ttl": 3_600_000}),
        (JobOptions(timeout=None, job_id=None), {}),
        (JobOptions(extra={"x-trace": [1, None]}), {"x-trace": [1, None]}),
    ],
)
def test_only_given_options_reach_the_wire(options: JobOptions, wire: dict[str, Any]) -> None:
    assert same_json(json.loads(options.to_wire()), wire)


def test_what_is_not_given_reads_as_its_default() -> None:
    options = JobOptions()

    assert (options.delay, options.priority, options.attempts, options.lifo) == (0, 0, 0, False)
    assert (options.fallbacks, options.remove_on_fail) == ((), False)
    assert (options.timeout, options.lock_duration, options.job_id, options.ordering) == (
        None,
        None,
        None,
        None,
    )
    assert options.given == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": 2049},
        {"priority": -1},
        {"priority": 1.5},
        {"priority": True},
        {"delay": -5},
        {"delay": "5"},
        {"delay": math.nan},
        {"delay": math.inf},
        {"delay": True},
        {"delay": 2**53 + 1},
        {"delay": timedelta(seconds=-1)},
        {"attempts": -1},
        {"ttl": -1},
        {"timeout": -1},
        {"cost": -0.1},
        {"cost": math.inf},
        {"cost": 10**400},
        {"lock_duration": 0},
        {"lock_duration": 999},
        {"lock_duration": 86_400_001},
        {"lifo": 1},
        {"lifo": True, "ordering": "k"},
        {"ordering": "__"},
        {"ordering": "k" * 257},
        {"ordering": ""},
        {"ordering": 7},
        {"job_id": "a:b"},
        {"job_id": "a{b"},
        {"job_id": "a||b"},
        {"job_id": "a\x7f"},
        {"job_id": "a\nb"},
        {"job_id": "x" * 257},
        {"job_id": 42},
        {"job_id": "\ud800"},
        {"parent": JobRef("a:b", "1")},
        {"parent": JobRef("q", "")},
        {"parent": "q:1"},
        {"remove_on_complete": -1},
        {"remove_on_fail": "yes"},
        {"backoff": -1},
        {"backoff": {"type": "fixed"}},
        {"fallbacks": "gpt"},
        {"fallbacks": ["gpt"]},
        {"deduplication": "k"},
        {"extra": {"x": math.nan}},
    ],
    ids=str,
)
def test_bad_job_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        job_options(None, wrong)

    assert "\n" not in str(caught.value)
    assert caught.value.option
    assert caught.value.allowed


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fallback(""),
        lambda: Fallback("m", metadata={1, 2}),
        lambda: RateLimit(0, 1000),
        lambda: RateLimit(1, 0),
        lambda: RateLimit(10, -1),
        lambda: TokenLimit(0, 1000),
        lambda: TokenLimit(10, 1000, "job"),
        lambda: TokenBucket(0, 1),
        lambda: TokenBucket(1, math.nan),
        lambda: Backoff("", 1),
        lambda: Backoff("fixed", 1, jitter=-1),
        lambda: Deduplication("k", mode="never"),
        lambda: Batch(0),
        lambda: Batch(1001),
        lambda: Batch(1, -1),
        lambda: Retention(count=-1),
        lambda: Retention(age=-1),
        lambda: Ordering("k", concurrency=-1),
        lambda: Actor(""),
        lambda: Budget(max_total_tokens=-1),
        lambda: Budget(max_tokens={"input": math.inf}),
        lambda: Budget(token_weights={"input": -1}),
        lambda: Budget(on_exceeded="ignore"),
        lambda: WorkerOptions(concurrency=0),
        lambda: WorkerOptions(stalled_interval=0),
        lambda: WorkerOptions(backoff_strategies={"x": 1}),  # type: ignore[dict-item]
        lambda: WorkerOptions(dead_letter_queue="a:b"),
        lambda: QueueOptions(compression="zstd"),
        lambda: QueueOptions(prefix=""),
    ],
)
def test_bad_small_options_are_refused(make: Any) -> None:
    with pytest.raises(InvalidOptionError):
        make()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lock_duration": 30}, r"^lock_duration must be at least 1 s .*\(1000 to 86400000 ms\), got 30 ms$"),
        ({"lock_duration": timedelta(days=2)}, "lock_duration .* at most 24 h .*, got 172800000 ms$"),
        ({"lock_duration": "x"}, "lock_duration must be at least 1 s .*, got 'x'$"),
        ({"backoff": {"type": "exponential", "delay": 5}}, 'Backoff\\("exponential", 1_000\\), not'),
        ({"backoff": "exponential"}, "a duration \\(ms, timedelta or text\\) or a Backoff"),
        ({"fallbacks": ["gpt"]}, 'such as \\[Fallback\\("gpt-5.4-nano", "openai"\\)\\], not \'gpt\''),
        ({"fallbacks": "gpt"}, "a sequence of Fallback"),
        ({"parent": "q:1"}, 'a JobRef, such as JobRef\\("queue", "42"\\)'),
        ({"deduplication": "x"}, "a Deduplication, such as Deduplication"),
    ],
)
def test_a_refusal_names_the_python_option_its_unit_and_what_to_write(given: Any, says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says):
        JobOptions(**given)


def test_a_job_is_named_by_its_id_or_a_reference_of_its_own_queue() -> None:
    assert id_in("mail", "42") == id_in("mail", "mail:42") == id_in("mail", JobRef("mail", "42")) == "42"
    for wrong in ("other:42", JobRef("other", "42"), "mail:4:2", ":42", "mail:", 42, None):
        with pytest.raises(InvalidOptionError):
            id_in("mail", wrong)  # type: ignore[arg-type]


def test_a_cost_beyond_the_bucket_is_refused() -> None:
    with pytest.raises(CostExceedsCapacityError) as caught:
        JobOptions(ordering=Ordering("k", token_bucket=TokenBucket(2, 1)), cost=2.5)

    assert (caught.value.key, caught.value.cost, caught.value.capacity) == ("k", 2.5, 2)
    with pytest.raises(CostExceedsCapacityError):  # a job without a cost takes one token
        JobOptions(ordering=Ordering("k", token_bucket=TokenBucket(0.5, 1)))


def test_keywords_win_over_the_options_object() -> None:
    base = JobOptions(attempts=3, timeout=5_000, priority=1)

    merged = job_options(base, {"priority": 7, "timeout": None})

    assert json.loads(merged.to_wire()) == {"attempts": 3, "priority": 7}
    assert job_options(base, {}) is base


def test_a_keyword_replaces_what_was_stored_under_its_name() -> None:
    stored = JobOptions.from_wire('{"priority":-1,"mine":true}')

    merged = job_options(stored, {"priority": 3})

    assert json.loads(merged.to_wire()) == {"priority": 3, "mine": True}


def test_unknown_keywords_are_type_errors() -> None:
    with pytest.raises(TypeError, match="parents"):
        job_options(None, {"parents": []})
    with pytest.raises(TypeError, match="concurency"):
        merge_options(WorkerOptions, None, {"concurency": 2})
    with pytest.raises(InvalidOptionError):
        job_options(WorkerOptions(), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "keywords"),
    [(JobOptions, JobKeywords), (QueueOptions, QueueKeywords), (WorkerOptions, WorkerKeywords)],
)
def test_keywords_are_the_fields_of_their_options(kind: type, keywords: type) -> None:
    declared = get_type_hints(kind)

    taken = {
        name: get_args(hint)[0] if get_origin(hint) is Option else hint for name, hint in declared.items()
    }

    assert taken == get_type_hints(keywords)


def test_keywords_of_a_queue_or_worker_that_are_none_leave_the_options_as_they_are() -> None:
    options = WorkerOptions(concurrency=3, metrics=False)

    merged = override_options(WorkerOptions, options, {"metrics": None, "concurrency": 4})

    assert (merged.concurrency, merged.metrics) == (4, False)
    with pytest.raises(TypeError, match="concurency"):
        override_options(WorkerOptions, options, {"concurency": None})


@pytest.mark.parametrize(
    ("stored", "name", "expected"),
    [
        ({"timeout": 50.5}, "timeout", 51),
        ({"ttl": 0.2}, "ttl", 1),
        ({"lockDuration": 1500.5}, "lock_duration", 1501),
        ({"backoff": {"type": "mine"}}, "backoff", Backoff("mine", 0)),
        ({"backoff": {"type": "fixed", "delay": 10.5}}, "backoff", Backoff("fixed", 11)),
        ({"backoff": {"type": "fixed", "delay": -3.5}}, "backoff", Backoff("fixed", 0)),
        ({"backoff": {"type": "fixed", "delay": None, "jitter": 0.5}}, "backoff", Backoff("fixed", 0, 0.5)),
    ],
)
def test_durations_that_programs_of_peers_computed_count(stored: Any, name: str, expected: Any) -> None:
    options = JobOptions.from_wire(json.dumps(stored))

    assert getattr(options, name) == expected
    assert options.to_json() == stored


def test_options_written_by_a_person_are_read_strictly() -> None:
    options = JobOptions.from_json(
        {"jobId": "a", "backoff": {"type": "fixed", "delay": 5}, "removeOnFail": {"age": 2}}
    )

    assert options.job_id == "a"
    assert options.remove_on_fail == Retention(age=2_000)
    for wrong in (
        {"parents": []},
        {"nope": 1},
        {"backoff": {"type": "fixed"}},
        {"fallbacks": [{}]},
        {"ordering": "k"},
    ):
        with pytest.raises(InvalidOptionError):
            JobOptions.from_json(wrong)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        b"\xff\xfe",
        "not json",
        "[]",
        "7",
        "null",
        '{"delay":NaN}',
        "[" * 100_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"x":' + "9" * 5_000 + "}",
    ],
    ids=lambda value: str(value)[:12],
)
def test_foreign_garbage_reads_as_no_options(stored: str | bytes | None) -> None:
    assert JobOptions.from_wire(stored).attempts == 0


@pytest.mark.parametrize(
    "stored",
    [
        '{"priority":"high","attempts":null,"lifo":true,"ordering":{"key":"k","note":1}}',
        '{"cost":9,"ordering":{"key":"k","tokenBucket":{"capacity":1,"refillRate":1}}}',
        '{"ordering":{"key":"k","tokenBucket":{"capacity":0.5,"refillRate":1}},"attempts":2}',
        '{"lockDuration":5,"removeOnComplete":{"age":0.5},"fallbacks":[{"model":""}],"parents":[1]}',
        '{"backoff":{"type":"fixed","delay":100,"why":"x"},"deduplication":{},"timeout":1500.5}',
        '{"parent":{"queue":"a:b","id":"1"}}',
        '{"jobId":"\\ud800","name":"\\u2028"}',
    ],
)
def test_odd_stored_options_are_kept_word_for_word(stored: str) -> None:
    options = JobOptions.from_wire(stored)

    assert same_json(json.loads(options.to_wire()), json.loads(stored))


def test_odd_neighbours_do_not_hide_good_options() -> None:
    options = JobOptions.from_wire(
        '{"attempts":3,"priority":-1,"backoff":{"type":"fixed","delay":100,"why":"x"},"lifo":1}'
    )

    assert (options.attempts, options.priority, options.lifo) == (3, 0, False)
    assert options.backoff == Backoff("fixed", 100)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
WIRE_KEYS = [
    "jobId",
    "delay",
    "priority",
    "lifo",
    "ordering",
    "cost",
    "attempts",
    "backoff",
    "timeout",
    "ttl",
    "lockDuration",
    "removeOnComplete",
    "removeOnFail",
    "deduplication",
    "parent",
    "fallbacks",
    "parents",
]


@given(st.dictionaries(st.sampled_from(WIRE_KEYS) | st.text(), json_values, max_size=6))
def test_any_json_object_is_read_and_written_unchanged(stored: dict[str, Any]) -> None:
    written = JobOptions.from_wire(json.dumps(stored)).to_wire()

    assert same_json(parse_json(written), stored)
    written.encode()


@given(st.text() | st.binary())
def test_reading_options_never_raises(stored: str | bytes) -> None:
    JobOptions.from_wire(stored)


def test_durations_and_instants() -> None:
    assert to_ms(timedelta(seconds=1, microseconds=1)) == 1_001
    assert to_ms(5.0) == 5
    assert to_epoch_ms(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert to_epoch_ms(1_795_467_237_611) == 1_795_467_237_611
    for wrong in (datetime(2026, 1, 1), True, -1, math.nan, "now", 2**54):
        with pytest.raises(InvalidOptionError):
            to_epoch_ms(wrong)  # type: ignore[arg-type]


@given(st.integers(min_value=0, max_value=253_402_300_799_999))
def test_instants_survive_the_way_there_and_back(milliseconds: int) -> None:
    moment = from_epoch_ms(milliseconds)

    assert moment is not None
    assert moment.tzinfo is UTC
    assert epoch_ms(moment) == milliseconds == to_epoch_ms(moment)


def test_job_refs_print_and_parse() -> None:
    assert str(JobRef("chat", "42")) == "chat:42"
    assert JobRef.parse("chat:42") == JobRef("chat", "42")
    for wrong in ("chat", ":42", "chat:", ""):
        with pytest.raises(InvalidOptionError):
            JobRef.parse(wrong)


def test_options_are_values() -> None:
    assert RateLimit(60, timedelta(minutes=1)) == RateLimit(max=60, duration=60_000)
    assert JobOptions(attempts=0) == JobOptions()
    with pytest.raises(AttributeError):
        RateLimit(1, 1).max = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Backoff("fixed")
    assert repr(UNSET) == "UNSET"


def test_millitokens_round_half_up() -> None:
    assert [millitokens(x) for x in (1, 0.75, 2.5, 0.0005, 0.0004)] == [1000, 750, 2500, 1, 0]


def test_compact_json_always_fits_utf8() -> None:
    assert compact_json({"é": 1}) == '{"é":1}'
    assert json.loads(compact_json("\ud800")) == "\ud800"
    compact_json("\ud800").encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        compact_json(math.nan)
