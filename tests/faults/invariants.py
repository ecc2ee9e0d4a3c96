"""What must hold once the faults are over and nothing is left to do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from kits.leaks import Keyspace

from .workload import CHUNKS, QUEUE, TOKENS, Account, Runs

_ROOT = f"glide:{{{QUEUE}}}"
#: Kind -> state in which such a job must end; completed unless named.
_ENDS = {"hopeless": "failed"}


def problems(space: Keyspace, account: Account, runs: Runs) -> list[str]:
    """Name everything that is wrong with the records of the queue."""
    jobs = {job_id: space.hash(f"{_ROOT}:job:{job_id}") for job_id in space.of_jobs(_ROOT, "state")}
    return [
        *_accepted(jobs, account),
        *_places(space, jobs),
        *_counters(space, jobs),
        *_reruns(jobs, runs, space),
        *_order(jobs),
        *_flows(space, jobs, account),
        *_streams(space, jobs),
        *_usage(space, jobs),
        *_decisions(space, jobs, account),
        *space.leaks(),
    ]


def _accepted(jobs: dict[str, dict[str, str]], account: Account) -> Iterator[str]:
    for job_id, kind in account.accepted.items():
        state = jobs.get(job_id, {}).get("state")
        if state is None:
            yield f"job {job_id} was accepted and is gone"
        elif state != _ENDS.get(kind, "completed"):
            yield f"job {job_id} ended as {state}: {jobs[job_id].get('failedReason')}"
    found = Counter(_token(job) for job in jobs.values() if job.get("name") == "bulk")
    for token, (known, unknown) in account.plain.items():
        if not known <= found[token] <= known + unknown:
            yield f"bulk job {token}: {known} acknowledged, {unknown} unknown, {found[token]} exist"
    children = {child for ids in account.flows.values() for child in ids}
    for job_id, job in jobs.items():
        if job.get("name") == "child" and job.get("state") != "completed":
            yield f"job {job_id} ended as {job.get('state')}: {job.get('failedReason')}"
        if job.get("name") != "bulk" and job_id not in account.accepted.keys() | children:
            yield f"job {job_id} was never asked for"


def _token(job: dict[str, str]) -> str:
    return str(json.loads(job.get("data", "{}")).get("n"))


def _places(space: Keyspace, jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    """Everything has ended, so each job stands in one of two sets and nowhere else."""
    done, failed = space.members(f"{_ROOT}:completed"), space.members(f"{_ROOT}:failed")
    for job_id, job in jobs.items():
        places = [name for name, ids in (("completed", set(done)), ("failed", set(failed))) if job_id in ids]
        if places != [job.get("state")]:
            yield f"job {job_id} is {job.get('state')} and stands in {places}"
    for name in ("scheduled", "suspended", "list-runs", "ratelimited", "early-index"):
        if members := space.members(f"{_ROOT}:{name}"):
            yield f"{name} still holds {members[:5]}"
    for name in ("priority", "lifo", "outbox"):
        if length := space.length(f"{_ROOT}:{name}"):
            yield f"{name} still holds {length}"
    if length := space.length(f"{_ROOT}:stream"):
        yield f"the stream still holds {length} entries"


def _counters(space: Keyspace, jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    if active := int(space.text(f"{_ROOT}:list-active") or 0):
        yield f"list-active is {active}"
    if pending := space.pending(f"{_ROOT}:stream"):
        yield f"{pending} entries are pending"
    for key in space.keys:
        if key.startswith(f"{_ROOT}:group:") and (held := int(space.hash(key).get("active", 0))):
            yield f"{key} counts {held} slots that nobody holds"
        if key.startswith((f"{_ROOT}:groupq:", f"{_ROOT}:budget-parked:")):
            yield f"{key} still holds {space.members(key)}"
    for result in ("completed", "failed"):
        counted = sum(
            int(value)
            for name, value in space.hash(f"{_ROOT}:metrics:{result}").items()
            if name.endswith(":c")
        )
        ended = sum(job.get("state") == result for job in jobs.values())
        if counted != ended:
            yield f"metrics count {counted} {result}, there are {ended}"


def _reruns(jobs: dict[str, dict[str, str]], runs: Runs, space: Keyspace) -> Iterator[str]:
    """Every start is the first, or follows a failed attempt, a stall or a signal that is on record."""
    for job_id, starts in Counter(run[0] for run in runs.read()).items():
        job = jobs.get(job_id)
        if job is None:
            yield f"job {job_id} ran and is gone"
            continue
        failed = int(job.get("attemptsMade", 0)) - (job.get("state") == "failed")
        signals = space.length(f"{_ROOT}:signals:{job_id}")
        explained = 1 + failed + int(job.get("stalledCount", 0)) + signals
        if starts > explained:
            yield f"job {job_id} started {starts} times, {explained} are explained"


def _order(jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    groups: dict[str, list[tuple[int, int, str]]] = {}
    for job_id, job in jobs.items():
        if "groupKey" in job:
            ended = int(job.get("finishedOn") or 0)
            groups.setdefault(job["groupKey"], []).append((int(job["orderingSeq"]), ended, job_id))
    for key, members in groups.items():
        members.sort()
        for (_, earlier, first), (_, later, second) in pairwise(members):
            if later < earlier:
                yield f"key {key}: {second} ended {earlier - later} ms before {first}"


def _flows(space: Keyspace, jobs: dict[str, dict[str, str]], account: Account) -> Iterator[str]:
    for flow, children in account.flows.items():
        root = jobs.get(flow, {})
        if root.get("returnvalue") != str(TOKENS * len(children)):
            yield f"flow {flow} returned {root.get('returnvalue')}"
        deps = set(space.members(f"{_ROOT}:deps:{flow}"))
        if deps != {f"{_ROOT}:{child}" for child in children}:
            yield f"flow {flow} waits for {sorted(deps)}"
        if root.get("depsCompleted") != str(len(children)):
            yield f"flow {flow} counted {root.get('depsCompleted')} of {len(children)} children"
        spent = sum(_spent(space, child) for child in children)
        used = float(space.hash(f"{_ROOT}:budget:{flow}").get("usedTokens", 0))
        if used != spent:
            yield f"flow {flow}: its budget counts {used:g} tokens, its attempts reported {spent:g}"


def _spent(space: Keyspace, job_id: str) -> float:
    """Tokens of the latest report of every attempt that ended, by the ledger."""
    total, latest = 0.0, 0.0
    for line in space.items(f"{_ROOT}:ledger:{job_id}"):
        entry: dict[str, Any] = json.loads(line)
        if entry["k"] == "usage":
            latest = float(entry["usage"].get("totalTokens") or 0)
        elif entry["k"] == "end":
            total, latest = total + latest, 0.0
    return total + latest


def _streams(space: Keyspace, jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    for job_id, job in jobs.items():
        if job.get("name") != "streams" or job.get("state") != "completed":
            continue
        numbers = [int(chunk["number"]) for chunk in space.entries(f"{_ROOT}:jstream:{job_id}")]
        if numbers[-CHUNKS:] != list(range(CHUNKS)):
            yield f"job {job_id}: the run that completed streamed {numbers[-CHUNKS:]}"
        stalls = int(job.get("stalledCount", 0)) + int(job.get("attemptsMade", 0))
        if not stalls and len(numbers) != CHUNKS:
            yield f"job {job_id}: {CHUNKS} chunks were streamed, {len(numbers)} are there"


def _usage(space: Keyspace, jobs: dict[str, dict[str, str]]) -> Iterator[str]:
    buckets = [space.hash(key) for key in space.keys if key.startswith(f"{_ROOT}:usage:")]
    counted = sum(float(bucket.get("totalTokens", 0)) for bucket in buckets)
    reported = sum(float(job.get("usage:totalTokens", 0)) for job in jobs.values())
    if counted != reported:
        yield f"the minutes count {counted:g} tokens, the jobs reported {reported:g}"
    for job_id, job in jobs.items():
        if job.get("name") in ("reports", "child") and job.get("usage:totalTokens") != str(TOKENS):
            yield f"job {job_id} reported {TOKENS} tokens, {job.get('usage:totalTokens')} are recorded"


def _decisions(space: Keyspace, jobs: dict[str, dict[str, str]], account: Account) -> Iterator[str]:
    approved: Counter[str] = Counter()
    for fields in space.entries(f"{_ROOT}:audit"):
        entry = json.loads(fields["entry"])
        if entry["action"] == "approve":
            approved.update(entry["job_ids"])
    for job_id in account.decided:
        if not approved[job_id]:
            yield f"the approval of {job_id} was acknowledged and is not in the audit"
    for job_id, job in jobs.items():
        if job.get("name") != "asks":
            continue
        signals = space.length(f"{_ROOT}:signals:{job_id}")
        if approved[job_id] != signals:
            yield f"job {job_id}: {approved[job_id]} approvals in the audit, {signals} signals"
