"""Every call of glide-mq 0.15.4 has its Python form, or stands on the page of what is not here."""

from __future__ import annotations

import re

import pytest
from kits.snippets import ROOT

import glidemq_core
from glidemq_core import testing

PAGE = (ROOT / "docs" / "not-included.md").read_text("utf-8")

#: Exports of Node's package, by the class or module that has their Python form. `-`: not built.
EXPORTS = {
    "Queue": """
        add addBulk addAndWait getJob getJobs searchJobs getJobCounts count getMetrics getJobLogs pause resume isPaused
        drain clean retryJobs obliterate revoke setGlobalConcurrency setGlobalRateLimit removeGlobalRateLimit
        getGlobalRateLimit rateLimitGroup getWorkers upsertJobScheduler removeJobScheduler getJobScheduler
        getJobSchedulers getDeadLetterJobs getDeadLetterJob removeDeadLetterJob replayDeadLetterJob readStream signal
        getSuspendInfo getSuspendedJobs getFlowUsage getFlowBudget getUsageSummary createJobIndex dropJobIndex
        vectorSearch close
    """,
    "Job": """
        log updateProgress updateData reportUsage reportTokens stream streamChunk suspend storeVector getChildrenValues
        getParents moveToDelayed moveToWaitingChildren rateLimitGroup discard aborted getState isCompleted isFailed
        isDelayed isActive isWaiting isRevoked waitUntilFinished remove retry promote changePriority changeDelay
        signals newSignals currentFallback fallbackIndex usage tpmTokens
    """,
    "Worker": "waitUntilReady pause resume drain close isRunning isPaused abortJob rateLimit on",
    "FlowProducer": "add addBulk addDag close",
    "Broadcast": "publish pause resume setGlobalRateLimit close",
    "BroadcastWorker": "on close",
    "QueueEvents": "waitUntilReady close",
    "Producer": "add addBulk close isClosed",
    "": """
        chain group chord dag validateDag topoSort matchSubject compileSubjectMatcher gracefulShutdown setTracer
        isTracingEnabled getUsageSummary
    """,
    "-": """
        getJobCountByTypes getClient moveToFailed fromHash entryId prefetch globalConcurrency sandbox compression
        parents maxRetries ServerlessPool serverlessPool IamCredentials glide-mq/proxy
    """,
}
CLASSES = """
    Queue Job Worker FlowProducer Broadcast BroadcastWorker QueueEvents Producer Batch BatchError CycleError Serializer
    JSON_SERIALIZER UnrecoverableError RateLimitError DelayedError WaitingChildrenError SuspendError GroupRateLimitError
"""
JOB_OPTIONS = """
    jobId delay priority lifo ordering cost attempts backoff timeout ttl lockDuration removeOnComplete removeOnFail
    deduplication parent fallbacks
"""
WORKER_OPTIONS = """
    concurrency blockTimeout promotionInterval lockDuration stalledInterval maxStalledCount limiter tokenLimiter
    backoffStrategies events metrics serializer deadLetterQueue batch
"""


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", name)


@pytest.mark.parametrize("owner", [name for name in EXPORTS if name != "-"])
def test_what_node_exports_is_here(owner: str) -> None:
    where = getattr(glidemq_core, owner) if owner else glidemq_core
    assert [name for name in EXPORTS[owner].split() if not hasattr(where, snake(name))] == []


def test_classes_and_options_are_here() -> None:
    assert set(CLASSES.split()) <= set(glidemq_core.__all__)
    for options, names in (
        (glidemq_core.JobOptions, JOB_OPTIONS),
        (glidemq_core.WorkerOptions, WORKER_OPTIONS),
    ):
        assert [name for name in names.split() if not hasattr(options, snake(name))] == []


def test_what_is_not_here_is_on_the_page() -> None:
    assert [name for name in EXPORTS["-"].split() if name not in PAGE] == []
    for name in ("TestQueue", "TestWorker"):
        assert hasattr(testing, name) is (name not in PAGE)


def test_what_the_page_offers_instead_is_here() -> None:
    rows = re.findall(r"^\| .*? \| (.*?) \| .* \|$", PAGE, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(?:\w+\.)*(\w+)[(`]", row)}
    known = {*glidemq_core.__all__, *testing.__all__, "client", "attempts"}
    for kind in ("Queue", "Connection", "FlowProducer"):
        known |= set(dir(getattr(glidemq_core, kind)))
    assert names - known == set()
