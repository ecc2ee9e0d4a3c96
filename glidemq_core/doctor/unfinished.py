"""Check and repair of flows whose creation a producer began and did not finish."""

from __future__ import annotations

from collections.abc import Sequence

from ..flows.parts import read_unfinished_flows, recover_flows
from ..jobs.links import OLD_ENOUGH_MS, mend_links
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..server.context import QueueContext
from ..watch import Watch
from .findings import plural, verdict


async def unfinished_flows(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find unfinished flows of which nothing was created for a minute: their producer is gone."""
    oldest = reader.now_ms() - OLD_ENOUGH_MS
    found = []
    for name in names:
        for token, entry in (
            await read_unfinished_flows(QueueContext(reader.connection, reader.keys(name)))
        ).items():
            at = entry.get("at")
            if isinstance(at, (int, float)) and at <= oldest:
                runs = "partly runs" if entry.get("state") == "releasing" else "does not run"
                found.append(f"{name}: flow {token} {runs}")
    return verdict(
        "unfinished_flows",
        found,
        good="every flow is created completely",
        bad=f"{plural(len(found), 'flow')} not created completely",
        status="warn",
        fix="a Python worker of the queue finishes or removes them, or glidemq doctor --repair",
    )


async def finish_flows(_: Watch, reader: Reader, names: Sequence[str], actor: Actor) -> list[OperationResult]:
    """Finish flows that partly run, remove those that do not run, undo links without a child."""
    results = []
    for name in names:
        context = QueueContext(reader.connection, reader.keys(name))
        for token, outcome in (await recover_flows(context, actor=actor)).items():
            results.append(
                OperationResult(queue=name, action="finish_flows", ok=True, outcome=outcome, message=token)
            )
        for child in await mend_links(context, actor=actor):
            results.append(
                OperationResult(
                    queue=name, action="finish_flows", ok=True, outcome="unlinked", message=str(child)
                )
            )
    return results
