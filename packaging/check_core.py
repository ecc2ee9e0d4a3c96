"""Check an environment in which only `glidemq-core` is installed: what is in it, its size, a queue that runs.

VENV/bin/python packaging/check_core.py
"""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import PackageNotFoundError, distribution, distributions, entry_points
from importlib.util import find_spec
from tempfile import TemporaryDirectory

#: What only the console or an extra needs.
ABSENT = [
    *["glidemq_console", "textual", "rich", "typer", "textual_plotext", "plotext", "tomlkit", "platformdirs"],
    *["numpy", "pydantic", "opentelemetry", "uvloop"],
]
DRIVER = "valkey-glide"
#: What the engine may add to an environment that has the driver, compiled modules included.
LIMIT_BYTES = 12 << 20
#: In every new environment.
INSTALLERS = {"pip", "setuptools"}


def with_dependencies(name: str) -> set[str]:
    """Names of a distribution and of all that it needs here."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            needed = distribution(name).requires or []
        except PackageNotFoundError:  # for another platform or an extra
            continue
        found.add(name)
        waiting += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needed]
    return found


def size(name: str) -> int:
    """Bytes of the files of a distribution."""
    files = [file.locate() for file in distribution(name).files or ()]
    return sum(file.stat().st_size for file in files if file.is_file())  # type: ignore[attr-defined]


async def run_a_job(folder: str) -> int:
    """Run one job on a server of our own and return its result."""
    from glidemq_core import Job, Queue, Worker, connect

    async def double(job: Job[int, int]) -> int:
        return 2 * job.data

    async with (
        connect(f"embedded:{folder}") as connection,
        Queue[int, int]("numbers", connection) as queue,
        Worker[int, int]("numbers", double, connection),
    ):
        job = await queue.add("double", 21)
        assert job is not None
        result: int = await job.wait(timeout=20_000)
        return result


def main() -> None:
    """Fail with what is wrong."""
    there = [name for name in ABSENT if find_spec(name)]
    assert not there, f"installed with the core: {there}"
    plugins = {point.name: point.value for point in entry_points(group="pytest11")}
    assert plugins.get("glidemq") == "glidemq_core.pytest_plugin", plugins
    installed = {re.sub(r"[-_.]+", "-", found.name).lower() for found in distributions()} - INSTALLERS
    ours = installed - with_dependencies(DRIVER)
    sizes = {name: size(name) for name in sorted(ours)}
    assert sum(sizes.values()) <= LIMIT_BYTES, f"{sum(sizes.values())} bytes beside the driver: {sizes}"
    with TemporaryDirectory() as folder:
        assert asyncio.run(run_a_job(folder)) == 42
    print(
        f"glidemq-core: a job ran; {sum(sizes.values()) / (1 << 20):.1f} MiB beside the driver: {', '.join(sizes)}"
    )


if __name__ == "__main__":
    main()
