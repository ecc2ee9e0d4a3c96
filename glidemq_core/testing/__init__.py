"""Testing applications: jobs and queues without a server, and workers that run until nothing is left to do."""

from .idle import run_until_idle
from .jobs import RecordedJob, make_job
from .queues import TestQueue
from .workers import TestWorker

__all__ = ["RecordedJob", "TestQueue", "TestWorker", "make_job", "run_until_idle"]
