"""Check and repair of outboxes: messages to other queues that no worker delivers or that were refused."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..errors import GlideMQError
from ..jobs.audit import audit_blob
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..watch import Watch
from ..wire.replies import integer, text
from ..worker.outbox import Outbox
from .findings import plural, result, verdict

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
        if waiting := integer(length):
            lengths[name] = waiting
        if count := integer(refused):
            aside += count
            found += [f"{name}: {_describe(text(message) or '')}" for message in listed]
            if count > _NAMED:
                found.append(f"{name}: {count - _NAMED} more were refused")
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
        context, now_ms = reader.context(name), reader.now_ms()
        if not await reader.connection.command("ZCARD", context.keys.outbox_failed):
            continue
        refusals: list[BaseException] = []
        messages = Outbox(context, refusals.append)
        went = 0
        blob = await audit_blob(context, actor, "retry_letters", [], now_ms)
        while part := await messages.retry(now_ms - 1, blob):
            went += part
            await messages.deliver()
        refused = refusals[0] if refusals else None
        message = refused.message if isinstance(refused, GlideMQError) else refused and str(refused)
        outcome = "refused" if refusals else "delivered"
        results.append(result("retry_letters", name, outcome, ok=not refusals, count=went, message=message))
    return results


def _describe(message: str) -> str:
    """Say whom a refused message is for, and why it was refused."""
    try:
        content = json.loads(message)
        reason = content.get("reason")
        root = str(content.get("to", ""))
        if "letter" in content:
            return f"dead letter of {content['letter'].get('mark')} for {root} refused: {reason}"
        record = f"job {content['parent']}" if "parent" in content else f"budget {content.get('budget')}"
        return f"message for {record} of {root} refused: {reason}"
    except (ValueError, AttributeError, RecursionError):
        return "a message that cannot be read"
