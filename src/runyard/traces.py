"""Traces: spans of requests, of the creation of runs, of their wait in line, and of attempts, by OpenTelemetry.

    POST /runs/wait                    the request (SERVER), child of what the caller's `traceparent` names
      create_run AGENT                 the run becomes durable (PRODUCER); its context is kept with the run
        queue                          from when the run could be claimed to its first attempt, where it waited
        invoke_agent AGENT             an attempt (CONSUMER), on whichever server and after whichever restart
          ...                          what the agent's code makes, in its loop or thread

Imported only where traces are on. Neither inputs nor outputs are recorded, and no header but `traceparent` and
`tracestate` is read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runyard.runs import Run
from runyard.runtime.tracing import context_of, text_of
from runyard.telemetry import AttemptEnd, say

_W3C = TraceContextTextMapPropagator()
_ERRORS = ("abandoned", "broke", "failed", "timed_out", "tried_again")
PATIENCE = 3.0
"""Seconds that the last spans may take to be sent when the server ends."""


class Traces:
    """Makes the spans of one engine."""

    def __init__(self, version: str, provider: TracerProvider | None = None) -> None:
        """`provider` is where spans go; without one they go where the process sends its own, and where nobody has said
        where that is, to where the `OTEL_*` variables say, over OTLP and HTTP."""
        self._give_up: Callable[[], None] | None = None
        self._provider = provider or self._provider_of_process(version)
        self._tracer = self._provider.get_tracer("runyard", version)

    @contextmanager
    def request(self, method: str, route: str, path: str, headers: Mapping[bytes, bytes]) -> Generator[_Request]:
        """The span of a request, current while it is handled."""
        inside = trace.get_current_span().get_span_context().is_valid  # of the app that we are mounted in
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=None if inside else _called_by(headers),
            kind=SpanKind.INTERNAL if inside else SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route, "url.path": path},
        ) as span:
            yield _Request(span)

    @contextmanager
    def creation(self, agent_id: str) -> Generator[_Creation]:
        """The span in which a run becomes durable; `context` is to be kept with it."""
        with self._tracer.start_as_current_span(
            f"create_run {agent_id}", kind=SpanKind.PRODUCER, attributes={"runyard.agent_id": agent_id}
        ) as span:
            yield _Creation(span)

    def attempt(self, run: Run, kept: str | None, asked: str | None, waited: int | None) -> _Attempt:
        """The span of an attempt that begins. `kept` is the context of the run's creation, `asked` that of the run
        whose question it answers; `waited` as in `Claim`."""
        parent = Context() if kept is None else context_of(kept)
        about = {"runyard.run_id": run.run_id, "runyard.thread_id": run.thread_id, "runyard.agent_id": run.agent_id}
        if waited and run.started_at is not None:
            began = (run.started_at - waited) * 1000
            self._tracer.start_span("queue", parent, attributes=about, start_time=began).end(run.started_at * 1000)
        links = [] if asked is None else [Link(trace.get_current_span(context_of(asked)).get_span_context())]
        span = self._tracer.start_span(
            f"invoke_agent {run.agent_id}",
            parent,
            kind=SpanKind.CONSUMER,
            links=links,
            attributes={
                **about,
                "runyard.attempt": run.attempt,
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.id": run.agent_id,
                "gen_ai.conversation.id": run.thread_id,
            },
        )
        return _Attempt(span)

    def close(self) -> None:
        """Sends what has not been sent, if that is quick. Blocks."""
        flush = getattr(self._provider, "force_flush", None)
        if flush is None:
            return
        # In a thread that may be left behind: the SDK takes no limit of time, and tries again and again.
        sending = threading.Thread(target=flush, name="runyard-traces", daemon=True)
        sending.start()
        sending.join(PATIENCE)
        if sending.is_alive():
            say("traces not sent", seconds=PATIENCE)
            if self._give_up is not None:
                self._give_up()

    def _provider_of_process(self, version: str) -> TracerProvider:
        current = trace.get_tracer_provider()
        if not isinstance(current, trace.ProxyTracerProvider):
            return current
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        about: dict[str, str] = {}
        if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            about = {"service.name": "runyard", "service.version": version}
        provider = SdkTracerProvider(resource=Resource.create(about))
        exporter = OTLPSpanExporter()
        self._give_up = exporter.shutdown
        provider.add_span_processor(BatchSpanProcessor(exporter))
        # What users' agents make with OpenTelemetry's own calls goes the same way.
        trace.set_tracer_provider(provider)
        return provider


class _Request:
    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))


class _Creation:
    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def context(self) -> str | None:
        return text_of(self._span)

    def made(self, run: Run, *, repeated: bool) -> None:
        self._span.set_attributes(
            {"runyard.run_id": run.run_id, "runyard.thread_id": run.thread_id, "runyard.repeated": repeated}
        )


class _Attempt:
    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def context(self) -> str | None:
        return text_of(self._span)

    def end(self, end: AttemptEnd) -> None:
        if not self._span.is_recording():
            return
        self._span.set_attribute("runyard.outcome", end.outcome)
        if end.exception:
            event: dict[str, Any] = {"exception.type": end.exception, "exception.message": end.message}
            if end.stacktrace:
                event["exception.stacktrace"] = end.stacktrace
            self._span.add_event("exception", event)
        if end.outcome in _ERRORS:
            self._span.set_status(Status(StatusCode.ERROR, end.message or end.outcome))
        self._span.end()


def _called_by(headers: Mapping[bytes, bytes]) -> Context:
    carrier = {
        name: headers[name.encode()].decode("latin-1")
        for name in ("traceparent", "tracestate")
        if name.encode() in headers
    }
    return _W3C.extract(carrier, Context())
