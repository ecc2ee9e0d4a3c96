"""Check and repair of the outbox: news for other queues that nobody delivers, and letters that their target refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import GlideMQError
from ..jobs.audit import audit_blob
from ..options.job import Actor
from ..reading.reader import Reader
from ..records.jobs import Check, OperationResult
from ..server.context import QueueContext
from ..wire.replies import failed, integer, sliced, text
from ..worker.outbox import Outbox
from .findings import plural, verdict

if TYPE_CHECKING:
    from ..watch import Watch

#: Letters that were set aside and are named, of each queue.
_NAMED = 10


async def outbox(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find news for other queues that nobody delivers, or that was set aside because its target refused it."""
    answers = await reader.read(
        [
            question
            for name in names
            for question in (
                ("LLEN", reader.keys(name).outbox),
                ("ZCARD", reader.keys(name).outbox_failed),
                ("ZRANGE", reader.keys(name).outbox_failed, 0, _NAMED - 1),
            )
        ]
    )
    lengths: dict[str, int] = {}
    aside, found = 0, []
    for name, (length, refused, letters) in zip(names, sliced(answers, 3), strict=True):
        if not failed(length) and length:
            lengths[name] = integer(length)
        if not failed(refused) and refused:
            aside += integer(refused)
            found += [f"{name}: {_described(text(letter) or '')}" for letter in letters]
            if integer(refused) > _NAMED:
                found.append(f"{name}: {integer(refused) - _NAMED} more were refused")
    manned = {
        worker.queue for worker in (await watch.workers(list(lengths))).workers if worker.language == "python"
    }
    unmanned = [
        f"{name}: {plural(length, 'message')} to flows of other queues, no Python worker to deliver them"
        for name, length in lengths.items()
        if name not in manned
    ]
    under_way = sum(lengths.values())
    fix = "start a Python worker for the queue: glidemq worker MODULE:ATTR"
    if aside:
        fix = "mend what refuses them (the reason says it); they are tried again every hour, or by doctor --repair"
    return verdict(
        "outbox",
        found + unmanned,
        good=f"{plural(under_way, 'message')} under way" if under_way else "empty",
        bad="parents and budgets of other queues wait for news"
        + (f", {plural(aside, 'message')} refused and set aside" if aside else ""),
        fix=fix,
    )


async def retry_letters(
    _: Watch, reader: Reader, names: Sequence[str], actor: Actor
) -> list[OperationResult]:
    """Give letters that were set aside one more try, and deliver what can be delivered."""
    results = []
    for name in names:
        context, now_ms = QueueContext(reader.connection, reader.keys(name)), reader.now_ms()
        if not await reader.connection.command("ZCARD", context.keys.outbox_failed):
            continue
        refusals: list[BaseException] = []
        letters = Outbox(context, refusals.append)
        went = 0
        blob = await audit_blob(context, actor, "retry_letters", [], now_ms)
        while part := await letters.retry(now_ms - 1, blob):
            went += part
            await letters.deliver()
        results.append(
            OperationResult(
                queue=name,
                action="retry_letters",
                ok=not refusals,
                outcome="refused" if refusals else "delivered",
                count=went,
                message=_reason(refusals[0]) if refusals else None,
            )
        )
    return results


def _reason(error: BaseException) -> str:
    return error.message if isinstance(error, GlideMQError) else str(error)


def _described(letter: str) -> str:
    """What a letter that was set aside says: for whom, and why not."""
    try:
        content = json.loads(letter)
        reason = content.get("reason")
        root = str(content.get("to", ""))
        record = f"job {content['parent']}" if "parent" in content else f"budget {content.get('budget')}"
        return f"news for {record} of {root} refused: {reason}"
    except (ValueError, AttributeError, RecursionError):
        return "a message that cannot be read"
