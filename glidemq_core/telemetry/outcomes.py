"""How a run ended, in a word, as its middleware sees it."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import JobControl

#: What the control calls make of a job.
_CONTROLS = {
    "SuspendError": "suspended",
    "DelayedError": "delayed",
    "WaitingChildrenError": "waiting_children",
    "GroupRateLimitError": "group_rate_limited",
}
#: Why a run was cancelled, where that is a failure of its job.
_FAILING = ("timeout", "revoked")


def outcome_of(job: Any, error: BaseException | None) -> tuple[str, str | None]:
    """Return a word for the end of a run, and why it was aborted, if it was.

    The word is completed, failed, suspended, delayed, waiting_children, group_rate_limited, or cancelled: the job
    goes back to its queue.
    """
    if error is None:
        return "completed", None
    if isinstance(error, JobControl):
        return _CONTROLS.get(type(error).__name__, "delayed"), None
    if isinstance(error, asyncio.CancelledError):
        reason = getattr(job._run, "abort_reason", None)
        return "failed" if reason in _FAILING else "cancelled", reason
    return "failed", None
