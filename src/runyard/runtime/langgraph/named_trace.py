"""What a request says of its trace in LangSmith: the project that it goes into, and the example that it is of.

Whether there are traces is for the environment to say (LANGSMITH_TRACING), as everywhere in LangChain.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.context import tracing_v2_enabled
from langsmith import utils

from runyard.graphs import TRACE_EXAMPLE, TRACE_PROJECT


@contextmanager
def named_trace(config: RunnableConfig) -> Generator[None]:
    """Traces what is executed within as the request says, where it says so and anything is traced at all."""
    asked: dict[str, Any] = config.get("configurable") or {}
    project, example = asked.get(TRACE_PROJECT), asked.get(TRACE_EXAMPLE)
    if (project or example) and utils.tracing_is_enabled():  # pyright: ignore[reportUnknownMemberType]
        with tracing_v2_enabled(project, example_id=example):
            yield
    else:
        yield
