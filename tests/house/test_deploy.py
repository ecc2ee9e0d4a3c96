"""What `Dockerfile` and `examples/deploy/` say fits together, and the commands in them are accepted."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey
import yaml
from kits.snippets import ROOT, environment

from glidemq_console.text.parse import parse_duration
from glidemq_core import Connection, Queue

sys.path.insert(0, str(ROOT / "packaging"))

from run_dockerfile import parse

pytestmark = pytest.mark.thorough

DEPLOY = ROOT / "examples" / "deploy"
UNIT = DEPLOY / "glidemq-worker.service"
GLIDEMQ = str(Path(sys.executable).parent / "glidemq")
#: What a worker may take to hand back what its grace was too short for.
LAST_MOMENTS_S = 20


class Strict(yaml.SafeLoader):
    """Refuses a key that is given twice, as Kubernetes does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"given twice: {keys}"
        return super().construct_mapping(node, deep=deep)


def manifests() -> dict[tuple[str, str], Any]:
    """All manifests by kind and name."""
    found = [
        one
        for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for one in yaml.load_all(file.read_text("utf-8"), Strict)
    ]
    named = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(named) == len(found)
    return named


def containers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pod and container of every deployment."""
    pods = [one["spec"]["template"]["spec"] for (kind, _), one in manifests().items() if kind == "Deployment"]
    return [(pod, container) for pod in pods for container in pod["containers"]]


def unit() -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None, strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(UNIT)
    return read


def exec_start() -> list[str]:
    return shlex.split(unit()["Service"]["ExecStart"].replace("%d", "/tmp"))[1:]


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def milliseconds(text: str) -> int:
    parsed = parse_duration(text)
    assert isinstance(parsed, int), parsed
    return parsed


def worker_commands() -> dict[str, list[str]]:
    """Command lines of workers, without the program."""
    stages = parse((ROOT / "Dockerfile").read_text("utf-8"))
    found = {"docker": stages["worker"][0].command, "systemd": exec_start()}
    for _, container in containers():
        if container["args"][0] == "worker":
            found[f"kubernetes {container['name']}"] = container["args"]
    assert len(found) >= 3
    return found


@pytest.fixture
def worker_url(server_port: int) -> Iterator[str]:
    """URL of a user of the test server whose password is `secret`."""
    with valkey.Valkey(port=server_port) as client:
        client.acl_setuser("worker", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"])
        yield f"valkey://worker@127.0.0.1:{server_port}"
        client.acl_deluser("worker")


@pytest.mark.parametrize("where", worker_commands())
def test_the_command_of_a_worker_is_accepted(where: str, worker_url: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from glidemq_core import Worker\nworker = Worker('q', print)\n")
    (tmp_path / "password").write_text("secret\n")
    words = worker_commands()[where]
    port = after(words, "--health")
    assert 1_024 <= int(port) <= 65_535
    # What checks listens to no port, and no password file lies in /tmp.
    kept = [word for word in words if word not in ("--health", port)]
    kept = [str(tmp_path / "password") if word == "/tmp/password" else word for word in kept]
    ran = subprocess.run(
        [GLIDEMQ, *kept, "--check"],
        cwd=tmp_path,
        env={**environment(worker_url, tmp_path), "GLIDEMQ_PASSWORD": "secret"},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout.partition(":")[0]) == (0, "q"), ran.stderr


def test_docker_runs_as_somebody_and_asks_the_worker_itself() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    stages = parse(text)
    assert [*stages][-1] == "console"  # what is built when no target is named
    for name in ("worker", "console"):
        stage = stages[name][0]
        assert stage.user == "10001:10001"
        assert stage.entrypoint == ["glidemq"]
    worker = stages["worker"][0]
    assert f"127.0.0.1:{after(worker.command, '--health')}/live" in worker.health[-1]
    bases = [rest.split()[0] for rest in re.findall(r"^FROM (.*)$", text, re.MULTILINE)]
    assert all(re.search(r":\d", base) for base in bases if base not in stages)


def test_docker_is_given_what_it_copies() -> None:
    kept = (ROOT / ".dockerignore").read_text("utf-8").split()
    for stage, steps in parse((ROOT / "Dockerfile").read_text("utf-8")).values():
        for keyword, words in steps:
            if keyword != "COPY" or "--from=" in words:
                continue
            for source in words.split()[1:-1]:
                assert (ROOT / source).exists(), (stage.name, source)
                assert f"!{source}" in kept, (stage.name, source)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text("utf-8").replace("/srv/app/.venv/bin/glidemq", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text, encoding="utf-8")
    verified = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    told = [line for line in verified.stderr.splitlines() if UNIT.name in line]
    assert (verified.returncode, told) == (0, []), verified.stderr


def test_systemd_waits_for_the_grace() -> None:
    service = unit()["Service"]
    assert (
        int(service["TimeoutStopSec"]) * 1_000
        >= milliseconds(after(exec_start(), "--grace")) + LAST_MOMENTS_S * 1_000
    )
    assert service["KillMode"] == "mixed"  # the command ends its processes itself


def test_kubernetes_waits_for_the_grace() -> None:
    for pod, container in containers():
        if container["args"][0] == "worker":
            grace_ms = milliseconds(after(container["args"], "--grace"))
            assert pod["terminationGracePeriodSeconds"] * 1_000 >= grace_ms + LAST_MOMENTS_S * 1_000


def test_kubernetes_probes_ask_where_the_worker_answers() -> None:
    for _, container in containers():
        if container["args"][0] != "worker":
            continue
        port = after(container["args"], "--health")
        for probe, path in (("startupProbe", "live"), ("livenessProbe", "live"), ("readinessProbe", "ready")):
            (program,) = container[probe]["exec"]["command"][-1:]
            assert f"http://127.0.0.1:{port}/{path}" in program
            compile(program, probe, "exec")


def test_kubernetes_names_what_is_there() -> None:
    found = manifests()
    for (kind, name), one in found.items():
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        assert set(one) >= {"apiVersion", "kind", "metadata"}
        if kind == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
        if kind == "PodDisruptionBudget":
            template = found["Deployment", name]["spec"]["template"]
            assert one["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    for pod, container in containers():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        assert mounted <= {volume["name"] for volume in pod.get("volumes", ())}
        for variable in container["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["key"] in found["Secret", reference["name"]]["stringData"]


def test_a_key_that_is_given_twice_is_refused() -> None:
    with pytest.raises(AssertionError, match="given twice"):
        yaml.load("a: 1\na: 2\n", Strict)


async def test_what_scales_workers_is_measured(
    connection: Connection, server_url: str, tmp_path: Path
) -> None:
    found = manifests()
    (scaled,) = [one for (kind, _), one in found.items() if kind == "ScaledObject"]
    assert ("Deployment", scaled["spec"]["scaleTargetRef"]["name"]) in found
    (trigger,) = scaled["spec"]["triggers"]
    wanted = re.search(r'(\w+)\{queue="(\w+)",state=~"([\w|-]+)"\}', trigger["metadata"]["query"])
    assert wanted is not None
    metric, queue, states = wanted.groups()
    await Queue(queue, connection).add("x")

    (container,) = [one for _, one in containers() if one["args"][0] == "metrics"]
    words = container["args"]
    listen = words.index("--listen")
    assert words[listen + 1].endswith(f":{container['ports'][0]['containerPort']}")
    ran = subprocess.run(
        [GLIDEMQ, *words[:listen], "--once", "--timeout", "60s", *words[listen + 2 :]],
        env=environment(server_url, tmp_path),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    for state in states.split("|"):
        assert f'{metric}{{queue="{queue}",state="{state}"}} ' in ran.stdout
