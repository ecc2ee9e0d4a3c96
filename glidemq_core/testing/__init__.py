"""Testing applications: jobs without a server, and workers that run until nothing is left to do."""

from .idle import run_until_idle
from .jobs import RecordedJob, make_job

__all__ = ["RecordedJob", "make_job", "run_until_idle"]
