"""A connection to a cluster of three: calls go to the slot's owner, the library to every primary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import glide
import pytest
import pytest_asyncio
from house.test_operations_page import PAGE
from kits.cluster import running_cluster
from kits.snippets import blocks
from kits.suspension import activated

from glidemq_core import Actor, Queue, VectorField, errors
from glidemq_core.ai.suspension import suspend
from glidemq_core.jobs.audit import restart_audit
from glidemq_core.server import functions
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.resp import RespConnection
from glidemq_core.watch import Watch

#: One cluster for all of them.
pytestmark = pytest.mark.xdist_group("cluster")

#: Prefixes of queues in each of the three ranges.
ROOTS = ["glide:{b}", "glide:{c}", "glide:{a}", "glide:{e}"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster_ports(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[int]]:
    """Three primaries that know each other and own all slots."""
    async with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield [node.port for node in running.nodes]


@pytest.fixture
async def cluster(cluster_ports: list[int]) -> AsyncIterator[Connection]:
    seeds = ",".join(f"127.0.0.1:{port}" for port in cluster_ports)
    async with connect(f"valkey://{seeds}?cluster=1") as opened:
        yield opened


async def test_server_facts(cluster: Connection) -> None:
    assert cluster.is_cluster
    assert (cluster.server.mode, cluster.server.nodes) == ("cluster", 3)


async def test_calls_reach_every_node_and_load_the_library_there(cluster: Connection) -> None:
    await cluster.command("FUNCTION", "FLUSH")
    for root in ROOTS:
        assert await cluster.read("version", root) == functions.build().encode()


async def test_one_pipeline_of_reads_spans_the_slots(cluster: Connection) -> None:
    await cluster.command("FUNCTION", "FLUSH")

    answers = await cluster.read_many([("version", root) for root in ROOTS * 5])

    assert answers == [functions.build().encode()] * len(ROOTS) * 5


async def test_token_counters_without_a_published_cap_are_found_on_every_node(cluster: Connection) -> None:
    window = cluster.now_ms() // 60_000
    for number in range(6):
        await cluster.command("SET", f"glide:{{counted-{number}}}:tpm:{window}", "7", "PX", 60_000)

    async with Watch(cluster) as watch:
        # One call searches so many queues at most.
        names = [f"counted-{number}" for number in range(6)]
        await watch.limits(names)
        found = await watch.limits(names)

    assert [limits.tpm.window_ms for limits in found] == [60_000] * 6


async def test_a_node_that_alone_lost_the_library_gets_it_back(
    cluster: Connection, cluster_ports: list[int]
) -> None:
    wire = await RespConnection.open("127.0.0.1", cluster_ports[1])
    await wire.ask("FUNCTION", "FLUSH")
    await wire.close()

    for root in ROOTS:
        assert await cluster.read("version", root) == functions.build().encode()


async def test_a_pipeline_keeps_its_order(cluster: Connection) -> None:
    await cluster.pipeline([("SET", f"{root}:x", str(i)) for i, root in enumerate(ROOTS)])

    answers = await cluster.pipeline([("GET", f"{root}:x") for root in ROOTS])

    assert answers == [b"0", b"1", b"2", b"3"]


async def test_a_dedicated_reader_of_a_cluster(cluster: Connection) -> None:
    async with await cluster.dedicated() as reader:
        await cluster.command("XADD", f"{ROOTS[0]}:events", "*", "event", "added")
        assert await reader.command("XREAD", "BLOCK", "5000", "STREAMS", f"{ROOTS[0]}:events", "0")


async def test_one_node_without_cluster_mode_is_explained(cluster_ports: list[int]) -> None:
    with pytest.raises(errors.InvalidOptionError, match=r"node of a cluster: add \?cluster=1"):
        await connect(f"valkey://127.0.0.1:{cluster_ports[0]}")
    async with connect(f"valkey://127.0.0.1:{cluster_ports[0]}?cluster=1") as opened:
        assert opened.is_cluster


async def test_vectors_are_found_in_the_queue_s_slot(cluster: Connection) -> None:
    for name in "abc":
        async with Queue[Any, Any](name, cluster) as queue:
            await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric="L2"))
            for place in (3, 1, 2):
                job = await queue.add("document", {"place": place})
                assert job is not None
                await job.store_vector("embedding", [place, 0], where="side" if place == 1 else "job")

            hits = await queue.vector_search([0, 0], k=2)

            assert [(hit.job.data["place"], hit.score) for hit in hits] == [(1, 1), (2, 4)]
            await queue.drop_job_index()


async def test_a_user_that_may_only_look_finds_its_way(cluster: Connection, cluster_ports: list[int]) -> None:
    await Queue[Any, Any]("looked", cluster).add("n", {})
    [block] = blocks(PAGE, "acl")
    words = [*block.text.replace("PASSWORD", "pw").split(), "+cluster|slots"]
    await cluster.client.custom_command(words, route=glide.AllNodes())

    seed = f"valkey://127.0.0.1:{cluster_ports[2]}?cluster=1"
    async with connect(seed, username="viewer", password="pw") as opened, Watch(opened) as watch:
        [row] = (await watch.snapshot(["looked"])).queues

        assert (row.waiting, row.unreadable) == (1, ())
        with pytest.raises(errors.PermissionDeniedError):
            await Queue[Any, Any]("looked", opened).add("n", {})


async def test_a_decision_in_a_cluster_is_bound_to_what_was_shown(cluster: Connection) -> None:
    for name in ("a", "b", "c"):
        queue = Queue[Any, Any](name, cluster)
        job_id, entry, started = await activated(queue)
        scope = await queue.context()
        await scope.connection.command("XADD", scope.keys.jstream(job_id), "*", "t", "Dear customer")
        await suspend(scope, job_id, entry, started, "look", 0)
        shown = await queue.review(job_id)
        assert shown.draft == "Dear customer"
        assert (await queue.approve(job_id, actor=Actor("ann"), expect="0" * 64)).outcome == "changed"
        assert (await queue.approve(job_id, actor=Actor("ann"), expect=shown.review_hash)).ok
        [audited] = await queue.get_audit()
        assert (audited.user, audited.shown_hash) == ("default", shown.review_hash)
        await cluster.command("XTRIM", scope.keys.audit, "MAXLEN", 0)
        with pytest.raises(errors.AuditError):
            await queue.pause(actor=Actor("ann"))
        assert (await restart_audit(scope, actor=Actor("ann")))[0] == "restarted"
