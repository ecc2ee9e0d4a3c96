"""One line in the log for each attempt that failed."""

from __future__ import annotations

import logging

from .error_facts import of_processor
from .outcome import SettleRecord

#: Characters of the name and of the reason in a log line.
_WORDS = 1_000

logger = logging.getLogger("glidemq.worker")


def log_failure(record: SettleRecord, *, runs_again: bool) -> None:
    """Log a failed attempt: WARNING when the job runs again, ERROR when not."""
    job, error = record.run.job, record.error
    raised = None if error is None else of_processor(error.__traceback__)
    logger.log(
        logging.WARNING if runs_again else logging.ERROR,
        "job %s (%s) failed in attempt %d%s: %s",
        job.ref,
        " ".join(job.name.split())[:_WORDS],
        job.attempts_made,
        ", runs again" if runs_again else "",
        " ".join(record.value.split())[:_WORDS],
        exc_info=(type(error), error, raised) if error is not None and raised is not None else None,
        extra={"job": str(job.ref), "attempt": job.attempts_made, "duration_ms": record.duration_ms},
    )
