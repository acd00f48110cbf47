"""Agents for stories about running a server: one that complains into the log, and a synchronous one that does."""

from __future__ import annotations

import logging
from typing import Any

from runyard import SyncContext, agent

log = logging.getLogger("complaints")


@agent
async def complain(input: str) -> None:
    """Logs its input and fails with it."""
    log.warning("about to fail: %s", input)
    raise ValueError(input)


@agent
def mutter(input: Any, ctx: SyncContext) -> dict[str, Any]:
    """Logs from its thread and from that of a step."""
    log.info("muttering %s", input)
    ctx.step("mutter", lambda: log.info("in a step"))
    return {"said": input}


@agent
async def traced() -> None:
    """Makes a span with OpenTelemetry's own call, as instrumented libraries do."""
    from opentelemetry import trace

    with trace.get_tracer("users").start_as_current_span("of the agent"):
        pass
