"""Audit trail: one chain a queue, in the call that changes, by the hash everybody can recompute."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import Any

import pytest

from glidemq_core.errors import InvalidOptionError, ServerError
from glidemq_core.jobs.admin import pause, resume
from glidemq_core.jobs.audit import audit_blob, canonical_json, get_audit, verify_audit
from glidemq_core.jobs.control import remove_jobs
from glidemq_core.options.job import Actor, Ordering
from glidemq_core.queue import Queue
from glidemq_core.server import functions
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext
from glidemq_core.wire.keys import QueueKeys

#: Commands that change something, as the functions use them.
WRITES = (
    "HSET",
    "HDEL",
    "HINCRBY",
    "ZADD",
    "ZREM",
    "XADD",
    "XDEL",
    "RPUSH",
    "LPUSH",
    "LPOP",
    "RPOP",
    "UNLINK",
    "SET",
    "SADD",
)

ANN = Actor("ann", via="cli", comment='nightly  „Wartung“ 🌙 "quoted" \\ \u0007 \u2028 end')


@pytest.fixture
def scope(connection: Connection) -> QueueContext:
    return QueueContext(connection, QueueKeys("glide", "mail"))


async def _entries(scope: QueueContext) -> list[str]:
    stream = await scope.connection.command("XRANGE", scope.keys.audit, "-", "+")
    return [dict(map(tuple, pairs))[b"entry"].decode() for pairs in stream.values()]


async def test_entries_are_canonical_and_chained(scope: QueueContext) -> None:
    assert await pause(scope, actor=ANN) == "paused"
    assert await resume(scope, actor=Actor("bob")) == "resumed"
    first, second = await _entries(scope)
    for text in (first, second):
        entry = json.loads(text)
        assert canonical_json(entry) == text
        claimed = entry.pop("hash")
        assert hashlib.sha256(canonical_json(entry).encode()).hexdigest() == claimed
    one, two = json.loads(first), json.loads(second)
    assert (one["seq"], one["prev_hash"]) == (1, "0" * 64)
    assert (two["seq"], two["prev_hash"]) == (2, one["hash"])
    assert (one["by"], one["via"], one["comment"]) == ("ann", "cli", ANN.comment)
    names = "seq at_ms by via host action queue job_ids count outcome comment shown_hash detail prev_hash hash user"
    assert " ".join(sorted(one)) == " ".join(sorted(names.split(" ")))
    ids = await scope.connection.command("XRANGE", scope.keys.audit, "-", "+")
    assert list(ids) == [b"1-0", b"2-0"]


def test_no_function_changes_anything_before_it_knows_that_it_can_be_audited() -> None:
    parts = {
        file.name: file.read_text("utf-8")
        for file in files(functions).iterdir()
        if file.name.endswith(".lua")
    }
    del parts["audit.lua"]
    for part, text in parts.items():
        for block in text.split("\nend"):
            asked, told = block.find("audit.ready("), block.find("audit.append(")
            assert told < 0 or 0 <= asked < told, f"{part}: {block.strip().splitlines()[0]}"
            writes = [at for word in WRITES if (at := block.find(f'call("{word}"')) >= 0]
            assert told < 0 or not writes or asked < min(writes), f"{part} changes before it asks"


@pytest.mark.parametrize("size", [0, 1, 40, 54, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 4096])
async def test_sha256_at_every_padding(scope: QueueContext, size: int) -> None:
    await pause(scope, actor=Actor("x", comment="ä" * size if size < 4000 else "y" * size))
    assert (await verify_audit(scope)).ok


async def test_nothing_changed_nothing_kept(scope: QueueContext) -> None:
    await resume(scope, actor=ANN)
    await remove_jobs(scope, ["404"], actor=ANN)
    await pause(scope)
    assert await get_audit(scope) == []
    check = await verify_audit(scope)
    assert (check.ok, check.entries, check.broken_at) == (True, 0, None)


async def test_only_changed_jobs_are_named(scope: QueueContext) -> None:
    for job_id in ("1", "3"):
        await scope.connection.command("HSET", scope.keys.job(job_id), "state", "completed")
        await scope.connection.command("ZADD", scope.keys.completed, 1, job_id)
    assert await remove_jobs(scope, ["1", "2", "3"], actor=ANN) == ["removed", "not_found", "removed"]
    [entry] = await get_audit(scope)
    assert (entry.job_ids, entry.count, entry.outcome, entry.action) == (("1", "3"), 2, "removed", "remove")
    assert await get_audit(scope, job_id="3") == [entry]
    assert await get_audit(scope, job_id="2") == []


async def test_newest_first_and_paging(scope: QueueContext) -> None:
    for _ in range(3):
        await pause(scope, actor=ANN)
        await resume(scope, actor=ANN)
    assert [entry.seq for entry in await get_audit(scope, limit=2)] == [6, 5]
    assert [entry.seq for entry in await get_audit(scope, before=3)] == [2, 1]
    assert await get_audit(scope, before=1) == []
    with pytest.raises(InvalidOptionError):
        await get_audit(scope, limit=0)


async def test_tampering_is_found(scope: QueueContext) -> None:
    for _ in range(2):
        await pause(scope, actor=ANN)
        await resume(scope, actor=ANN)
    texts = await _entries(scope)
    command, key = scope.connection.command, scope.keys.audit

    async def rewrite(changed: list[str | None], last: str = "4-0") -> tuple[bool, int | None]:
        await command("DEL", key)
        for seq, text in enumerate(changed, 1):
            if text is not None:
                await command("XADD", key, f"{seq}-0", "entry", text)
        if len(changed) == 4 and changed[3] is None:
            await command("XSETID", key, last)
        check = await verify_audit(scope)
        return check.ok, check.broken_at

    assert await rewrite([*texts]) == (True, None)
    assert await rewrite([texts[0], texts[1].replace('"ann"', '"eve"'), *texts[2:]]) == (False, 2)
    assert await rewrite([None, *texts[1:]]) == (False, 1)
    assert await rewrite([texts[0], None, *texts[2:]]) == (False, 2)
    assert await rewrite([*texts[:3], None]) == (False, 4)
    assert await rewrite([texts[0], "no json", *texts[2:]]) == (False, 2)
    assert await rewrite([texts[0], texts[1].replace(":", ": ", 1), *texts[2:]]) == (False, 2)
    # The trail goes on behind a break, and the break stays visible.
    await pause(scope, actor=ANN)
    assert (await verify_audit(scope)).broken_at == 2
    assert [entry.seq for entry in await get_audit(scope)] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "actor",
    [
        Actor("  "),
        Actor("a\nb"),
        Actor("a\x1b[2J"),
        Actor("x" * 257),
        Actor("x", via="\x00"),
        Actor("x", comment="c" * 5000),
    ],
)
async def test_names_that_could_mislead_are_refused(scope: QueueContext, actor: Actor) -> None:
    with pytest.raises(InvalidOptionError):
        await audit_blob(scope, actor, "pause", (), 1)


async def test_what_was_cut_off_or_written_anew_is_found_by_the_last_hash_kept_elsewhere(
    scope: QueueContext,
) -> None:
    for _ in range(2):
        await pause(scope, actor=ANN)
        await resume(scope, actor=ANN)
    kept = await verify_audit(scope)
    texts = await _entries(scope)
    assert (kept.entries, kept.first_seq, kept.last_seq) == (4, 1, 4)
    assert kept.last_hash == json.loads(texts[3])["hash"]
    last = (4, str(kept.last_hash))
    command, key = scope.connection.command, scope.keys.audit
    await pause(scope, actor=ANN)
    assert (await verify_audit(scope, expect_last=last)).ok

    # Whoever deletes the key and writes what is left anew leaves a chain that fits in itself.
    for left in (texts[:2], []):
        await command("DEL", key)
        for at, text in enumerate(left, 1):
            await command("XADD", key, f"{at}-0", "entry", text)
        assert (await verify_audit(scope)).ok
        check = await verify_audit(scope, expect_last=last)
        assert (check.ok, check.entries, check.broken_at) == (False, len(left), 4)
    await command("DEL", key)
    for _ in range(3):
        await pause(scope, actor=Actor("eve"))
        await resume(scope, actor=Actor("eve"))
    assert (await verify_audit(scope)).ok
    assert (await verify_audit(scope, expect_last=last)).broken_at == 4


async def test_what_was_changed_before_an_error_is_audited(scope: QueueContext) -> None:
    queue = Queue[Any, Any]("mail", scope.connection)
    plain, ordered = await queue.add("n", {}), await queue.add("n", {}, ordering=Ordering("k"))
    assert plain is not None
    assert ordered is not None
    await scope.connection.command("DEL", scope.keys.group("k"))
    await scope.connection.command("SET", scope.keys.group("k"), "foreign")

    with pytest.raises(ServerError):
        await remove_jobs(scope, [plain.id, ordered.id], actor=ANN)

    assert await queue.get_job(plain.id) is None
    [entry] = await get_audit(scope)
    assert (entry.action, entry.job_ids, entry.count) == ("remove", (plain.id,), 1)
