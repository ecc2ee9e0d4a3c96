"""Metrics of jobs: how many were added, how long they ran, what their models used."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..options.middleware import AddNext, AddRequest, Middleware, RunNext
from ..records import Usage
from .api import SYSTEM, error_type, load, shown, version
from .outcomes import outcome_of

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

#: Boundaries that OpenTelemetry's conventions advise.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_CHUNK_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TOKENS = tuple(4**power for power in range(14))


class MetricsMiddleware(Middleware):
    """Counts jobs that are added, and measures runs and what they report.

    By the conventions of OpenTelemetry: `messaging.client.sent.messages`, `messaging.process.duration`, and of what
    `job.report_usage` tells `gen_ai.client.token.usage`, `gen_ai.client.operation.duration` (the `latency` of the
    report, else the run time) and, for a job that streams, `gen_ai.client.operation.time_to_first_chunk`, counted from
    the begin of the run. Of several reports of a run the last one counts, once.

    Args:
        meter: of OpenTelemetry; None takes the one of the application's meter provider.
        operation: what the models of these jobs do, for the attribute `gen_ai.operation.name`.
    Raises:
        GlideMQError: OpenTelemetry is not installed.
    """

    def __init__(self, meter: Meter | None = None, *, operation: str = "chat") -> None:
        _, metrics, _ = load()
        meter = meter or metrics.get_meter("glidemq", version())
        self._operation = operation
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Jobs that were to be added."
        )

        def seconds(name: str, text: str, boundaries: tuple[float, ...] = _SECONDS) -> Any:
            return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=boundaries)

        self._processed = seconds("messaging.process.duration", "Duration of runs of jobs.")
        self._operated = seconds("gen_ai.client.operation.duration", "Duration of calls of models.")
        self._first_chunk = seconds(
            "gen_ai.client.operation.time_to_first_chunk",
            "Time from the begin of a run to the first chunk of its stream.",
            _FIRST_CHUNK_S,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens that models used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    async def add(self, request: AddRequest, call_next: AddNext) -> Any:
        """Count a job that is added, with the error if it was not."""
        attributes = _messaging("send", request.queue)
        try:
            added = await call_next(request)
        except Exception as error:
            self._sent.add(1, {**attributes, "error.type": error_type(error)})
            raise
        if added is not None:
            self._sent.add(1, attributes)
        return added

    async def run(self, job: Any, call_next: RunNext) -> Any:
        """Measure a run, and what it has reported at its end."""
        started, error = time.monotonic(), None
        try:
            return await call_next()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._measure(job, started, time.monotonic() - started, error)

    def _measure(self, job: Any, started: float, took_s: float, error: BaseException | None) -> None:
        outcome, reason = outcome_of(job, error)
        failure = {}
        if outcome == "failed":
            failure["error.type"] = error_type(error) if error is not None and reason is None else str(reason)
        attributes = {**_messaging("process", job.queue), "glidemq.job.outcome": outcome}
        self._processed.record(took_s, {**attributes, **failure})
        run = job._run
        if run is None:
            return
        usage: Usage | None = run.used
        model = self._model(usage)
        if run.first_chunk_at is not None:
            self._first_chunk.record(max(0.0, run.first_chunk_at - started), model)
        if usage is None:
            return
        latency_s = took_s if usage.latency_ms is None else usage.latency_ms / 1_000
        self._operated.record(latency_s, {**model, **failure})
        tokens = usage.tokens or ({"total": usage.total_tokens} if usage.total_tokens else {})
        for category, count in tokens.items():
            self._tokens.record(count, {**model, "gen_ai.token.type": shown(category)})

    def _model(self, usage: Usage | None) -> dict[str, str]:
        named = {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": usage.provider if usage else None,
            "gen_ai.request.model": usage.model if usage else None,
        }
        return {name: shown(value) for name, value in named.items() if value}


def _messaging(operation: str, queue: str) -> Mapping[str, str]:
    return {
        "messaging.system": SYSTEM,
        "messaging.destination.name": shown(queue),
        "messaging.operation.name": operation,
    }
