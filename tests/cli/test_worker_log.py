"""`glidemq worker --log-format json`: every line is a JSON object, whatever a job or a program puts into it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from hypothesis import given
from hypothesis import strategies as st
from kits.hostile import CORPUS
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from glidemq_console.cli.worker_log import _JsonFormatter
from glidemq_core import NewJob, Queue
from glidemq_core.server.connection import Connection

from .harness import COMMAND, Ran, within

pytestmark = pytest.mark.thorough

Run = Callable[..., Ran]


def strictly(line: str) -> dict[str, Any]:
    """Parse a line as a strict parser does: no NaN, no key twice, nothing that UTF-8 cannot carry."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    assert line.isascii()
    assert line.isprintable()
    found: dict[str, Any] = json.loads(line, parse_constant=refuse, object_pairs_hook=unique)
    json.dumps(found, ensure_ascii=False).encode()
    assert {"at_ms", "level", "logger", "message"} <= found.keys()
    return found


def formatted(message: Any, *args: Any, **extra: Any) -> dict[str, Any]:
    logger = logging.Logger("glidemq.worker")
    record = logger.makeRecord(logger.name, logging.ERROR, "f", 1, message, args, None, extra=extra)
    return strictly(_JsonFormatter().format(record))


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("text", CORPUS)
def test_hostile_text_is_one_line(text: str) -> None:
    line = formatted("job %s failed", text, job=text, attempt=2, duration_ms=17)
    assert (line["attempt"], line["duration_ms"], line["level"]) == (2, 17, "error")
    clean = text.encode("utf-8", "replace").decode()
    assert line["job"] == clean[:20_000]


@given(
    st.text(), st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
)
def test_any_extras_are_one_line(text: str, extras: dict[str, Any]) -> None:
    record = logging.makeLogRecord({"msg": text, "levelno": 20, "levelname": "INFO"})
    record.__dict__.update({name: value for name, value in extras.items() if name not in record.__dict__})
    strictly(_JsonFormatter().format(record))


def test_records_that_are_wrong_are_written_all_the_same() -> None:
    assert formatted("%d jobs", "no number")["message"] == "%d jobs (TypeError in its arguments)"
    line = formatted("text", level_="x", thing=Mute(), ratio=float("nan"), nested={"a": {1, 2}}, none=None)
    assert line["thing"] == "<Mute: RuntimeError>"
    assert (line["ratio"], line["none"]) == ("nan", None)
    assert line["nested"] == "{'a': {1, 2}}"
    assert len(formatted("x" * 1_000_000)["message"]) == 20_000
    assert formatted("text", at_ms="forged", level="forged", trace="mine")["level"] == "error"


def test_a_traceback_stands_in_the_line() -> None:
    try:
        raise ValueError("no\x1b[31m\nforged")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "levelname": "ERROR", "exc_info": sys.exc_info()})
    line = strictly(_JsonFormatter().format(record))
    assert line["trace"].endswith("ValueError: no\x1b[31m\nforged")


def test_a_line_within_a_span_names_it() -> None:
    assert "trace_id" not in formatted("outside")
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        line = formatted("inside")
        context = span.get_span_context()
    assert trace.get_current_span() is not span
    assert (int(line["trace_id"], 16), int(line["span_id"], 16)) == (context.trace_id, context.span_id)


APPLICATION = """
import logging
from glidemq_core import LoggingMiddleware, Worker

log = logging.getLogger("app")

async def process(job):
    log.warning("of the application: %s", job.data, extra={"text": job.data, "set": {1}})
    if job.name != "fine":
        raise ValueError(job.data)

worker = Worker("q", process, middleware=[LoggingMiddleware()])
"""


@pytest.mark.parametrize("options", ["", "--processes 2"])
def test_every_line_of_a_worker_is_json(run: Run, server: str, tmp_path: Path, options: str) -> None:
    texts = [text[:2_000] for text in CORPUS]
    names = [text.encode("utf-8", "replace").decode()[:200] or "empty" for text in texts]

    async def fill(connection: Connection) -> None:
        async with Queue[Any, Any]("q", connection) as queue:
            await queue.add_bulk(
                [NewJob("fine", "well"), *(NewJob(name, name) for name in dict.fromkeys(names))]
            )

    async def ended(connection: Connection) -> None:
        queue = Queue[Any, Any]("q", connection)

        async def all_ended() -> bool:
            counts = await queue.get_job_counts()
            return counts.waiting == counts.active == 0

        await eventually(all_ended, timeout=30)

    (tmp_path / "app.py").write_text(APPLICATION)
    within(server, fill)
    line = [*COMMAND, "worker", "app:worker", "--log-format", "json", *options.split()]
    child = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        within(server, ended)
    finally:
        child.terminate()
    _, told = child.communicate(timeout=30)

    lines = [strictly(text) for text in told.decode("ascii").splitlines()]
    assert child.returncode == 0
    assert "working on q" in [one["message"] for one in lines]
    failures = [one for one in lines if one["logger"] == "glidemq.worker" and one["level"] == "error"]
    assert len(failures) == len(dict.fromkeys(names))
    assert {"job", "attempt", "duration_ms", "trace"} <= failures[0].keys()
    ends = [one for one in lines if one["logger"] == "glidemq.jobs"]
    assert {one["outcome"] for one in ends} == {"completed", "failed"}
    [fine] = [one for one in lines if one["logger"] == "app" and one["text"] == "well"]
    assert (fine["level"], fine["set"]) == ("warning", "{1}")


BROKEN = {
    "app:nothing": (1, "Refused"),
    "no_such_module:worker": (1, "Refused"),
    "raises:worker": (1, "Refused"),
    "app": (2, "UsageError"),
    "app:worker --url valkey://127.0.0.1:1": (3, "ServerUnavailableError"),
    "app:worker --concurrency many": (2, "UsageError"),
    "app:worker --no-such-option": (2, "UsageError"),
    "app:worker --check --url valkey://127.0.0.1:1": (3, "ServerUnavailableError"),
}


@pytest.mark.parametrize("written", ["--log-format json", "--log-format=json"])
@pytest.mark.parametrize("words", BROKEN)
def test_what_keeps_a_worker_from_starting_is_a_record_too(words: str, written: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from glidemq_core import Worker\nworker = Worker('q', print)\n")
    (tmp_path / "raises.py").write_text("raise RuntimeError('100% \\x1b[31mbroken\\n')\n")
    line = [*COMMAND, "worker", *words.split(), *written.split()]
    plain = subprocess.run(line[: -len(written.split())], cwd=tmp_path, capture_output=True, text=True)
    told = subprocess.run(line, cwd=tmp_path, capture_output=True)
    [record] = [strictly(text) for text in told.stderr.decode("ascii").splitlines()]
    code, kind = BROKEN[words]
    assert (told.returncode, plain.returncode, told.stdout) == (code, code, b"")
    assert plain.stderr == f"glidemq: {record['message']}\n"
    assert {key: record[key] for key in ("level", "logger", "error", "exit_code")} == {
        "level": "error",
        "logger": "glidemq.worker",
        "error": kind,
        "exit_code": code,
    }
    assert "trace" not in record


def test_the_record_of_a_failed_start_holds_its_trace_where_it_is_asked_for(tmp_path: Path) -> None:
    line = [*COMMAND, "worker", "gone:worker", "--log-format", "json", "--debug"]
    told = subprocess.run(line, cwd=tmp_path, capture_output=True)
    [record] = [strictly(text) for text in told.stderr.decode("ascii").splitlines()]
    assert "Traceback" in record["trace"]
