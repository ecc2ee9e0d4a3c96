"""Finding the workers of an application by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from glidemq_core import InvalidOptionError, load_app, load_workers

APPLICATION = """
import sys
from glidemq_core import Worker

async def process(job): ...

calls = []
one = Worker("one", process)
both = [one, Worker("two", process)]
pair = tuple(both)

class Settings:
    worker = Worker("nested", process)

def make():
    calls.append("make")
    return Worker("made", process)

async def make_later():
    calls.append("make_later")
    return [Worker("later", process), one]

class Factory:
    async def __call__(self):
        return Worker("called", process)

factory = Factory()
five, none = 5, []
mixed = [one, "two"]
def raises(): raise ValueError("no database")
async def raises_later(): raise ValueError("no database")
def ends(): sys.exit(4)
async def ends_later(): sys.exit(4)
async def makes_five(): return 5
def wants(settings): ...
"""


@pytest.fixture(autouse=True)
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "an_app.py").write_text(APPLICATION)
    monkeypatch.syspath_prepend(str(tmp_path))
    import sys

    yield
    sys.modules.pop("an_app", None)


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (["one"], ["one"]),
        (["both"], ["one", "two"]),
        (["pair"], ["one", "two"]),
        (["make"], ["made"]),
        (["make_later"], ["later", "one"]),
        (["factory"], ["called"]),
        (["Settings.worker"], ["nested"]),
        (["both", "make", "make_later", "one"], ["one", "two", "made", "later"]),
    ],
)
async def test_workers_of_all_targets_each_once(targets: list[str], names: list[str]) -> None:
    workers = await load_workers(*(f"an_app:{name}" for name in targets))
    assert [worker.name for worker in workers] == names
    for worker in workers:
        await worker.close()


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("five", "neither a Worker, nor a list of them, nor a function returning one: it holds int"),
        ("mixed", "it holds str"),
        ("makes_five", "it holds int"),
        ("none", "holds no worker: the list is empty"),
        ("raises", "'an_app:raises' raised ValueError: no database"),
        ("raises_later", "'an_app:raises_later' raised ValueError: no database"),
        ("ends", "raised SystemExit: 4"),
        ("ends_later", "raised SystemExit: 4"),
        ("wants", r"raised TypeError: wants\(\) missing 1 required positional argument"),
        ("nothing", "module 'an_app' has no 'nothing'"),
        ("one.nothing", "module 'an_app' has no 'one.nothing'"),
    ],
)
async def test_what_holds_no_worker_is_told(attribute: str, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        await load_workers(f"an_app:{attribute}")


@pytest.mark.parametrize("target", ["an_app", "an_app:", ":one", "", "no_such_app:one", "an_app.one:one"])
async def test_what_is_no_target_is_told(target: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"is not MODULE:ATTRIBUTE|cannot import"):
        await load_workers(target)


async def test_nothing_is_built_when_a_target_is_misspelt() -> None:
    with pytest.raises(InvalidOptionError, match="has no 'mkae'"):
        await load_workers("an_app:make", "an_app:mkae")
    import an_app  # type: ignore[import-not-found]  # written by the fixture

    assert an_app.calls == []


def test_a_program_that_loads_without_a_loop_is_told_of_async_functions() -> None:
    assert [worker.name for worker in load_app("an_app:both")] == ["one", "two"]
    with pytest.raises(InvalidOptionError, match=r"is an async function: await load_workers\('an_app:make"):
        load_app("an_app:make_later")
