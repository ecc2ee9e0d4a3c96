"""What the engine answers, as frozen records, and how it is decoded.

A field `x_at` is an aware UTC datetime and stands in JSON as `x_ms`; durations are `x_ms` in both.
"""

from __future__ import annotations

from ..options.job import Fallback, JobRef
from .approvals import Approval, Decision, Inbox, ReviewDecision, Signal, SignalResult, SuspendInfo, ToolCall
from .base import to_json
from .failures import DeadLetter, FailureGroup, Failures
from .flows import (
    Flow,
    FlowBudget,
    FlowList,
    FlowNode,
    FlowUsage,
    MinuteUsage,
    TopUp,
    Totals,
    Usage,
    UsageSummary,
)
from .jobs import Attempt, Blocker, Child, JobDetail, JobLogs, JobPage, JobRow, StreamInfo, VectorHit, Why
from .operations import (
    AuditCheck,
    AuditEntry,
    Check,
    OperationResult,
    Permissions,
    Server,
    ServerInfo,
    WatchStats,
)
from .queues import (
    Concurrency,
    Discovery,
    Fleet,
    Group,
    JobCounts,
    Limits,
    Metrics,
    MetricsPoint,
    QueueEvent,
    QueueSnapshot,
    Rate,
    WorkerInfo,
    WorkerJob,
    WorkerList,
)
from .streams import StreamChunk

__all__ = [
    "Approval",
    "Attempt",
    "AuditCheck",
    "AuditEntry",
    "Blocker",
    "Check",
    "Child",
    "Concurrency",
    "DeadLetter",
    "Decision",
    "Discovery",
    "FailureGroup",
    "Failures",
    "Fallback",
    "Fleet",
    "Flow",
    "FlowBudget",
    "FlowList",
    "FlowNode",
    "FlowUsage",
    "Group",
    "Inbox",
    "JobCounts",
    "JobDetail",
    "JobLogs",
    "JobPage",
    "JobRef",
    "JobRow",
    "Limits",
    "Metrics",
    "MetricsPoint",
    "MinuteUsage",
    "OperationResult",
    "Permissions",
    "QueueEvent",
    "QueueSnapshot",
    "Rate",
    "ReviewDecision",
    "Server",
    "ServerInfo",
    "Signal",
    "SignalResult",
    "StreamChunk",
    "StreamInfo",
    "SuspendInfo",
    "ToolCall",
    "TopUp",
    "Totals",
    "Usage",
    "UsageSummary",
    "VectorHit",
    "WatchStats",
    "Why",
    "WorkerInfo",
    "WorkerJob",
    "WorkerList",
    "to_json",
]
