"""One small family of errors under `GlideMQError`; each carries its facts as attributes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any


class GlideMQError(Exception):
    """Something this library refuses or could not do. `hint` says what to try, when there is something."""

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:
            self.add_note(f"({hint})")  # whoever meets the traceback reads it too
        for name, value in facts.items():
            setattr(self, name, value)


class ServerUnavailableError(GlideMQError, ConnectionError):
    """The server cannot be reached or went away."""

    address: str


class CallTimeoutError(GlideMQError, TimeoutError):
    """No answer in time; a change may or may not have happened."""

    command: str
    timeout_ms: int


class AuthenticationError(GlideMQError):
    """User name or password refused."""

    address: str
    username: str | None


class PermissionDeniedError(GlideMQError, PermissionError):
    """Forbidden by ACL, read-only mode or the plain-text rule (`reason`: acl, read_only, insecure)."""

    reason: str
    command: str | None


class UnsupportedServerError(GlideMQError):
    """The server lacks something we need (`feature`: functions, search, version)."""

    feature: str
    found: str | None
    needed: str | None


class ServerError(GlideMQError):
    """An error reply nobody expected."""

    command: str
    code: str


class AuditError(ServerError):
    """The audit of a queue is damaged, so that nothing that belongs into it is done."""


class ClosedError(GlideMQError):
    """The object was closed."""

    what: str


class InvalidOptionError(GlideMQError, ValueError):
    """A value from the caller is not allowed."""

    option: str
    value: Any
    allowed: str


class FilterSyntaxError(InvalidOptionError):
    """A text is no filter. `problem` says why and what would be one, `at` where, in characters from 0."""

    problem: str
    at: int


class PayloadTooLargeError(InvalidOptionError):
    """Larger than the wire allows."""

    what: str
    size_bytes: int
    limit_bytes: int


class CostExceedsCapacityError(InvalidOptionError):
    """A job costs more than its group's bucket can hold."""

    key: str
    cost: float
    capacity: float


class FlowDefinitionError(InvalidOptionError):
    """Duplicate or unknown node in a flow."""

    node: str


class CycleError(FlowDefinitionError):
    """The DAG has a cycle."""

    cycle: list[str]


class SerializationError(GlideMQError, ValueError):
    """Data or result cannot be encoded or decoded."""

    what: str
    job_id: str | None


class QueueNotFoundError(GlideMQError):
    """No key of that queue exists."""

    queue: str
    prefix: str
    address: str


class QueueBusyError(GlideMQError):
    """Active jobs stand in the way."""

    queue: str
    active: int


class JobNotFoundError(GlideMQError):
    """No such job (any more)."""

    queue: str
    job_id: str


class DuplicateJobError(GlideMQError):
    """A custom id is taken."""

    queue: str
    job_id: str


class JobStateError(GlideMQError):
    """The job's state does not allow the operation."""

    queue: str
    job_id: str
    operation: str
    state: str
    needed: str


class JobFailedError(GlideMQError):
    """The awaited job failed."""

    queue: str
    job_id: str
    failed_reason: str
    attempts_made: int


class WaitTimeoutError(GlideMQError, TimeoutError):
    """The awaited thing did not happen in time; the job goes on."""

    queue: str
    job_id: str
    state: str
    timeout_ms: int


class BulkError(GlideMQError):
    """Some jobs of a bulk add were stored, some refused (`results`: Job, None or error each)."""

    results: Sequence[Any]


class BudgetNotFoundError(GlideMQError):
    """The flow has no budget."""

    queue: str
    flow_id: str


class IndexNotFoundError(GlideMQError):
    """No such search index."""

    index: str


class SchedulerNotFoundError(GlideMQError):
    """The queue has no scheduler of that name."""

    queue: str
    scheduler: str


class LockBusyError(GlideMQError):
    """Someone else holds the lock."""

    lock: str


class EmbeddedServerError(GlideMQError):
    """Our own server could not start or stop."""

    data_dir: str
    log_path: str | None


class UnrecoverableError(GlideMQError):
    """Processors raise it: fail now, no retry."""


class RateLimitError(GlideMQError):
    """Processors raise it: the provider said slow down; `delay_ms` is how long, None the limiter's window.

    Args:
        delay_ms: milliseconds or a timedelta. A text here is taken for the message.
    """

    def __init__(self, delay_ms: int | timedelta | str | None = None, message: str = "rate limited") -> None:
        if isinstance(delay_ms, str):
            message, delay_ms = delay_ms, None
        if isinstance(delay_ms, timedelta):
            delay_ms = -(-delay_ms // timedelta(milliseconds=1))
        super().__init__(message)
        self.delay_ms: int | None = delay_ms


class BatchError(GlideMQError):
    """Batch processors raise it: one result or exception per job, in order."""

    def __init__(self, results: Sequence[Any], message: str = "some jobs of the batch failed") -> None:
        super().__init__(message)
        self.results = results


class JobTimeoutError(GlideMQError):
    """`failed` handlers see it: the job ran longer than its timeout."""

    job_id: str


class JobRevokedError(GlideMQError):
    """`failed` handlers see it: the job was revoked."""

    job_id: str


class BudgetExceededError(GlideMQError):
    """`failed` handlers see it: the flow's budget was used up."""

    job_id: str


class JobLostError(GlideMQError):
    """`error` handlers see it: this run no longer owns the job; its outcome was not recorded."""

    queue: str
    job_id: str


class JobControl(BaseException):
    """Control flow out of a processor, apart from failures so that `except Exception` does not swallow it."""


class SuspendError(JobControl):
    """The job suspends."""


class DelayedError(JobControl):
    """The job sleeps until `until_ms`."""

    def __init__(self, until_ms: int) -> None:
        super().__init__(until_ms)
        self.until_ms = until_ms


class WaitingChildrenError(JobControl):
    """The job waits for its children."""


class GroupRateLimitError(JobControl):
    """The job's ordering group is held for `delay_ms`."""

    def __init__(self, delay_ms: int) -> None:
        super().__init__(delay_ms)
        self.delay_ms = delay_ms


class SuspiciousDurationWarning(UserWarning):
    """A time-out, `ttl` or lock below a second was given as a bare number: numbers are milliseconds."""
