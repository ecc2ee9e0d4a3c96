"""Asyncio engine for AI job queues on Valkey, wire-compatible with glide-mq.

Public names load their module at first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what _HOMES says, for type checkers
    from .ai.usage.summary import get_usage_summary as get_usage_summary
    from .app.handlers import Handlers as Handlers
    from .app.load import load_app as load_app
    from .app.load import load_workers as load_workers
    from .app.middleware import LoggingMiddleware as LoggingMiddleware
    from .broadcast import Broadcast as Broadcast
    from .broadcast import BroadcastWorker as BroadcastWorker
    from .broadcast import SubscriptionCounts as SubscriptionCounts
    from .broadcast import compile_subject_matcher as compile_subject_matcher
    from .broadcast import match_subject as match_subject
    from .embedded import EmbeddedServer as EmbeddedServer
    from .errors import *  # noqa: F403
    from .flows.nodes import DagNode as DagNode
    from .flows.nodes import FlowJob as FlowJob
    from .flows.nodes import JobNode as JobNode
    from .flows.nodes import topo_sort as topo_sort
    from .flows.nodes import validate_dag as validate_dag
    from .flows.producer import FlowProducer as FlowProducer
    from .flows.workflows import chain as chain
    from .flows.workflows import chord as chord
    from .flows.workflows import dag as dag
    from .flows.workflows import group as group
    from .job import Job as Job
    from .jobs.events.queue_events import QueueEvents as QueueEvents
    from .options.job import *  # noqa: F403
    from .options.middleware import AddRequest as AddRequest
    from .options.middleware import FlowRequest as FlowRequest
    from .options.middleware import Middleware as Middleware
    from .options.worker import QueueOptions as QueueOptions
    from .options.worker import WorkerOptions as WorkerOptions
    from .producer import Producer as Producer
    from .queue import Queue as Queue
    from .records import *  # noqa: F403
    from .schedules.entry import Scheduler as Scheduler
    from .schedules.entry import SchedulerEntry as SchedulerEntry
    from .search.index import NumericField as NumericField
    from .search.index import TagField as TagField
    from .search.index import TextField as TextField
    from .search.index import VectorField as VectorField
    from .search.index import escape_tag as escape_tag
    from .server.connect import connect as connect
    from .server.connection import Connection as Connection
    from .telemetry import MetricsMiddleware as MetricsMiddleware
    from .telemetry import TelemetryMiddleware as TelemetryMiddleware
    from .telemetry import is_tracing_enabled as is_tracing_enabled
    from .telemetry import set_tracer as set_tracer
    from .watch import Watch as Watch
    from .wire.serializer import JSON_SERIALIZER as JSON_SERIALIZER
    from .wire.serializer import Serializer as Serializer
    from .worker import *  # noqa: F403

#: Public names by the module that defines them.
_HOMES = {
    "app.handlers": "Handlers",
    "app.middleware": "LoggingMiddleware",
    "app.load": "load_app load_workers",
    "broadcast": "Broadcast BroadcastWorker SubscriptionCounts compile_subject_matcher match_subject",
    "wire.serializer": "JSON_SERIALIZER Serializer",
    "server.connection": "Connection",
    "server.connect": "connect",
    "embedded": "EmbeddedServer",
    "errors": """
        AuditError AuthenticationError BatchError BudgetExceededError BudgetNotFoundError BulkError CallTimeoutError
        ClosedError CostExceedsCapacityError CycleError DelayedError DuplicateJobError EmbeddedServerError
        FilterSyntaxError FlowDefinitionError GlideMQError GroupRateLimitError IndexNotFoundError InvalidOptionError
        JobControl JobFailedError JobLostError JobNotFoundError JobRevokedError JobStateError
        JobTimeoutError LockBusyError PayloadTooLargeError PermissionDeniedError QueueBusyError
        QueueNotFoundError RateLimitError SchedulerNotFoundError SerializationError ServerError ServerUnavailableError
        SuspendError SuspiciousDurationWarning UnrecoverableError UnsupportedServerError WaitTimeoutError
        WaitingChildrenError
    """,
    "jobs.events.queue_events": "QueueEvents",
    "flows.nodes": "DagNode FlowJob JobNode topo_sort validate_dag",
    "flows.producer": "FlowProducer",
    "job": "Job",
    "options.job": """
        UNSET Actor Backoff Batch Budget Deduplication Duration Fallback Instant JobOptions JobRef
        JobTemplate NewJob Ordering RateLimit Retention TokenBucket TokenLimit
    """,
    "options.middleware": "AddRequest FlowRequest Middleware",
    "options.worker": "QueueOptions WorkerOptions",
    "producer": "Producer",
    "queue": "Queue",
    "records": """
        Approval Attempt AuditCheck AuditEntry Blocker Check Child Concurrency DeadLetter Decision Discovery
        FailureGroup Failures Fleet Flow FlowBudget FlowList FlowNode FlowUsage Group Inbox JobCounts JobDetail JobLogs
        JobPage JobRow Limits Metrics MetricsPoint MinuteUsage OperationResult Permissions QueueEvent QueueSnapshot
        Rate ReviewDecision Server ServerInfo Signal SignalResult StreamChunk StreamInfo
        SuspendInfo ToolCall TopUp Totals Usage UsageSummary VectorHit WatchStats Why WorkerInfo WorkerJob
        WorkerList to_json
    """,
    "schedules.entry": "Scheduler SchedulerEntry",
    "search.index": "NumericField TagField TextField VectorField escape_tag",
    "ai.usage.summary": "get_usage_summary",
    "watch": "Watch",
    "telemetry": "MetricsMiddleware TelemetryMiddleware is_tracing_enabled set_tracer",
    "worker": "ShutdownHandle SyncJob Worker graceful_shutdown serve",
    "flows.workflows": "chain chord dag group",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)  # noqa: PLE0605 - one table, not two


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
