"""Run the steps of the Dockerfile in a scratch folder, where no docker is, and what the images would run.

    python packaging/run_dockerfile.py [FOLDER]

Folders of the image lie below FOLDER, with one system for all stages, and nothing runs as another user. So this shows
that what is copied exists, that what is installed is enough, and that the commands of the images work.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
#: Folders that the Dockerfile writes to.
WRITTEN = ("/src", "/opt", "/app", "/home/glidemq")
APP = """
from glidemq_core import Job, Worker

async def process(job: Job) -> int:
    return 2 * job.data

worker = Worker("numbers", process)
"""


@dataclass
class Stage:
    """What a stage of the Dockerfile says of its image."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Keyword and arguments of each instruction, comments left out and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            keyword, _, rest = line.strip().partition(" ")
            yield keyword.upper(), rest.strip()


def parse(text: str) -> dict[str, tuple[Stage, list[tuple[str, str]]]]:
    """Stages by name, each with what it inherits and with its RUN and COPY instructions."""
    stages: dict[str, tuple[Stage, list[tuple[str, str]]]] = {}
    stage = Stage("")
    for keyword, rest in instructions(text):
        if keyword == "FROM":
            base, _, name = re.split(r"\s+(as)\s+", rest, flags=re.IGNORECASE)
            known = stages[base][0] if base in stages else Stage("")
            stage = Stage(**{**vars(known), "name": name, "environment": dict(known.environment)})
            stages[name] = stage, []
        elif keyword in ("RUN", "COPY"):
            stages[stage.name][1].append((keyword, f"{stage.folder} {rest}"))
        elif keyword == "ENV":
            pairs = (pair.partition("=")[::2] for pair in rest.split())
            stage.environment.update(dict(pairs))
        elif keyword == "WORKDIR":
            stage.folder = rest
        elif keyword == "USER":
            stage.user = rest
        elif keyword == "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        elif keyword == "CMD":
            stage.command = json.loads(rest)
        elif keyword == "HEALTHCHECK":
            stage.health = json.loads(rest.partition("CMD ")[2])
        else:
            raise ValueError(f"{keyword} is not known here")
    return stages


class Image:
    """A folder that stands for the root of the image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in WRITTEN:
            self.below(name).mkdir(parents=True)

    def below(self, path: str) -> Path:
        """Where a path of the image lies."""
        return self.folder / path.lstrip("/")

    def moved(self, words: str) -> str:
        """Text in which the image's own folders are named as they lie here."""
        return re.sub(
            r"(?<![\w.])(?:" + "|".join(map(re.escape, WRITTEN)) + r")(?=[/\s:]|$)",
            lambda found: str(self.below(found[0])),
            words,
        )

    def environment(self, stage: Stage) -> dict[str, str]:
        """The environment that a program of the stage sees."""
        usual = {**os.environ, "PIP_QUIET": "1", "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        own = {
            name: self.moved(value.replace("$PATH", usual["PATH"]))
            for name, value in stage.environment.items()
        }
        return {**{name: value for name, value in usual.items() if not name.startswith("GLIDEMQ_")}, **own}

    def run(self, stage: Stage, folder: str, command: str) -> None:
        """Do what RUN does."""
        (self.folder / "bin").mkdir(exist_ok=True)
        python = self.folder / "bin" / "python"
        if not python.exists():
            python.symlink_to(Path(sys.base_prefix) / "bin" / "python3")
        place = self.below(folder)
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["bash", "-euc", self.moved(command)], cwd=place, env=self.environment(stage), check=True
        )

    def copy(self, folder: str, words: list[str], ignored: list[str]) -> None:
        """Do what COPY does."""
        stage = words.pop(0) if words[0].startswith("--from=") else None
        *sources, target = words
        place = self.below(target if target.startswith("/") else f"{folder}/{target}")
        for source in sources:
            if stage:  # all stages share one system
                assert self.below(source).exists(), source
                continue
            assert f"!{source}" in ignored, f"{source} is kept from docker by .dockerignore"
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)


def build(folder: Path) -> tuple[Image, dict[str, Stage]]:
    """Run the steps of every stage."""
    image = Image(folder)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    stages = parse((ROOT / "Dockerfile").read_text("utf-8"))
    for stage, steps in stages.values():
        for keyword, words in steps:
            where, _, rest = words.partition(" ")
            print(f"{stage.name}: {keyword} {rest[:90]}", file=sys.stderr)
            if keyword == "RUN":
                image.run(stage, where, rest)
            else:
                image.copy(where, rest.split(), ignored)
    return image, {name: stage for name, (stage, _) in stages.items()}


def try_console(image: Image, stage: Stage, url: str) -> None:
    """Run a command that the image of the console offers, and its default one to its refusal without a terminal."""
    environment = {**image.environment(stage), "GLIDEMQ_URL": url}
    place = image.below(stage.folder)
    command = [*stage.entrypoint, "doctor"]
    told = subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True, text=True)
    assert "version" in told.stdout, told.stdout
    alone = subprocess.run(
        [*stage.entrypoint, *stage.command],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert (alone.returncode, "terminal" in alone.stderr) == (2, True), alone


def try_worker(image: Image, stage: Stage, url: str) -> None:
    """Run a worker of the image until it is healthy and has done a job; end it as docker does."""
    place = image.below(stage.folder)
    (place / "app.py").write_text(APP, encoding="utf-8")
    environment = {**image.environment(stage), "GLIDEMQ_URL": url}
    worker = subprocess.Popen([*stage.entrypoint, *stage.command], cwd=place, env=environment)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(stage.health, cwd=place, env=environment, capture_output=True).returncode:
            assert worker.poll() is None, "the worker ended"
            assert time.monotonic() < deadline, "the worker is not healthy"
            time.sleep(0.5)
        adding = [*stage.entrypoint, "add", "numbers", "double", "--data", "21", "--wait", "--json"]
        added = subprocess.run(adding, cwd=place, env=environment, check=True, capture_output=True, text=True)
        assert json.loads(added.stdout)["job"]["result"] == 42, added.stdout
    finally:
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(60)
    assert code == 0, code


def main() -> None:
    """Build, then try both images."""
    with TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else scratch) / "image"
        image, stages = build(folder)
        assert all(stage.user == "10001:10001" for stage in stages.values() if stage.name != "build")
        url = f"embedded:{folder / 'data'}"
        try_worker(image, stages["worker"], url)
        try_console(image, stages["console"], url)
    print("Dockerfile: its steps ran, a worker was healthy and did a job, the console's image answered")


if __name__ == "__main__":
    main()
