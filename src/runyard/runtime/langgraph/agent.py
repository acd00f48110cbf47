"""A graph as an agent: what is published of it, what a request for it must be like, how an attempt of it begins."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from runyard.agents import Agent, Limits, Retry
from runyard.errors import InvalidInput
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import Ended, Start, StoreAnswer
from runyard.runtime.decorate import check_id, limits_of
from runyard.runtime.describe import shown
from runyard.runtime.index import Index
from runyard.runtime.inside import ServerAnswer
from runyard.runtime.lane import OWNER, RunTask
from runyard.runtime.langgraph import describe, loopback
from runyard.runtime.langgraph.chores import attend
from runyard.runtime.langgraph.codec import Codec
from runyard.runtime.langgraph.execution import perform
from runyard.runtime.langgraph.factory import Source
from runyard.runtime.langgraph.types import types_of

RESERVED = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")
"""Keys of `config.configurable` that are the server's to set."""


class GraphAgent:
    """A graph that can be run as an agent."""

    def __init__(
        self,
        source: Source,
        *,
        id: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.source = source
        self._server: loopback.Server | None = None
        self.id = id
        self._description = description
        self._metadata = dict(metadata or {})
        self._limits = limits or Limits()

    def __repr__(self) -> str:
        return f"<graph {self.id} of {self.source.place}>"

    @property
    def agent(self) -> Agent:
        """What is published of it."""
        return self._published

    @functools.cached_property
    def _published(self) -> Agent:
        graph = self.source.example
        schemas, problems = describe.schemas_of(graph)
        metadata: dict[str, Any] = {**self._metadata, **({"schema_problems": problems} if problems else {})}
        return Agent(
            agent_id=self.id,
            name=self.id,
            description=self._description,
            metadata=metadata,
            schemas=schemas,
            limits=self._limits,
            messages=describe.speaks_in_messages(graph),
            graph=True,
            nodes=describe.nodes_of(graph),
            version=describe.version_of(graph, self.source.factory),
        )

    @functools.cached_property
    def codec(self) -> Codec:
        """How its states are written and read: with the classes that its schemas and its own code have."""
        return Codec(types_of(self.source.example, self.source.folder))

    def check_input(self, input: bytes | None) -> None:
        """Validates a request's input: against the graph's input schema where that is a pydantic model, as an object of
        known keys elsewhere; what the values of those are is the graph's own business.

        Raises:
            InvalidInput: naming the field below `input`.
        """
        if input is None or input == b"null":
            return
        graph = self.source.example
        if not _is_mapping_schema(graph):
            return
        value: Any = msgspec.json.decode(input)
        if not isinstance(value, dict):
            raise InvalidInput(f"input is {shown(value)}: graph {self.id!r} takes an object", field="input")
        known = _channels_of_input(graph)
        if value and known and not known & cast("dict[str, Any]", value).keys():
            raise InvalidInput(
                f"input has none of the graph's keys; allowed: {', '.join(sorted(known))}", field="input"
            )
        schema = graph.builder.input_schema
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            _check(TypeAdapter(schema), value, "input")

    def check_config(self, configurable: dict[str, Any]) -> None:
        """Validates `config.configurable`.

        Raises:
            InvalidInput: naming the field below `config.configurable`.
        """
        for key in configurable:
            if key in RESERVED or key.startswith("__pregel"):
                raise InvalidInput(
                    f"config.configurable.{key} is set by the server; leave it out", field=f"config.configurable.{key}"
                )

    def check_context(self, context: dict[str, Any]) -> None:
        """Validates a request's `context` against the graph's context schema.

        Raises:
            InvalidInput: naming the field below `context`.
        """
        schema = self.source.example.context_schema
        if schema is None:
            raise InvalidInput(
                f"graph {self.id!r} takes no context (it has no context_schema); leave the field out", field="context"
            )
        _check(TypeAdapter(schema), context, "context")

    def attach(self, answer: StoreAnswer, index: Index | None) -> None:
        """Gives the factory's store what answers its calls; called in the loop in which `answer` is."""
        self.source.server_store.attach(answer, index)

    def attach_server(self, answer: ServerAnswer) -> None:
        """Gives clients that the code makes without a URL what answers them; called in the loop in which that is."""
        loopback.install()
        self._server = loopback.Server(answer, asyncio.get_running_loop())

    def begin(self, start: Start, end: AgentEnd) -> None:
        """Begins an attempt, or a chore, in the loop of a lane."""
        # Of its own, and empty: this call was made in the context of whoever woke the lane.
        context = contextvars.Context()
        context.run(OWNER.set, end)
        context.run(loopback.SERVER.set, self._server)
        if start.trace is not None:
            from runyard.runtime import tracing

            tracing.enter(start.trace, context)
        begin = perform if start.chore is None else attend
        performance = begin(self.source, self.codec, start, end)
        task = end.loop.create_task(performance, context=context)
        cast(RunTask, task).executes_run = True

        def stop() -> None:
            if inspect.getcoroutinestate(performance) == inspect.CORO_CREATED and end.take():
                end.finish(Ended("stopped"))
            task.cancel()

        # The loop holds its tasks weakly; this holds the task for as long as the attempt is known to the host.
        end.on_stop = stop


def graph(
    found: Any,
    /,
    *,
    id: str,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    max_attempts: int = 3,
    retry: Retry | Mapping[str, Any] | None = None,
    concurrency: int | None = None,
) -> GraphAgent:
    """Makes an agent of a graph, a builder or a function that makes one: where it needs more than its variable's name.

    Args:
        found: A compiled graph or a builder of LangGraph, or a factory of one (see `factory`).
        id: How requests name it.
        description, metadata: For people and searches.
        timeout: Seconds of wall clock for one attempt.
        max_attempts: How often a run may be tried, after crashes and errors that `retry` names.
        retry: `Retry`, or its fields as a mapping; `on` takes exception classes too.
        concurrency: How many runs of it may execute at once, in the whole cluster.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: `found` is none of these.
    """
    frame = inspect.currentframe()
    caller = None if frame is None else frame.f_back
    file = None if caller is None else caller.f_globals.get("__file__")
    source = Source(found, place=f"{file}:{id}", folder=None if file is None else Path(file).parent)
    limits = limits_of(timeout, max_attempts, retry, concurrency)
    return GraphAgent(source, id=check_id(id), description=description, metadata=metadata, limits=limits)


def _is_mapping_schema(graph: describe.Graph) -> bool:
    """Whether the graph takes an object: not where its whole state is one value."""
    return hasattr(graph, "builder") and "__root__" not in graph.channels


def _channels_of_input(graph: describe.Graph) -> set[str]:
    return set(graph.builder.schemas.get(graph.builder.input_schema, {}))


def _check(adapter: TypeAdapter[Any], value: Any, field: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([field, *map(str, first["loc"])])
        raise InvalidInput(f"{place}: {first['msg']}", field=place) from None
