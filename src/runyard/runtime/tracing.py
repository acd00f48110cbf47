"""Trace contexts as text: what crosses from the engine to the agent's side, and into the database.

The text is a W3C `traceparent`, followed by a space and the `tracestate` where there is one. Imported only where traces
are on.
"""

from __future__ import annotations

import contextvars

from opentelemetry import context as current
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()


def text_of(span: Span) -> str | None:
    """The context of a span; None for one that is none, as where OpenTelemetry is turned off."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    if "traceparent" not in carrier:
        return None
    return " ".join(carrier[name] for name in ("traceparent", "tracestate") if name in carrier)


def context_of(text: str) -> Context:
    """The inverse: a context in which new spans are children of that span."""
    traceparent, _, tracestate = text.partition(" ")
    carrier = {"traceparent": traceparent}
    if tracestate:
        carrier["tracestate"] = tracestate
    return _W3C.extract(carrier, Context())


def enter(text: str, variables: contextvars.Context) -> None:
    """What runs in these context variables makes its spans as children of that span."""
    variables.run(current.attach, context_of(text))
