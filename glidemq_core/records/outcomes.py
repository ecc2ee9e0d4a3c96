"""The closed sets of words that records carry: states of jobs, outcomes, kinds."""

from __future__ import annotations

from typing import Literal

#: `unknown` is a job whose record is gone; one that its budget parked is `delayed`.
JobState = Literal[
    "waiting",
    "active",
    "delayed",
    "completed",
    "failed",
    "suspended",
    "prioritized",
    "group-waiting",
    "waiting-children",
    "unknown",
]
#: The states in which a job stays.
FinalState = Literal["completed", "failed"]
#: `kept`: the job was not suspended yet; `changed`: it is in another suspension than the one that was meant.
SignalOutcome = Literal["resumed", "kept", "changed", "not_suspended", "not_found"]
#: `changed`: it is not what was shown any more; `not_shown`: not all of it was shown, so nothing was sent.
DecisionOutcome = Literal["sent", "changed", "not_suspended", "not_found", "not_shown"]
DecisionAction = Literal["approve", "reject"]
#: `resumed`: a kept signal was waiting; `lost`: the run does not own the job any more.
SuspendStatus = Literal["suspended", "resumed", "lost", "not_found"]
AttemptOutcome = Literal["completed", "failed", "suspended", "delayed", "lost"]
#: What a budget that is used up does to jobs that start.
OnExceeded = Literal["fail", "pause"]
#: What usage is added up by.
UsageKey = Literal["queue", "model", "flow", "job"]
CheckStatus = Literal["ok", "warn", "fail", "skip"]
FlowKind = Literal["single", "tree", "dag"]
#: Who published a cap.
RateSource = Literal["queue", "worker"]
ServerMode = Literal["standalone", "cluster"]
WorkerLanguage = Literal["node", "python"]

#: What may keep a job or a queue from going on.
BlockerKind = Literal[
    "ahead",
    "backoff",
    "budget_exceeded",
    "budget_parked",
    "children",
    "delayed",
    "ended",
    "expired_soon",
    "global_concurrency",
    "group_blocked",
    "group_concurrency",
    "group_rate",
    "no_worker",
    "queue_paused",
    "rate_limited_by_worker",
    "rpm",
    "running",
    "stalled",
    "suspended",
    "tpm",
    "workers_busy",
]
