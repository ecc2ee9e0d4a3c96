"""What people type, and what is refused with one line and exit 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from glidemq_console.cli.errors import UsageProblem
from glidemq_console.cli.option_types import duration, failure_filter, instant, job_filter, json_argument

from .harness import Ran


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("3", 3_000),
        ("1.5s", 1_500),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "x", "-1", "-5s", "1w", "nan", "inf", "1e3", "5 m s", "9" * 30 + "d"])
def test_durations_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration(text)


def test_instants() -> None:
    assert instant("1700000000000") == 1_700_000_000_000
    assert instant("2023-11-14T22:13:20Z") == 1_700_000_000_000
    assert instant("2023-11-14T23:13:20+01:00") == 1_700_000_000_000
    assert instant("1h") < instant("1m")
    with pytest.raises(typer.BadParameter):
        instant("yesterday")


def test_json_argument(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": [1]}')
    assert json_argument(f"@{file}", "--data") == {"a": [1]}
    assert json_argument('"x"', "--data") == "x"
    for bad in ("{", "NaN", "[Infinity]", "@/nowhere/at/all", "[" * 100_000):
        with pytest.raises(UsageProblem, match=r"--data|/nowhere"):
            json_argument(bad, "--data")


def test_filters() -> None:
    for text in ("user=42", 'a={"b": 1}', "user", "state:failed !x"):
        assert job_filter(text) == text
    with pytest.raises(typer.BadParameter, match="at character 3: 'b' is no key"):
        job_filter("a b:c")
    assert failure_filter("error:boom") == "error:boom"
    for text in ("state:failed", "user=42"):
        with pytest.raises(typer.BadParameter, match=r"at character 1: failures have no (state|payload)"):
            failure_filter(text)


@pytest.mark.parametrize(
    "words",
    [
        ["bogus"],
        ["queues", "--bogus"],
        ["jobs"],
        ["jobs", "q", "--state", "sleeping"],
        ["jobs", "q", "--limit", "0"],
        ["jobs", "q", "--newest", "--oldest"],
        ["jobs", "q", "--where", "x:y"],
        ["queues", "--sort", "colour"],
        ["queues", "--timeout", "soon"],
        ["reject", "q:1"],
        ["reject", "q:1", "--reason", "  "],
        ["approve", "q:1", "q:2", "--expect-hash", "abc"],
        ["add", "q"],
        ["add", "q", "n", "--data", "{"],
        ["add", "q", "n", "--data", "NaN"],
        ["add", "q", "n", "--priority", "5000"],
        ["add", "q", "n", "--attempts", "-1"],
        ["add", "q", "n", "--delay", "-5s"],
        ["add", "q", "n", "--opts", "[]"],
        ["add", "q", "n", "--opts", '{"atempts":3}'],
        ["add", "q", "n", "--bulk", "x"],
        ["add", "a{b}", "n"],
        ["add", "a:b", "n"],
        ["add", "q", "n", "--id", "a:b"],
        ["add", "q", "n", "--fallback", ""],
        ["retry"],
        ["retry", "--all-failed"],
        ["pause"],
        ["remove", "q:1"],
        ["drain", "q2"],
        ["tail", "q:1", "--raw", "--safe"],
        ["tail", "q:1", "--show", "noise"],
        ["tail", "q:1", "--from", "yesterday"],
        ["tail", ":1"],
        ["events", "--from", "yesterday"],
        ["usage", "--since", "soon"],
        ["server", "restart"],
        ["server", "stop", "--port", "1"],
        ["config", "set", "theme"],
        ["console", "--json"],
        ["demo", "--json"],
        ["worker", "app:worker", "--json"],
        ["worker", "app"],
        ["completion", "bash", "--json"],
        ["--url", "http://localhost", "audit"],
        ["--url", "valkey://host:notaport", "audit"],
        ["--url", "valkey://host/3", "audit"],
        ["--profile", "nowhere", "audit"],
    ],
)
def test_usage_is_exit_2_and_one_line(run: Callable[..., Ran], server: str, words: list[str]) -> None:
    if words[0] in ("drain", "remove"):
        assert run("add", "q2", "n").code == 0
    ran = run(*words)
    assert ran.code == 2, ran
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1
    if "--json" in words:
        assert ran.error["type"] == "UsageError"
        return
    assert ran.err.startswith("glidemq: ")
    as_json = run(*words, "--json")
    assert as_json.code == 2
    assert as_json.error["message"]


def test_no_usage_error_leaves_anything_behind(run: Callable[..., Ran], server: str) -> None:
    for words in (
        ["--data", "NaN"],
        ["--attempts", "-1"],
        ["--data", '"' + "x" * 1_048_577 + '"'],
        ["--data", '"\\ud800"'],
    ):
        ran = run("add", "q", "n", *words)
        assert ran.code == 2, ran
        assert len(ran.err.splitlines()) == 1
    assert run("audit", "q").code == 1, "the queue must not exist"
