"""Spans of jobs: one when a job is added, one for each run of it, in the same trace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..options.job import JobOptions
from ..options.middleware import (
    AddNext,
    AddRequest,
    FlowRequest,
    Middleware,
    RunNext,
    everywhere,
    set_everywhere,
)
from ..options.types import JobRef, merge_options
from ..records import Usage
from .api import SYSTEM, error_type, load, shown, version
from .outcomes import outcome_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanContext, Tracer

#: Option of a job that carries the context of its producer; glide-mq for Node keeps options that it does not know.
CARRIED = "otel"
#: What is carried: no baggage, which may hold anything.
_CARRIED_FIELDS = ("traceparent", "tracestate")
_CARRIED_CAP = 1_024
#: Jobs whose latest run is remembered, so that the next one can be linked to it.
_REMEMBERED = 10_000

#: Whether a flow is being created, whose jobs have no span of their own under Node's names.
_in_flow: ContextVar[bool] = ContextVar("glidemq_in_flow", default=False)


class TelemetryMiddleware(Middleware):
    """A span `send QUEUE` around adding a job, and `process QUEUE` around each of its runs.

    The context of the producer travels with the job as `opts.otel` (`traceparent` and `tracestate`), written only
    while a span is recording. Each run is a child of it; the run after a retry or a suspension is linked to the one
    before, where the same worker process made both.

    Args:
        tracer: of OpenTelemetry; None takes the one of the application's tracer provider.
        compat_names: names and attributes of glide-mq for Node: `glide-mq.queue.add`, `glide-mq.flow.add`,
            `glide-mq.flow.addDAG`, and `glide-mq.job.process`, which Node has not.
    Raises:
        GlideMQError: OpenTelemetry is not installed.
    """

    def __init__(self, tracer: Tracer | None = None, *, compat_names: bool = False) -> None:
        self._trace, _, self._context = load()
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._propagator = TraceContextTextMapPropagator()
        self._tracer: Tracer = tracer or self._trace.get_tracer("glidemq", version())
        self._compat = compat_names
        self._latest: OrderedDict[JobRef, SpanContext] = OrderedDict()

    # Adding --------------------------------------------------------------------------------------------------

    async def add(self, request: AddRequest, call_next: AddNext) -> Any:
        """Add a job in a span of its own."""
        if self._compat and _in_flow.get():
            return await call_next(self._carrying(request, self._trace.get_current_span()))
        name = "glide-mq.queue.add" if self._compat else f"send {shown(request.queue)}"
        kind = None if self._compat else self._trace.SpanKind.PRODUCER
        with self._span(name, kind, self._add_attributes(request)) as span:
            added = await call_next(self._carrying(request, span))
            if span.is_recording():
                if added is not None:
                    span.set_attribute(self._own("job.id", "messaging.message.id"), shown(added.id))
                elif not self._compat:
                    span.set_attribute("glidemq.job.skipped", True)
            return added

    def _add_attributes(self, request: AddRequest) -> dict[str, Any]:
        options = request.options
        facts: dict[str, Any] = {
            "job.name": shown(request.name),
            "job.delay": int(options.delay or 0),
            "job.priority": int(options.priority or 0),
        }
        return self._attributes("send", request.queue, facts)

    def _carrying(self, request: AddRequest, span: Span) -> AddRequest:
        """Return the request with the context of a span, if that is recording."""
        if not span.is_recording():
            return request
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        extra = {**request.options.extra, CARRIED: carrier}
        return replace(request, options=merge_options(JobOptions, request.options, {"extra": extra}))

    @contextmanager
    def flow(self, request: FlowRequest) -> Iterator[None]:
        """Create a flow in a span, around those of its jobs."""
        if self._compat:
            dag = request.kind == "dag"
            name = "glide-mq.flow.addDAG" if dag else "glide-mq.flow.add"
            facts: dict[str, Any] = {"glide-mq.flow.nodeCount": request.jobs}
            if not dag:
                facts = {
                    "glide-mq.queue": shown(request.queue),
                    "glide-mq.flow.name": shown(request.name),
                    "glide-mq.flow.childCount": request.children,
                }
        else:
            name = "create flow"
            facts = {
                "messaging.system": SYSTEM,
                "glidemq.flow.kind": request.kind,
                "glidemq.flow.jobs": request.jobs,
                "glidemq.flow.name": shown(request.name),
                "glidemq.flow.queue": shown(request.queue),
            }
        with self._span(name, None, facts):
            token = _in_flow.set(True)
            try:
                yield
            finally:
                _in_flow.reset(token)

    # Running -------------------------------------------------------------------------------------------------

    async def run(self, job: Any, call_next: RunNext) -> Any:
        """Run a job in a span that is a child of its producer's."""
        parent = self._producer_of(job.options)
        name = "glide-mq.job.process" if self._compat else f"process {shown(job.queue)}"
        facts = {
            "job.name": shown(job.name),
            "job.attempt": job.attempts_made + 1,
            "job.resumed": bool(job.new_signals),
            "job.waited_ms": _waited_ms(job),
        }
        if job.scheduler:
            facts["job.scheduler"] = shown(job.scheduler)
        attributes = self._attributes("process", job.queue, facts)
        attributes[self._own("job.id", "messaging.message.id")] = shown(job.id)
        kind = self._trace.SpanKind.CONSUMER
        with self._span(name, kind, attributes, parent=parent, links=self._links(job.ref)) as span:
            error: BaseException | None = None
            try:
                return await call_next()
            except BaseException as raised:
                error = raised
                raise
            finally:
                outcome, reason = outcome_of(job, error)
                self._remember(job.ref, span, outcome)
                if span.is_recording():
                    self._tell_end(span, job, outcome, reason)

    def _producer_of(self, options: JobOptions) -> Context:
        """Read the context that a job carries, which anybody may have written; empty without a valid one."""
        carried = options.extra.get(CARRIED) if options.extra else None
        carrier: dict[str, str] = {}
        if isinstance(carried, Mapping):
            for name in _CARRIED_FIELDS:
                value = carried.get(name)
                if isinstance(value, str) and len(value) <= _CARRIED_CAP:
                    carrier[name] = value
        # Not the context of the worker: what was current when it was started is no parent of its jobs.
        return self._propagator.extract(carrier, context=self._context.Context())

    def _links(self, ref: JobRef) -> list[Link]:
        latest = self._latest.get(ref)
        return [] if latest is None else [self._trace.Link(latest, {"glidemq.link": "previous_run"})]

    def _remember(self, ref: JobRef, span: Span, outcome: str) -> None:
        self._latest.pop(ref, None)
        context = span.get_span_context()
        if outcome != "completed" and context.is_valid:
            self._latest[ref] = context
            if len(self._latest) > _REMEMBERED:
                self._latest.popitem(last=False)

    def _tell_end(self, span: Span, job: Any, outcome: str, reason: str | None) -> None:
        span.set_attribute(self._own("job.outcome"), outcome)
        if reason is not None:
            span.set_attribute(self._own("job.abort_reason"), reason)
            if outcome == "failed":
                span.set_status(self._trace.StatusCode.ERROR, reason)
        run = job._run
        if run is not None and run.used is not None:
            span.set_attributes(usage_attributes(run.used))

    # Both ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _span(
        self,
        name: str,
        kind: Any,
        attributes: dict[str, Any],
        *,
        parent: Context | None = None,
        links: list[Link] | None = None,
    ) -> Iterator[Span]:
        """Make a span current; an error ends it with its status, cancellation and control calls do not."""
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind or self._trace.SpanKind.INTERNAL,
            attributes=attributes,
            links=links or (),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                if span.is_recording():
                    span.set_attribute("error.type", error_type(error))
                    span.record_exception(error)
                    span.set_status(self._trace.StatusCode.ERROR, shown(str(error)))
                raise
            if self._compat:
                span.set_status(self._trace.StatusCode.OK)

    def _own(self, name: str, common: str | None = None) -> str:
        """Name of an attribute: under Node's names, by OpenTelemetry's conventions, or ours."""
        return f"glide-mq.{name}" if self._compat else common or f"glidemq.{name}"

    def _attributes(self, operation: str, queue: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        own = {self._own(name): value for name, value in facts.items() if value is not None}
        if self._compat:
            return {"glide-mq.queue": shown(queue), **own}
        return {
            "messaging.system": SYSTEM,
            "messaging.destination.name": shown(queue),
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            **own,
        }


def _waited_ms(job: Any) -> int | None:
    """How long a job has waited to be run, with its delay; None where one of the times is not known."""
    if job.created_at is None or job.processed_at is None:
        return None
    return max(0, int((job.processed_at - job.created_at).total_seconds() * 1_000))


def usage_attributes(usage: Usage) -> dict[str, Any]:
    """Return what an attempt has used, as attributes of its span."""
    facts = {
        "gen_ai.request.model": usage.model and shown(usage.model),
        "gen_ai.provider.name": usage.provider and shown(usage.provider),
        "gen_ai.usage.input_tokens": usage.tokens.get("input"),
        "gen_ai.usage.output_tokens": usage.tokens.get("output"),
        "glidemq.usage.total_tokens": usage.total_tokens,
        "glidemq.usage.cost": usage.total_cost,
        "glidemq.usage.cost_unit": usage.cost_unit and shown(usage.cost_unit),
    }
    return {name: value for name, value in facts.items() if value is not None}


def set_tracer(tracer: Tracer | None = None, *, compat_names: bool = False, enabled: bool = True) -> None:
    """Trace all queues, producers, flows and workers of this process, those too that exist already.

    One that has a `TelemetryMiddleware` of its own keeps to that.

    Args:
        tracer: of OpenTelemetry; None takes the one of the application's tracer provider.
        compat_names: as in `TelemetryMiddleware`.
        enabled: False ends it.
    Raises:
        GlideMQError: OpenTelemetry is not installed.
    """
    set_everywhere((TelemetryMiddleware(tracer, compat_names=compat_names),) if enabled else ())


def is_tracing_enabled() -> bool:
    """Whether `set_tracer` has been called, and tracing was not ended since."""
    return any(isinstance(one, TelemetryMiddleware) for one in everywhere(()))
