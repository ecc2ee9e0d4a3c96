"""Check and repair of flows that a producer began to create and did not finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..flows.parts import flows_in_parts, mend_flows
from ..jobs.links import OLD_ENOUGH_MS, mend_links
from ..options.job import Actor
from ..reading.reader import Reader
from ..records.jobs import Check, OperationResult
from ..server.context import QueueContext
from .findings import plural, verdict

if TYPE_CHECKING:
    from ..watch import Watch


async def unfinished_flows(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find flows of which nothing has been created for a minute: their producer is gone."""
    oldest = reader.now_ms() - OLD_ENOUGH_MS
    found = []
    for name in names:
        for token, entry in (
            await flows_in_parts(QueueContext(reader.connection, reader.keys(name)))
        ).items():
            at = entry.get("at")
            if isinstance(at, (int, float)) and at <= oldest:
                runs = "partly runs" if entry.get("state") == "releasing" else "does not run"
                found.append(f"{name}: flow {token} {runs}")
    return verdict(
        "unfinished_flows",
        found,
        good="no flow is left half created",
        bad=f"{plural(len(found), 'flow')} left half created",
        status="warn",
        fix="a Python worker of the queue finishes or removes them, or glidemq doctor --repair",
    )


async def finish_flows(_: Watch, reader: Reader, names: Sequence[str], actor: Actor) -> list[OperationResult]:
    """Finish flows that partly run, remove those of which nothing does, take back links without child."""
    results = []
    for name in names:
        context = QueueContext(reader.connection, reader.keys(name))
        for token, outcome in (await mend_flows(context, actor=actor)).items():
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
