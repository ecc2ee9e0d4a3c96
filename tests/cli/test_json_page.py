"""`docs/json.md` says what commands write: every key of it, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glidemq_core import Budget, FlowJob, FlowProducer, Worker
from glidemq_core.server.connection import Connection

from .harness import Ran, fill, within

Run = Callable[..., Ran]
PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| (\S.*?) \| (.*) \|$", PAGE, re.MULTILINE))


def split(text: str) -> list[str]:
    """Split at the commas that no bracket encloses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def keys_of(name: str) -> dict[str, str]:
    """The keys of an object of the page, those of the object it begins with included."""
    base, keys = re.fullmatch(r"(?:those of (\w+), and )?`(.*)`", ROWS[name]).groups()  # type: ignore[union-attr]
    own = dict(key.split(" ", 1) for key in split(keys))
    return {**keys_of(base), **own} if base else own


def check(value: Any, kind: str, where: str) -> None:
    """Compare a value with its kind on the page, down to the last key."""
    if kind.endswith("?"):
        if value is None:
            return
        kind = kind[:-1]
    simple = {"s": str, "i": int, "n": (int, float), "b": bool, "any": object}
    if kind in simple:
        assert isinstance(value, simple[kind]), (where, value)  # type: ignore[arg-type]
        assert kind != "i" or not isinstance(value, bool), where
    elif kind.startswith("[at_ms"):
        for number, item in enumerate(value):
            check(item.pop("at_ms"), "i", where)
            check(item, "Totals", f"{where}[{number}]")
    elif kind.startswith("["):
        for number, item in enumerate(value):
            check(item, kind[1:-1], f"{where}[{number}]")
    elif kind.startswith("{") and " " in kind:
        compare(value, dict(key.split(" ", 1) for key in split(kind[1:-1])), where)
    elif kind.startswith("{"):
        for key, item in value.items():
            check(item, kind[1:-1], f"{where}.{key}")
    else:
        compare(value, keys_of(kind), where)


def compare(value: dict[str, Any], keys: dict[str, str], where: str) -> None:
    """Compare an object with the keys it should have."""
    assert sorted(value) == sorted(keys), where
    for key, kind in keys.items():
        check(value[key], kind, f"{where}.{key}")


@pytest.fixture
def chat(server: str) -> str:
    """A server with jobs in the common states, a flow with a budget, limits and usage."""
    within(server, fill)
    within(server, flow)
    return server


async def flow(connection: Connection) -> None:
    async def process(job: Any) -> None:
        await job.report_usage(model="m", tokens={"input": 40}, costs={"total": 0.1}, cost_unit="usd")
        await job.log("done")

    async with FlowProducer(connection) as flows, Worker("tree", process, connection):
        tree = FlowJob("root", "tree", children=[FlowJob("leaf", "tree")])
        node = await flows.add(tree, budget=Budget(max_total_tokens=1_000))
        await node.job.wait_until_finished(poll_interval=20)


LINES = {
    "queues": ["queues"],
    "jobs": ["jobs chat"],
    "job": ["job chat:completed", "job chat:suspended", "job chat:failed", "job tree:1", "job tree:2"],
    "approvals": ["approvals"],
    "review": ["review chat:suspended"],
    "approve, reject": ["approve chat:waiting chat:suspended", "reject chat:gone --reason no"],
    "signal, retry, remove, promote, clean, drain": [
        "signal chat:waiting go",
        "retry chat:failed chat:gone",
        "remove chat:waiting --yes",
        "promote chat:delayed",
        "clean chat --state completed --older-than 0 --yes",
        "drain chat --yes",
    ],
    "pause, resume": ["pause chat", "resume chat"],
    "flow": ["flow tree:1", "flow chat:waiting"],
    "budget": ["budget tree:1"],
    "budget --add-...": ["budget tree:1 --add-tokens 5 --preview"],
    "limits": ["limits"],
    "limits --rpm ...": ["limits chat --rpm 5/1m --concurrency 3"],
    "workers": ["workers"],
    "usage": ["usage", "usage --by-minute", "usage --by job"],
    "audit": ["audit"],
    "audit --verify": ["audit --verify"],
    "add": ["add chat next"],
    "add --bulk": ["add chat --bulk -"],
    "server": ["server status"],
    "doctor": ["doctor"],
    "doctor --repair": ["doctor --repair"],
    "config": ["config show"],
}


@pytest.mark.parametrize("name", LINES)
def test_a_command_writes_what_the_page_says(run: Run, chat: str, name: str) -> None:
    for line in LINES[name]:
        check(run(*line.split(), "--json", stdin=b'{"name":"n"}').object, ROWS[f"`{name}`"].strip("`"), line)


def test_commands_that_write_lines(run: Run, chat: str) -> None:
    import json

    for name, line, kind in (
        ("events", "events chat --no-follow", "Event"),
        ("tail", "tail chat:suspended --no-follow", ROWS["`tail`"].partition("`")[2].partition("`")[0]),
    ):
        written = run(*line.split(), "--json").out.splitlines()
        assert written, name
        for text in written:
            check(json.loads(text), kind, name)
