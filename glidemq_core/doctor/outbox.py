"""Check and repair of outboxes: messages to other queues that no worker delivers or that were refused."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..errors import GlideMQError
from ..jobs.audit import audit_blob
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..server.context import QueueContext
from ..watch import Watch
from ..wire.replies import failed, integer, text
from ..worker.outbox import Outbox
from .findings import plural, verdict

#: Refused messages of each queue that are listed.
_NAMED = 10


async def outbox(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find messages to other queues that no worker delivers, or that were set aside because they were refused."""
    answers = await reader.read_each(
        map(reader.keys, names),
        lambda keys: [
            ("LLEN", keys.outbox),
            ("ZCARD", keys.outbox_failed),
            ("ZRANGE", keys.outbox_failed, 0, _NAMED - 1),
        ],
    )
    lengths: dict[str, int] = {}
    aside, found = 0, []
    for name, (length, refused, listed) in zip(names, answers, strict=True):
        if not failed(length) and length:
            lengths[name] = integer(length)
        if not failed(refused) and refused:
            aside += integer(refused)
            found += [f"{name}: {_describe(text(message) or '')}" for message in listed]
            if integer(refused) > _NAMED:
                found.append(f"{name}: {integer(refused) - _NAMED} more were refused")
    served = {
        worker.queue for worker in (await watch.workers(list(lengths))).workers if worker.language == "python"
    }
    undelivered = [
        f"{name}: {plural(length, 'message')} to flows of other queues, no Python worker delivers them"
        for name, length in lengths.items()
        if name not in served
    ]
    in_outbox = sum(lengths.values())
    fix = "start a Python worker for the queue: glidemq worker MODULE:ATTR"
    if aside:
        fix = "remove the reason of the refusal; they are tried again every hour, or by doctor --repair"
    return verdict(
        "outbox",
        found + undelivered,
        good=f"{plural(in_outbox, 'message')} to be delivered" if in_outbox else "empty",
        bad="parents and budgets of other queues wait for messages"
        + (f", {plural(aside, 'message')} refused and set aside" if aside else ""),
        fix=fix,
    )


async def retry_letters(
    _: Watch, reader: Reader, names: Sequence[str], actor: Actor
) -> list[OperationResult]:
    """Try refused messages once more, and deliver what can be delivered."""
    results = []
    for name in names:
        context, now_ms = QueueContext(reader.connection, reader.keys(name)), reader.now_ms()
        if not await reader.connection.command("ZCARD", context.keys.outbox_failed):
            continue
        refusals: list[BaseException] = []
        messages = Outbox(context, refusals.append)
        went = 0
        blob = await audit_blob(context, actor, "retry_letters", [], now_ms)
        while part := await messages.retry(now_ms - 1, blob):
            went += part
            await messages.deliver()
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


def _describe(message: str) -> str:
    """Say whom a refused message is for, and why it was refused."""
    try:
        content = json.loads(message)
        reason = content.get("reason")
        root = str(content.get("to", ""))
        record = f"job {content['parent']}" if "parent" in content else f"budget {content.get('budget')}"
        return f"message for {record} of {root} refused: {reason}"
    except (ValueError, AttributeError, RecursionError):
        return "a message that cannot be read"
