"""Check the budget of a job's flow. Most jobs are checked in the claiming call, which cannot read a budget in another
slot of a cluster."""

from __future__ import annotations

from typing import Literal

from ...records.decoding import budget_of
from ...server.context import QueueContext
from ...server.retry import retry_through_outage
from ...wire.keys import QueueKeys
from .run import JobRun

Verdict = Literal["run", "fail", "parked"]


async def verdict_of(queue: QueueContext, run: JobRun) -> Verdict:
    """Return what the budget decides about a job that was just claimed; parks the job if it is to wait.

    Raises: GlideMQError when the server refuses the check; an outage is waited out.
    """
    if run.stop == "fail":
        return "fail"
    flow = budget_of(run.job.fields, queue.keys.prefix)
    if flow is None:
        return "run"
    keys = QueueKeys(queue.keys.prefix, flow.queue)
    verdict = await _check(queue, keys.root, flow.id)
    if verdict != "pause":
        return "fail" if verdict == "fail" else "run"
    job_id, connection = run.job.id, queue.connection
    parked = (keys.budget_parked(flow.id), queue.keys.member(job_id))
    await retry_through_outage(lambda _: connection.command("SADD", *parked))
    mark = (job_id, run.entry, run.processed_on, queue.now_ms())
    await retry_through_outage(lambda _: queue.call("budget_park", *mark))
    if await _check(queue, keys.root, flow.id) == "go":
        # Topped up between the check and the parking: whoever did that has not seen this job.
        release = (keys.budget(flow.id), queue.now_ms(), "parked", job_id)
        await retry_through_outage(lambda _: queue.call("budget_release", *release))
    return "parked"


async def _check(queue: QueueContext, root: str, flow_id: str) -> str:
    [word], _ = await retry_through_outage(lambda _: queue.connection.call("budget_check", root, flow_id))
    return str(word.decode())
