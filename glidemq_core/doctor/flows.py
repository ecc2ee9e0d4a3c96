"""Checks and repair of flows: parents that no child will release, and flows whose creation was not finished."""

from __future__ import annotations

from collections.abc import Sequence

from ..flows.parts import read_unfinished_flows, recover_flows
from ..flows.repair import pending_children
from ..jobs.adding.links import OLD_ENOUGH_MS, mend_links
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..watch import Watch
from .findings import plural, result, verdict

#: Flows that are checked, newest first, and parents whose children are read.
_FLOWS = 100
_PARENTS = 100


async def stuck_parents(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find parents that no child will release: one failed, is gone, or completed without telling its parent."""
    listed = await watch.flows(names, limit=_FLOWS)
    old = reader.now_ms() - OLD_ENOUGH_MS
    waiting = [node for flow in listed.items for node in flow.nodes if node.state == "waiting-children"]
    found = []
    for node in waiting[:_PARENTS]:
        states = await pending_children(reader.context(node.queue), node.ref)
        dead = {child: state for child, state in states.items() if state in ("failed", "")}
        causes = [f"{child} {state or 'is gone'}" for child, state in dead.items()]
        if not causes and node.created_at is not None and node.created_at.timestamp() * 1_000 < old:
            untold = [child for child, state in states.items() if state == "completed"]
            if not states or len(untold) == len(states):
                causes = [f"{child} completed, which its parent does not know" for child in untold]
                causes = causes or ["no child"]
        if causes:
            found.append(f"{node.ref} waits for {', '.join(causes[:3])}")
    return verdict(
        "stuck_parents",
        found,
        good=f"{plural(len(listed.items), 'flow')} checked, no parent is stuck",
        bad=f"{plural(len(found), 'parent')} will never be released",
        status="fail",
        fix="glidemq retry the failed child; or release the parent without it, on the flow's page of the console or "
        "by Queue(...).release_parent(id); if a child completed: Queue(...).repair_flow(id)",
    )


async def unfinished_flows(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find unfinished flows of which nothing was created for a minute: their producer is gone."""
    oldest = reader.now_ms() - OLD_ENOUGH_MS
    found = []
    for name in names:
        for token, entry in (await read_unfinished_flows(reader.context(name))).items():
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
        context = reader.context(name)
        done = list((await recover_flows(context, actor=actor)).items())
        done += [(str(child), "unlinked") for child in await mend_links(context, actor=actor)]
        results += [result("finish_flows", name, outcome, message=message) for message, outcome in done]
    return results
